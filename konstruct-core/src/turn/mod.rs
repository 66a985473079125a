//! The durable turn: a pure state machine, its records, the journal that keeps them and the driver that performs them.

mod driver;
mod gather;
mod inbox;
mod journal;
mod open;
mod pay;
mod prompt;
mod record;
mod replay;
mod reply;
mod run;
mod said;
mod state;
mod worker;

pub use self::{
    driver::{Driver, DriverStats, Worked},
    journal::{
        Accepted, Append, AppendOutcome, Charge, Claim, ConversationSummary, Exported, Fed,
        InboxItem, Journal, Loaded, Reserve, Settle, Stored, TimerChange,
    },
    pay::{CallBudget, Paid, pay_lost, settle_lost},
    prompt::{Recalled, question, render},
    record::{
        Action, Carry, Cited, ENGINE_VERSION, Entry, Event, Evidence, Failure, FallbackReason,
        Gathered, Input, OpenReason, OpenSend, Outcome, PinnedChannel, PinnedModel, RECORD_VERSION,
        Record, Refusal, ReplyPart, SilenceReason, Started, WaitReason,
    },
    replay::{Replay, Step, replay, replay_with},
    said::{Said, holds, replaced, said},
    state::{Resume, State, begin, decide, step},
    worker::Worker,
};
