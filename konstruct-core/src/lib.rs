//! Vocabulary, traits and the durable turn engine of Konstruct: AI employees in Slack and WhatsApp.

pub mod channel;
mod clock;
pub mod directory;
pub mod embed;
pub mod employee;
mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod id;
pub mod learn;
pub mod limit;
pub mod llm;
pub mod memory;
pub mod message;
pub mod money;
pub mod outgoing;
mod secret;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod tool;
pub mod turn;
pub mod workforce;

// Types of these crates are in signatures of this one.
pub use async_trait::async_trait;
pub use {bytes, futures_util, jiff, schemars, serde_json};

pub use self::{
    channel::Channel,
    clock::{Clock, SystemClock, Timestamp},
    directory::{Directory, LocalDirectory},
    embed::Embedder,
    employee::{Employee, EmployeeBuilder},
    error::{Error, ErrorKind, Result},
    id::{ConnectionId, ConversationId, DocumentId, EmployeeId, PersonId, TenantId, TurnId},
    llm::LlmBackend,
    memory::{
        Audience, Depth, Document, DocumentFormat, Erase, Hit, MemoryStore, NewDocument, Recall,
    },
    message::{AccountId, ChannelKind, ConversationRef, Inbound},
    money::NanoUsd,
    outgoing::Outgoing,
    secret::Secret,
    workforce::{Answer, Proactive, Workforce, WorkforceBuilder},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
