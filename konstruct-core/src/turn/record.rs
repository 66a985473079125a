//! The records that a turn writes to a conversation's log: events that happened and actions that were decided, in order.
//!
//! The log is the single source of truth about a conversation. It makes turns durable, and it is also the history, the audit
//! trail and the input of a replay. Records are externally tagged JSON; golden files prove that released versions can still be
//! read.
//!
//! A record is encrypted for the persons whose words it contains. A message of one person is a record of its own
//! ([`Event::Received`]); output of the employee is encrypted for everyone whose words the model was shown. All other records contain
//! only ids, numbers and references.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attachment::{AttachmentContent, AttachmentRef, Unread};
use crate::{
    ChannelKind, ConnectionId, ConversationRef, ErrorKind, Inbound, Outgoing, PersonId, Timestamp,
    TurnId,
    channel::{Find, Receipt},
    limit::{BudgetKey, Limited},
    llm::ModelAnswer,
    memory::Source,
    message::{ActorKind, Body},
    money::Price,
    tool::Effect,
    turn::{CloseReason, ConversationState, FallbackReason, ItemId, OpenItem, Outcome, SentVia},
};

/// The version of the record format that this build writes.
pub const RECORD_VERSION: u16 = 1;

/// The version of the state machine in this build. A turn is finished and replayed by the version that it began under.
pub const ENGINE_VERSION: u16 = 1;

/// One record of a conversation's log. The store assigns its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the format, see [`RECORD_VERSION`].
    pub v: u16,
    /// The turn.
    pub turn: TurnId,
    /// When it happened, by the driver's clock.
    pub at: Timestamp,
    /// Who caused it.
    pub cause: Cause,
    /// The persons to whose keys the record is sealed. It can be read while all of these keys exist.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
    /// What happened or was decided.
    pub entry: Entry,
}

impl Record {
    /// Creates a record of the current format that is not encrypted for anyone.
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

    /// Sets the persons that the record is encrypted for.
    #[must_use]
    pub fn sealed_to(mut self, persons: impl IntoIterator<Item = PersonId>) -> Self {
        self.persons = persons.into_iter().collect();
        self
    }

    /// Returns whether the record contains a message of a person or the employee or what was found in an attachment, or changes an
    /// earlier message.
    pub fn says_something(&self) -> bool {
        match &self.entry {
            Entry::Event(
                Event::Received(_) | Event::AttachmentRead { .. } | Event::Rendered { .. },
            )
            | Entry::Action(
                Action::SkipAttachment { .. }
                | Action::Send {
                    record: Some(_), ..
                },
            ) => true,
            Entry::Action(Action::Open(item)) => item.is_held(),
            _ => false,
        }
    }
}

/// Who caused a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The AI employee: the model's answers and the actions that follow from them.
    Employee,
    /// A person.
    Person(PersonId),
    /// A rule of the engine or a setting of the owner.
    Rule,
    /// An external system: a channel, a model provider or a tool.
    Vendor,
}

/// An event or an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Something happened.
    Event(Event),
    /// Something was decided.
    Action(Action),
}

/// An event of a turn: the input of [`step`](super::step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The turn began. [`Started::inputs`] is the number of [`Event::Received`] that follow.
    Started(Box<Started>),
    /// An accepted event became input to the turn.
    Received(Box<Input>),
    /// An attachment of an input was read, or cannot be read. Encrypted for the persons of the input.
    AttachmentRead {
        /// The attachment.
        attachment: AttachmentRef,
        /// The provider's id of the message that it belongs to.
        message: String,
        /// The sender's name; empty if unknown.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        /// What it contains.
        content: AttachmentContent,
    },
    /// An attempt to read an attachment failed.
    AttachmentFailed {
        /// The attachment.
        attachment: AttachmentRef,
        /// The reason.
        failure: Failure,
    },
    /// The process ended while an attachment was read.
    AttachmentLost {
        /// The number of the attempt.
        read: u32,
    },
    /// The content that the model will be shown was selected.
    Gathered(Gathered),
    /// The model answered.
    Answered {
        /// The number of the call.
        call: u32,
        /// The complete answer.
        answer: ModelAnswer,
    },
    /// A model call failed.
    CallFailed {
        /// The number of the call.
        call: u32,
        /// The reason.
        failure: Failure,
    },
    /// The process ended while a model call was open; its answer is lost.
    CallLost {
        /// The number of the call.
        call: u32,
    },
    /// A model call was not made.
    CallRefused {
        /// The number of the call.
        call: u32,
        /// The reason.
        reason: Refusal,
        /// The sum under whose cap it does not fit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cap: Option<BudgetKey>,
    },
    /// A model call was not made yet, because of a rate limit.
    CallLimited {
        /// The number of the call.
        call: u32,
        /// The limit.
        limited: Limited,
    },
    /// A tool returned.
    ToolReturned {
        /// The model's id of the call.
        id: String,
        /// The result that the model is shown.
        content: String,
        /// Whether the result is an error.
        error: bool,
    },
    /// The process ended while a tool ran that must not be repeated, or the tool timed out.
    ToolLost {
        /// The model's id of the call.
        id: String,
    },
    /// The inbox was read before another model call. As many [`Event::Received`] follow.
    InboxRead {
        /// The number of new events.
        inputs: u32,
    },
    /// The channel split the reply into the parts that it can send.
    Rendered {
        /// The parts, in order.
        parts: Vec<ReplyPart>,
        /// The remaining text of a reply that exceeds the maximum number of parts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<Outgoing>,
    },
    /// The provider accepted a part of the reply.
    SendDone {
        /// Its delivery key.
        key: String,
        /// The provider's receipt.
        receipt: Receipt,
        /// How the outcome is known.
        evidence: Evidence,
    },
    /// A part of the reply was definitely not sent.
    SendFailed {
        /// Its delivery key.
        key: String,
        /// The reason.
        failure: Failure,
    },
    /// It is unknown whether a part of the reply was accepted, because the response was lost or the process ended.
    SendAmbiguous {
        /// Its delivery key.
        key: String,
    },
    /// The provider reports that a part did not arrive.
    NotFound {
        /// Its delivery key.
        key: String,
    },
    /// The provider could not be queried about a part.
    FindFailed {
        /// Its delivery key.
        key: String,
        /// The reason.
        failure: Failure,
    },
    /// The time that the turn waited for was reached.
    Due,
    /// Persons whose words the model was shown were forgotten. Its output is discarded.
    Forgotten {
        /// The forgotten persons.
        persons: BTreeSet<PersonId>,
    },
}

/// Defines the JSON names of an enum's variants. A new variant does not compile without a name.
macro_rules! names {
    ($type:ident: $($variant:ident $name:literal),+ $(,)?) => {
        impl $type {
            /// The names of all variants in JSON.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Returns the variant's name in JSON.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

names!(Event:
    Started "started", Received "received", AttachmentRead "attachment_read", AttachmentFailed "attachment_failed",
    AttachmentLost "attachment_lost", Gathered "gathered", Answered "answered", CallFailed "call_failed",
    CallLost "call_lost", CallRefused "call_refused", CallLimited "call_limited", ToolReturned "tool_returned", ToolLost "tool_lost", InboxRead "inbox_read",
    Rendered "rendered", SendDone "send_done", SendFailed "send_failed", SendAmbiguous "send_ambiguous",
    NotFound "not_found", FindFailed "find_failed", Due "due", Forgotten "forgotten",
);

names!(Action:
    ReadAttachment "read_attachment", SkipAttachment "skip_attachment", Gather "gather", CallModel "call_model", CallTool "call_tool", SkipTool "skip_tool", Listen "listen", Reply "reply",
    Send "send", Find "find", Wait "wait", Open "open", Close "close", Finish "finish",
);

/// An action that a turn decides on: the output of [`step`](super::step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Fetch an attachment of an input and read it.
    ReadAttachment {
        /// The attachment.
        attachment: AttachmentRef,
        /// The number of the attempt among all of the turn, from 1.
        read: u32,
        /// The idempotency key of the transcription.
        key: String,
        /// The deadline.
        give_up_at: Timestamp,
    },
    /// An attachment is not read.
    SkipAttachment {
        /// The attachment.
        attachment: AttachmentRef,
        /// The reason.
        reason: Unread,
    },
    /// Select what the model will be shown.
    Gather,
    /// Call the model. The request is not recorded; it follows from the employee, [`Gathered`] and the earlier records.
    CallModel {
        /// The number of the call, from 1.
        call: u32,
        /// The idempotency key, which stays the same when the call is repeated after a crash.
        key: String,
        /// The maximum number of tokens that the answer may have.
        max_tokens: u32,
        /// The deadline of the call.
        give_up_at: Timestamp,
        /// Whether the images of the turn are left out, because the model refused a call with them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        without_images: bool,
    },
    /// Run a tool.
    CallTool {
        /// The model's id of the call.
        id: String,
        /// The name of the tool.
        name: String,
        /// The arguments, as the model wrote them.
        arguments: String,
        /// The tool's effect on the outside world.
        effect: Effect,
        /// The idempotency key that is passed to the tool.
        key: String,
    },
    /// A tool call that the model requested is not made.
    SkipTool {
        /// The model's id of the call.
        id: String,
        /// The result that the model is shown.
        content: String,
    },
    /// Read the inbox before another model call.
    Listen,
    /// Let the channel split a reply into parts.
    Reply {
        /// The source of the text.
        source: ReplySource,
    },
    /// Send a part of the reply.
    Send {
        /// Its delivery key.
        key: String,
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The index of the [`Event::Rendered`] that contains the part, if it belongs to an earlier turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<u64>,
        /// How it is sent.
        #[serde(default, skip_serializing_if = "SentVia::is_conversation")]
        via: SentVia,
        /// The deadline of the request. After it and the channel's grace period, the request can no longer be in flight.
        give_up_at: Timestamp,
    },
    /// Query the provider whether a part arrived.
    Find {
        /// Its delivery key.
        key: String,
        /// When the first attempt was recorded.
        since: Timestamp,
    },
    /// Wait. This is a record and a timer, not a running task.
    Wait {
        /// When the wait ends.
        until: Timestamp,
        /// What the turn waits for.
        reason: WaitReason,
    },
    /// Open an item for a person, or update an open one.
    Open(OpenItem),
    /// Close an open item.
    Close {
        /// The item.
        item: ItemId,
        /// The reason.
        reason: CloseReason,
    },
    /// End the turn.
    Finish {
        /// How it ended.
        outcome: Outcome,
    },
}

/// The first record of a turn. It pins everything that could change while the turn runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The version of the state machine.
    pub engine: u16,
    /// The version of the employee.
    pub employee: u32,
    /// The index of this record in the log.
    pub first: u64,
    /// The employee's model.
    pub model: PinnedModel,
    /// The channel of the conversation.
    pub channel: PinnedChannel,
    /// The connection.
    pub connection: ConnectionId,
    /// The conversation, as the channel names it.
    pub conversation: ConversationRef,
    /// The tools that exist and are granted, with their effects on the outside world.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Effect>,
    /// Whether the turn began outside the employee's hours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The number of inputs that follow.
    pub inputs: u32,
    /// The state that earlier turns left.
    #[serde(default)]
    pub state: ConversationState,
    /// The open questions of this conversation, which a reply closes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<ItemId>,
    /// The question that this turn answers again, or the item of the message that waited and may be sent now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<OpenItem>,
    /// The rate limit that delays the answer. The person gets a notice instead, and the answer later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
    /// The time by which the person should receive a reply.
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
    /// Its price at that time; `None` if unknown.
    pub price: Option<Price>,
}

/// The channel's capabilities when the turn began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedChannel {
    /// The kind of channel.
    pub kind: ChannelKind,
    /// How the channel reports whether a send arrived.
    pub find: Find,
    /// The timeout of a request, in milliseconds.
    pub timeout_ms: u64,
    /// How long after the timeout a request may still be carried out, in milliseconds.
    pub grace_ms: u64,
}

/// One accepted event as an input of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its number in the conversation's inbox.
    pub seq: u64,
    /// When it was accepted, by the store's clock.
    pub accepted_at: Timestamp,
    /// Whether an event with a later time was processed before this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The persons whose words it contains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// The open item that it answers or settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<OpenItem>,
    /// The index of the [`Event::Rendered`] that contains the message, if this event reports its failed delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<u64>,
    /// The event.
    pub event: Inbound,
}

impl Input {
    /// Returns whether it is a reply that a team member sent through the employee's channel.
    pub fn is_team_reply(&self) -> bool {
        let event = &self.event;
        matches!(event.body, Body::Proactive { .. }) && event.sender.kind == ActorKind::Operator
    }
}

/// References to the content that the model will be shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// The index of the first record of the history that is shown. The window is from there to the beginning of this turn.
    pub window_from: u64,
    /// The passages of knowledge, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knowledge: Vec<Cited>,
    /// Messages from before the window that are relevant to the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Cited>,
    /// Facts that are relevant to the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Cited>,
    /// The summary of the messages before the window, as the index of the first record that it does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<u64>,
    /// The messages that the inputs quote, as far as they were found in the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quoted: Vec<QuotedRecord>,
    /// The persons whose words any of this contains.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<PersonId>,
}

/// A reference to the record of a quoted message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedRecord {
    /// The provider's id of the message.
    pub message: String,
    /// The index of the [`Event::Received`] or [`Event::Rendered`] that contains it.
    pub record: u64,
    /// The delivery key of the part, if the employee sent the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// A reference to a passage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cited {
    /// Where the passage is stored.
    pub source: Source,
    /// How much of the question's weight it covers, from 0 to 1.
    pub coverage: f32,
}

/// A failure, reduced to what the turn's decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of error.
    pub kind: ErrorKind,
    /// How long the remote side asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// Creates a failure of a kind.
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
    /// The maximum cost of the call does not fit under the cap.
    OverBudget,
}

/// How the outcome of a send is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The response to the send request.
    Answer,
    /// The answer to a query.
    Query,
    /// An event in the inbox, which is consumed later.
    Event {
        /// Its number in the inbox.
        seq: u64,
    },
}

/// The source of a reply's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReplySource {
    /// The model's answer.
    Answer,
    /// A fixed phrase of the employee.
    Fixed(FallbackReason),
    /// The rest of an earlier reply, as the index of its [`Event::Rendered`].
    Rest(u64),
    /// The proactive message in the turn's input.
    Proactive,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitReason {
    /// To read an attachment again.
    AttachmentRetry,
    /// To call the model again.
    ModelRetry,
    /// For a rate limit to allow another model call.
    RateLimit,
    /// To repeat a send that definitely failed.
    SendRetry,
    /// For a connection whose credentials the provider refuses.
    Connection,
    /// Until a request can no longer be in flight.
    InFlight,
    /// For the provider's report about a send.
    Receipt,
    /// To query the provider again.
    FindRetry,
}

/// A part of a reply, with its delivery key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyPart {
    /// The delivery key.
    pub key: String,
    /// The content.
    pub what: Outgoing,
}
