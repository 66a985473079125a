//! The hosted store under the conformance suites, and tests that it separates tenants.
//!
//! Needs a server, which `.ci/postgres` starts.

#![expect(
    clippy::unwrap_used,
    reason = "the short ways of a test fail as the test does"
)]

#[path = "../common/mod.rs"]
mod common;
mod connect;
mod cost;
mod counter;
mod database;
mod erase;
mod event;
mod graph;
mod isolation;
mod lanes;
mod many;
mod memory;
mod migrate;
mod rows;
mod shares;
mod statements;
mod store;
