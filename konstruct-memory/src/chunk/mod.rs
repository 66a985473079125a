//! Splits documents into chunks: the unit that a recall finds and an answer quotes.

mod csv;
mod faq;
mod mark;
mod markdown;
mod part;
mod plain;
#[cfg(test)]
mod tests;

use konstruct_core::DocumentFormat;
use serde::{Deserialize, Serialize};

/// A passage of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The headings above it, the outermost first.
    pub path: Vec<String>,
    /// Its text, without Markdown formatting but with `~~` around struck text.
    pub text: String,
}

impl Chunk {
    /// Returns the heading or question directly above it; empty if there is none.
    pub fn title(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// Returns the name that an answer cites: the document's title and the heading.
    pub fn source(&self, document: &str) -> String {
        let title = self.title();
        if title.is_empty() || title == document {
            document.to_owned()
        } else {
            format!("{document} › {title}")
        }
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
        // HTML is extracted to Markdown, and files to text with headings.
        DocumentFormat::Markdown | DocumentFormat::Html => markdown::sections(text),
        DocumentFormat::Pdf | DocumentFormat::Docx | DocumentFormat::Xlsx | DocumentFormat::Ods => {
            markdown::sections_of_text(text)
        }
        DocumentFormat::Csv => csv::sections(text),
        DocumentFormat::Faq => faq::sections(text),
        _ if faq::is_faq(text) => faq::sections(text),
        _ => plain::sections(text),
    };
    let mut chunks = Vec::new();
    for section in with_headings(sections) {
        for text in part::parts(&section.paragraphs) {
            chunks.push(Chunk {
                path: section.path.clone(),
                text,
            });
        }
    }
    chunks.retain(|chunk| !chunk.text.is_empty());
    chunks
}

/// Turns headings without text and without headings below them into text, so that they are found too.
fn with_headings(mut sections: Vec<Section>) -> Vec<Section> {
    for at in 0..sections.len() {
        let path = &sections[at].path;
        let has_more = sections
            .get(at + 1)
            .is_some_and(|next| next.path.starts_with(path));
        if sections[at].paragraphs.is_empty() && !has_more {
            let heading = sections[at].path.pop();
            sections[at].paragraphs.extend(heading);
        }
    }
    sections
}

/// The text under one heading.
#[derive(Debug, Default, PartialEq)]
struct Section {
    path: Vec<String>,
    paragraphs: Vec<String>,
}

/// Counts the words of a text.
pub(crate) fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}
