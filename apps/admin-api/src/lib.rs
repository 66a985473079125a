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
        ActivityKind, ApiToken, AttachmentPhrases, AuditEntry, AuditVerification, Connection,
        ConnectionState, Conversation, ConversationActivity, ConversationSummary, Crawl,
        CrawlCount, CrawlProblem, CrawlReport, CrawlState, CrawledAddress, Decided, Decision,
        DecisionForAll, Disconnection, DisconnectionState, Document, DocumentFormat,
        DocumentPassage, DocumentText, DocumentWarning, Employee, EmployeeLimits, EmployeeSettings,
        Erase, Erasure, Fact, FactSource, Holder, HoursException, IssuedApiToken, MemoryStatus,
        Message, NewApiToken, NewConnection, NewDocument, NewErasure, NewOwnModel, NewReply,
        NewTenant, NewWebsite, OpenSpan, OwnModel, Page, PersonalData, ProblemDetails, Question,
        Rate, RateLimits, Remains, Replay, RetentionSettings, Role, ScopeRates, Spend, SpendGroup,
        Tenant, TimeSpan, Turn, Unanswered, Unresolved, Website, WebsiteSettings, Who,
        WorkingHours,
    },
};
