//! The `Journal` trait: where events are accepted, conversations are claimed and turns are written down.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::{
    ConnectionId, ConversationId, ConversationRef, Depth, Erase, ErasureReceipt, LedgerRow,
    NanoUsd, PersonId, Result, RoutedEvent, TenantId, Timestamp, WorkerId,
};

/// A durable log and mailbox for every conversation of every tenant.
///
/// # Contract
/// * Each operation is one transaction: it happens whole or not at all. What `accept` and `append` have answered survives a
///   kill at any later instant. Claims, renewals and releases need not be durable.
/// * Time is the store's: callers pass durations. No operation assumes that there is one process.
/// * A conversation has at most one valid claim. A claim ends by `release`, by the end of its lease, or by the next claim;
///   its fence then fits no longer, and whatever it is used for answers [`AppendOutcome::FenceLost`] and changes nothing.
/// * A conversation is *ready* while events are unconsumed that the last release had not seen, or its timer is due, and it
///   is not claimed. A conversation whose claim ended without a release is ready. `claim` is fair between tenants.
/// * One tenant's names, events, records, keys, budget and cursors say nothing about another's; a foreign id answers like a
///   missing one.
/// * What is stored of an event or a record is sealed to every person whose words it may hold. A record that can no longer be
///   opened reads as `None`, and keeps its index. Names stand in keys and ids only as hashes under the tenant's key.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Takes events in: dedupes, numbers and stores them, and makes their conversations ready. All events or none.
    ///
    /// The answer has an outcome for each event, in their order. The keys are (connection, event id) and (connection,
    /// logical id); an empty id is never a key. An event with a delivery key goes to the conversation that
    /// [registered](Append::delivery_keys) it; one without a conversation goes to the connection's own. A twin that names
    /// the employee upgrades an event that is unconsumed: it is ready again, and an append that would consume it as it was
    /// loaded before answers as a lost fence does.
    ///
    /// # Errors
    /// Those of the store; nothing was taken in then, and the caller must not acknowledge.
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>>;

    /// Claims a ready conversation for so long; `None` when none is ready. The answer holds no content.
    ///
    /// # Errors
    /// Those of the store.
    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>>;

    /// Reads what a claimed conversation's worker must know; `None` if the claim is no longer valid.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>>;

    /// Extends the lease to so long from now. Returns whether the claim was still valid.
    ///
    /// # Errors
    /// Those of the store.
    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool>;

    /// Gives a conversation back. It stays ready if anything came in after `seen`, the highest number of the inbox that
    /// the worker knew of, or if its timer is due. An invalid claim is ignored.
    ///
    /// # Errors
    /// Those of the store.
    async fn release(&self, claim: &Claim, seen: u64) -> Result<()>;

    /// Writes to the log of a claimed conversation, all or nothing.
    ///
    /// `expected_len` is the length of the log that the caller knows; another length answers as a lost fence does, for
    /// somebody else wrote.
    ///
    /// # Errors
    /// Those of the store. Whether it was written is then unknown: the caller must give up the claim and load again.
    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome>;

    /// Returns the conversation that registered a delivery key.
    ///
    /// # Errors
    /// Those of the store.
    async fn resolve(&self, tenant: TenantId, delivery_key: &str)
    -> Result<Option<ConversationId>>;

    /// Reads a part of a conversation's log: this is the conversation's history. A range beyond the end is cut; a
    /// conversation that does not exist has an empty log.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>>;

    /// Lists a tenant's conversations by id, after the given one.
    ///
    /// # Errors
    /// Those of the store.
    async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>>;

    /// Reads a tenant's records in the order in which they were written, after a cursor (0 is the beginning). What was
    /// answered once is never followed by something that belongs before it: indexes follow this.
    ///
    /// # Errors
    /// Those of the store.
    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>>;

    /// Streams everything that is kept of a tenant.
    ///
    /// # Errors
    /// Those of the store; each item may fail as well.
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>>;

    /// Takes in what [`Journal::export`] gave, under the same ids: conversations with their logs and inboxes, the ledger and
    /// the budget. What an earlier call took in of a conversation is gone on with.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when a record is there already, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a record that belongs to no conversation before it or
    /// leaves a gap. Nothing was taken in then.
    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()>;

    /// Pays for a call that belongs to no conversation's log, such as one that embeds or summarises. Returns whether the
    /// reservation fits under the cap; nothing is written if not.
    ///
    /// # Errors
    /// Those of the store.
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool>;

    /// Returns what is set aside for a call; `None` when nothing is, because it is settled or was never reserved.
    ///
    /// # Errors
    /// Those of the store.
    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>>;

    /// Removes something from the logs and from all that the same store derives from them, and says what remains. A claim of a
    /// conversation that it touches is void. What does not exist is erased with a receipt that counts nothing.
    ///
    /// A conversation goes whole; only what keeps a late delivery away stays. Of a message, or of the records that name a
    /// person, only the content goes: an index is never given anew, and the record reads as `None`. Events of an inbox that
    /// hold words of the person go too, and count as consumed. An event that happened before a person was erased, and comes
    /// in late, is a [`Accepted::Duplicate`].
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a depth that it has not.
    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt>;

    /// Returns when the next timer of any unclaimed conversation is due.
    ///
    /// # Errors
    /// Those of the store.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Waits until something may have become ready by `accept` or `release`. May return without cause; never misses a
    /// change that came after the call began or after the last return of `claim` with `None`.
    ///
    /// # Cancel safety
    /// Dropping the future loses no wake-up.
    async fn changed(&self);
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepted {
    /// It is durable, and is input to exactly one turn.
    New {
        /// The conversation that it belongs to.
        conversation: ConversationId,
        /// Its number there, from 1.
        seq: u64,
    },
    /// It was there already.
    Duplicate,
    /// Its twin was there already, unconsumed, and is now known to name the employee.
    Upgraded,
}

/// The right to work a conversation until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tenant.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Who holds it.
    pub worker: WorkerId,
    /// Higher than that of every claim before it.
    pub fence: u64,
}

/// What a worker must know of a conversation.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The connection that it is held through.
    pub connection: ConnectionId,
    /// What the channel calls it.
    pub place: ConversationRef,
    /// The length of the log.
    pub len: u64,
    /// The last record that an [`Append::checkpoint`] was made with, and all after it.
    pub records: Vec<Stored>,
    /// What came in and was not consumed, by number.
    pub inbox: Vec<InboxItem>,
    /// Whether the timer is due.
    pub due: bool,
    /// The store's time.
    pub now: Timestamp,
}

/// An event that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Its number in the conversation, from 1.
    pub seq: u64,
    /// When it was accepted, by the store's clock.
    pub accepted_at: Timestamp,
    /// Whose words it holds.
    pub persons: Vec<PersonId>,
    /// The event. `None` if it can no longer be opened.
    pub event: Option<RoutedEvent>,
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its index in the conversation's log, from 0.
    pub index: u64,
    /// The record. `None` if it can no longer be opened.
    pub record: Option<Record>,
}

/// A record of a tenant, as its indexes follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// Where to go on after it.
    pub cursor: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// The record.
    pub stored: Stored,
}

/// What is written in one transaction. Everything but the records may be left empty.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// What is added to the log.
    pub records: Vec<Record>,
    /// The inbox is consumed up to and with this number.
    pub consume_to: Option<u64>,
    /// What becomes of the conversation's timer.
    pub timer: TimerChange,
    /// Keys by which later events find this conversation.
    pub delivery_keys: Vec<String>,
    /// Money to set aside before a call. If it does not fit, nothing of this append is written.
    pub reserve: Option<Reserve>,
    /// Calls that are over: what was set aside for them is freed, and what they cost is spent.
    pub settle: Vec<Settle>,
    /// Rows of the ledger.
    pub ledger: Vec<LedgerRow>,
    /// Whether the last of these records is where the next `load` may begin.
    pub checkpoint: bool,
}

/// What becomes of a conversation's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimerChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is set to this time.
    Set(Timestamp),
    /// It is taken off.
    Clear,
}

/// Money to set aside for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The call's key. A reservation that is there already stays as it is.
    pub call: String,
    /// The most that it can cost.
    pub amount: NanoUsd,
    /// What may be spent and set aside in this calendar month (UTC) at most.
    pub cap: Option<NanoUsd>,
}

/// What a call cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The call's key.
    pub call: String,
    /// What it cost.
    pub cost: NanoUsd,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendOutcome {
    /// It is written.
    Appended,
    /// The claim is not valid any more, or the log has another length; nothing was written.
    FenceLost,
    /// The reservation does not fit under the cap; nothing was written.
    OverBudget,
}

/// A conversation, without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// The connection that it is held through.
    pub connection: ConnectionId,
    /// What the channel calls it.
    pub place: ConversationRef,
    /// The length of its log.
    pub len: u64,
    /// How many events wait in its inbox.
    pub unconsumed: u64,
    /// When something last came in or was written.
    pub updated_at: Timestamp,
}

/// Money that moves for a call that belongs to no conversation's log.
#[derive(Clone, Debug, Default)]
pub struct Charge {
    /// Money to set aside. If it does not fit, nothing is written.
    pub reserve: Option<Reserve>,
    /// Calls that are over.
    pub settle: Vec<Settle>,
    /// Rows of the ledger.
    pub ledger: Vec<LedgerRow>,
}

/// An item of an export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exported {
    /// A conversation; what follows up to the next one belongs to it.
    Conversation(ConversationSummary),
    /// A record of its log.
    Record(Stored),
    /// An event of its inbox that was not consumed yet.
    Inbox(InboxItem),
    /// A row of the tenant's ledger.
    Ledger(LedgerRow),
    /// What was spent and is set aside in a month, such as `2026-11`.
    Budget {
        /// The month.
        month: String,
        /// What was spent.
        spent: NanoUsd,
        /// What is set aside.
        reserved: NanoUsd,
    },
}
