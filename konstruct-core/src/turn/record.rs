//! What a turn writes: the events that came in and the actions that were decided, in their order.
//!
//! The log of a conversation is the only truth about it: what makes a turn durable is also its history, its audit trail and
//! its replay. Records are externally tagged JSON; golden files prove that released versions can still be read.
//!
//! A record is sealed to the persons whose words it holds. What one person wrote is a record of its own ([`Event::Received`]);
//! what the employee produced is sealed to everyone whose words it was shown. All other records hold ids, numbers and references.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConnectionId, ConversationRef, ErrorKind, Inbound, Outgoing, PersonId, Timestamp,
    TurnId,
    channel::{Find, Receipt},
    llm::ModelAnswer,
    memory::Source,
    money::Price,
    tool::Effect,
};

/// The version of the record format that this build writes.
pub const RECORD_VERSION: u16 = 1;

/// The version of the state machine that this build runs; a turn is finished and replayed by the version that it began under.
pub const ENGINE_VERSION: u16 = 1;

/// One record of a conversation's log. Its index in the log is the store's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the format, see [`RECORD_VERSION`].
    pub v: u16,
    /// The turn that it belongs to.
    pub turn: TurnId,
    /// When it happened, by the driver's clock.
    pub at: Timestamp,
    /// Who caused it.
    pub cause: Cause,
    /// The persons that it is sealed to: it can be read while the keys of all of them exist.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
    /// What happened or was decided.
    pub entry: Entry,
}

impl Record {
    /// Makes a record of the current format that is sealed to nobody.
    pub fn new(turn: TurnId, at: Timestamp, cause: Cause, entry: Entry) -> Self {
        Self {
            v: RECORD_VERSION,
            turn,
            at,
            cause,
            persons: BTreeSet::new(),
            entry,
        }
    }

    /// Sets the persons that it is sealed to.
    #[must_use]
    pub fn sealed_to(mut self, persons: impl IntoIterator<Item = PersonId>) -> Self {
        self.persons = persons.into_iter().collect();
        self
    }

    /// Whether it says something: what a person or the employee said, or changed of what was said before.
    pub fn says_something(&self) -> bool {
        matches!(
            &self.entry,
            Entry::Event(Event::Received(_) | Event::Rendered { .. })
                | Entry::Action(Action::Send {
                    record: Some(_),
                    ..
                })
        )
    }
}

/// Who caused a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The AI employee: what its model answered, and the actions that follow from it.
    Employee,
    /// A person.
    Person(PersonId),
    /// A rule of the engine or a setting of the owner.
    Rule,
    /// A vendor: a channel, a model provider or a tool.
    Vendor,
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
    /// The turn began. As many [`Event::Received`] follow as [`Started::inputs`] says.
    Started(Box<Started>),
    /// An accepted event became input to the turn.
    Received(Box<Input>),
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
    /// The process ended while a model call was open; its answer is lost.
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
        /// The result that the model is shown.
        content: String,
        /// Whether it failed.
        error: bool,
    },
    /// The process ended while a tool ran that must not be repeated, or it timed out.
    ToolLost {
        /// The model's id of the call.
        id: String,
    },
    /// The inbox was read before another model call. As many [`Event::Received`] follow.
    Heard {
        /// How many events had come in.
        inputs: u32,
    },
    /// The channel split the reply into the parts that it can send.
    Rendered {
        /// The parts, in order.
        parts: Vec<ReplyPart>,
        /// What exceeds the most parts of one reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<Outgoing>,
    },
    /// A part of the reply was accepted by the vendor.
    SendDone {
        /// Its delivery key.
        key: String,
        /// What the vendor returned.
        receipt: Receipt,
        /// How it is known.
        evidence: Evidence,
    },
    /// A part of the reply was certainly not sent.
    SendFailed {
        /// Its delivery key.
        key: String,
        /// How.
        failure: Failure,
    },
    /// It is unknown whether a part of the reply was accepted: its answer was lost, or the process ended.
    SendAmbiguous {
        /// Its delivery key.
        key: String,
    },
    /// The vendor reports that a part never arrived.
    NotFound {
        /// Its delivery key.
        key: String,
    },
    /// The vendor could not be asked about a part.
    FindFailed {
        /// Its delivery key.
        key: String,
        /// How.
        failure: Failure,
    },
    /// The time that the turn waited for has come.
    Due,
    /// Persons whose words the model was shown were forgotten: what it produced is void.
    Forgotten {
        /// Who.
        persons: BTreeSet<PersonId>,
    },
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
    Started "started", Received "received", Gathered "gathered", Answered "answered", CallFailed "call_failed",
    CallLost "call_lost", CallRefused "call_refused", ToolReturned "tool_returned", ToolLost "tool_lost", Heard "heard",
    Rendered "rendered", SendDone "send_done", SendFailed "send_failed", SendAmbiguous "send_ambiguous",
    NotFound "not_found", FindFailed "find_failed", Due "due", Forgotten "forgotten",
);

names!(Action:
    Gather "gather", CallModel "call_model", CallTool "call_tool", SkipTool "skip_tool", Listen "listen", Reply "reply",
    Send "send", Find "find", Wait "wait", Open "open", Close "close", Finish "finish",
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
        /// When the call is given up.
        give_up_at: Timestamp,
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
    /// A tool call that the model asked for is not made.
    SkipTool {
        /// The model's id of the call.
        id: String,
        /// The result that the model is shown.
        content: String,
    },
    /// Read the inbox before another model call.
    Listen,
    /// Have the channel split a reply into parts.
    Reply {
        /// What is said.
        source: ReplySource,
    },
    /// Send a part of the reply.
    Send {
        /// Its delivery key.
        key: String,
        /// Which try, from 1.
        attempt: u32,
        /// The index of the [`Event::Rendered`] that holds the part, where that is not in this turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<u64>,
        /// When the request is given up. After this and the channel's grace, it can no longer be in flight.
        give_up_at: Timestamp,
    },
    /// Ask the vendor whether a part arrived.
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
    /// Open an item for a person, or change one that is open.
    Open(OpenItem),
    /// Close an open item.
    Close {
        /// Which.
        item: ItemId,
        /// Why.
        reason: CloseReason,
    },
    /// The turn is over.
    Finish {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a turn begins with. Everything that could change under it is pinned here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The version of the state machine.
    pub engine: u16,
    /// The version of the employee.
    pub employee: u32,
    /// The index of this record in the log.
    pub first: u64,
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
    /// How many inputs follow.
    pub inputs: u32,
    /// What the turns before left.
    #[serde(default)]
    pub state: ConversationState,
    /// Questions of this conversation that are open: a reply closes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<ItemId>,
    /// The question that this turn tries to answer again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<OpenItem>,
    /// By when the person should have heard something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// The model that a turn began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedModel {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Its price at that time. `None`: unknown.
    pub price: Option<Price>,
}

/// What the channel could do when the turn began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedChannel {
    /// Its kind.
    pub kind: ChannelKind,
    /// How it reports whether a send arrived.
    pub find: Find,
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
    /// When it was accepted, by the store's clock.
    pub accepted_at: Timestamp,
    /// Whether an event that happened after it was processed before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whose words it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// The open item that it answers or settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<OpenItem>,
    /// For an event that reports a failed delivery: the index of the [`Event::Rendered`] that holds the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<u64>,
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
    /// What was said earlier than the window and is relevant to the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Cited>,
    /// Facts that are relevant to the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Cited>,
    /// The summary of what was said before the window: the index of the first record that it does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<u64>,
    /// The persons whose words all of this holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
}

/// A passage by reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cited {
    /// Where it is stored.
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

impl Failure {
    /// A failure of a kind.
    pub fn of(kind: ErrorKind) -> Self {
        Self {
            kind,
            retry_after_ms: None,
        }
    }
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
    /// The vendor answered the send.
    Answer,
    /// The vendor was asked.
    Query,
    /// An event in the inbox reports it; the event itself is consumed later.
    Event {
        /// Its number in the inbox.
        seq: u64,
    },
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReplySource {
    /// The model's answer.
    Answer,
    /// A fixed sentence of the employee.
    Fixed(FallbackReason),
    /// The rest of an earlier reply: the index of its [`Event::Rendered`].
    Rest(u64),
    /// The proactive message that the turn's input holds.
    Proactive,
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
    /// For a connection whose credentials the vendor refuses.
    Connection,
    /// Until a request can no longer be in flight.
    InFlight,
    /// For the vendor's report about a send.
    Receipt,
    /// To ask the vendor again.
    FindRetry,
}

/// How a turn ended: one of the three outcomes of law 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// One reply, in so many parts.
    Replied {
        /// How many parts.
        parts: u32,
        /// Whether the reply was a fixed sentence, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<FallbackReason>,
    },
    /// Recorded silence.
    Silent {
        /// Why.
        reason: SilenceReason,
    },
    /// A send whose outcome a person must settle.
    Asked {
        /// The open item.
        item: ItemId,
    },
}

/// Why a fixed sentence was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FallbackReason {
    /// It is outside the employee's hours.
    Closed,
    /// The model did not answer in time, failed too often, or declined without a word.
    Model,
    /// The model's answer was cut off each time.
    Cut,
    /// The model's answer was blank each time.
    Blank,
    /// The turn reached its limit of model calls.
    Limit,
    /// The cap is reached, or a cap is set and the price is unknown.
    Budget,
    /// The question is too old to be answered unasked, because the connection or the service was down.
    Late,
    /// The conversation could not be processed: its employee or connection is gone, or its log cannot be read.
    Broken,
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
    /// A person decided that an item needs no answer.
    Dropped,
    /// A person was forgotten while the turn was open: it cannot be read any more, and is not continued.
    Forgotten,
    /// A question that was tried again still cannot be answered.
    Unanswered,
    /// The question waits for a person, see the open item.
    Late,
    /// The conversation could not be processed, see the open item.
    Broken,
    /// A proactive message could not be sent before it expired.
    Expired,
}

/// What outlives a turn, beside the log and the open items. It holds no words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConversationState {
    /// The latest time, by the vendor's clock, of anything processed so far.
    #[serde(default)]
    pub latest: Timestamp,
    /// How many turns in a row another bot has caused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bot_turns: u32,
    /// Whether the employee has spoken here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoke: bool,
    /// The person of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The id of an open item: that of the turn that opened it, and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl ItemId {
    /// The n-th item of a turn.
    pub fn of(turn: TurnId, n: u32) -> Self {
        Self(format!("{turn}.i{n}"))
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that a turn left for a person, a time or the customer to decide. It holds no words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenItem {
    /// Its id. Opening again after an answer gives a new one.
    pub id: ItemId,
    /// What it is.
    pub kind: ItemKind,
    /// The turn that it is about.
    pub turn: TurnId,
    /// The index of the record that it is about: an [`Event::Rendered`] for messages, an [`Event::Started`] for a question.
    pub record: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// How often the employee has tried to answer by itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// When the employee tries to answer by itself. `None`: only a person can close it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl OpenItem {
    /// Makes an item that only a person can close.
    pub fn new(
        id: ItemId,
        kind: ItemKind,
        turn: TurnId,
        record: u64,
        opened_at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            turn,
            record,
            opened_at,
            tries: 0,
            retry_at: None,
        }
    }

    /// Sets how often the employee has tried to answer by itself, and when it tries again.
    #[must_use]
    pub fn retried(mut self, tries: u32, retry_at: impl Into<Option<Timestamp>>) -> Self {
        self.tries = tries;
        self.retry_at = retry_at.into();
        self
    }
}

/// What an open item is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemKind {
    /// Messages whose fate a person must settle: the first of these, and those that were to follow it.
    Send {
        /// Why it is open.
        reason: OpenReason,
        /// The delivery keys, in order.
        keys: Vec<String>,
    },
    /// A question that was not answered.
    Question {
        /// Why not.
        reason: FallbackReason,
    },
    /// The rest of a long reply, which the customer can ask for.
    Rest,
}

/// Why a send is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenReason {
    /// It is unknown whether it arrived.
    Unresolved,
    /// It did not arrive, and another try would not help by itself.
    Failed(ErrorKind),
    /// The vendor accepted it, and reported later that it did not arrive.
    NotDelivered,
}

/// Why an open item was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseReason {
    /// A person decided.
    Decided,
    /// The vendor reported the outcome.
    Settled,
    /// The employee answered.
    Answered,
    /// Too many items of the conversation were open: the oldest made room.
    Displaced,
}

/// A part of a reply, with its delivery key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyPart {
    /// The delivery key.
    pub key: String,
    /// What it says.
    pub what: Outgoing,
}
