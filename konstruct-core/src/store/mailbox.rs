//! The `Mailbox` trait: events are accepted, conversations are claimed, and turns are written.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Reserve, Settle, Stored};
use crate::{
    ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId, Timestamp,
    id::WorkerId,
    message::RoutedEvent,
    money::LedgerRow,
    turn::{ConversationState, ItemId, OpenItem, Record},
};

/// The most events of an inbox that [`Mailbox::load`] returns.
pub const LARGEST_LOAD: usize = 256;

/// A durable mailbox and log for every conversation of every tenant.
///
/// # Contract
/// * Each operation is one transaction. What `accept` and `append` have answered survives a kill at any later instant. Claims,
///   renewals and releases need not be durable.
/// * Time is the store's: callers pass durations. No operation assumes that there is one process.
/// * A conversation has at most one valid claim. A claim ends by `release`, by the end of its lease, or by the next claim; a
///   call with an invalid claim changes nothing and answers [`AppendOutcome::Lost`].
/// * A conversation is *ready* when it is not claimed and events are unconsumed that the last release had not seen, or one of its
///   timers is due. A conversation whose claim ended without a release is ready. `claim` is fair between tenants.
/// * A tenant's names, events, records, keys, budget and cursors reveal nothing about another's; a foreign id answers like a
///   missing one.
/// * A record is sealed to the persons that it names, an event and the place of a direct conversation to their sender. Only
///   `accept` creates the key of a person. What can no longer be opened reads as `None` and keeps its index.
#[async_trait]
pub trait Mailbox: fmt::Debug + Send + Sync + 'static {
    /// Accepts events: dedupes, numbers and stores them, and makes their conversations ready. All events or none.
    ///
    /// The answer has an outcome for each event, in their order. The keys of deduplication are (connection, event id) and
    /// (connection, logical id); an empty id is not a key. An event without a conversation goes to the connection's own; a
    /// decision goes to the conversation that it names. A twin that mentions the employee upgrades an unconsumed event: it is
    /// ready again, and an append that would consume it as it was loaded before is lost. A delivery status is
    /// [folded](Accepted::Folded) unless it is [news](super::rules::delivery). A reaction waits in the inbox for the next turn and
    /// makes its conversation ready only together with others.
    ///
    /// # Errors
    /// Those of the store; nothing was accepted then, and the caller must not acknowledge.
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>>;

    /// Claims a ready conversation. The answer holds no content.
    ///
    /// # Errors
    /// Those of the store.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Reads what the worker of a claimed conversation needs; `None` if the claim is no longer valid.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>>;

    /// Extends the lease to this long from now. Returns whether the claim was still valid.
    ///
    /// # Errors
    /// Those of the store.
    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool>;

    /// Writes to a claimed conversation, all or nothing, and extends its lease.
    ///
    /// `expected_len` is the length of the log that the caller knows; with another length the append is lost, because somebody else
    /// wrote.
    ///
    /// # Errors
    /// Those of the store. Whether it was written is then unknown: the caller must give up the claim and load again.
    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome>;

    /// Gives a conversation back. It stays ready if anything came in after `seen`, the highest number of the inbox that
    /// the worker knew of, or if a timer is due. An invalid claim is ignored.
    ///
    /// # Errors
    /// Those of the store.
    async fn release(&self, claim: &Claim, seen: u64) -> Result<()>;

    /// Waits until something may have become ready by `accept` or `release`. May return without cause; never misses a
    /// change that came after the call began or after the last return of `claim` without a conversation.
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
    /// It was accepted before.
    Duplicate,
    /// Its twin was accepted before, is unconsumed, and is now known to mention the employee.
    Upgraded,
    /// It changed the delivery state of a message, or reports a message that is not ours; it starts no turn.
    Folded,
}

/// A request for work.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Who will hold the conversation.
    pub worker: WorkerId,
    /// How long the claim lasts without being renewed.
    pub lease: Duration,
    /// Tenants whose conversations are not wanted now, because they already use their share of the worker.
    pub skip: Vec<TenantId>,
}

impl ClaimRequest {
    /// A request for a conversation of any tenant.
    pub fn new(worker: WorkerId, lease: Duration) -> Self {
        Self {
            worker,
            lease,
            skip: Vec::new(),
        }
    }
}

/// The answer to a [`ClaimRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// A conversation.
    Conversation(Claim),
    /// None is ready that was asked for.
    Nothing {
        /// When the next timer of an unclaimed conversation is due, or a lease ends, as far as the store knows.
        next_due: Option<Timestamp>,
    },
}

impl Claimed {
    /// Returns the claim, if there is one.
    pub fn conversation(self) -> Option<Claim> {
        match self {
            Self::Conversation(claim) => Some(claim),
            Self::Nothing { .. } => None,
        }
    }
}

/// The right to work on a conversation until its lease ends.
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
    /// What the channel calls it. `None`: the person of a direct conversation was forgotten, and it can no longer be addressed.
    pub place: Option<ConversationRef>,
    /// The length of the log.
    pub len: u64,
    /// The last record that an [`Append::checkpoint`] was made with, and all after it.
    pub records: Vec<Stored>,
    /// The first [`LARGEST_LOAD`] events that were not consumed, by number.
    pub inbox: Vec<InboxItem>,
    /// What outlives a turn.
    pub state: ConversationState,
    /// The items that wait for a person or a time, oldest first.
    pub items: Vec<OpenItem>,
    /// The timers that are due, by name.
    pub due: Vec<TimerName>,
    /// The store's time.
    pub now: Timestamp,
}

impl Loaded {
    /// Returns the highest number of the inbox that was loaded.
    pub fn newest(&self) -> u64 {
        self.inbox.iter().map(|item| item.seq).max().unwrap_or(0)
    }
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

/// What is written in one transaction. Everything may be left empty.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// What is added to the log.
    pub records: Vec<Record>,
    /// The inbox is consumed up to and with this number.
    pub consume_to: Option<u64>,
    /// What outlives the turn, if it changed.
    pub state: Option<ConversationState>,
    /// Open items that are added, changed or closed.
    pub items: Vec<ItemChange>,
    /// Timers that are set or cleared.
    pub timers: Vec<TimerChange>,
    /// Sends that are about to be made, by their delivery keys.
    pub delivery_keys: Vec<DeliveryKey>,
    /// Delivery keys whose outcome is known now: a later status is folded unless it is a failure.
    pub settled: Vec<String>,
    /// Money to reserve before a call. If it does not fit, nothing of this append is written.
    pub reserve: Option<Reserve>,
    /// Calls that are over: their reservations are freed, and what they cost is spent.
    pub settle: Vec<Settle>,
    /// Rows of the ledger.
    pub ledger: Vec<LedgerRow>,
    /// Whether the last of these records is where the next `load` may begin.
    pub checkpoint: bool,
    /// How long the claim lasts from now on; `None` leaves its end where it is.
    pub lease: Option<Duration>,
}

/// A change of a conversation's open items.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemChange {
    /// Adds an item, or replaces the one with the same id.
    Put(OpenItem),
    /// Closes an item. Closing one that is not open changes nothing.
    Close(ItemId),
}

/// A delivery key, and the record that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryKey {
    /// The key.
    pub key: String,
    /// The index of the record that sends it. A key that is registered keeps its first index.
    pub index: u64,
}

/// The name of a timer of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimerName(pub String);

impl TimerName {
    /// The timer that the open turn waits for.
    pub fn turn() -> Self {
        Self("turn".into())
    }

    /// The timer after which a conversation is looked at again that could not be worked on.
    pub fn rest() -> Self {
        Self("rest".into())
    }

    /// The timer of an open item.
    pub fn item(item: &ItemId) -> Self {
        Self(format!("item:{item}"))
    }

    /// Stands for every timer that the conversation has, in a [`TimerChange`]. No timer has this name.
    pub fn every() -> Self {
        Self("*".into())
    }
}

/// A change of one timer of a conversation, or of [every](TimerName::every) timer that it has: that change comes first, in whatever
/// order they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerChange {
    /// Which timer.
    pub name: TimerName,
    /// When it is due from now on. `None`: it is cleared.
    pub at: Option<Timestamp>,
}

impl TimerChange {
    /// Sets a timer.
    pub fn set(name: TimerName, at: Timestamp) -> Self {
        Self { name, at: Some(at) }
    }

    /// Clears a timer.
    pub fn clear(name: TimerName) -> Self {
        Self { name, at: None }
    }
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendOutcome {
    /// It is written.
    Appended,
    /// The claim is no longer valid, or the log has another length; nothing was written.
    Lost,
    /// The reservation does not fit under the cap; nothing was written.
    OverBudget,
    /// Records name persons who were forgotten; nothing was written.
    Forgotten(Vec<PersonId>),
}
