//! Slack: webhooks, Socket Mode payloads and the Web API.

mod blocks;
mod client;
mod event;
mod form;
mod inbound;
mod interaction;
mod outbound;
pub(crate) mod signature;
mod text;
mod webhook;
pub(crate) mod wire;

pub use self::{
    inbound::{Envelope, decode, decode_envelope},
    outbound::{Slack, SlackBuilder, SlackIdentity},
    webhook::SlackWebhook,
};
