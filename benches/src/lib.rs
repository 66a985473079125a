//! Benchmarks and stress tests of Konstruct. `README.md` describes how to run each of them, and the meaning of its figures.
//!
//! # Code map
//! * `audit` - finds where the fields of inbound payloads turn up in the decoded events.
//! * `corpus` - posts recorded payloads, as the vendors send them, through the real gateway into a real store.
//! * `server` - the built server as a child process: start, kill, query.
//! * `office` - the fake Slack, Graph API and model of such a server.
//! * `storm` - traffic that meets faults, and what was acknowledged; `chaos` - servers that are stopped, connections that are cut.
//! * `traffic` - the messages of the crash test and their deliveries; `sender` - delivery until acknowledgement.
//! * `verdict` - compares the store and the fakes after the crash test with the guarantees.
//! * `embedder` - a program that embeds Konstruct on PostgreSQL, which is compared with the server.
//! * `embedders` - the same small program written with Konstruct and with other libraries.
//! * `quick` - a model, a vendor and a sender with minimal cost; `process` - the resource use of a process.
//! * `prefill` - fills a store before the test.
//! * `distill` - distils a sentence encoder into a static table: the weights, the encoder, the main directions, the file.
//! * `pool` - the cost of the pool, compared with a bare HTTP client, other libraries and gateways.
//! * `recall` - long chats with questions, and the share of the evidence that a memory finds.
//! * `redis` - a Redis server that can be stopped and started.
//! * `search` - vectors, and the latency of several ways to search them, including other libraries.
//! * `search_files` - searches files for forbidden words.
//! * `store` - an empty store to measure: redb, PostgreSQL or the reference in memory.
//! * `staff` - an employee with a scripted model and channel, on such a store.
//! * `streams` - recorded answers of language models, and their content as plain JSON.
//! * `webhooks` - the acknowledgement times of a tenant's webhooks during other work.
//! * `dice` - seeded random numbers.

pub mod audit;
#[cfg(feature = "postgres")]
pub mod chaos;
pub mod corpus;
pub mod dice;
pub mod distill;
#[cfg(feature = "postgres")]
pub mod embedder;
pub mod embedders;
pub mod office;
pub mod pool;
pub mod prefill;
pub mod process;
pub mod quick;
pub mod recall;
pub mod redis;
pub mod search;
pub mod search_files;
pub mod sender;
pub mod server;
pub mod staff;
pub mod store;
pub mod storm;
pub mod streams;
pub mod traffic;
pub mod verdict;
pub mod webhooks;

/// The error of a benchmark that cannot continue.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;
