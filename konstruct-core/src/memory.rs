//! The `MemoryStore` trait: what the employee remembers and knows.
//!
//! History itself is the journal's ([`Journal::read`](crate::turn::Journal::read)); a memory store indexes it by following
//! [`Journal::feed`](crate::turn::Journal::feed) and never holds up a reply.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, DocumentId, Result, TenantId, Timestamp};

/// Recall over conversations and knowledge.
///
/// # Contract
/// A recall never returns what another tenant, or an audience that the asker does not belong to, owns. A document is
/// found as soon as [`MemoryStore::put_document`] has returned, and never again once [`MemoryStore::delete_document`] has.
#[async_trait]
pub trait MemoryStore: fmt::Debug + Send + Sync + 'static {
    /// Finds what bears on a text, best first.
    ///
    /// # Errors
    /// Those of the store.
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>>;

    /// Returns what stands at these places, in their order; `None` for what is gone. What a [`Hit`] says of a score and a
    /// coverage is zero here.
    ///
    /// # Errors
    /// Those of the store.
    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>>;

    /// Adds a knowledge document, or a new version of it: an equal title replaces.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the field; nothing is stored then.
    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document>;

    /// Lists the knowledge documents, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>>;

    /// Returns one version of a document with its text; `None` where there is no such document.
    ///
    /// # Errors
    /// Those of the store.
    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>>;

    /// Removes a document and all of its versions from recall. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool>;
}

/// What to recall, and for whom.
#[derive(Clone, Debug)]
pub struct Recall {
    /// The question.
    pub text: String,
    /// Who will see what is found.
    pub audience: Audience,
    /// How many hits at most.
    pub limit: usize,
    /// Where to look.
    pub scope: Scope,
}

/// Who will see what is recalled: never more than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// Those who take part in one conversation: its own messages, and what the tenant shares with everyone.
    Conversation(ConversationId),
    /// Only what the tenant shares with everyone.
    Tenant,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// In knowledge documents.
    Knowledge,
    /// In what was said.
    History,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Where it stands.
    pub source: Source,
    /// The name of where it stands: the document's title, and the heading within.
    pub name: String,
    /// The heading or question that it stands under, if any.
    pub title: String,
    /// The text.
    pub text: String,
    /// The score, comparable only within one recall.
    pub score: f32,
    /// How much of the question's weight it covers, from 0 to 1: comparable between recalls.
    pub coverage: f32,
}

/// Where a hit stands. A record keeps this, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// In a version of a document.
    Document {
        /// The document.
        id: DocumentId,
        /// Which version, from 1.
        version: u32,
        /// Which chunk of it, from 0.
        chunk: u32,
    },
    /// In a conversation's log.
    Message {
        /// The conversation.
        conversation: ConversationId,
        /// The index of the record.
        index: u64,
    },
}

/// A document to learn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDocument {
    /// Its title, 1 to 200 characters: what an answer names as its source.
    pub title: String,
    /// How to read the text.
    pub format: DocumentFormat,
    /// The text, at most 1 MiB.
    pub text: String,
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
}

/// A knowledge document, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// How it is read.
    pub format: DocumentFormat,
    /// The newest version, from 1.
    pub version: u32,
    /// How many chunks it has.
    pub chunks: u32,
    /// When this version was added.
    pub updated_at: Timestamp,
}
