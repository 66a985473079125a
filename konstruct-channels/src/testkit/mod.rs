//! Fake vendors and the conformance suite of decoding (feature `testkit`).
//!
//! | | |
//! |---|---|
//! | [`FakeSlack`], [`FakeGraph`] | real local servers that speak the vendors' protocols and misbehave on request |
//! | [`Fault`] | how they misbehave |
//! | [`signed_slack`], [`signed_whatsapp`] | webhooks as the vendors sign them |
//! | [`redelivered`], [`deliver`] | delivers them more often than once, out of order |
//! | [`decoding_suite`] | the laws that every decoder obeys |

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
