//! The memory traits: what the employee remembers, what it knows, and how it forgets.
//!
//! | file | what |
//! |---|---|
//! | `recall` | the question, and what is found |
//! | `knowledge` | documents that the tenant teaches |
//! | `fact` | facts that were learned from what was said |
//! | `summary` | what was said before the window, in short |
//! | `forget` | what can be erased, and the receipt |
//! | `conversations` | what was said and who may see it, for a memory without an index |
//! | `rules` | the decisions that every memory takes alike |
//! | `items`, `search`, `scan` | a memory on a database of your own: what you provide, and the memory made of it |
//! | `language` | the language that texts are analysed in |
//!
//! History itself is the store's ([`History::read`](crate::store::History::read)); a memory store indexes it by following
//! [`History::feed`](crate::store::History::feed) and never holds up a reply.

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
    knowledge::{Document, DocumentFormat, KnowledgeStore, NewDocument, Unanswered},
    language::Language,
    recall::{Audience, ChannelRef, Hit, Neighbour, Recall, SaidBy, Scope, Signals, Source},
    scan::ScanMemory,
    search::{Candidate, PassageSearch, Question, Section},
    summary::{Mark, NewSummary, Summary, SummaryStore},
};
use crate::{Result, TenantId};

/// Recall over what was said, learned and taught.
///
/// # Contract
/// * What an audience may see is defined at [`Audience`]; nothing else is returned, whatever the question. What one audience
///   may not see changes neither its results nor their scores.
/// * A message is found once the index has come to it: it follows the feed in the background, and [`MemoryStore::catch_up`]
///   waits for it. A document or a fact is found as soon as the call that stored it has returned.
/// * What is deleted, superseded, expired or erased is not found from then on: it is left out before the best are chosen, so
///   it costs no hit.
/// * Equal questions to an unchanged store get equal answers, in an equal order.
#[async_trait]
pub trait MemoryStore: KnowledgeStore + FactStore + SummaryStore + MemoryArchive {
    /// Finds what is relevant to a text: the hits of each scope of the question in its order, best first.
    ///
    /// # Errors
    /// Those of the store. An embedder that fails does not: what is found by words is returned then.
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>>;

    /// Returns what stands at these places, in their order; `None` for what is gone. What a [`Hit`] says of a score and a
    /// coverage is zero here, and it has neither neighbours nor signals.
    ///
    /// # Errors
    /// Those of the store.
    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>>;

    /// Returns a moment to hand back with what is made from words that are read after it: if something of them was erased
    /// meanwhile, it is refused.
    ///
    /// # Errors
    /// Those of the store.
    async fn mark(&self, tenant: TenantId) -> Result<Mark>;

    /// Says in which language the tenant's texts and questions are analysed. English, unless said. A change analyses
    /// everything anew.
    ///
    /// # Errors
    /// Those of the store.
    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()>;

    /// Throws the index of a tenant away and makes it again, from the log and from what is kept. Recall misses what the new index
    /// has not come to yet.
    ///
    /// # Errors
    /// Those of the store.
    async fn rebuild(&self, tenant: TenantId) -> Result<()>;

    /// Waits until everything that was written before the call is found, by its words and by its meaning.
    ///
    /// # Errors
    /// Those of the store and of the embedder.
    async fn catch_up(&self, tenant: TenantId) -> Result<()>;

    /// Returns how far the index has come.
    ///
    /// # Errors
    /// Those of the store.
    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress>;
}

/// Moves and erases what is remembered of a tenant.
#[async_trait]
pub trait MemoryArchive: fmt::Debug + Send + Sync + 'static {
    /// Streams everything that is remembered and cannot be made again from the logs.
    ///
    /// # Errors
    /// Those of the store; each item may fail as well.
    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>>;

    /// Imports what [`MemoryArchive::export_memory`] gave, under the same ids. The conversations come first: only their import
    /// makes persons known.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when something with its id is there, or names a
    /// person who is not known. Nothing was imported then.
    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()>;

    /// Erases what is remembered of something, and returns what remains. A store that keeps the conversations too erases from both:
    /// it is [`Archive::erase`](crate::store::Archive::erase).
    ///
    /// # Contract
    /// When it has returned, nothing of it is found, fetched, read or exported, and nobody who read it before can write it
    /// again. A person who writes again is new.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a depth that it has not.
    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt>;
}

/// How far an index has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexProgress {
    /// The cursor of the feed up to which records are found by their words.
    pub indexed: u64,
    /// The cursor of the last record.
    pub records: u64,
    /// How many passages there are: of messages, facts and documents.
    pub passages: u64,
    /// How many of them have a vector of the present embedder; all of them, where there is no embedder.
    pub embedded: u64,
}

impl IndexProgress {
    /// Returns whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.indexed == self.records && self.embedded == self.passages
    }
}

/// An item of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remembered {
    /// The language that the tenant's texts are analysed in.
    Language {
        /// Which.
        language: Language,
    },
    /// A version of a document.
    Document {
        /// The version.
        document: Document,
        /// Its text, as it was read.
        text: String,
    },
    /// A fact, current or not.
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
