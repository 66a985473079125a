//! The stores against the conformance suites, and tests of their own.

#![expect(
    clippy::unwrap_used,
    reason = "the short ways of a test fail as the test does"
)]

mod backup;
mod broken;
#[path = "../common/mod.rs"]
mod common;
mod erase;
mod follow;
#[cfg(feature = "testkit")]
mod foreign;
mod kill;
#[cfg(feature = "testkit")]
mod lanes;
#[cfg(feature = "testkit")]
mod learn;
#[cfg(feature = "testkit")]
mod memory;
mod paid;
#[cfg(unix)]
mod permissions;
mod rows;
mod seal;
mod shares;
mod store;
#[cfg(feature = "testkit")]
mod thread;
#[cfg(feature = "testkit")]
mod voice;
