//! The preview of a document: its passages as the employee will see them, and warnings.

use std::collections::{BTreeSet, HashMap};

use konstruct_admin_api::{DocumentPassage, DocumentWarning};
use konstruct_core::{Document, DocumentFormat};
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
    if document.format == DocumentFormat::Pdf {
        warnings.extend(pages_without_text(&chunks));
    }
    warnings.truncate(WARNINGS);
    let passages = chunks.into_iter().map(|chunk| DocumentPassage {
        source: chunk.source(&document.title),
        heading: chunk.title().to_owned(),
        text: chunk.text,
    });
    (passages.collect(), warnings)
}

/// Finds passages with the same text, or with the same headings and different texts. A long section is several passages with the same
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
        let heading = plain(&chunk.path.join("\n"));
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

/// Finds the numbers that are missing among the headings of pages.
fn pages_without_text(chunks: &[Chunk]) -> Option<DocumentWarning> {
    let number = |heading: &String| heading.strip_prefix("Page ")?.parse::<u32>().ok();
    let pages = chunks
        .iter()
        .filter_map(|chunk| chunk.path.iter().find_map(number));
    let pages: BTreeSet<u32> = pages.collect();
    let missing = (1..*pages.last()?).filter(|page| !pages.contains(page));
    let missing: Vec<u32> = missing.collect();
    (!missing.is_empty()).then_some(DocumentWarning::PagesWithoutText { pages: missing })
}

#[cfg(test)]
mod tests {
    use konstruct_core::{NewDocument, Timestamp};

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
            "## Fee\nIt is 5.\n\n## B\ntwo\n\n## Fee\nIt is 6.",
            &[DocumentWarning::SameHeading {
                first: 0,
                second: 2,
            }],
        );
    }

    #[test]
    fn pages_without_text_are_named() {
        let text = "## Page 1\n\nOne.\n\n## Page 4\n\nFour.\n";
        assert_eq!(
            warnings(DocumentFormat::Pdf, text),
            [DocumentWarning::PagesWithoutText { pages: vec![2, 3] }]
        );
    }
}
