//! Benchmarks and proofs of Konstruct, as programs: see `README.md` for how to run each and what its figures mean.
//!
//! # Code map
//! * `corpus` - payloads of a folder, sent as the vendors send them, through the real gateway into a real store.
//! * `server` - the built server as a child process: started, killed, asked.
//! * `office` - the fake Slack, Graph API and model that such a server is pointed at.
//! * `traffic` - what people say in the crash proof, and how it is delivered; `sender` - delivery until it is acknowledged.
//! * `verdict` - what is left in the store and at the fakes after the crash proof, held against the laws.
//! * `embedder` - an embedder's program on PostgreSQL, which is measured beside the server.
//! * `quick` - a model, a vendor and a sender that cost next to nothing; `process` - what a process uses.
//! * `prefill` - a store that is large before anything begins.
//! * `distill` - a sentence encoder into a static table: the weights, the encoder, the main directions, the file.
//! * `pool` - what the pool costs, beside a bare HTTP client, other libraries and gateways.
//! * `recall` - long chats with questions, through a store, and which share of the evidence is found.
//! * `search` - vectors, and how long each way to search them takes, the others included.
//! * `search_files` - words in files that must not be there.
//! * `store` - an empty store to measure: redb, PostgreSQL or the reference in memory.
//! * `staff` - an employee with a scripted model and channel, on such a store.
//! * `streams` - recorded answers of language models, and what they say as plain JSON.
//! * `webhooks` - how long webhooks of a tenant take while something else goes on.
//! * `dice` - random numbers that a seed decides.

pub mod corpus;
pub mod dice;
pub mod distill;
#[cfg(feature = "postgres")]
pub mod embedder;
pub mod office;
pub mod pool;
pub mod prefill;
pub mod process;
pub mod quick;
pub mod recall;
pub mod search;
pub mod search_files;
pub mod sender;
pub mod server;
pub mod staff;
pub mod store;
pub mod streams;
pub mod traffic;
pub mod verdict;
pub mod webhooks;

/// What a bench ends with when it cannot go on.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;
