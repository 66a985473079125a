//! The durable turn engine: a pure state machine, the records that it writes, and the driver that performs its actions.
//!
//! A turn begins with the messages that wait in a conversation and ends with one reply, a recorded decision not to reply, or an open item for a
//! person. [`step`] decides what to do next and does no IO; the [`Driver`] records each decision, performs it, and records the
//! result. After a crash, the next worker folds the records and continues.
//!
//! # Guarantees
//! | guarantee | how | tested by |
//! |---|---|---|
//! | An accepted message is input to exactly one turn | the message and its dedupe keys are durable before [`Mailbox::accept`](crate::store::Mailbox::accept) returns | `store_suite`, `turn_suite` |
//! | A turn ends with one reply whose parts are sent at most once and in order, or with a recorded reason | an intent is recorded before each send, its outcome after it | `turn_suite`: a crash at every write |
//! | A send whose outcome is unknown is not repeated, unless a person decides so or the employee is set to [`Unresolved::Resend`](crate::employee::Unresolved) | the provider is queried ([`Find`](crate::channel::Find)); otherwise a person decides on an open item | `turn_suite` |
//! | One worker at a time works on a conversation | a lease with a fencing number; an append by a worker that lost its lease changes nothing | `store_suite` |
//! | A tool runs only if it is granted, and as its [`Effect`](crate::tool::Effect) allows: `Idempotent` calls are repeated with their key, `Once` calls are never repeated | the grant is pinned when the turn begins | `turn_suite` |
//! | The sum of what is spent and reserved stays within the monthly cap at every instant | the worst case of a call is reserved in the transaction of its intent | `store_suite` |
//! | What was found in an attachment is recorded. After a crash only an attempt that was open is repeated, and each transcription is paid for | a recorded attempt with its reservation | engine tests: a crash at every write |
//! | A turn replays byte for byte | `step` is pure, and everything it depends on is pinned or recorded | [`replay`], benches `replay` |
//! | Nothing is retried forever | every wait has a bound, after which an open item is opened | engine tests |
//! | No effect starts after the driver's future is dropped | dropping it has the effect of a crash | `turn_suite` |
//!
//! The suites are in the [test kit](crate::testkit) and run against any store. Each also runs against a deliberately broken
//! double, to prove that it detects the defect.
//!
//! # Not guaranteed
//! * **Exactly-once sends.** No client can promise them. A message is sent at most once; if its outcome stays unknown, a person decides
//!   whether to send it again. Only that decision, or the setting [`Unresolved::Resend`](crate::employee::Unresolved), can send a
//!   message twice.
//! * **A process that is paused** between the check of its lease and the write to the socket, for longer than the lease, may send
//!   although another worker has the conversation. Both sends carry the same delivery key, so the duplicate can be recognised
//!   (in Slack, by the message metadata).
//! * **Exactly-once tools.** An `Idempotent` tool must deduplicate by its key. After a crash in a `Once` tool, the model is told that the
//!   outcome is unknown.
//! * **The model's words.** The engine ensures that an answer is complete, not that it is correct.
//! * **Order between conversations.** Order is guaranteed only within one conversation.

mod alerts;
mod attachment;
mod business_time;
mod conversation;
mod driver;
mod gather;
mod inbox;
mod input_text;
mod item;
mod lease;
mod limited;
mod media_type;
mod open;
mod outcome;
mod pay;
mod prompt;
mod quote;
mod record;
mod replay;
mod run;
mod spoken;
mod start;
mod state;
mod via;
mod worker;

pub(crate) use self::spoken::Replacements;
pub use self::{
    attachment::{AttachmentContent, AttachmentRef, Unread, attachment_erasures},
    conversation::{ConversationState, UnreadNotice},
    driver::{Driver, DriverStats, WorkOutcome},
    gather::Material,
    input_text::Quote,
    item::{CloseReason, ItemId, ItemKind, OpenItem, OpenReason},
    outcome::{FallbackReason, Outcome, SilenceReason},
    pay::{CallBudget, Paid, pay_lost, settle_lost},
    prompt::{Recalled, question, render},
    record::{
        Action, Cause, Cited, ENGINE_VERSION, Entry, Event, Evidence, Failure, Gathered, Input,
        PinnedChannel, PinnedModel, QuotedRecord, RECORD_VERSION, Record, Refusal, ReplyPart,
        ReplySource, Started, WaitReason,
    },
    replay::{Replay, Step, replay, replay_with},
    spoken::{
        SpokenMessage, contains_message, current_messages, replaced_message_id, spoken_message,
    },
    state::{Resume, State, begin, decide, step},
    via::SentVia,
    worker::Worker,
};
