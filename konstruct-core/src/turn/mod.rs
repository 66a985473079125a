//! The durable turn engine: a pure state machine, the records that it writes, and the driver that performs its actions.

mod driver;
mod gather;
mod inbox;
mod lease;
mod open;
mod pay;
mod prompt;
mod record;
mod replay;
mod run;
mod spoken;
mod start;
mod state;
mod worker;

pub(crate) use self::spoken::Replacements;
pub use self::{
    driver::{Driver, DriverStats, WorkOutcome},
    gather::Material,
    pay::{CallBudget, Paid, pay_lost, settle_lost},
    prompt::{Recalled, question, render},
    record::{
        Action, Cause, Cited, CloseReason, ConversationState, ENGINE_VERSION, Entry, Event,
        Evidence, Failure, FallbackReason, Gathered, Input, ItemId, ItemKind, OpenItem, OpenReason,
        Outcome, PinnedChannel, PinnedModel, RECORD_VERSION, Record, Refusal, ReplyPart,
        ReplySource, SilenceReason, Started, WaitReason,
    },
    replay::{Replay, Step, replay, replay_with},
    spoken::{
        SpokenMessage, contains_message, current_messages, replaced_message_id, spoken_message,
    },
    state::{Resume, State, begin, decide, step},
    worker::Worker,
};
