//! The request and response types, resource by resource.

use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, EmployeeId, PersonId, TenantId, TurnId,
    id::{FactId, WebsiteId},
    outgoing::Choices,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The value of `after` for the next page; absent on the last page.
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

/// The settings of an employee to hire or to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmployeeSettings {
    /// Its name, 1 to 80 characters.
    pub name: String,
    /// Its job, 1 to 500 characters.
    pub role: String,
    /// Its manner of speaking, up to 4,000 characters.
    #[serde(default)]
    pub persona: String,
    /// The parts of the business that it may talk about, up to 2,000 characters.
    #[serde(default)]
    pub scope: String,
    /// Instructions in the owner's words, up to 20,000 characters: what to ask first, what never to promise, when to hand over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// The sampling temperature of its answers, 0 to 2; models that have none ignore it. Absent: the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The languages in which it answers, as BCP 47 tags; the first is the default.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Its working hours. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<WorkingHours>,
    /// The tools that it may use.
    #[serde(default)]
    pub tools: Vec<String>,
    /// The maximum cost of its model calls per calendar month (UTC), in billionths of a US dollar. Absent: no cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cap_nano_usd: Option<u64>,
    /// Its reply when it cannot answer. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Its reply when the model does not answer in time and the answer will follow later. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// Its reply when the monthly cap leaves no money for an answer. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_reached: Option<String>,
    /// Its notice that a rate limit delays the answer. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// Its reply to a message that it cannot read, such as a poll; of several in a row, only the first is answered. Absent: the
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Its replies to attachments that it cannot read. Absent: the defaults.
    #[serde(default)]
    pub attachments: AttachmentPhrases,
    /// The limits of one turn. Absent: the defaults.
    #[serde(default)]
    pub limits: EmployeeLimits,
    /// The limits on how often it answers. Absent: the defaults.
    #[serde(default)]
    pub rates: RateLimits,
    /// How to handle a send with an unknown outcome.
    #[serde(default)]
    pub unresolved: Unresolved,
}

/// An employee's replies to messages that consist only of attachments it cannot read; absent fields have their default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentPhrases {
    /// To a voice message or a recording, if no transcriber is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_listen: Option<String>,
    /// To a recording in which nobody speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nothing_heard: Option<String>,
    /// To an image or a video that the model cannot see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_see: Option<String>,
    /// To a file that cannot be read, for example because it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_read: Option<String>,
    /// To a file that is too large, or to too many files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_large: Option<String>,
    /// To a file that could not be downloaded or transcribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_received: Option<String>,
}

/// The limits of one turn; absent fields have their default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmployeeLimits {
    /// The maximum number of tokens of one answer, 1 to 100,000. Default: 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u32>,
    /// Seconds until a person is informed that the answer will come later, at least 5. Default: 45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_secs: Option<u32>,
    /// Seconds during which the employee later answers a question by itself that it could not answer at once; 0: never. Default:
    /// 14,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_age_secs: Option<u32>,
    /// Seconds after a team member's last message in a conversation for which the employee is silent there, unless the conversation
    /// is handed back; 0: a team member's message does not silence it. Default: 43,200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_secs: Option<u32>,
    /// The maximum number of messages of one reply, 1 to 50; the rest is offered. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_parts: Option<u32>,
}

/// The limits on how often an employee answers; absent fields have their default. A message beyond a limit is answered when the limit
/// allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// The turns: a burst of messages in a conversation is one turn.
    #[serde(default)]
    pub turns: ScopeRates,
    /// The model calls of the turns.
    #[serde(default)]
    pub model_calls: ScopeRates,
    /// The most seconds that a message waits without a notice to the person, at most 3,600. Default: 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_secs: Option<u32>,
    /// The fewest seconds between two notices in a conversation, 60 to 86,400. Default: 900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_secs: Option<u32>,
}

/// The rates of one kind of request; absent fields have their default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeRates {
    /// One person, in all conversations. Default: 120 in 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Rate>,
    /// One conversation. Default: 240 in 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Rate>,
    /// One connected account. Default: 6,000 in 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Rate>,
    /// The tenant. Default: 12,000 in 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Rate>,
}

/// A number of requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The number of requests, at most 1,000,000; 0: no limit.
    pub count: u32,
    /// The time in seconds, 1 to 86,400.
    pub per_secs: u32,
}

/// How to handle a send with an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unresolved {
    /// A person decides.
    #[default]
    Ask,
    /// It is sent again after the deadline, even though it may then arrive twice.
    Resend,
}

/// The working hours of an employee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkingHours {
    /// The IANA time zone, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The open spans of the week, at most 100; other days are closed.
    pub open: Vec<OpenSpan>,
    /// The dates with other hours, such as holidays, at most 400. Dates in the past have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<HoursException>,
    /// The reply outside working hours. Empty: the employee answers normally, and knows that the business is closed.
    #[serde(default)]
    pub closed_message: String,
}

/// A span of a weekday.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSpan {
    /// The weekday on which the span begins: 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// `HH:MM`, inclusive.
    pub from: String,
    /// `HH:MM`, exclusive; `24:00` is the end of the day. A time before `from` is on the next day.
    pub to: String,
}

/// A date whose hours are not those of its weekday. They replace the spans that begin on the date; a span that began on the day
/// before continues to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoursException {
    /// The date in the time zone of the hours, `YYYY-MM-DD`.
    pub date: String,
    /// The open spans. Empty: closed.
    #[serde(default)]
    pub open: Vec<TimeSpan>,
    /// The name of the day, such as `Christmas Day`, up to 80 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A span of a date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeSpan {
    /// `HH:MM`, inclusive.
    pub from: String,
    /// `HH:MM`, exclusive; `24:00` is the end of the day. A time before `from` is on the next day.
    pub to: String,
}

/// A tenant's employee.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Employee {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EmployeeId,
    /// The version of its settings, from 1.
    pub version: u32,
    /// Its settings.
    pub settings: EmployeeSettings,
}

/// A tenant's own language model at a provider, to add or to replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwnModel {
    /// `anthropic`, `openai` (Chat Completions and compatible servers), `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The tenant's API key at the provider. It is never returned.
    #[serde(default)]
    pub api_key: String,
    /// The provider's URL, if it differs from the default: `https`, and reachable from the public internet.
    #[serde(default)]
    pub base_url: Option<String>,
    /// `quality` for replies, `fast` for summaries and facts; both if absent.
    #[serde(default)]
    pub purpose: Option<String>,
}

/// A tenant's own language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnModel {
    /// Its name, chosen by the tenant.
    pub name: String,
    /// `anthropic`, `openai`, `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The provider's URL, if it differs from the default.
    pub base_url: Option<String>,
    /// `quality` or `fast`; both if absent.
    pub purpose: Option<String>,
    /// The last characters of the API key, to identify it.
    pub key_end: String,
    /// Whether its price is known. Under a monthly cap, a model without a price is not used.
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
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// The bot token or access token. It is never returned.
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
    /// The display name.
    pub name: String,
    /// The last characters of the token, to identify it.
    pub token_end: String,
    /// Its state.
    pub state: ConnectionState,
    /// Why it is paused, such as `unauthorized` or `quota_exhausted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is paused or disconnected, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// The provider has not confirmed yet that the account belongs to the tenant. The server keeps asking; until then, the
    /// account's events are not the tenant's.
    Pending,
    /// It receives and sends.
    Active,
    /// It receives events, but sends nothing until the reason is resolved.
    Paused,
    /// The provider has ended it; connect the account again.
    Disconnected,
}

/// A knowledge document to add. It replaces the document with the same title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Its title, 1 to 200 characters, which answers name as their source.
    pub title: String,
    /// Its format.
    pub format: DocumentFormat,
    /// The document as text, at most 1 MiB. Set either this or `content`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The document's bytes in Base64, for example of a PDF or a Word document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Its source for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The time from which it is no longer recalled, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl NewDocument {
    /// Creates a document from a text.
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

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    /// Paragraphs, separated by blank lines.
    Text,
    /// Markdown. In an FAQ, each heading is a question.
    Markdown,
    /// A web page.
    Html,
    /// A PDF that contains text.
    Pdf,
    /// A Word document.
    Docx,
    /// A workbook of Excel.
    Xlsx,
    /// A spreadsheet of OpenDocument.
    Ods,
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
    /// Its format.
    pub format: DocumentFormat,
    /// The newest version, from 1.
    pub version: u32,
    /// The number of its chunks.
    pub chunks: u32,
    /// When this version was added, RFC 3339.
    pub updated_at: String,
    /// Its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The time from which it is no longer recalled, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The website of which it is a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub website: Option<WebsiteId>,
}

/// A knowledge document with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentText {
    /// The document.
    pub document: Document,
    /// The text of this version.
    pub text: String,
    /// Its passages, as the employee finds and quotes them.
    pub passages: Vec<DocumentPassage>,
    /// What its owner should look at.
    pub warnings: Vec<DocumentWarning>,
}

/// A passage of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentPassage {
    /// The name that answers cite: the document's title and the heading.
    pub source: String,
    /// The heading or question above it; empty if there is none.
    pub heading: String,
    /// The text.
    pub text: String,
}

/// What the owner of a document should look at. Passages are counted from 0, pages from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DocumentWarning {
    /// Two passages have the same text.
    Duplicate {
        /// The first of them.
        first: u32,
        /// The other one.
        second: u32,
    },
    /// Two passages have headings of the same words and different texts, which may contradict each other.
    SameHeading {
        /// The first of them.
        first: u32,
        /// The other one.
        second: u32,
    },
    /// Pages of a PDF without text. They may be scans.
    PagesWithoutText {
        /// Their numbers.
        pages: Vec<u32>,
    },
    /// Pages of a PDF with letters that could not be read, because their fonts do not say which they are.
    PagesWithUnknownLetters {
        /// Their numbers.
        pages: Vec<u32>,
    },
    /// Pages of a PDF with so many letters that the rest of them is missing.
    PagesCut {
        /// Their numbers.
        pages: Vec<u32>,
    },
}

/// A website to add as a source of knowledge. Its pages become documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebsite {
    /// The address of its start page, such as `https://acme.example`. Pages of the same host are read.
    pub url: String,
}

/// A website, a source of knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Website {
    /// Its id.
    #[schemars(with = "String")]
    pub id: WebsiteId,
    /// The address of its start page.
    pub url: String,
    /// When it was added, RFC 3339.
    pub created_at: String,
    /// The number of pages that the employee can answer from.
    pub pages: usize,
    /// The last crawl.
    pub crawl: Crawl,
}

/// A crawl of a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Crawl {
    /// Its state.
    pub state: CrawlState,
    /// When it was requested, RFC 3339.
    pub requested_at: String,
    /// When it was started last, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How often the server ended before the crawl did. It is restarted up to two times.
    pub interruptions: u32,
    /// What it did so far. While it waits, the report of the crawl before.
    pub report: CrawlReport,
}

/// The state of a crawl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CrawlState {
    /// It waits for other crawls.
    Waiting,
    /// It runs.
    Running,
    /// The server ended before it; it is restarted soon, unless that happened three times.
    Interrupted,
    /// It has ended. `report.problem` says if something is missing.
    Finished,
    /// It read nothing; the pages of the crawl before remain. `report.problem` says why; if it is absent, the server's log does.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What a crawl did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlReport {
    /// The number of requests.
    pub requests: usize,
    /// The number of bytes received.
    pub bytes: usize,
    /// The number of addresses that still wait to be read; at the end, of those that a limit left over.
    pub waiting: usize,
    /// The number of pages that are new or have changed.
    pub read: usize,
    /// The number of pages that have not changed.
    pub unchanged: usize,
    /// The number of pages that ended because they are gone.
    pub ended: usize,
    /// The addresses that were not read, by reason.
    pub skipped: Vec<CrawlCount>,
    /// The addresses that could not be read, by reason. Pages that were read before keep their last version.
    pub failed: Vec<CrawlCount>,
    /// Whether every address was looked at. Otherwise a page to which nothing leads does not end.
    pub complete: bool,
    /// Why nothing, or not everything, was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<CrawlProblem>,
    /// What became of single addresses, at most 500; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<CrawledAddress>,
}

/// A number of addresses with the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlCount {
    /// The reason: `robots`, `no_index`, `other_host`, `type`, `too_large`, `duplicate`, `redirect`, `too_deep`, `too_many_alike`,
    /// `empty`, `empty_without_java_script`, `login`, `refused`, `not_found` or `unreadable`; of a failure `unreachable`,
    /// `timed_out`, `interrupted`, `status`, `busy`, `redirect`, `encoding` or `same_answer`.
    pub reason: String,
    /// The number of addresses.
    pub count: usize,
}

/// Why nothing, or not everything, was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlProblem {
    /// The reason, such as `robots_disallow` or `page_limit`.
    pub reason: String,
    /// What it means, and what to do.
    pub text: String,
}

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawledAddress {
    /// The address.
    pub url: String,
    /// `read`, `unchanged`, `ended`, `skipped` or `failed`.
    pub outcome: String,
    /// Why it was skipped or failed, as in `skipped` and `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the reason does not say, such as a status code or the address of the same page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

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
    /// `passed_on`, `unresolved`, `failed`, `not_delivered`, `unanswered`, `rest`, or `held` for a message that waits until the
    /// conversation is handed back.
    pub kind: String,
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The person's question, or the employee's text that was not delivered or waits.
    pub text: String,
    /// Since when it is open, RFC 3339.
    pub since: String,
    /// The possible decisions: `arrived`, `resend`, `answer`, `drop`, `done`.
    pub choices: Vec<String>,
}

/// A person's decision about a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// One of the question's choices.
    pub decision: String,
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

/// RFC 9457 problem details, the format of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetails {
    /// `about:blank`, because the status is the type of the problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status text.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The problem and, where possible, its solution.
    pub detail: String,
    /// The invalid field of the input, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Statistics about a tenant's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStatus {
    /// The number of conversation records.
    pub records: u64,
    /// The number of records in the full-text index.
    pub indexed: u64,
    /// The number of passages of messages, facts and documents.
    pub passages: u64,
    /// The number of passages in the semantic index.
    pub embedded: u64,
}

/// A question without an answer in the documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unanswered {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record with the question.
    pub index: u64,
    /// The question.
    pub text: String,
    /// When it was asked, RFC 3339.
    pub at: String,
}

/// A learned fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// Its id.
    #[schemars(with = "String")]
    pub id: FactId,
    /// The fact.
    pub text: String,
    /// Its topic, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The quotes that support the fact.
    pub sources: Vec<FactSource>,
    /// The time from which it is valid, RFC 3339.
    pub valid_from: String,
}

/// A quote that supports a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactSource {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record.
    pub index: u64,
    /// The quote.
    pub quote: String,
}

/// An erasure to perform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// The data to erase.
    pub what: Erase,
    /// Whether to remove the data from the store's own files too, which takes as long as copying them.
    #[serde(default)]
    pub physical: bool,
}

/// The data to erase.
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
    /// A person: all data that contains their words.
    Person {
        /// The person.
        #[schemars(with = "String")]
        person: PersonId,
    },
}

/// The result of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// The time of the erasure, RFC 3339.
    pub at: String,
    /// The number of records and waiting events that can no longer be read.
    pub records: u64,
    /// The number of passages that are no longer found.
    pub passages: u64,
    /// The number of erased facts.
    pub facts: u64,
    /// The number of destroyed keys.
    pub keys: u64,
    /// The data that remains, with its number and expiry.
    pub remains: Vec<Remains>,
}

/// Data that remains after an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remains {
    /// The kind of data, such as `sealed_records`, `wrapped_keys` or `vectors`.
    pub what: String,
    /// The number, if it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When it expires.
    pub until: String,
}
