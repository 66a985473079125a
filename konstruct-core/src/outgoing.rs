//! Outgoing messages, in one form for records, stores, the admin API and all channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_segmentation::GraphemeCursor;

/// A message of the employee, independent of the channel.
///
/// A channel [renders](crate::Channel::render) it into parts within its limits. When it [sends](crate::channel::Op::Send) a part,
/// it translates the part into the provider's format.
///
/// ```
/// use konstruct_core::{Outgoing, outgoing::{Choice, Choices}};
///
/// let question = Outgoing::markdown("Which **size** do you need?")
///     .with_choices(Choices::new([Choice::new("s", "Small"), Choice::new("l", "Large")]))
///     .quoting("wamid.A");
/// assert_eq!(question.quote.as_deref(), Some("wamid.A"));
/// assert!(!question.is_blank());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Outgoing {
    /// The text, in CommonMark with tables, strikethrough, task lists and footnotes.
    pub text: String,
    /// Options that the person can choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// The provider's id of the quoted message. Channels that do not support quotes ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

impl Outgoing {
    /// Creates a message from Markdown text.
    pub fn markdown(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            choices: None,
            quote: None,
        }
    }

    /// Adds options to choose from. An empty list is the same as none.
    #[must_use]
    pub fn with_choices(mut self, choices: Choices) -> Self {
        self.choices = Some(choices).filter(|choices| !choices.options.is_empty());
        self
    }

    /// Quotes a message by the provider's id.
    #[must_use]
    pub fn quoting(mut self, message: impl Into<String>) -> Self {
        self.quote = Some(message.into());
        self
    }

    /// Returns whether there is nothing to send.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty() && self.choices.is_none()
    }
}

impl From<&str> for Outgoing {
    fn from(text: &str) -> Self {
        Self::markdown(text)
    }
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self::markdown(text)
    }
}

/// Options of which the person selects one. A channel shows them as buttons if it supports enough of them, else as a list, else
/// as numbered lines of text.
///
/// A selection is received as a [`Body::Action`](crate::message::Body::Action) with the option's id as `action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Choices {
    /// The options, in the order in which they are shown.
    pub options: Vec<Choice>,
    /// The label of the control that opens a list, in the person's language. The default is "Choose".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl Choices {
    /// Creates choices from options.
    pub fn new(options: impl IntoIterator<Item = Choice>) -> Self {
        Self {
            options: options.into_iter().collect(),
            prompt: None,
        }
    }

    /// Sets the label of the control that opens a list.
    #[must_use]
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }
}

/// An option to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Choice {
    /// The id by which a selection is reported; unique within a message.
    pub id: String,
    /// The label, as plain text.
    pub label: String,
    /// A second line for channels that show one, as plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Choice {
    /// Creates an option without a description.
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            description: None,
        }
    }

    /// Adds a description as a second line.
    #[must_use]
    pub fn describing(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// The result of rendering an [`Outgoing`] for a channel: parts, each of which is one message, and the remaining text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rendered {
    /// The parts in order, none of them blank. The first contains the quote, the last contains the choices.
    pub parts: Vec<Outgoing>,
    /// The text that exceeds the maximum number of parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Outgoing>,
}

impl Rendered {
    /// Creates a rendering from its parts and the rest.
    pub fn new(parts: Vec<Outgoing>, rest: Option<Outgoing>) -> Self {
        Self { parts, rest }
    }

    /// Renders for a channel that shows the text unchanged. Splits it into at most `max_parts` parts of at most `max_text`
    /// characters, preferably between paragraphs, then lines, sentences and words, and within a word only as the last resort.
    /// Only white space between the parts is lost.
    /// A grapheme, such as an emoji made of several characters, is cut only if it alone exceeds the limit.
    ///
    /// ```
    /// use konstruct_core::{Outgoing, outgoing::Rendered};
    ///
    /// let rendered = Rendered::plain(&Outgoing::markdown("one two three four"), 9, 2);
    /// let texts: Vec<_> = rendered.parts.iter().map(|part| part.text.as_str()).collect();
    /// assert_eq!(texts, ["one two", "three"]);
    /// assert_eq!(rendered.rest, Some(Outgoing::markdown("four")));
    /// ```
    pub fn plain(outgoing: &Outgoing, max_text: usize, max_parts: usize) -> Self {
        let max_text = max_text.max(1);
        let mut rest = outgoing.text.trim();
        let mut parts = Vec::new();
        while !rest.is_empty() && parts.len() < max_parts {
            let end = rest.char_indices().nth(max_text);
            let cut = end.map_or(rest.len(), |(end, _)| seam(&rest[..whole(rest, end)]));
            parts.push(Outgoing::markdown(rest[..cut].trim_end()));
            rest = rest[cut..].trim_start();
        }
        if parts.is_empty() && max_parts > 0 && outgoing.choices.is_some() {
            parts.push(Outgoing::markdown(""));
        }
        if let Some(first) = parts.first_mut() {
            first.quote.clone_from(&outgoing.quote);
        }
        if let Some(last) = parts.last_mut() {
            last.choices.clone_from(&outgoing.choices);
        }
        let rest = (!rest.is_empty()).then(|| Outgoing::markdown(rest));
        Self { parts, rest }
    }
}

/// Returns the last position up to `end` that is not within a grapheme; `end` itself if the first grapheme is longer.
fn whole(text: &str, end: usize) -> usize {
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    // An error asks for another chunk of the text, and all of it is here.
    match cursor.is_boundary(text, 0) {
        Ok(false) => match cursor.prev_boundary(text, 0) {
            Ok(Some(before)) if before > 0 => before,
            _ => end,
        },
        _ => end,
    }
}

/// Returns where to split a text of the maximum length. A split in its first half would waste a message.
fn seam(text: &str) -> usize {
    ["\n\n", "\n", ". ", "! ", "? ", " "]
        .iter()
        .filter_map(|mark| text.rfind(mark).map(|at| at + mark.len()))
        .find(|at| *at > text.len() / 2)
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rendered: &Rendered) -> Vec<&str> {
        rendered
            .parts
            .iter()
            .map(|part| part.text.as_str())
            .collect()
    }

    #[test]
    fn a_short_text_is_one_part_and_a_blank_one_none() {
        let short = Rendered::plain(&Outgoing::markdown("  hello "), 10, 4);
        assert_eq!(texts(&short), ["hello"]);
        assert_eq!(
            Rendered::plain(&Outgoing::markdown(" \n "), 10, 4),
            Rendered::default()
        );
    }

    #[test]
    fn seams_are_found_and_no_word_is_lost() {
        let text =
            "First paragraph. It goes on.\n\nSecond paragraph, which is longer than the first one.";
        let letters = |text: &str| -> String { text.split_whitespace().collect() };
        for max in 1..100 {
            for max_parts in [1, 3, usize::MAX] {
                let rendered = Rendered::plain(&Outgoing::markdown(text), max, max_parts);
                let parts = texts(&rendered);
                assert!(parts.len() <= max_parts);
                for part in &parts {
                    assert!((1..=max).contains(&part.chars().count()), "{max}: {part}");
                }
                let rest = rendered.rest.as_ref().map_or("", |rest| &rest.text);
                assert_eq!(
                    letters(&parts.concat()) + &letters(rest),
                    letters(text),
                    "{max}"
                );
            }
        }
    }

    #[test]
    fn a_grapheme_is_cut_only_if_it_exceeds_the_limit() {
        let check = |text: &str, max, expected: &[&str]| {
            let rendered = Rendered::plain(&Outgoing::markdown(text), max, usize::MAX);
            assert_eq!(texts(&rendered), expected, "{text} by {max}");
        };
        check("e\u{301}e\u{301}", 3, &["e\u{301}", "e\u{301}"]);
        check("🇩🇪🇫🇷x", 3, &["🇩🇪", "🇫🇷x"]);
        check("👩\u{200d}👦", 2, &["👩\u{200d}", "👦"]);
    }

    #[test]
    fn the_first_part_quotes_and_the_last_offers() {
        let choices = Choices::new([Choice::new("y", "Yes").describing("go on")]);
        let outgoing = Outgoing::markdown("one two three")
            .with_choices(choices.clone())
            .quoting("m1");
        let rendered = Rendered::plain(&outgoing, 5, 2);
        assert_eq!(
            rendered.parts,
            [
                Outgoing::markdown("one").quoting("m1"),
                Outgoing::markdown("two").with_choices(choices)
            ]
        );
        assert_eq!(rendered.rest, Some(Outgoing::markdown("three")));
    }

    #[test]
    fn it_is_stored_without_what_it_does_not_have() {
        let json = serde_json::to_value(Outgoing::markdown("hi")).unwrap();
        assert_eq!(json, serde_json::json!({"text": "hi"}));
        let read: Outgoing = serde_json::from_value(json).unwrap();
        assert_eq!(read, Outgoing::markdown("hi"));
        assert!(
            Outgoing::markdown(" ")
                .with_choices(Choices::new([]))
                .is_blank()
        );
    }
}
