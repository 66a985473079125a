//! Knowledge: documents that the tenant teaches its employee.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, DocumentId, Result, TenantId, Timestamp};

/// Keeps the documents of a tenant, for everyone it talks to.
#[async_trait]
pub trait KnowledgeStore: fmt::Debug + Send + Sync + 'static {
    /// Adds a document, or a new version of it: a title that is equal, but for the space around it, replaces.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the field; nothing is stored then.
    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document>;

    /// Lists the documents, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>>;

    /// Returns one version of a document with its text, as it was read; `None` where there is no such document. Unless a
    /// version is named, it is the newest.
    ///
    /// # Errors
    /// Those of the store.
    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>>;

    /// Removes a document and all of its versions. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool>;

    /// Lists what was asked and found nothing in the documents, the newest first: what is worth teaching next.
    ///
    /// # Errors
    /// Those of the store.
    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>>;
}

/// A document to learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// Its title, 1 to 200 characters: what an answer names as its source.
    pub title: String,
    /// How to read the content.
    pub format: DocumentFormat,
    /// The content, at most 10 MiB, of which at most 1 MiB is text.
    pub content: Vec<u8>,
    /// Where it is from, for a link.
    pub url: Option<String>,
    /// From when on it is not recalled any more.
    pub expires_at: Option<Timestamp>,
}

impl NewDocument {
    /// Makes a document.
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
        }
    }

    /// The version of it that follows `before`, without chunks.
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
        }
    }
}

/// How to read a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DocumentFormat {
    /// Paragraphs, parted by blank lines.
    Text,
    /// Markdown: a chunk keeps the headings that it stands under. In an FAQ a heading is a question.
    Markdown,
    /// A web page: headings are kept; scripts, styles and navigation are left out.
    Html,
    /// A PDF with text in it: each page is a heading.
    Pdf,
    /// Comma-separated values with a row of column names: each row is a passage.
    Csv,
    /// Pairs of questions and answers: `Q:` and `A:` lines, or a JSON array of objects with `question` and `answer`.
    Faq,
}

/// A version of a document, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// What it was read from.
    pub format: DocumentFormat,
    /// Which version, from 1.
    pub version: u32,
    /// How many chunks it has.
    pub chunks: u32,
    /// When this version was added.
    pub updated_at: Timestamp,
    /// Where it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// From when on it is not recalled any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Something that was asked and found nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the record that holds the question.
    pub index: u64,
    /// The question.
    pub text: String,
    /// When it was asked.
    pub at: Timestamp,
}
