//! The employee: settings, limits and working hours.

use konstruct_core::EmployeeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cap;

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
    /// The most that may be spent, at most one cap for each scope and period. Under caps, models without a known price are not used.
    /// A new cap counts what is spent from then on, except that of the tenant's month.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Cap>,
    /// Its reply when it cannot answer. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Its reply when the model does not answer in time and the answer will follow later. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// Its reply when a cap leaves no money for an answer. Absent: the default.
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
