//! Types and typed client of the Konstruct admin API, shared by the server, the console and the tests.
//!
//! # Code map
//! * `types` - the request and response types.
//! * `operations` - the operations in one table; `openapi` - the document generated from it.
//! * `client` (feature `client`) - one method per operation.

#[cfg(feature = "client")]
mod client;
mod openapi;
mod operations;
mod types;

#[cfg(feature = "client")]
pub use self::client::Client;
pub use self::{
    openapi::openapi,
    operations::{OPERATIONS, Operation},
    types::{
        Account, ActivityKind, ApiToken, AttachmentPhrases, AuditEntry, AuditVerification, Budget,
        Budgets, Cap, CapScope, Connection, ConnectionState, Conversation, ConversationActivity,
        ConversationSummary, Crawl, CrawlCount, CrawlProblem, CrawlReport, CrawlState,
        CrawledAddress, Decided, Decision, DecisionForAll, Disconnection, DisconnectionState,
        Document, DocumentFormat, DocumentPassage, DocumentText, DocumentWarning, Employee,
        EmployeeLimits, EmployeeSettings, Erase, Erasure, Fact, FactSource, Holder, HoursException,
        Invitation, IssuedApiToken, IssuedInvitation, Member, MemberRole, MemoryStatus, Message,
        NewApiToken, NewConnection, NewDocument, NewErasure, NewInvitation, NewOwnModel, NewReply,
        NewSignInLink, NewTenant, NewWebsite, OpenSpan, OwnModel, Page, Period, PersonalData,
        ProblemDetails, Question, RaisedCap, Rate, RateLimits, Remains, Replay, RetentionSettings,
        Role, ScopeRates, Session, SessionKind, SignInLink, Spend, SpendGroup, Tenant,
        TenantAccess, TimeSpan, Turn, Unanswered, Unresolved, Website, WebsiteSettings, Who,
        WorkingHours,
    },
};
