//! Slack and WhatsApp channels of Konstruct: webhooks, decoding, replies.

pub mod gateway;
mod http;
mod loose;
mod markdown;
mod media;
pub mod slack;
mod webhook;
pub mod whatsapp;

pub use self::{
    gateway::{Gateway, GatewayCounts},
    slack::{Slack, SlackWebhook},
    webhook::{Decoded, HttpReply, Received, Webhook, WebhookRequest},
    whatsapp::{WhatsApp, WhatsAppWebhook},
};
