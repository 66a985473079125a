//! Vocabulary, traits and the durable turn engine of Konstruct: AI employees in Slack and WhatsApp.

mod channel;
mod clock;
mod directory;
mod embed;
mod employee;
mod error;
#[cfg(feature = "http")]
pub mod http;
mod id;
pub mod learn;
pub mod limit;
pub mod llm;
pub mod memory;
mod message;
mod money;
mod outgoing;
mod secret;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod tool;
pub mod turn;
mod workforce;

pub use self::{
    channel::{Capabilities, Channel, Find, FindQuery, Op, Receipt},
    clock::{Clock, SystemClock, Timestamp},
    directory::{ConnectionState, ConnectionStates, Directory, Route, Staff},
    embed::{EmbedContext, EmbedKind, Embedder, PaidEmbedder},
    employee::{
        Employee, EmployeeBuilder, MidTurn, OpenSpan, Phrases, TurnLimits, Unresolved, WorkingHours,
    },
    error::{Error, ErrorKind, Result},
    id::{
        ConnectionId, ConversationId, DocumentId, EmployeeId, FactId, PersonId, TenantId, TurnId,
        WorkerId,
    },
    llm::{
        Ability, BlockKind, CacheLifetime, CallContext, Effort, Finish, LlmBackend, LlmBackendExt,
        Media, ModelAnswer, ModelEvent, ModelInfo, ModelMessage, ModelRequest, ModelStream,
        OnBreak, OutputSchema, Part, Passage, Purpose, Role, ToolCall, ToolChoice, ToolSpec,
    },
    memory::{
        Audience, ChannelRef, Depth, Document, DocumentFormat, Erase, ErasureReceipt, Fact,
        FactOwner, FactStore, Facts, Hit, IndexProgress, KnowledgeStore, Language, Mark,
        MemoryArchive, MemoryStore, Neighbour, NewDocument, NewFact, NewSummary, Quote, Recall,
        Remains, Remembered, Remnant, SaidBy, Scope, Signals, Source, Summary, SummaryStore,
        Unanswered, Until,
    },
    message::{
        AccountId, Actor, ActorKind, Addressing, Attachment, AttachmentKind, Body, ChannelKind,
        Content, ConversationKind, ConversationRef, Decision, DeliveryState, IdKind, Inbound,
        Lifecycle, ProviderError, Quoted, Referral, RoutedEvent,
    },
    money::{Basis, LedgerRow, NanoUsd, Price, PriceTier, Rates, Usage},
    outgoing::{Choice, Choices, Outgoing, Rendered},
    secret::Secret,
    workforce::{Workforce, WorkforceBuilder},
};
