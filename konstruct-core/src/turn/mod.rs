//! The durable turn: a pure state machine, its records, the journal that keeps them and the driver that performs them.

mod journal;
mod record;

pub use self::{
    journal::{
        Accepted, Append, AppendOutcome, Claim, ConversationSummary, Erase, Exported, Fed,
        InboxItem, Journal, Loaded, Reserve, Settle, Stored, TimerChange,
    },
    record::{
        Action, Carry, Cited, ENGINE_VERSION, Entry, Event, Evidence, Failure, FallbackReason,
        Gathered, Input, OpenReason, OpenSend, Outcome, PinnedChannel, PinnedModel, RECORD_VERSION,
        Record, Refusal, ReplyPart, SilenceReason, Started, WaitReason,
    },
};
