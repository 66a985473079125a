//! Conversations, their turns, and open questions.

use konstruct_core::{ConnectionId, ConversationId, PersonId, TurnId, outgoing::Choices};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A conversation, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationSummary {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ConversationId,
    /// Its connection.
    #[schemars(with = "String")]
    pub connection: ConnectionId,
    /// The channel's id of the conversation; absent after the person of a direct conversation was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The number of records in its log.
    pub records: u64,
    /// The number of events waiting in its inbox.
    pub waiting: u64,
    /// The time of its last event or record, RFC 3339.
    pub updated_at: String,
    /// Who answers in it.
    pub holder: Holder,
    /// When the team member who holds it last wrote, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
}

/// Something that happened in a conversation, as an event of the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationActivity {
    /// What happened.
    pub kind: ActivityKind,
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The turn.
    #[schemars(with = "String")]
    pub turn: TurnId,
    /// The index of its record in the conversation's log.
    pub record: u64,
    /// When, RFC 3339.
    pub at: String,
}

/// What happened in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    /// The employee has received a message or another event.
    Received,
    /// The employee has written a reply.
    Written,
    /// A part of a reply was sent.
    Sent,
    /// A part of a reply was not sent, or it is unknown whether it was.
    NotSent,
    /// The turn has ended.
    Finished,
}

/// A conversation with its turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// The conversation's id.
    #[schemars(with = "String")]
    pub id: ConversationId,
    /// The participants, identified by hashes.
    #[schemars(with = "Vec<String>")]
    pub persons: Vec<PersonId>,
    /// Who answers in it.
    pub holder: Holder,
    /// When it returns to the employee by itself, RFC 3339, if a team member holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
    /// Its turns, the oldest first.
    pub turns: Vec<Turn>,
}

/// Who answers in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The employee.
    Employee,
    /// A team member, who replied through the API or in the phone app. The employee is silent.
    Team,
}

/// A reply of a team member in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReply {
    /// The text as Markdown, 1 to 20,000 characters.
    pub text: String,
    /// An id of your choice, up to 200 characters. A reply with an id that was used before is not sent again. Absent: a random
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Its id.
    #[schemars(with = "String")]
    pub id: TurnId,
    /// The time at which it started, RFC 3339.
    pub started_at: String,
    /// The version of the employee that the turn uses.
    pub employee_version: u32,
    /// Its outcome: `replied`, `silent`, `held` (silent, because a team member holds the conversation) or `asked`; `open` until it
    /// ends.
    pub outcome: String,
    /// Its messages, in order.
    pub messages: Vec<Message>,
    /// The number of its records.
    pub records: u64,
}

/// A message of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// `person`, `bot`, `colleague` or `employee`.
    pub from: String,
    /// The sender's name in the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text: Markdown in a message of the employee.
    pub text: String,
    /// The choices of an employee's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// The time of the message, RFC 3339.
    pub at: String,
    /// The delivery state of an employee's message: `sending`, `sent`, `delivered`, `read`, `unresolved` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// The result of replaying a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Whether all decisions were identical, byte for byte.
    pub same: bool,
    /// The number of compared decisions.
    pub actions: usize,
    /// The first difference: the recorded and the new decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<(String, String)>,
}

/// A question that waits for a person of the business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its key.
    pub key: String,
    /// `passed_on`, `unresolved`, `failed`, `not_delivered`, `unanswered`, `rest`, `held` for a message that waits until the
    /// conversation is handed back, or `cap_reached` for a cap that leaves no money for answers.
    pub kind: String,
    /// The conversation; absent for a cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub conversation: Option<ConversationId>,
    /// The person's question, the employee's text that was not delivered or waits, or the cap and what is spent.
    pub text: String,
    /// Since when it is open, RFC 3339; absent for a cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The possible decisions: `arrived`, `resend`, `answer`, `drop`, `done`, or `raise`, which needs the role `admin`.
    pub choices: Vec<String>,
}

/// A person's decision about a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// One of the question's choices.
    pub decision: String,
    /// With `raise`: the new cap in billionths of a US dollar. Absent: twice the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
}

/// One decision for all questions of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionForAll {
    /// The kind of question: `unresolved`, `failed`, `not_delivered`, `unanswered`, `rest` or `held`.
    pub kind: String,
    /// One of the choices for questions of this kind.
    pub decision: String,
}

/// The number of decided questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// The number.
    pub questions: u64,
}
