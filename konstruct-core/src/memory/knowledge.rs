//! Knowledge: documents that the tenant provides for its employee.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, DocumentId, Result, TenantId, Timestamp};

/// Stores the documents of a tenant, which everyone who talks to the employee may see.
#[async_trait]
pub trait KnowledgeStore: fmt::Debug + Send + Sync + 'static {
    /// Adds a document, or a new version of the document with the same key. A document without a key has that of its title. White space
    /// around titles is ignored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with the field's name. Nothing is stored then.
    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document>;

    /// Lists the documents, newest first.
    ///
    /// # Errors
    /// Any error of the store.
    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>>;

    /// Returns one version of a document, the newest by default, with its extracted text; `None` if the document does not exist.
    ///
    /// # Errors
    /// Any error of the store.
    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>>;

    /// Removes a document with all of its versions. Returns whether it existed.
    ///
    /// # Errors
    /// Any error of the store.
    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool>;

    /// Lists the questions for which no document was found, newest first. They show which documents to add.
    ///
    /// # Errors
    /// Any error of the store.
    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>>;
}

/// A document to add.
///
/// ```
/// use konstruct_core::{DocumentFormat, NewDocument};
///
/// let faq = "## Opening hours\nTuesday to Saturday, 10 to 18.";
/// let document = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
/// assert_eq!(document.title, "FAQ");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// The title, 1 to 200 characters. Answers cite it as their source.
    pub title: String,
    /// The format of the content.
    pub format: DocumentFormat,
    /// The content, at most 10 MiB, with at most 1 MiB of text.
    pub content: Vec<u8>,
    /// The address of the original for a link. Answers cite it with the title.
    pub url: Option<String>,
    /// When the document is no longer recalled.
    pub expires_at: Option<Timestamp>,
    /// What identifies the document if its title does not, at most 2,000 bytes: the pages of a website may have the same title, and
    /// change it. By default, a document with the same title is replaced.
    pub key: Option<String>,
}

impl NewDocument {
    /// Creates a document.
    pub fn new(
        title: impl Into<String>,
        format: DocumentFormat,
        content: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            title: title.into(),
            format,
            content: content.into(),
            url: None,
            expires_at: None,
            key: None,
        }
    }

    /// Returns the version that follows `before`, without a chunk count and warnings.
    pub fn version(&self, before: Option<&Document>, now: Timestamp) -> Document {
        Document {
            id: before.map_or_else(DocumentId::new, |before| before.id),
            title: self.title.trim().to_owned(),
            format: self.format,
            version: before.map_or(1, |before| before.version + 1),
            chunks: 0,
            updated_at: now,
            url: self.url.clone(),
            expires_at: self.expires_at,
            key: self.key.clone(),
            warnings: Vec::new(),
        }
    }
}

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DocumentFormat {
    /// Paragraphs that are separated by blank lines.
    Text,
    /// Markdown. A chunk keeps the headings above it. In an FAQ, a heading is a question.
    Markdown,
    /// A web page. Headings are kept; scripts, styles and navigation are removed.
    Html,
    /// A PDF with text. Each page becomes a heading, and so do lines in larger letters.
    Pdf,
    /// A Word document.
    Docx,
    /// A workbook of Excel. Each sheet becomes a heading, and each row a paragraph with the names of its columns.
    Xlsx,
    /// A spreadsheet of OpenDocument, read like that of Excel.
    Ods,
    /// Comma-separated values with a header row. Each row becomes a passage.
    Csv,
    /// Pairs of questions and answers: `Q:` and `A:` lines, or a JSON array of objects with `question` and `answer`.
    Faq,
}

/// A version of a document without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// The format of the original.
    pub format: DocumentFormat,
    /// The number of the version, from 1.
    pub version: u32,
    /// The number of chunks.
    pub chunks: u32,
    /// When this version was added.
    pub updated_at: Timestamp,
    /// The address of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the document is no longer recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What identifies the document, if its title does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The parts of the original that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ExtractWarning>,
}

/// A part of a document that could not be read. Pages are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExtractWarning {
    /// Pages that are blank or contain only images, as scans do.
    PagesWithoutText(Vec<u32>),
    /// Pages whose fonts do not say which letters many of their glyphs are.
    PagesWithUnknownLetters(Vec<u32>),
    /// Pages with so many glyphs that the rest of them is missing.
    PagesCut(Vec<u32>),
}

/// A question for which no document was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the record that contains the question.
    pub index: u64,
    /// The question.
    pub text: String,
    /// When it was asked.
    pub at: Timestamp,
}
