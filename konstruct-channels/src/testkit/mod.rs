//! Fake vendors, and the conformance suite for decoders (feature `testkit`).
//!
//! | | |
//! |---|---|
//! | [`FakeSlack`], [`FakeGraph`] | real local servers that implement the vendors' protocols and misbehave on request |
//! | [`Fault`] | the faults of a fake vendor |
//! | [`signed_slack`], [`signed_whatsapp`] | webhook requests signed like the vendors' |
//! | [`redelivered`], [`deliver`] | repeated and out-of-order deliveries |
//! | [`decoding_suite`] | the guarantees of every decoder |

mod emit;
mod graph;
mod server;
mod slack;
mod suite;

pub use self::{
    emit::{deliver, redelivered, sign_slack, sign_whatsapp, signed_slack, signed_whatsapp},
    graph::{FakeGraph, GraphPost},
    server::Fault,
    slack::{FakeSlack, SlackPost},
    suite::decoding_suite,
};
