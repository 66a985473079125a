//! What a store keeps of tenants' conversations, by role, and the decisions that every store takes alike.
//!
//! A store implements four small traits. [`Mailbox`] is what makes a turn durable, [`History`] is read by people and indexes,
//! [`Ledger`] holds the money, [`Archive`] moves and erases data. [`Store`] is all four; it is implemented for every type
//! that has them. The rules that need no IO (deduplication, delivery states, budgets, late arrivals of erased persons) are the
//! pure functions of [`rules`], so that stores differ only in how they read and write rows.

mod archive;
mod history;
mod ledger;
mod mailbox;
pub mod rules;

pub use self::{
    archive::{Archive, Exported},
    history::{ConversationCursor, ConversationSummary, FeedEntry, History, ItemEntry, Stored},
    ledger::{Charge, Ledger, LedgerPage, LedgerQuery, Reserve, Settle},
    mailbox::{
        Accepted, Append, AppendOutcome, Claim, ClaimRequest, Claimed, DeliveryKey, InboxItem,
        ItemChange, LARGEST_LOAD, Loaded, Mailbox, TimerChange, TimerName,
    },
};

/// Everything that the turn engine, the server and the memory need of a store.
pub trait Store: Mailbox + History + Ledger + Archive {}

impl<T: Mailbox + History + Ledger + Archive> Store for T {}
