//! The `Archive` trait: export, import and erasure of a tenant's data.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ConversationSummary, InboxItem, Stored};
use crate::{
    Depth, Erase, Inbound, Result, TenantId,
    limit::BudgetSum,
    memory::ErasureReceipt,
    money::LedgerRow,
    turn::{ConversationState, Entry, Event, OpenItem},
};

/// Exports, imports and erases what a store keeps of a tenant.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// Streams everything that the store keeps of a tenant, [without secrets](Exported::without_secrets).
    ///
    /// # Errors
    /// Any error of the store. Each item may fail as well.
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>>;

    /// Imports the items of [`Archive::export`] under the same ids. Several calls may import one export.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if a record already exists, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a record without a conversation before it or with a gap
    /// before its index. Nothing is imported then.
    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()>;

    /// Erases something from the logs and from everything that the same store derives from them, and reports what remains. The
    /// claims of affected conversations become invalid. Erasing something that does not exist returns a receipt with zero counts.
    ///
    /// * A conversation is removed with all of its rows, except the hashes that detect a late delivery.
    /// * A message, or a record that is encrypted for a person, loses its content; the record keeps its index and reads as `None`.
    ///   Records of other persons stay.
    /// * Inbox events with words of the person are removed and count as consumed.
    /// * The place of a direct conversation with the person can no longer be read.
    /// * Late deliveries of what the person wrote before the erasure are [dropped](super::rules::came_before).
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a depth that the store does not support.
    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt>;
}

/// An item of an export. In JSON it is an object with one key, such as `{"record": …}`, which is one line of an export file.
#[expect(clippy::large_enum_variant, reason = "one at a time is exported")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exported {
    /// A conversation. The items up to the next conversation belong to it.
    Conversation(ConversationSummary),
    /// The state that outlives its turns.
    State(ConversationState),
    /// A record of its log.
    Record(Stored),
    /// An unconsumed event of its inbox.
    Inbox(InboxItem),
    /// An open item of it.
    Item(OpenItem),
    /// A row of the tenant's ledger.
    Ledger(LedgerRow),
    /// A sum of the ledger.
    Budget(BudgetSum),
}

impl Exported {
    /// Removes the addresses for responses that events contain: whoever reads the export could respond in the employee's name.
    /// Every store applies it to what it exports. They expire within minutes, so that nothing is missing after an import.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        match &mut self {
            Self::Record(stored) => {
                let record = stored.record.as_mut().filter(|record| {
                    matches!(&record.entry, Entry::Event(Event::Received(input)) if may_respond(&input.event))
                });
                if let Some(record) = record
                    && let Entry::Event(Event::Received(input)) = &mut Arc::make_mut(record).entry
                {
                    forget_response(&mut input.event);
                }
            }
            Self::Inbox(item) => {
                if let Some(routed) = &mut item.event {
                    forget_response(&mut routed.event);
                }
            }
            _ => {}
        }
        self
    }
}

/// Returns whether an event contains an address for responses. An event that was not decoded may contain it only in its JSON.
fn may_respond(event: &Inbound) -> bool {
    let origin = event.origin.as_ref();
    origin.is_some_and(|origin| origin.response_url.is_some())
        || event.raw.as_deref().is_some_and(names_response)
}

fn names_response(raw: &RawValue) -> bool {
    raw.get().contains("response_url")
}

fn forget_response(event: &mut Inbound) {
    event.raw.take_if(|raw| names_response(raw));
    if let Some(origin) = &mut event.origin {
        origin.response_url = None;
    }
}
