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

    /// Replaces a conversation's summary by one that reaches further. Returns whether it did: one that does not reach further,
    /// or that holds words of somebody who was forgotten since the time it was made, is not stored.
    ///
    /// # Errors
    /// Those of the store.
    async fn put_summary(&self, tenant: TenantId, summary: Summary) -> Result<bool>;
}

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
    /// When what it was made from was read.
    pub made_at: Timestamp,
}
