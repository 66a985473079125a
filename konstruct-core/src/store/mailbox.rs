//! The `Mailbox` trait: accepts events, claims conversations and writes turns.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Reserve, Settle, Stored};
use crate::{
    ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId, Timestamp,
    id::WorkerId,
    limit::BudgetKey,
    message::RoutedEvent,
    money::LedgerRow,
    turn::{ConversationState, ItemId, OpenItem, Record},
};

/// The most events of an inbox that [`Mailbox::load`] returns.
pub const LARGEST_LOAD: usize = 256;

/// A durable mailbox and log for every conversation of every tenant.
///
/// # Contract
/// * Each operation is one transaction. Once `accept` or `append` has returned, its effect survives a crash. Claims, renewals and
///   releases need not be durable.
/// * The store keeps the time; callers pass durations. No operation assumes that there is only one process.
/// * A conversation has at most one valid claim. A claim ends by `release`, by the end of its lease, or by the next claim. A call
///   with an invalid claim changes nothing and returns [`AppendOutcome::Lost`].
/// * A conversation is *ready* if it is not claimed, and either has unconsumed events that the last release had not seen or a
///   timer that is due. A conversation whose claim ended without a release is ready.
/// * `claim` is fair between tenants, within these bounds. Admission is exact: a tenant never has more valid claims than
///   [`Share::most`], however many processes claim at the same time; its other conversations stay ready. Rotation is bounded: while
///   a tenant has a conversation that may be claimed, it gets one before the other tenants have together got the sum of their
///   weights, counted over the claims through one handle of the store. Latency is not promised: a conversation waits for its
///   tenant's earlier ones, and for a free worker.
/// * A tenant's names, events, records, keys, budget and cursors reveal nothing about those of another. An id of another tenant
///   behaves like one that does not exist.
/// * A record is encrypted for the persons that it names; an event and the place of a direct conversation are encrypted for their sender.
///   Only `accept` creates the key of a person. Content that can no longer be opened reads as `None` and keeps its index.
#[async_trait]
pub trait Mailbox: fmt::Debug + Send + Sync + 'static {
    /// Accepts events: deduplicates, numbers and stores them, and makes their conversations ready. Accepts all events or none.
    ///
    /// Returns an outcome for each event, in order. The keys of deduplication are (connection, event id) and (connection, logical
    /// id); an empty id is not a key. An event without a conversation goes to the connection's own conversation; a decision goes
    /// to the conversation that it names.
    ///
    /// A duplicate delivery of a logical event that mentions the employee upgrades the unconsumed event: the conversation is
    /// ready again, and an append that would consume the event as it was loaded before is lost. A delivery status is
    /// [folded](Accepted::Folded) unless it is [news](super::rules::delivery). A reaction waits in the inbox for the next turn,
    /// and makes its conversation ready only together with others.
    ///
    /// # Errors
    /// Any error of the store. No event was accepted then, and the caller must not acknowledge any to the provider.
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>>;

    /// Claims a ready conversation. The claim contains no content.
    ///
    /// # Errors
    /// Any error of the store.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Reads the data that the worker of a claimed conversation needs; `None` if the claim is no longer valid.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>>;

    /// Extends the lease to end this long from now. Returns whether the claim was still valid.
    ///
    /// # Errors
    /// Any error of the store.
    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool>;

    /// Writes to a claimed conversation, all or nothing, and extends its lease.
    ///
    /// `expected_len` is the length of the log as the caller knows it. If the log has another length, the append is lost, because
    /// another worker wrote to it.
    ///
    /// # Errors
    /// Any error of the store. It is unknown then whether the append was written: the caller must give up the claim and load again.
    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome>;

    /// Releases a claim. The conversation stays ready if an event arrived after `seen`, the highest number of the inbox that the
    /// worker knew of, or if a timer is due. An invalid claim is ignored.
    ///
    /// # Errors
    /// Any error of the store.
    async fn release(&self, claim: &Claim, seen: u64) -> Result<()>;

    /// Waits until `accept` or `release` may have made a conversation ready. May return without cause. Never misses a change that
    /// follows the call or the last `claim` that returned no conversation.
    ///
    /// # Cancel safety
    /// Dropping the future does not lose a wake-up.
    async fn changed(&self);
}

/// What happened to an accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepted {
    /// The event is durable, and becomes input of exactly one turn.
    New {
        /// Its conversation.
        conversation: ConversationId,
        /// Its number in the conversation, from 1.
        seq: u64,
    },
    /// The event was accepted before.
    Duplicate,
    /// The same logical event was accepted before and is unconsumed. It is now marked as a mention of the employee.
    Upgraded,
    /// The event changed the delivery state of a message, or reports a message of another sender. It starts no turn.
    Folded,
}

/// A request to claim a conversation.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The worker that will hold the claim.
    pub worker: WorkerId,
    /// How long the claim lasts without being renewed.
    pub lease: Duration,
    /// Tenants to skip, because they already use their share of the worker.
    pub skip: Vec<TenantId>,
    /// The share of each tenant for which the store has no other.
    pub share: Share,
}

/// A tenant's share of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The number of conversations that the tenant gets in its turn, while other tenants wait for theirs.
    pub weight: NonZeroU32,
    /// The most conversations of the tenant that are processed at a time, by all workers together. `None`: no limit.
    pub most: Option<NonZeroU32>,
}

impl Default for Share {
    /// One conversation in a turn, and no limit.
    fn default() -> Self {
        Self {
            weight: NonZeroU32::MIN,
            most: None,
        }
    }
}

impl Share {
    /// Returns whether a tenant with this many claims gets no other.
    pub fn is_full(&self, claims: usize) -> bool {
        self.most
            .and_then(|most| NonZeroUsize::try_from(most).ok())
            .is_some_and(|most| claims >= most.get())
    }
}

impl ClaimRequest {
    /// Creates a request for a conversation of any tenant.
    pub fn new(worker: WorkerId, lease: Duration) -> Self {
        Self {
            worker,
            lease,
            skip: Vec::new(),
            share: Share::default(),
        }
    }
}

/// The result of a [`ClaimRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// A conversation was claimed.
    Conversation(Claim),
    /// No requested conversation is ready.
    Nothing {
        /// When the next timer of an unclaimed conversation is due or a lease ends, as far as the store knows.
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
    /// The worker that holds it.
    pub worker: WorkerId,
    /// A fencing number, higher than that of every earlier claim.
    pub fence: u64,
    /// The weight of the tenant's share.
    pub weight: NonZeroU32,
}

/// A claimed conversation, as its worker needs it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The connection of the conversation.
    pub connection: ConnectionId,
    /// The channel's address of the conversation; `None` if it is direct and its person was forgotten, so that it can no longer
    /// be addressed.
    pub place: Option<ConversationRef>,
    /// The length of the log.
    pub len: u64,
    /// The record of the last [checkpoint](Append::checkpoint) and all later ones.
    pub records: Vec<Stored>,
    /// The first [`LARGEST_LOAD`] unconsumed events, by number.
    pub inbox: Vec<InboxItem>,
    /// The state that outlives a turn.
    pub state: ConversationState,
    /// The open items, oldest first.
    pub items: Vec<OpenItem>,
    /// The timers that are due, by name.
    pub due: Vec<TimerName>,
    /// The current time of the store.
    pub now: Timestamp,
}

impl Loaded {
    /// Returns the highest number of the loaded inbox; 0 if it is empty.
    pub fn newest(&self) -> u64 {
        self.inbox.iter().map(|item| item.seq).max().unwrap_or(0)
    }
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Its number in the conversation, from 1.
    pub seq: u64,
    /// When it was accepted, by the store's clock.
    pub accepted_at: Timestamp,
    /// The persons whose words it contains.
    pub persons: Vec<PersonId>,
    /// The event; `None` if it can no longer be read.
    pub event: Option<RoutedEvent>,
}

/// Changes that are written in one transaction. Every field may be empty.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Records to add to the log.
    pub records: Vec<Record>,
    /// The number up to which the inbox is consumed, inclusive.
    pub consume_to: Option<u64>,
    /// The state that outlives the turn, if it changed.
    pub state: Option<ConversationState>,
    /// Open items to add, change or close.
    pub items: Vec<ItemChange>,
    /// Timers to set or clear.
    pub timers: Vec<TimerChange>,
    /// Sends that are about to be made, by their delivery keys.
    pub delivery_keys: Vec<DeliveryKey>,
    /// Delivery keys whose outcome is now known. A later status is folded unless it is a failure.
    pub settled: Vec<String>,
    /// Money to reserve before a call. If it does not fit under a cap, nothing of this append is written.
    pub reserve: Option<Reserve>,
    /// Finished calls: their reservations are freed, and their costs are spent.
    pub settle: Vec<Settle>,
    /// Rows to add to the ledger.
    pub ledger: Vec<LedgerRow>,
    /// Whether the next `load` may begin at the last of these records.
    pub checkpoint: bool,
    /// How long the claim lasts from now; `None` leaves its end unchanged.
    pub lease: Option<Duration>,
}

/// A change to a conversation's open items.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemChange {
    /// Adds an item, or replaces the one with the same id.
    Put(OpenItem),
    /// Closes an item. Closing an item that is not open changes nothing.
    Close(ItemId),
}

/// A delivery key and the record that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryKey {
    /// The key.
    pub key: String,
    /// The index of the record with the send. A key that is already registered keeps its first index.
    pub index: u64,
}

/// The name of a conversation's timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimerName(pub String);

impl TimerName {
    /// Returns the timer that the open turn waits for.
    pub fn turn() -> Self {
        Self("turn".into())
    }

    /// Returns the timer after which a conversation is retried that could not be processed.
    pub fn retry() -> Self {
        Self("retry".into())
    }

    /// Returns the timer of an open item.
    pub fn item(item: &ItemId) -> Self {
        Self(format!("item:{item}"))
    }

    /// Returns a name that matches every timer of the conversation, for use in a [`TimerChange`]. No timer has this name.
    pub fn every() -> Self {
        Self("*".into())
    }
}

/// A change to one timer of a conversation, or to [every](TimerName::every) timer that it has. A change to every timer is applied
/// first, regardless of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerChange {
    /// The timer.
    pub name: TimerName,
    /// The new due time; `None` to clear the timer.
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

/// The result of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendOutcome {
    /// The append was written.
    Appended,
    /// The claim is no longer valid, or the log has another length. Nothing was written.
    Lost,
    /// The reservation does not fit under the cap of this sum. Nothing was written.
    OverBudget(BudgetKey),
    /// The records name persons who were forgotten. Nothing was written.
    Forgotten(Vec<PersonId>),
}
