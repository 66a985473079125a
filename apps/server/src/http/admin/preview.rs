//! The preview of a document: its passages as the employee will see them, and warnings.

use std::collections::HashMap;

use konstruct_admin_api::{DocumentPassage, DocumentWarning};
use konstruct_core::{Document, ExtractWarning};
use konstruct_memory::{Chunk, chunks};

/// The most warnings of a document.
const WARNINGS: usize = 100;

/// Returns the passages of a document's text, and what its owner should look at.
pub(super) fn preview(
    document: &Document,
    text: &str,
) -> (Vec<DocumentPassage>, Vec<DocumentWarning>) {
    let chunks = chunks(document.format, text);
    let mut warnings = repeated(&chunks);
    warnings.extend(document.warnings.iter().filter_map(unread));
    warnings.truncate(WARNINGS);
    let passages = chunks.into_iter().map(|chunk| DocumentPassage {
        source: chunk.source(&document.title),
        heading: chunk.title().to_owned(),
        text: chunk.text,
    });
    (passages.collect(), warnings)
}

/// Finds passages with the same text, or with headings of the same words and different texts. A long section is several passages with the same
/// headings in a row.
fn repeated(chunks: &[Chunk]) -> Vec<DocumentWarning> {
    let mut texts: HashMap<String, u32> = HashMap::new();
    let mut headings: HashMap<String, (u32, u32)> = HashMap::new();
    let mut warnings = Vec::new();
    for (second, chunk) in (0..).zip(chunks) {
        let plain = |text: &str| {
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase()
        };
        let heading = words(&chunk.path);
        let text = plain(&chunk.text);
        if let Some(first) = texts.get(&text) {
            warnings.push(DocumentWarning::Duplicate {
                first: *first,
                second,
            });
        } else {
            match headings.get(&heading) {
                Some((first, last)) if !heading.is_empty() && last + 1 != second => {
                    warnings.push(DocumentWarning::SameHeading {
                        first: *first,
                        second,
                    });
                }
                _ => {}
            }
            texts.insert(text, second);
        }
        headings.entry(heading).or_insert((second, second)).1 = second;
    }
    warnings
}

/// Returns what two headings have in common if they differ only in case, punctuation and the order of their words.
fn words(path: &[String]) -> String {
    let headings = path.iter().map(|heading| {
        let heading = heading.to_lowercase();
        let words = heading.split(|c: char| !c.is_alphanumeric());
        let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.join(" ")
    });
    headings.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Returns the warning about a part of the original that could not be read.
fn unread(warning: &ExtractWarning) -> Option<DocumentWarning> {
    Some(match warning.clone() {
        ExtractWarning::PagesWithoutText(pages) => DocumentWarning::PagesWithoutText { pages },
        ExtractWarning::PagesWithUnknownLetters(pages) => {
            DocumentWarning::PagesWithUnknownLetters { pages }
        }
        ExtractWarning::PagesCut(pages) => DocumentWarning::PagesCut { pages },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use konstruct_core::{DocumentFormat, NewDocument, Timestamp};

    use super::*;

    fn warnings(format: DocumentFormat, text: &str) -> Vec<DocumentWarning> {
        let document = NewDocument::new("T", format, text).version(None, Timestamp::from_micros(0));
        preview(&document, text).1
    }

    #[test]
    fn the_passages_are_those_that_are_quoted() {
        let text = "# A\n\n## Hours\nFrom **9** to 18.";
        let document = NewDocument::new("FAQ", DocumentFormat::Markdown, text)
            .version(None, Timestamp::from_micros(0));
        let (passages, warnings) = preview(&document, text);
        assert_eq!(
            passages,
            [DocumentPassage {
                source: "FAQ › Hours".into(),
                heading: "Hours".into(),
                text: "From 9 to 18.".into(),
            }]
        );
        assert_eq!(warnings, []);
    }

    #[test]
    fn what_is_said_twice_is_named() {
        let check = |text: &str, expected: &[DocumentWarning]| {
            assert_eq!(warnings(DocumentFormat::Markdown, text), expected, "{text}");
        };
        check("## A\none\n\n## B\ntwo", &[]);
        check(
            "## A\nThe fee is 5.\n\n## B\nthe  fee is 5.",
            &[DocumentWarning::Duplicate {
                first: 0,
                second: 1,
            }],
        );
        check(
            "## What is the fee?\nIt is 5.\n\n## B\ntwo\n\n## The FEE is what\nIt is 6.",
            &[DocumentWarning::SameHeading {
                first: 0,
                second: 2,
            }],
        );
        check("## A fee?\n5.\n\n## B\ntwo\n\n## No fee?\n6.", &[]);
        check(
            "## Fee\nIt is 5.\n\n## B\ntwo\n\n## Fee\nIt is 6.",
            &[DocumentWarning::SameHeading {
                first: 0,
                second: 2,
            }],
        );
    }

    #[test]
    fn pages_that_could_not_be_read_are_named() {
        let mut document =
            NewDocument::new("T", DocumentFormat::Pdf, "").version(None, Timestamp::from_micros(0));
        document.warnings = vec![
            ExtractWarning::PagesWithoutText(vec![2, 5]),
            ExtractWarning::PagesCut(vec![4]),
        ];
        assert_eq!(
            preview(&document, "## Page 1\n\nOne.\n").1,
            [
                DocumentWarning::PagesWithoutText { pages: vec![2, 5] },
                DocumentWarning::PagesCut { pages: vec![4] },
            ]
        );
    }
}
