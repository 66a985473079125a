//! The request and response types, resource by resource.

mod access;
mod budget;
mod connection;
mod conversation;
mod document;
mod employee;
mod member;
mod memory;
mod spend;
mod website;

use konstruct_core::{ConnectionId, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    access::{ApiToken, AuditEntry, AuditVerification, IssuedApiToken, NewApiToken, Role, Who},
    budget::{Budget, Budgets, Cap, CapScope, Period, RaisedCap},
    connection::{Connection, ConnectionState, NewConnection, NewOwnModel, OwnModel},
    conversation::{
        ActivityKind, Conversation, ConversationActivity, ConversationSummary, Decided, Decision,
        DecisionForAll, Holder, Message, NewReply, Question, Replay, Turn,
    },
    document::{
        Document, DocumentFormat, DocumentPassage, DocumentText, DocumentWarning, NewDocument,
    },
    employee::{
        AttachmentPhrases, Employee, EmployeeLimits, EmployeeSettings, HoursException, OpenSpan,
        Rate, RateLimits, ScopeRates, TimeSpan, Unresolved, WorkingHours,
    },
    member::{
        Account, Invitation, IssuedInvitation, Member, MemberRole, NewInvitation, NewSignInLink,
        Session, SessionKind, SignInLink, TenantAccess,
    },
    memory::{
        Erase, Erasure, Fact, FactSource, MemoryStatus, NewErasure, PersonalData, Remains,
        Unanswered,
    },
    spend::{Spend, SpendGroup},
    website::{
        Crawl, CrawlCount, CrawlProblem, CrawlReport, CrawlState, CrawledAddress, NewWebsite,
        Website, WebsiteSettings,
    },
};

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
    /// When it was cancelled, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<String>,
    /// When it is erased, RFC 3339, unless the cancellation is withdrawn before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_at: Option<String>,
    /// What became of the connections of a cancelled tenant at their vendors; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disconnections: Vec<Disconnection>,
}

/// How long the words of a tenant's conversations are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// After how many days they are erased, 1 to 3,650: records of ended turns, their attachments, and the passages, summaries and
    /// facts that derive only from them. Absent: they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub days: Option<u16>,
}

/// The disconnection of a cancelled tenant's connection at its vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disconnection {
    /// The connection.
    #[schemars(with = "String")]
    pub connection: ConnectionId,
    /// `slack` or `whatsapp`.
    pub channel: String,
    /// The provider's id of the account.
    pub account: String,
    /// Its state.
    pub state: DisconnectionState,
    /// How often the vendor was asked.
    pub attempts: u32,
    /// The vendor's last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// The state of a disconnection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectionState {
    /// The vendor has not answered yet; it is asked again, at growing intervals.
    Waiting,
    /// The vendor has disconnected it: Slack has revoked the token, Meta has unsubscribed the app from the business account.
    Done,
    /// Another tenant uses a number of the same business account, so the app stays subscribed to it.
    Shared,
    /// The vendor refused, as `detail` says. Remove the app there by hand.
    Failed,
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
    /// The resource as it is now, if `If-Match` named another version (status 412).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<serde_json::Value>,
    /// The body that was sent with that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<serde_json::Value>,
}
