//! Choices as lines of text, for options that do not fit a vendor's buttons and lists.

use std::collections::HashSet;

use konstruct_core::{Outgoing, outgoing::Choices};

/// The limits of a vendor's control, in characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) options: usize,
    pub(crate) id: usize,
    pub(crate) label: usize,
    /// `None` if the control shows no descriptions.
    pub(crate) description: Option<usize>,
}

impl Control {
    /// Returns whether the control can show the options: all within the limits, none blank, no duplicate ids or labels.
    pub(crate) fn takes(&self, choices: &Choices) -> bool {
        let within =
            |text: &str, max: usize| !text.trim().is_empty() && text.encode_utf16().count() <= max;
        let mut seen = HashSet::new();
        choices.options.len() <= self.options
            && choices.options.iter().all(|choice| {
                let described = match (&choice.description, self.description) {
                    (None, _) => true,
                    (Some(text), Some(max)) => within(text, max),
                    (Some(_), None) => false,
                };
                within(&choice.id, self.id)
                    && within(&choice.label, self.label)
                    && described
                    && seen.insert(("id", choice.id.as_str()))
                    && seen.insert(("label", choice.label.as_str()))
            })
    }
}

/// Appends choices to the text as a numbered list.
pub(crate) fn as_text(outgoing: &Outgoing) -> Outgoing {
    let mut text = outgoing.text.trim_end().to_owned();
    for (index, choice) in outgoing
        .choices
        .iter()
        .flat_map(|choices| &choices.options)
        .enumerate()
    {
        text.push_str(if index == 0 && !text.is_empty() {
            "\n\n"
        } else {
            "\n"
        });
        text.push_str(&format!("{}. {}", index + 1, escaped(&choice.label)));
        if let Some(description) = &choice.description {
            text.push_str(&format!(" – {}", escaped(description)));
        }
    }
    let mut plain = Outgoing::markdown(text);
    plain.quote.clone_from(&outgoing.quote);
    plain
}

/// Escapes plain text as one line of Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
