//! What a turn writes down: the events that came in and the actions that were decided, in their order.
//!
//! The log of a conversation is the only truth about it: what makes a turn durable is also its history, its audit trail and
//! its replay. Records are externally tagged JSON; golden files prove that old versions still read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConnectionId, ConversationRef, ErrorKind, Find, Inbound, ModelAnswer, PersonId,
    Price, Receipt, Source, Timestamp, TurnId, tool::Effect,
};

/// The version of the record format that this build writes.
pub const RECORD_VERSION: u16 = 1;

/// The version of the state machine that this build runs; a turn is finished and replayed by the one that it began under.
pub const ENGINE_VERSION: u16 = 1;

/// One record of a conversation's log. Its index in the log is the store's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format, see [`RECORD_VERSION`].
    pub v: u16,
    /// The turn that it belongs to.
    pub turn: TurnId,
    /// When it happened, by the driver's clock.
    pub at: Timestamp,
    /// Everyone whose words it may hold: it is sealed to all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
    /// What happened or was decided.
    pub entry: Entry,
}

/// What happened, or what was decided because of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Something happened.
    Event(Event),
    /// Something was decided.
    Action(Action),
}

/// What happens to a turn: the inputs of [`step`](super::step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The turn began.
    Started(Box<Started>),
    /// What the model will be shown was chosen.
    Gathered(Gathered),
    /// The model answered.
    Answered {
        /// Which call.
        call: u32,
        /// The whole answer.
        answer: ModelAnswer,
    },
    /// A model call failed.
    CallFailed {
        /// Which call.
        call: u32,
        /// How.
        failure: Failure,
    },
    /// The process ended while a model call was open; what it cost is lost.
    CallLost {
        /// Which call.
        call: u32,
    },
    /// A model call was not made.
    CallRefused {
        /// Which call.
        call: u32,
        /// Why not.
        reason: Refusal,
    },
    /// A tool returned.
    ToolReturned {
        /// The model's id of the call.
        id: String,
        /// What the model is told.
        content: String,
        /// Whether it failed.
        error: bool,
    },
    /// The process ended while a tool ran that must not be repeated, or it timed out.
    ToolLost {
        /// The model's id of the call.
        id: String,
    },
    /// The inbox was looked at before another model call.
    Heard {
        /// What had come in; empty is an answer too.
        inputs: Vec<Input>,
    },
    /// A part of the reply was taken by the provider.
    SendDone {
        /// Its delivery key.
        key: String,
        /// What the provider gave back.
        receipt: Receipt,
        /// How it is known.
        evidence: Evidence,
    },
    /// A part of the reply was not sent, for certain.
    SendFailed {
        /// Its delivery key.
        key: String,
        /// How.
        failure: Failure,
    },
    /// Nobody knows whether a part of the reply was taken: its answer was lost, or the process ended.
    SendAmbiguous {
        /// Its delivery key.
        key: String,
    },
    /// The provider says that a part never arrived.
    NotFound {
        /// Its delivery key.
        key: String,
    },
    /// The provider could not be asked about a part.
    FindFailed {
        /// Its delivery key.
        key: String,
        /// How.
        failure: Failure,
    },
    /// The time that the turn waited for has come.
    Due,
}

/// Names the variants of a record as they stand in its JSON; a new variant does not compile without a name.
macro_rules! names {
    ($type:ident: $($variant:ident $name:literal),+ $(,)?) => {
        impl $type {
            /// The names of all variants, as they stand in JSON.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Returns the variant's name, as it stands in JSON.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

names!(Event:
    Started "started", Gathered "gathered", Answered "answered", CallFailed "call_failed", CallLost "call_lost",
    CallRefused "call_refused", ToolReturned "tool_returned", ToolLost "tool_lost", Heard "heard",
    SendDone "send_done", SendFailed "send_failed", SendAmbiguous "send_ambiguous", NotFound "not_found",
    FindFailed "find_failed", Due "due",
);

names!(Action:
    Gather "gather", CallModel "call_model", CallTool "call_tool", Listen "listen", Send "send", Find "find",
    Wait "wait", Finish "finish",
);

/// What a turn decides: the outputs of [`step`](super::step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Choose what the model will be shown.
    Gather,
    /// Call the model. The request is not here: it follows from the employee, [`Gathered`] and the records before.
    CallModel {
        /// The number of the call, from 1.
        call: u32,
        /// The same when the same call is made again after a crash.
        key: String,
        /// The most tokens of the answer.
        max_tokens: u32,
    },
    /// Run a tool.
    CallTool {
        /// The model's id of the call.
        id: String,
        /// The tool.
        name: String,
        /// The arguments, as the model wrote them.
        arguments: String,
        /// What it does to the world.
        effect: Effect,
        /// The idempotency key that the tool receives.
        key: String,
    },
    /// Look at the inbox before another model call.
    Listen,
    /// Send a part of the reply.
    Send {
        /// Its delivery key.
        key: String,
        /// Which try, from 1.
        attempt: u32,
        /// What to say.
        text: String,
        /// The message to quote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
        /// When the request is given up. With the channel's grace added, it can no longer be in flight.
        give_up_at: Timestamp,
    },
    /// Ask the provider whether a part arrived.
    Find {
        /// Its delivery key.
        key: String,
        /// When its first intent was recorded.
        since: Timestamp,
    },
    /// Wait: a record and a timer, not a task.
    Wait {
        /// Until when.
        until: Timestamp,
        /// For what.
        reason: WaitReason,
    },
    /// The turn is over.
    Finish {
        /// How it ended.
        outcome: Outcome,
        /// What the next turn must know.
        carry: Carry,
    },
}

/// With what a turn begins. Everything that could change under it is pinned here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The version of the state machine.
    pub engine: u16,
    /// The version of the employee.
    pub employee: u32,
    /// The model that it thinks with.
    pub model: PinnedModel,
    /// The channel that it speaks through.
    pub channel: PinnedChannel,
    /// The connection.
    pub connection: ConnectionId,
    /// The conversation, as the channel names it.
    pub conversation: ConversationRef,
    /// The tools that exist and are granted, with what they do to the world.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Effect>,
    /// Whether it is outside the employee's hours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// What came in, in the order in which it is worked.
    pub inputs: Vec<Input>,
    /// What the turn before left.
    #[serde(default)]
    pub carry: Carry,
}

/// The model that a turn began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedModel {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What it cost then. `None`: unknown.
    pub price: Option<Price>,
}

/// What the channel could do when the turn began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedChannel {
    /// Its kind.
    pub kind: ChannelKind,
    /// How it tells whether a send arrived.
    pub find: Find,
    /// The most characters of one message.
    pub max_text: usize,
    /// How long one request may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long after that it may still be carried out, in milliseconds.
    pub grace_ms: u64,
}

/// One accepted event, as a turn's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its number in the conversation's inbox.
    pub seq: u64,
    /// Whether an event that happened after it was worked before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whose words it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// For an event that tells of a send that did not arrive: what was sent, so that a person can have it sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<ReplyPart>,
    /// The event.
    pub event: Inbound,
}

/// What the model will be shown, by reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// The index of the first record of the history that is shown. Records before this turn from there on are the window.
    pub window_from: u64,
    /// The passages of knowledge, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knowledge: Vec<Cited>,
    /// What was said earlier than the window and bears on the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Cited>,
    /// Facts that bear on the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Cited>,
    /// The summary of what was said before the window: the index of the first record that it does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<u64>,
    /// Whose words all of this may hold.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
}

/// A passage by reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cited {
    /// Where it stands.
    pub source: Source,
    /// How much of the question's weight it covers, from 0 to 1.
    pub coverage: f32,
}

/// A failure, as far as the turn has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub kind: ErrorKind,
    /// How long the other side asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl From<&crate::Error> for Failure {
    fn from(error: &crate::Error) -> Self {
        let retry_after_ms = error
            .retry_after()
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self {
            kind: error.kind(),
            retry_after_ms,
        }
    }
}

/// Why a model call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// Its worst case does not fit under the cap.
    OverBudget,
}

/// How it is known that a part arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The provider answered the send.
    Answer,
    /// The provider was asked.
    Query,
    /// An event in the inbox says so; the event itself is input to a later turn.
    Event {
        /// Its number in the inbox.
        seq: u64,
    },
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitReason {
    /// To call the model again.
    ModelRetry,
    /// To send again what was certainly not sent.
    SendRetry,
    /// Until a request can no longer be in flight.
    InFlight,
    /// For a word of the provider about a send.
    Receipt,
    /// To ask the provider again.
    FindRetry,
}

/// How a turn ended: one of the three that law 2 knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// One reply, in so many parts.
    Replied {
        /// How many parts.
        parts: u32,
        /// Whether the reply was the fixed one, because no model could be had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<FallbackReason>,
    },
    /// Recorded silence.
    Silent {
        /// Why.
        reason: SilenceReason,
    },
    /// A question to a person: it stands in [`Carry::open`].
    Asked {
        /// The delivery key that it is about.
        key: String,
    },
}

/// Why the fixed reply was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FallbackReason {
    /// It is outside the employee's hours.
    Closed,
    /// The model failed too often, or declined without a word.
    Model,
    /// The turn would have gone on for ever.
    Limit,
    /// The cap is reached, or a cap is set and the price is unknown.
    Budget,
}

/// Why the employee said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SilenceReason {
    /// Nothing was said to it.
    NotAddressed,
    /// Another bot has had its turns.
    BotLoop,
    /// The model had nothing to say.
    NothingToSay,
    /// A person decided to let a send be.
    Dropped,
    /// A person in it was forgotten while it was open: it cannot be read any more, and goes no further.
    Forgotten,
}

/// What one turn leaves to the next: all that the engine knows of a conversation beyond its log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    /// The latest time, by the provider's clock, of anything worked so far.
    #[serde(default)]
    pub latest: Timestamp,
    /// How many turns in a row another bot has caused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bot_turns: u32,
    /// Whether the employee has spoken here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoke: bool,
    /// Sends that a person has to decide about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenSend>,
    /// Everyone who has said something here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A send that a person has to decide about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSend {
    /// Its delivery key.
    pub key: String,
    /// Why it is open.
    pub reason: OpenReason,
    /// When its first intent was recorded.
    pub since: Timestamp,
    /// This part and the ones that were to follow it, with their keys.
    pub parts: Vec<ReplyPart>,
}

/// Why a send is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenReason {
    /// Nobody knows whether it arrived.
    Unresolved,
    /// It did not arrive, and another try would not help by itself.
    Failed(ErrorKind),
    /// The provider took it, and said later that it did not arrive.
    NotDelivered,
}

/// A part of a reply, with its delivery key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyPart {
    /// The delivery key.
    pub key: String,
    /// The text.
    pub text: String,
}
