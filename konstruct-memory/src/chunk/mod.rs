//! Splits documents into chunks: the unit that a recall finds and an answer quotes.

mod csv;
mod faq;
mod markdown;
mod part;
mod plain;

use konstruct_core::DocumentFormat;
use serde::{Deserialize, Serialize};

/// A passage of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The headings above it, the outermost first.
    pub path: Vec<String>,
    /// Its text, without Markdown formatting.
    pub text: String,
}

impl Chunk {
    /// Returns the heading or question directly above it; empty if there is none.
    pub fn title(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// Splits a document into chunks. A document with any text has at least one. For formats that are not text, pass what
/// [`extract`](crate::extract) returned.
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
        // All but Markdown itself are extracted to it.
        DocumentFormat::Markdown
        | DocumentFormat::Html
        | DocumentFormat::Pdf
        | DocumentFormat::Docx
        | DocumentFormat::Xlsx
        | DocumentFormat::Ods => markdown::sections(text),
        DocumentFormat::Csv => csv::sections(text),
        DocumentFormat::Faq => faq::sections(text),
        _ => plain::sections(text),
    };
    let mut chunks = Vec::new();
    for section in &sections {
        for text in part::parts(&section.paragraphs) {
            chunks.push(Chunk {
                path: section.path.clone(),
                text,
            });
        }
    }
    if chunks.is_empty() {
        // Only headings: index the headings themselves.
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

/// The text under one heading.
#[derive(Debug, Default, PartialEq)]
struct Section {
    path: Vec<String>,
    paragraphs: Vec<String>,
}

/// Counts the words of a text.
fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{part::LONGEST, *};

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
    fn text_is_split_into_paragraphs_and_questions() {
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
    fn long_passages_are_split_without_loss() {
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

    #[test]
    fn a_row_of_values_is_a_passage_with_its_columns() {
        let check = |text, expected| check(DocumentFormat::Csv, text, expected);
        check(
            "Product,Price,Note\nBike,900,\n\"Big \"\"B\"\"\",\"1,200\",\"two\nlines\",more",
            &[
                ("Bike", "Product: Bike\nPrice: 900"),
                (
                    "Big \"B\"",
                    "Product: Big \"B\"\nPrice: 1,200\nNote: two lines\nmore",
                ),
            ],
        );
        check(
            "Tag;Zeit\nMontag;9,30 bis 18\n;\n",
            &[("Montag", "Tag: Montag\nZeit: 9,30 bis 18")],
        );
        check(
            "Question,Answer\nOpen on Sunday?,No.\nAnd Monday?,",
            &[
                ("Open on Sunday?", "No."),
                ("And Monday?", "Question: And Monday?"),
            ],
        );
        check("only,names", &[("", "only, names")]);
        check("a\tb\n1\t2", &[("1", "a: 1\nb: 2")]);
        check("", &[]);
    }

    #[test]
    fn a_pair_is_a_passage() {
        let check = |text, expected| check(DocumentFormat::Faq, text, expected);
        check(
            "Intro.\n\nQ: Where?\nA: Here.\n\nAnd there.\nQ: When?\nA: Now.",
            &[
                ("", "Intro."),
                ("Where?", "Here.\n\nAnd there."),
                ("When?", "Now."),
            ],
        );
        check("Frage: Wo?\nAntwort: Hier.", &[("Wo?", "Hier.")]);
        check("Q: Nobody knows?", &[("", "Nobody knows?")]);
        check("Where?\n\nHere.", &[("Where?", "Here.")]);
        check("", &[]);
    }

    proptest! {
        #[test]
        fn no_text_is_lost(text in "[a-z0-9 .,;|\"\t\n:?QA-]{0,300}") {
            for format in [DocumentFormat::Text, DocumentFormat::Csv, DocumentFormat::Faq] {
                let chunks = chunks(format, &text);
                let kept: String = chunks
                    .iter()
                    .flat_map(|chunk| chunk.path.iter().chain([&chunk.text]))
                    .flat_map(|text| [text.as_str(), " "])
                    .collect();
                // Markers such as `Q:` and `A:` are dropped and columns get names: compare words of lower-case letters and
                // digits.
                let words = |text: &str| -> std::collections::BTreeSet<String> {
                    text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit())
                        .filter(|word| !word.is_empty())
                        .map(str::to_owned)
                        .collect()
                };
                let header: std::collections::BTreeSet<String> = match format {
                    // A column without a value omits its name. Empty lines before the header are skipped.
                    DocumentFormat::Csv => {
                        let mut lines = text.lines();
                        words(lines.find(|line| !line.is_empty()).unwrap_or(""))
                    }
                    _ => Default::default(),
                };
                let (all, kept) = (words(&text), words(&kept));
                let lost: Vec<_> = all.difference(&kept).filter(|word| !header.contains(*word)).collect();
                prop_assert!(lost.is_empty() || text.contains('"'), "{format:?} lost {lost:?}");
            }
        }
    }
}
