//! The memory traits: recall, knowledge, facts, summaries and erasure.
//!
//! | file | what |
//! |---|---|
//! | `recall` | queries and their hits |
//! | `knowledge` | documents that the tenant provides |
//! | `fact` | facts that were learned from messages |
//! | `summary` | summaries of the messages before the window |
//! | `forget` | what can be erased, and the receipt |
//! | `conversations` | messages and who may see them for a memory without an index |
//! | `rules` | the decisions that every memory makes in the same way |
//! | `items`, `search`, `scan` | a memory on a database of your own |
//! | `language` | the language in which texts are analysed |
//!
//! The store keeps the history itself ([`History::read`](crate::store::History::read)). A memory indexes it by following
//! [`History::feed`](crate::store::History::feed), and never delays a reply.

mod conversations;
mod fact;
mod forget;
mod items;
mod knowledge;
mod language;
mod recall;
pub mod rules;
mod scan;
mod search;
mod summary;

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use self::{
    conversations::{Conversations, Line},
    fact::{Fact, FactOwner, FactStore, Facts, NewFact, Quote},
    forget::{Depth, Erase, ErasureReceipt, Remains, Remnant, Until},
    items::{ItemChange, ItemKey, ItemStore},
    knowledge::{
        Document, DocumentFormat, ExtractWarning, KnowledgeStore, NewDocument, Unanswered,
    },
    language::Language,
    recall::{Audience, ChannelRef, Hit, Neighbour, Recall, SaidBy, Scope, Signals, Source},
    scan::ScanMemory,
    search::{Candidate, PassageSearch, Question, Section},
    summary::{Mark, NewSummary, Summary, SummaryStore},
};
use crate::{Result, TenantId};

/// Searches messages, facts and documents of a tenant.
///
/// # Contract
/// * [`Audience`] defines what an audience may see; nothing else is returned. Content that an audience may not see affects
///   neither its results nor their scores.
/// * A message is found once it is indexed. The index follows the feed in the background, and [`MemoryStore::catch_up`] waits for
///   it. A document or a fact is found as soon as the call that stored it has returned.
/// * Deleted, superseded, expired and erased content is no longer found. It is filtered out before the best hits are selected, so
///   it does not reduce their number.
/// * Equal queries to an unchanged store return equal hits in the same order.
#[async_trait]
pub trait MemoryStore: KnowledgeStore + FactStore + SummaryStore + MemoryArchive {
    /// Finds what is relevant to a query: the hits of each of its scopes in order, best first.
    ///
    /// # Errors
    /// Any error of the store. A failing embedder is not an error; only matches by words are returned then.
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>>;

    /// Returns the content of these sources, in order; `None` for a source that no longer exists. The score and coverage of these
    /// [`Hit`]s are zero, and they have no neighbours and no signals.
    ///
    /// # Errors
    /// Any error of the store.
    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>>;

    /// Returns a mark to store with what is derived from content that is read after this call. If any of that content was erased
    /// since the mark, the derived item is refused.
    ///
    /// # Errors
    /// Any error of the store.
    async fn mark(&self, tenant: TenantId) -> Result<Mark>;

    /// Sets the language in which the tenant's texts and queries are analysed; English by default. A change re-indexes
    /// everything.
    ///
    /// # Errors
    /// Any error of the store.
    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()>;

    /// Discards a tenant's index and rebuilds it from the log and the stored items. Until it is complete, recall misses what is
    /// not indexed yet.
    ///
    /// # Errors
    /// Any error of the store.
    async fn rebuild(&self, tenant: TenantId) -> Result<()>;

    /// Waits until everything that was written before the call can be found, by words and by meaning.
    ///
    /// # Errors
    /// Those of the store and of the embedder.
    async fn catch_up(&self, tenant: TenantId) -> Result<()>;

    /// Returns the progress of the index.
    ///
    /// # Errors
    /// Any error of the store.
    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress>;
}

/// Exports, imports and erases what a memory keeps of a tenant.
#[async_trait]
pub trait MemoryArchive: fmt::Debug + Send + Sync + 'static {
    /// Streams everything that the memory keeps and cannot rebuild from the logs.
    ///
    /// # Errors
    /// Any error of the store. Each item may fail as well.
    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>>;

    /// Imports the items of [`MemoryArchive::export_memory`] under the same ids. The conversations must be imported first,
    /// because that makes their persons known.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if an item with the same id exists, or if an item
    /// names an unknown person. Nothing was imported then.
    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()>;

    /// Erases something from the memory, and returns what remains. A store that also keeps the conversations erases from both,
    /// like [`Archive::erase`](crate::store::Archive::erase).
    ///
    /// # Contract
    /// After the call has returned, the erased content is not found, fetched, read or exported, and a caller that read it before
    /// cannot write it again. A person who writes again becomes a new person.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a depth that the store does not support.
    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt>;
}

/// The progress of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexProgress {
    /// The cursor of the feed up to which records can be found by words.
    pub indexed: u64,
    /// The cursor of the last record.
    pub records: u64,
    /// The number of passages of messages, facts and documents.
    pub passages: u64,
    /// The number of passages with a vector of the current embedder; all passages if there is no embedder.
    pub embedded: u64,
}

impl IndexProgress {
    /// Returns whether the index is up to date.
    pub fn is_complete(&self) -> bool {
        self.indexed == self.records && self.embedded == self.passages
    }
}

/// An item of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remembered {
    /// The language in which the tenant's texts are analysed.
    Language {
        /// The language.
        language: Language,
    },
    /// A version of a document.
    Document {
        /// The version.
        document: Document,
        /// Its extracted text.
        text: String,
    },
    /// A fact, which may be superseded.
    Fact {
        /// The fact.
        fact: Fact,
    },
    /// The summary of a conversation.
    Summary {
        /// The summary.
        summary: Summary,
    },
}
