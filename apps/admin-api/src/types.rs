//! What goes over the wire, resource by resource.

use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, EmployeeId, PersonId, TenantId, TurnId, id::FactId,
    outgoing::Choices,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the items that follow; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A tenant to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Its name, 1 to 100 characters.
    pub name: String,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    /// Its id.
    #[schemars(with = "String")]
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// When it was created, RFC 3339.
    pub created_at: String,
}

/// An employee to hire, or what it is to be from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmployeeSettings {
    /// Its name, 1 to 80 characters.
    pub name: String,
    /// What it is employed as, 1 to 500 characters.
    pub role: String,
    /// How it speaks, up to 4,000 characters.
    #[serde(default)]
    pub persona: String,
    /// What of the business it may talk about, up to 2,000 characters.
    #[serde(default)]
    pub scope: String,
    /// The languages it answers in, as BCP 47 tags, the first by default.
    #[serde(default)]
    pub languages: Vec<String>,
    /// When it works. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<WorkingHours>,
    /// The tools that it may use.
    #[serde(default)]
    pub tools: Vec<String>,
    /// What its model calls may cost in a calendar month (UTC), in billionths of a US dollar. Absent: no cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cap_nano_usd: Option<u64>,
    /// What it says when it cannot answer. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What it says when the model does not answer in time: it will answer by itself later. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// How far one turn may go. Absent: the defaults.
    #[serde(default)]
    pub limits: EmployeeLimits,
    /// What becomes of a send that nobody can tell the outcome of.
    #[serde(default)]
    pub unresolved: Unresolved,
}

/// How far one turn of an employee may go; what is absent is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmployeeLimits {
    /// Tokens of one answer, 1 to 100,000. Default: 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u32>,
    /// Seconds after which a person is told that the answer will come later, at least 5. Default: 45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_secs: Option<u32>,
    /// Seconds for which the employee answers a question by itself that it could not answer at once; 0: never. Default: 14,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_age_secs: Option<u32>,
    /// Messages of one reply, 1 to 50; the rest is offered. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_parts: Option<u32>,
}

/// What becomes of a send that nobody can tell the outcome of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unresolved {
    /// A person is asked.
    #[default]
    Ask,
    /// It is sent again after the deadline, even if it may then arrive twice.
    Resend,
}

/// When an employee works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkingHours {
    /// IANA name of the time zone, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The open spans; days that are not named are closed.
    pub open: Vec<OpenSpan>,
    /// What to say outside of them. Empty: answer all the same.
    #[serde(default)]
    pub closed_message: String,
}

/// A span of a weekday.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSpan {
    /// 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// `HH:MM`, inclusive.
    pub from: String,
    /// `HH:MM`, exclusive.
    pub to: String,
}

/// A tenant's employee.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Employee {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EmployeeId,
    /// Which version of its settings this is, from 1.
    pub version: u32,
    /// Its settings.
    pub settings: EmployeeSettings,
}

/// A language model of a tenant's own account at a provider, to add or to replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwnModel {
    /// `anthropic`, `openai` (Chat Completions and compatible servers), `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// The tenant's key at the provider. It is never shown again.
    #[serde(default)]
    pub api_key: String,
    /// Where the provider is, if not at its own address: `https`, and reachable from the public internet.
    #[serde(default)]
    pub base_url: Option<String>,
    /// `quality` for what people read, `fast` for summaries and facts; without it, for both.
    #[serde(default)]
    pub purpose: Option<String>,
}

/// A language model of a tenant's own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnModel {
    /// Its name, which is the tenant's to choose.
    pub name: String,
    /// `anthropic`, `openai`, `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// Where the provider is, if not at its own address.
    pub base_url: Option<String>,
    /// `quality` or `fast`; without it, for both.
    pub purpose: Option<String>,
    /// The end of the key, to tell it by.
    pub key_end: String,
    /// Whether its price is known. Under a monthly cap, a model without a price is not asked.
    pub priced: bool,
}

/// A connection to add: one Slack workspace or one WhatsApp number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// `slack` or `whatsapp`.
    pub channel: String,
    /// The provider's id: a Slack team (`T…`), a WhatsApp phone number id.
    pub account: String,
    /// The name to show.
    #[serde(default)]
    pub name: String,
    /// The bot token or access token. It is never shown again.
    pub token: String,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ConnectionId,
    /// `slack` or `whatsapp`.
    pub channel: String,
    /// The provider's id.
    pub account: String,
    /// The name to show.
    pub name: String,
    /// The end of the token, to tell it by.
    pub token_end: String,
    /// Whether it can be used.
    pub state: ConnectionState,
    /// Why it is paused, such as `unauthorized` or `quota_exhausted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is paused or disconnected, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// The provider has not confirmed yet that the account is the tenant's. It is asked again; until then, the account's events
    /// are not the tenant's.
    Pending,
    /// It receives and sends.
    Active,
    /// It receives, and sends nothing until the reason is gone.
    Paused,
    /// The provider has ended it: connect the account again.
    Disconnected,
}

/// A knowledge document to add. An equal title replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Its title, 1 to 200 characters: what an answer names as its source.
    pub title: String,
    /// How to read it.
    pub format: DocumentFormat,
    /// The document as text, at most 1 MiB. Either this or `content` is given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The document's bytes in Base64, such as those of a PDF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where it is from, for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// From when on it is not recalled any more, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl NewDocument {
    /// Makes a document of a text.
    pub fn text(title: impl Into<String>, format: DocumentFormat, text: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            format,
            text: text.into(),
            content: None,
            url: None,
            expires_at: None,
        }
    }
}

/// How to read a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    /// Paragraphs, parted by blank lines.
    Text,
    /// Markdown. In an FAQ a heading is a question.
    Markdown,
    /// A web page.
    Html,
    /// A PDF with text in it.
    Pdf,
    /// Comma-separated values with a row of column names: each row is a passage.
    Csv,
    /// Pairs of questions and answers: `Q:` and `A:` lines, or a JSON array of objects with `question` and `answer`.
    Faq,
}

/// A knowledge document, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Its id.
    #[schemars(with = "String")]
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// How it is read.
    pub format: DocumentFormat,
    /// The newest version, from 1.
    pub version: u32,
    /// How many chunks it has.
    pub chunks: u32,
    /// When this version was added, RFC 3339.
    pub updated_at: String,
    /// Where it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// From when on it is not recalled any more, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A knowledge document with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentText {
    /// The document.
    pub document: Document,
    /// The text of this version.
    pub text: String,
}

/// A conversation, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationSummary {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ConversationId,
    /// The connection that it is held through.
    #[schemars(with = "String")]
    pub connection: ConnectionId,
    /// What the channel calls it; absent when the person of a direct conversation was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How many records its log has.
    pub records: u64,
    /// How many events wait in its inbox.
    pub waiting: u64,
    /// When something last came in or was written, RFC 3339.
    pub updated_at: String,
}

/// A conversation with its turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// The conversation's id.
    #[schemars(with = "String")]
    pub id: ConversationId,
    /// The people who take part, as the hashes that they are known by.
    #[schemars(with = "Vec<String>")]
    pub persons: Vec<PersonId>,
    /// Its turns, the oldest first.
    pub turns: Vec<Turn>,
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Its id.
    #[schemars(with = "String")]
    pub id: TurnId,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// The version of the employee that it is pinned to.
    pub employee_version: u32,
    /// How it ended: `replied`, `silent` or `asked`; `open` while it has not.
    pub outcome: String,
    /// What was said, in order.
    pub messages: Vec<Message>,
    /// How many records it has.
    pub records: u64,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// `person`, `bot`, `colleague` or `employee`.
    pub from: String,
    /// Who, as the channel names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text: Markdown in a message of the employee.
    pub text: String,
    /// What the person can choose from, in a message of the employee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// When, RFC 3339.
    pub at: String,
    /// How far the employee's message came: `sending`, `sent`, `delivered`, `read`, `unresolved` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// What came of replaying a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Whether every decision was the same, byte for byte.
    pub same: bool,
    /// How many decisions were compared.
    pub actions: usize,
    /// The first that differs: what was recorded, and what was decided now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<(String, String)>,
}

/// Something that waits for a person of the business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its key.
    pub key: String,
    /// `passed_on`, `unresolved`, `failed`, `not_delivered`, `unanswered` or `rest`.
    pub kind: String,
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// What was asked, or what the employee tried to say.
    pub text: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What can be decided about it: `arrived`, `resend`, `answer`, `drop`, `done`.
    pub choices: Vec<String>,
}

/// A person's decision about a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// One of the question's choices.
    pub decision: String,
}

/// One decision about all questions of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionForAll {
    /// The kind of question: `unresolved`, `failed`, `not_delivered`, `unanswered` or `rest`.
    pub kind: String,
    /// One of the choices that questions of this kind have.
    pub decision: String,
}

/// How many questions were decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// The number.
    pub questions: u64,
}

/// RFC 9457 problem details: every error looks like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetails {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// The field of the input that is wrong, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What a tenant's employee remembers, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStatus {
    /// How many records of conversations there are.
    pub records: u64,
    /// How many of them can be found by their words.
    pub indexed: u64,
    /// How many passages there are: of messages, facts and documents.
    pub passages: u64,
    /// How many of them can be found by their meaning.
    pub embedded: u64,
}

/// Something that was asked and that no document answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unanswered {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record that holds the question.
    pub index: u64,
    /// The question.
    pub text: String,
    /// When it was asked, RFC 3339.
    pub at: String,
}

/// A fact that was learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// Its id.
    #[schemars(with = "String")]
    pub id: FactId,
    /// What is so.
    pub text: String,
    /// What it is about, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The words that it stands on.
    pub sources: Vec<FactSource>,
    /// From when on it holds, RFC 3339.
    pub valid_from: String,
}

/// Words that a fact stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactSource {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record.
    pub index: u64,
    /// The words.
    pub quote: String,
}

/// Something to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// What.
    pub what: Erase,
    /// Whether it is to be gone from the store's own files too, which takes as long as copying them.
    #[serde(default)]
    pub physical: bool,
}

/// What to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Erase {
    /// One message.
    Message {
        /// The conversation.
        #[schemars(with = "String")]
        conversation: ConversationId,
        /// The index of the record.
        index: u64,
    },
    /// One conversation.
    Conversation {
        /// The conversation.
        #[schemars(with = "String")]
        conversation: ConversationId,
    },
    /// A person: everything that holds words of theirs.
    Person {
        /// The person.
        #[schemars(with = "String")]
        person: PersonId,
    },
}

/// What was forgotten, and what remains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// When, RFC 3339.
    pub at: String,
    /// How many records and waiting events can no longer be read.
    pub records: u64,
    /// How many passages are no longer found.
    pub passages: u64,
    /// How many facts went.
    pub facts: u64,
    /// How many keys were destroyed.
    pub keys: u64,
    /// What remains, how many, and until when.
    pub remains: Vec<Remains>,
}

/// Something that an erasure leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remains {
    /// What, such as `sealed_records`, `wrapped_keys` or `vectors`.
    pub what: String,
    /// How many, if that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Until when.
    pub until: String,
}
