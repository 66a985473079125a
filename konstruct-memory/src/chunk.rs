//! From documents to chunks: what one recall finds, and one answer quotes.

use konstruct_core::DocumentFormat;
use serde::{Deserialize, Serialize};

use crate::analyze::word_count;

/// A longer passage is parted.
const LONGEST: usize = 120;
/// The bytes of a long word: what is longer counts for several.
const WORD: usize = 64;
/// Paragraphs are put together up to so many words when a long passage is parted.
const GOAL: usize = 80;

/// A passage of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The headings that it stands under, the outermost first.
    pub path: Vec<String>,
    /// Its text, without Markdown's marks.
    pub text: String,
}

impl Chunk {
    /// Returns the heading or question that it stands right under; empty if there is none.
    pub fn title(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// Parts a document into chunks. A document with any text has at least one.
///
/// ```
/// use konstruct_core::DocumentFormat;
/// use konstruct_memory::chunks;
///
/// let faq = "# FAQ\n\n## Do you ship abroad?\nYes, to all of **Europe**.\n\n## Where are you?\nIn Lyon.";
/// let chunks = chunks(DocumentFormat::Markdown, faq);
/// assert_eq!(chunks.len(), 2);
/// assert_eq!(chunks[0].path, ["FAQ", "Do you ship abroad?"]);
/// assert_eq!(chunks[0].text, "Yes, to all of Europe.");
/// ```
pub fn chunks(format: DocumentFormat, text: &str) -> Vec<Chunk> {
    let sections = match format {
        DocumentFormat::Markdown => markdown(text),
        _ => plain(text),
    };
    let mut chunks = Vec::new();
    for section in &sections {
        for text in part(&section.paragraphs) {
            chunks.push(Chunk {
                path: section.path.clone(),
                text,
            });
        }
    }
    if chunks.is_empty() {
        // Nothing but headings: they are what there is to say.
        let text = sections
            .last()
            .map_or_else(|| text.trim().to_owned(), |last| last.path.join("\n"));
        chunks.push(Chunk {
            path: Vec::new(),
            text,
        });
    }
    chunks.retain(|chunk| !chunk.text.is_empty());
    chunks
}

/// What stands under one heading.
#[derive(Debug, Default)]
struct Section {
    path: Vec<String>,
    paragraphs: Vec<String>,
}

/// Text: each paragraph is its own passage. A short line that asks or announces is the heading of what follows.
fn plain(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut heading: Option<String> = None;
    for paragraph in paragraphs(text) {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((&paragraph, ""));
        let (title, body) = match question(first) {
            Some(question) => (Some(question), rest),
            None if heading.is_none() && !rest.is_empty() && announces(first) => {
                (Some(first.trim_end_matches(':')), rest)
            }
            None => (None, paragraph.as_str()),
        };
        let alone = title.is_none() && rest.is_empty() && announces(first);
        if let Some(title) = title.filter(|_| body.trim().is_empty()) {
            heading = Some(title.to_owned());
        } else if alone {
            heading = Some(first.trim_end_matches(':').to_owned());
        } else {
            let title = title.map(str::to_owned).or(heading.take());
            heading = None;
            sections.push(Section {
                path: title.into_iter().collect(),
                paragraphs: vec![answer(body).to_owned()],
            });
        }
    }
    if let Some(heading) = heading {
        sections.push(Section {
            path: Vec::new(),
            paragraphs: vec![heading],
        });
    }
    sections
}

/// The question of a line such as `Q: Where are you?`.
fn question(line: &str) -> Option<&str> {
    ["Q:", "Q.", "Question:", "F:", "Frage:"]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
        .map(str::trim)
        .filter(|rest| !rest.is_empty())
}

/// An answer without its mark.
fn answer(text: &str) -> &str {
    ["A:", "A.", "Answer:", "Antwort:"]
        .iter()
        .find_map(|mark| text.strip_prefix(mark))
        .unwrap_or(text)
        .trim()
}

/// Whether a line is short and ends as a question or an announcement does.
fn announces(line: &str) -> bool {
    word_count(line) <= 16 && (line.ends_with('?') || line.ends_with(':'))
}

/// Paragraphs, parted by blank lines.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            lines.push(line.trim());
        } else if !lines.is_empty() {
            paragraphs.push(lines.join("\n"));
            lines.clear();
        }
    }
    paragraphs
}

/// Markdown: a section for each heading, with the headings above it. What stands in a code fence is left as it is.
fn markdown(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut open = |sections: &mut Vec<Section>, level: usize, title: String| {
        path.retain(|(above, _)| *above < level);
        path.push((level, title));
        sections.push(Section {
            path: path.iter().map(|(_, title)| title.clone()).collect(),
            paragraphs: Vec::new(),
        });
    };
    for line in without_front_matter(text).lines() {
        let trimmed = line.trim();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => lines.push(line.trim_end().to_owned()),
            (None, None) => {
                if let Some((level, title)) = heading(trimmed) {
                    flush(&mut sections, &mut lines);
                    open(&mut sections, level, title);
                } else if let Some(level) = underline(trimmed).filter(|_| lines.len() == 1) {
                    let title = lines.remove(0);
                    open(&mut sections, level, title);
                } else if trimmed.is_empty() {
                    flush(&mut sections, &mut lines);
                } else if !rule(trimmed) {
                    lines.push(without_marks(trimmed));
                }
            }
        }
    }
    flush(&mut sections, &mut lines);
    sections.retain(|section| !section.path.is_empty() || !section.paragraphs.is_empty());
    sections
}

/// Ends a paragraph.
fn flush(sections: &mut [Section], lines: &mut Vec<String>) {
    if let Some(section) = sections.last_mut()
        && !lines.is_empty()
    {
        section.paragraphs.push(lines.join("\n"));
    }
    lines.clear();
}

/// A heading with its level: `## Title`, or a line that is bold as a whole.
fn heading(line: &str) -> Option<(usize, String)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&level) && line[level..].starts_with([' ', '\t']) {
        let title = without_marks(line[level..].trim().trim_end_matches('#').trim());
        return (!title.is_empty()).then_some((level, title));
    }
    let bold = ["**", "__"].iter().find_map(|mark| {
        line.strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix(mark))
            .filter(|title| !title.contains(mark))
    })?;
    let title = without_marks(bold.trim().trim_end_matches(':'));
    (!title.is_empty()).then_some((7, title))
}

/// The level of a line that makes the one above it a heading.
fn underline(line: &str) -> Option<usize> {
    let all = |mark: char| line.len() >= 2 && line.chars().all(|c| c == mark);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

/// A line across, or the line under a table's head.
fn rule(line: &str) -> bool {
    line.len() >= 3
        && line
            .chars()
            .all(|c| matches!(c, '-' | '*' | '_' | '|' | ':' | ' '))
}

fn without_front_matter(text: &str) -> &str {
    text.strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(text, |(_, body)| body)
}

/// A line as it reads: a channel shows these marks as they are.
fn without_marks(line: &str) -> String {
    let line = line.trim_start_matches("> ");
    let line = links(line);
    let line = line.replace("**", "").replace("__", "").replace('`', "");
    match line.strip_prefix("* ").or(line.strip_prefix("+ ")) {
        Some(item) => format!("- {item}"),
        None => line,
    }
}

/// `[text](address)` as `text (address)`.
fn links(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after
            .split_once("](")
            .and_then(|(text, tail)| Some((text, tail.split_once(')')?)))
            .filter(|(text, _)| !text.contains('['));
        if let Some((text, (address, tail))) = link {
            plain.push_str(before.strip_suffix('!').unwrap_or(before));
            plain.push_str(&format!("{text} ({address})"));
            rest = tail;
        } else {
            plain.push_str(before);
            plain.push('[');
            rest = after;
        }
    }
    plain + rest
}

/// How many words a text is as long as: a text without blanks is not one word.
fn length(text: &str) -> usize {
    text.split_whitespace()
        .map(|word| word.len().div_ceil(WORD))
        .sum()
}

/// Puts paragraphs together: all of them if they are not long, otherwise by [`GOAL`]. A paragraph that is too long by itself is
/// parted at its lines or sentences.
fn part(paragraphs: &[String]) -> Vec<String> {
    if length(&paragraphs.join("\n")) <= LONGEST {
        let text = paragraphs.join("\n\n");
        return if text.is_empty() { vec![] } else { vec![text] };
    }
    let mut pieces = Vec::new();
    for paragraph in paragraphs {
        if length(paragraph) <= LONGEST {
            pieces.push(("\n\n", paragraph.clone()));
        } else {
            let mut first = "\n\n";
            for (gap, piece) in sentences(paragraph) {
                pieces.push((std::mem::replace(&mut first, gap), piece));
            }
        }
    }
    join(pieces)
}

/// Puts pieces together up to the goal.
fn join(pieces: Vec<(&str, String)>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut words = usize::MAX;
    for (gap, piece) in pieces {
        let more = length(&piece);
        match parts.last_mut() {
            Some(last) if words < GOAL && words + more <= LONGEST => {
                last.push_str(gap);
                last.push_str(&piece);
                words += more;
            }
            _ => {
                parts.push(piece);
                words = more;
            }
        }
    }
    parts
}

/// The lines of a paragraph, or its sentences; what is still too long is cut between words.
fn sentences(paragraph: &str) -> Vec<(&'static str, String)> {
    let mut pieces = Vec::new();
    for line in paragraph.lines() {
        let mut gap = "\n";
        for sentence in by_sentence(line).flat_map(cut) {
            if !sentence.is_empty() {
                pieces.push((gap, sentence));
                gap = " ";
            }
        }
    }
    pieces
}

/// A sentence ends at a mark with a blank after it: `9.30` is none.
fn by_sentence(line: &str) -> impl Iterator<Item = &str> {
    let mut ended = false;
    line.split_inclusive(move |c: char| {
        let end = ended && c.is_whitespace();
        ended = matches!(c, '.' | '!' | '?' | '。');
        end
    })
    .map(str::trim)
}

/// Cuts what has no end into pieces of at most [`GOAL`] words.
fn cut(sentence: &str) -> Vec<String> {
    if length(sentence) <= LONGEST {
        return vec![sentence.to_owned()];
    }
    let mut pieces = vec![String::new()];
    let mut words = 0;
    for word in sentence.split_whitespace() {
        let characters: Vec<char> = word.chars().collect();
        // A character has at most four bytes.
        let whole = word.len() <= WORD;
        let most = if whole { WORD } else { WORD / 4 };
        for bit in characters.chunks(most) {
            if words >= GOAL {
                pieces.push(String::new());
                words = 0;
            }
            if let Some(last) = pieces.last_mut() {
                last.extend(bit);
            }
            words += 1;
        }
        if let Some(last) = pieces.last_mut() {
            last.push(' ');
        }
    }
    pieces.iter().map(|piece| piece.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: DocumentFormat, text: &str, expected: &[(&str, &str)]) {
        let chunks = chunks(format, text);
        let found: Vec<_> = chunks
            .iter()
            .map(|chunk| (chunk.path.join(" > "), chunk.text.clone()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn text_is_parted_into_paragraphs_and_questions() {
        let check = |text, expected| check(DocumentFormat::Text, text, expected);
        check("One.\n\nTwo\nlines.", &[("", "One."), ("", "Two\nlines.")]);
        check(
            "Do you ship?\n\nYes.\n\nMore.",
            &[("Do you ship?", "Yes."), ("", "More.")],
        );
        check("Q: Open on Sunday?\nA: No.", &[("Open on Sunday?", "No.")]);
        check(
            "Hours:\nMon 9-18\nTue 9-18",
            &[("Hours", "Mon 9-18\nTue 9-18")],
        );
        check("Anything else?", &[("", "Anything else?")]);
        check("  \n ", &[]);
    }

    #[test]
    fn markdown_keeps_the_headings() {
        let check = |text, expected| check(DocumentFormat::Markdown, text, expected);
        check(
            "Intro\n\n# A\n\n## B\nb1\n\nb2\n\n# C #\nc",
            &[("", "Intro"), ("A > B", "b1\n\nb2"), ("C", "c")],
        );
        check("Title\n=====\n\nSub\n---\nbody", &[("Title > Sub", "body")]);
        check(
            "## Q\n```\n# no heading\n```\nafter",
            &[("Q", "# no heading\nafter")],
        );
        check(
            "**Where?**\n* [here](https://a.example)",
            &[("Where?", "- here (https://a.example)")],
        );
        check("# Only", &[("", "Only")]);
        check("---\nkey: value\n---\ntext", &[("", "text")]);
        check("#hashtag first", &[("", "#hashtag first")]);
    }

    #[test]
    fn long_passages_are_parted_and_nothing_is_lost() {
        let sentence = "The quick brown fox jumps over the lazy dog every single day. ";
        for text in [
            sentence.repeat(100),
            "word ".repeat(1000),
            "x".repeat(100_000),
            format!("## H\n{}", sentence.repeat(30)),
        ] {
            let chunks = chunks(DocumentFormat::Markdown, &text);
            assert!(chunks.len() > 1);
            for chunk in &chunks {
                assert!(word_count(&chunk.text) <= LONGEST, "{}", chunk.text);
            }
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
            let kept: usize = chunks.iter().map(|chunk| letters(&chunk.text)).sum();
            let heads = usize::from(text.starts_with("##"));
            assert_eq!(kept + heads, letters(&text));
        }
    }
}
