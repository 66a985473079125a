//! The rolling summary of a conversation: what was said before the window, in short.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, PersonId, Result, TenantId, Timestamp};

/// Keeps the newest summary of each conversation.
#[async_trait]
pub trait SummaryStore: fmt::Debug + Send + Sync + 'static {
    /// Returns a conversation's summary, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    async fn summary(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Summary>>;

    /// Replaces a conversation's summary by one that reaches further. Returns whether it did: one that does not reach further, that
    /// names a person who was never heard or was erased, or whose conversation or persons something was erased of since its
    /// [`mark`](NewSummary::mark), is not stored.
    ///
    /// # Errors
    /// Those of the store.
    async fn put_summary(&self, tenant: TenantId, summary: NewSummary) -> Result<bool>;
}

/// A summary to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSummary {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the first record that it does not cover.
    pub to: u64,
    /// The text.
    pub text: String,
    /// Everyone whose words it may hold: it is sealed to all of them.
    pub persons: Vec<PersonId>,
    /// The moment before its maker read what it is made from.
    pub mark: Mark,
}

impl NewSummary {
    /// The summary that is kept of it.
    pub fn made_at(self, now: Timestamp) -> Summary {
        Summary {
            conversation: self.conversation,
            to: self.to,
            text: self.text,
            persons: self.persons,
            made_at: now,
        }
    }
}

/// A moment in the history of a tenant's memory, see [`MemoryStore::mark`](super::MemoryStore::mark). It is counted by the store: no
/// clock decides what came first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mark(pub u64);

/// What was said in the first part of a conversation, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the first record that it does not cover.
    pub to: u64,
    /// The text.
    pub text: String,
    /// Everyone whose words it may hold: it is sealed to all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// When it was stored, by the store's clock.
    pub made_at: Timestamp,
}
