//! Documents, and what the employee knows from them.

use konstruct_core::{DocumentId, id::WebsiteId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A knowledge document to add. It replaces the document with the same title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Its title, 1 to 200 characters, which answers name as their source.
    pub title: String,
    /// Its format.
    pub format: DocumentFormat,
    /// The document as text, at most 1 MiB. Set either this or `content`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The document's bytes in Base64, for example of a PDF or a Word document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Its source for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The time from which it is no longer recalled, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl NewDocument {
    /// Creates a document from a text.
    pub fn text(title: impl Into<String>, format: DocumentFormat, text: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            format,
            text: text.into(),
            content: None,
            url: None,
            expires_at: None,
        }
    }
}

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    /// Paragraphs, separated by blank lines.
    Text,
    /// Markdown. In an FAQ, each heading is a question.
    Markdown,
    /// A web page.
    Html,
    /// A PDF that contains text.
    Pdf,
    /// A Word document.
    Docx,
    /// A workbook of Excel.
    Xlsx,
    /// A spreadsheet of OpenDocument.
    Ods,
    /// Comma-separated values with a row of column names: each row is a passage.
    Csv,
    /// Pairs of questions and answers: `Q:` and `A:` lines, or a JSON array of objects with `question` and `answer`.
    Faq,
}

/// A knowledge document, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Its id.
    #[schemars(with = "String")]
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// Its format.
    pub format: DocumentFormat,
    /// The newest version, from 1.
    pub version: u32,
    /// The number of its chunks.
    pub chunks: u32,
    /// When this version was added, RFC 3339.
    pub updated_at: String,
    /// Its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The time from which it is no longer recalled, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The website of which it is a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub website: Option<WebsiteId>,
}

/// A knowledge document with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentText {
    /// The document.
    pub document: Document,
    /// The text of this version.
    pub text: String,
    /// Its passages, as the employee finds and quotes them.
    pub passages: Vec<DocumentPassage>,
    /// What its owner should look at.
    pub warnings: Vec<DocumentWarning>,
}

/// A passage of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentPassage {
    /// The name that answers cite: the document's title and the heading.
    pub source: String,
    /// The heading or question above it; empty if there is none.
    pub heading: String,
    /// The text.
    pub text: String,
}

/// What the owner of a document should look at. Passages are counted from 0, pages from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DocumentWarning {
    /// Two passages have the same text.
    Duplicate {
        /// The first of them.
        first: u32,
        /// The other one.
        second: u32,
    },
    /// Two passages have headings of the same words and different texts, which may contradict each other.
    SameHeading {
        /// The first of them.
        first: u32,
        /// The other one.
        second: u32,
    },
    /// Pages of a PDF without text. They may be scans.
    PagesWithoutText {
        /// Their numbers.
        pages: Vec<u32>,
    },
    /// Pages of a PDF with letters that could not be read, because their fonts do not say which they are.
    PagesWithUnknownLetters {
        /// Their numbers.
        pages: Vec<u32>,
    },
    /// Pages of a PDF with so many letters that the rest of them is missing.
    PagesCut {
        /// Their numbers.
        pages: Vec<u32>,
    },
}
