//! WhatsApp Business Cloud API: webhooks and the Graph API.

mod call;
mod client;
mod inbound;
mod message;
mod outbound;
pub(crate) mod signature;
mod status;
mod webhook;
mod wire;

pub use self::{
    inbound::decode,
    outbound::{WhatsApp, WhatsAppBuilder, WhatsAppIdentity},
    webhook::WhatsAppWebhook,
};
