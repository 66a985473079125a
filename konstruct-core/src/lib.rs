//! AI employees for Slack, WhatsApp and your own app: the data types, the traits and the durable turn engine of Konstruct.
//!
//! An [`Employee`] has a name, a role, tools and a budget. It talks through [`Channel`]s, thinks with an [`LlmBackend`], remembers
//! with a [`MemoryStore`] and acts with [`Tool`](tool::Tool)s. The engine makes every turn durable: an accepted message is
//! input to exactly one turn, which ends with at most one reply, even if the process is killed in the middle.
//!
//! This crate has the traits and the engine, but no provider. You normally use it with `konstruct-memory`
//! (redb and PostgreSQL), `konstruct-llm` (OpenAI and compatible, Anthropic, Ollama) and `konstruct-channels` (Slack, WhatsApp).
//!
//! # Example
//! An employee in an app, without a channel. An app writes `Workforce::builder(Redb::open("ava.redb")?)`, which has a memory, and
//! `.model(Ollama::new("llama3.2"))`. Here, the store and the model are test doubles from the [test kit](testkit).
//!
//! ```
//! # #[cfg(feature = "testkit")] {
//! # use std::sync::Arc;
//! use konstruct_core::{Employee, SystemClock, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}};
//! use konstruct_core::tool::{Effect, ToolContext, ToolError, function};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Order { number: String }
//!
//! async fn status(_: ToolContext, order: Order) -> Result<String, ToolError> {
//!     Ok(format!("{} was shipped", order.number))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let store = ReferenceStore::new(Arc::new(SystemClock));
//! # let model = ScriptedModel::new(|_| ScriptedAnswer::text("Your order was shipped."));
//! let workforce = Workforce::builder_without_memory(store)
//!     .model(model)
//!     .tool(function("status", "Finds an order.", Effect::Read, status))
//!     .hire(Employee::builder("Ava").role("front desk of Acme Bikes").tool("status").build()?)
//!     .build()?;
//! let answer = workforce.ask("customer-7", "Where is order B-1042?").await?;
//! assert_eq!(answer.text, "Your order was shipped.");
//! # Ok::<(), konstruct_core::Error>(()) }).unwrap();
//! # }
//! ```
//!
//! # Where to look
//! | you want to | look at |
//! |---|---|
//! | ask an employee, send proactive messages, follow activities, decide on open items, read the costs | [`Workforce`] |
//! | serve many tenants, change employees while the program runs | [`LocalDirectory`], [`Workforce::for_tenant`] |
//! | connect Slack or WhatsApp | `konstruct_channels` |
//! | connect something else | [`Channel`], [`testkit::channel_suite`](testkit) |
//! | write a tool | [`tool`] |
//! | use another model | [`LlmBackend`], [`testkit::llm_suite`](testkit) |
//! | understand voice notes and files that people send | [`Transcriber`], [`DocumentReader`] |
//! | use your own database | [`store`], [`memory`] and their suites in the [test kit](testkit) |
//! | know the guarantees in case of failures | [`turn`] |
//!
//! The top level has the names that most programs need. Everything else is in a module named after its subject:
//!
//! | module | contents |
//! |---|---|
//! | [`workforce`], [`directory`], [`employee`] | the parts of an app |
//! | [`channel`], [`message`], [`outgoing`] | the `Channel` trait, incoming events, outgoing messages |
//! | [`llm`], [`embed`], [`money`], [`limit`] | models, embedders, prices and budgets |
//! | [`transcribe`], [`document`] | voice notes and files that people send |
//! | [`tool`] | tools, their registry and their context |
//! | [`memory`], [`learn`] | documents, facts and recall; learning from conversations |
//! | [`store`] | the storage of conversations, in four small traits |
//! | [`turn`] | the engine: state machine, records, driver, replay |
//! | `text` | feature `text`: text analysis for search |
//! | `http` | feature `http`: the HTTP client with its guard against requests to private addresses |
//! | `testkit` | feature `testkit`: conformance suites and test doubles |
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `text` | no | text analysis for search: terms, stems, languages |
//! | `http` | no | the HTTP client that the other crates use: rustls on ring, a guard for URLs that tenants supply |
//! | `testkit` | no | conformance suites for backends, an in-memory store, a scripted model, a virtual clock; for tests |
//!
//! # Facts for embedders
//! * **No process globals.** The crates have no registries, and static data is constant, so two workforces in one process are
//!   independent. They read no environment variables, except the proxy settings of the system (`HTTPS_PROXY` and the like) in the
//!   HTTP client.
//! * **Backends keep no conversation.** A model is shown everything it needs in each request, and a conversation has one worker at a
//!   time, by a lease. A backend can therefore be shared, replaced and restarted at any time.
//! * **Keys are explicit.** A backend uses the key that it was created with, and a pool chooses by tenant for each call. There is no
//!   fallback to the environment.
//! * **Ids are unique.** Tenants, turns and documents have UUIDs of version 7; conversations and people have keyed hashes, which are
//!   unique across tenants. The id of a connection is unique within its tenant. Each type has a prefix, such as `ten_`.
//! * **Cancelling is safe.** Dropping the future of [`Workforce::run`] has the effect of a crash: the next start continues where the
//!   log ends, and no effect starts after the drop.
//! * **Your types stay yours.** Types of `async_trait`, `bytes`, `futures_util`, `jiff`, `schemars` and `serde_json` that appear in
//!   signatures are re-exported. No type of reqwest or of a database does.

pub mod channel;
mod clock;
pub mod directory;
pub mod document;
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
#[cfg(feature = "text")]
pub mod text;
pub mod tool;
pub mod transcribe;
pub mod turn;
pub mod workforce;

// These crates have types in the public API of this one.
pub use async_trait::async_trait;
pub use {bytes, futures_util, jiff, schemars, serde_json};

pub use self::{
    channel::Channel,
    clock::{Clock, SystemClock, Timestamp},
    directory::{Directory, LocalDirectory},
    document::DocumentReader,
    embed::Embedder,
    employee::{Employee, EmployeeBuilder},
    error::{Error, ErrorKind, Result},
    id::{ConnectionId, ConversationId, DocumentId, EmployeeId, PersonId, TenantId, TurnId},
    llm::LlmBackend,
    memory::{
        Audience, Depth, Document, DocumentFormat, Erase, ExtractWarning, Hit, MemoryStore,
        NewDocument, Recall,
    },
    message::{AccountId, ChannelKind, ConversationRef, Inbound},
    money::NanoUsd,
    outgoing::Outgoing,
    secret::Secret,
    transcribe::Transcriber,
    workforce::{Answer, ProactiveMessage, Workforce, WorkforceBuilder},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
