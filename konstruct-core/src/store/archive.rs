//! The `Archive` trait: a tenant's data leaves, arrives, and is erased.

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::{ConversationSummary, InboxItem, Stored};
use crate::{
    Depth, Erase, NanoUsd, Result, TenantId,
    memory::ErasureReceipt,
    money::LedgerRow,
    turn::{ConversationState, OpenItem},
};

/// Moves and erases what a store keeps of a tenant.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// Streams everything that is kept of a tenant.
    ///
    /// # Errors
    /// Those of the store; each item may fail as well.
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>>;

    /// Imports what [`Archive::export`] gave, under the same ids. An import may be continued by another call.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when a record exists already, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a record that belongs to no conversation before it or
    /// leaves a gap. Nothing was imported then.
    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()>;

    /// Removes something from the logs and from all that the same store derives from them, and reports what remains. A claim of a
    /// conversation that it touches is void. What does not exist is erased with a receipt that counts nothing.
    ///
    /// A conversation is removed with all of its rows, except the hashes that recognise a late delivery. Of a message, or of the records
    /// that are sealed to a person, only the content goes: the record keeps its index and reads as `None`. Events of an inbox
    /// that hold words of the person are removed and count as consumed, and the place of a direct conversation with the person
    /// can no longer be read. Records of others stay. Late deliveries of what a person wrote before the erasure are
    /// [dropped](super::rules::came_before).
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a depth that it does not have.
    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt>;
}

/// An item of an export. As JSON, each is an object with one key, such as `{"record": …}`: a line of a file.
#[expect(clippy::large_enum_variant, reason = "one at a time is exported")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exported {
    /// A conversation; what follows up to the next one belongs to it.
    Conversation(ConversationSummary),
    /// What outlives its turns.
    State(ConversationState),
    /// A record of its log.
    Record(Stored),
    /// An event of its inbox that was not consumed yet.
    Inbox(InboxItem),
    /// An item of it that is open.
    Item(OpenItem),
    /// A row of the tenant's ledger.
    Ledger(LedgerRow),
    /// What was spent and is reserved in a month, such as `2026-11`.
    Budget {
        /// The month.
        month: String,
        /// What was spent.
        spent: NanoUsd,
        /// What is reserved.
        reserved: NanoUsd,
    },
}
