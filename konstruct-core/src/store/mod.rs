//! The store traits: durable mailboxes, logs and ledgers for the conversations of tenants.
//!
//! A store implements four small traits. [`Mailbox`] makes turns durable, [`History`] serves readers and indexes, [`Ledger`]
//! accounts for money, and [`Archive`] exports and erases data. [`Store`] combines all four; it is implemented for every type
//! that has them. The rules that need no IO (deduplication, delivery states, budgets, late deliveries of erased persons) are the
//! pure functions of [`rules`], so that stores differ only in how they read and write rows.

mod archive;
mod history;
mod ledger;
mod mailbox;
pub mod rules;

pub use self::{
    archive::{Archive, Exported},
    history::{ConversationCursor, ConversationSummary, FeedEntry, History, ItemEntry, Stored},
    ledger::{Charge, Charged, Ledger, LedgerPage, LedgerQuery, Reserve, Settle},
    mailbox::{
        Accepted, Append, AppendOutcome, Claim, ClaimRequest, Claimed, DeliveryKey, InboxItem,
        ItemChange, LARGEST_LOAD, Loaded, Mailbox, Share, TimerChange, TimerName,
    },
};

/// A store: everything that the turn engine, the server and the memory need.
pub trait Store: Mailbox + History + Ledger + Archive {}

impl<T: Mailbox + History + Ledger + Archive> Store for T {}
