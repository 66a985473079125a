//! Types and typed client of the Konstruct admin API, shared by the server, the console and the tests.
//!
//! # Code map
//! * `types` - the request and response types; `openapi` - the operations in one table, and the document generated from it.
//! * `client` (feature `client`) - one method per operation.

#[cfg(feature = "client")]
mod client;
mod openapi;
mod types;

#[cfg(feature = "client")]
pub use self::client::Client;
pub use self::{
    openapi::openapi,
    types::{
        AttachmentPhrases, Connection, ConnectionState, Conversation, ConversationSummary, Crawl,
        CrawlCount, CrawlProblem, CrawlReport, CrawlState, CrawledAddress, Decided, Decision,
        DecisionForAll, Document, DocumentFormat, DocumentPassage, DocumentText, DocumentWarning,
        Employee, EmployeeLimits, EmployeeSettings, Erase, Erasure, Fact, FactSource, Holder,
        HoursException, MemoryStatus, Message, NewConnection, NewDocument, NewErasure, NewOwnModel,
        NewReply, NewTenant, NewWebsite, OpenSpan, OwnModel, Page, ProblemDetails, Question, Rate,
        RateLimits, Remains, Replay, ScopeRates, Tenant, TimeSpan, Turn, Unanswered, Unresolved,
        Website, WebsiteSettings, WorkingHours,
    },
};
