//! The rolling summary of a conversation, which covers the messages before the window.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ConversationId, PersonId, Result, TenantId, Timestamp};

/// Stores the latest summary of each conversation.
#[async_trait]
pub trait SummaryStore: fmt::Debug + Send + Sync + 'static {
    /// Returns a conversation's summary, if there is one.
    ///
    /// # Errors
    /// Any error of the store.
    async fn summary(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Summary>>;

    /// Replaces a conversation's summary with one that covers more records. Returns whether it was stored. A summary is not
    /// stored if it does not cover more, if it names an unknown or erased person, or if anything of its conversation or persons
    /// was erased since its [`mark`](NewSummary::mark).
    ///
    /// # Errors
    /// Any error of the store.
    async fn put_summary(&self, tenant: TenantId, summary: NewSummary) -> Result<bool>;
}

/// A summary to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSummary {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the first record that it does not cover.
    pub to: u64,
    /// The text.
    pub text: String,
    /// The persons whose words the summary may contain. It is encrypted for all of them.
    pub persons: Vec<PersonId>,
    /// The mark from before the author read the records.
    pub mark: Mark,
}

impl NewSummary {
    /// Returns the stored summary.
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

/// A position in the history of a tenant's memory, see [`MemoryStore::mark`](super::MemoryStore::mark). The store counts marks,
/// so their order does not depend on a clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mark(pub u64);

/// A stored summary of the first part of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the first record that it does not cover.
    pub to: u64,
    /// The text.
    pub text: String,
    /// The persons whose words the summary may contain. It is encrypted for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// When it was stored, by the store's clock.
    pub made_at: Timestamp,
}
