//! Slack and WhatsApp channels of Konstruct: webhooks, decoding, replies.
//!
//! A webhook request is verified over its raw bytes, decoded, routed to its tenant, stored durably, and only then acknowledged.
//! Decoding is total: an unknown event becomes a value, never an error. Every outbound error states whether the operation may
//! have taken effect.
//!
//! # Code map
//! | module | what it holds |
//! |---|---|
//! | [`webhook`] | the webhook trait: converts a request into a reply and events, without IO |
//! | [`gateway`] | inbound: verify, decode, route, store, acknowledge |
//! | [`slack`], [`whatsapp`] | `signature`, `inbound`, `webhook`; `wire`, `client`, `outbound`: the same names in both |
//! | `lenient_json` | lenient parsing of JSON |
//! | `markdown`, `choices` | models' Markdown, translated and split into parts; choices as text |
//! | `routes` | the gateway's routes for an axum app, and handlers of one's own |
//! | `media` | files from the provider's own hosts |
//! | `testkit` | fake vendors that misbehave on request, and the conformance suite for decoders |
//!
//! Deliberately absent: retries (the engine decides what may be repeated) and rate pacing.
//!
//! # Example
//! A Slack webhook request, verified and decoded:
//!
//! ```
//! use konstruct_channels::{Received, SlackWebhook, Webhook, WebhookRequest};
//! use konstruct_core::{Secret, Timestamp};
//!
//! let webhook = SlackWebhook::new(Secret::new("8f742231b10e8888abcd99yyyzzz85a5"))?;
//! let request = WebhookRequest::post(r#"{"type":"url_verification","challenge":"3eZb"}"#)
//!     .with_header("X-Slack-Request-Timestamp", "1531420618")
//!     .with_header("X-Slack-Signature", "v0=0000000000000000000000000000000000000000000000000000000000000000");
//!
//! let received = webhook.receive(&request, Timestamp::from_secs(1_531_420_618));
//! assert!(matches!(received, Received::Rejected(reply) if reply.status == 401));
//! # Ok::<(), konstruct_core::Error>(())
//! ```
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `slack` | yes | Slack: Events API, interactivity, slash commands, Socket Mode payloads, Web API |
//! | `whatsapp` | yes | WhatsApp Business Cloud API |
//! | `axum` | no | the gateway's routes for an axum app; `WebhookRequest` is an extractor, `HttpReply` a response |
//! | `testkit` | no | fake vendors and the conformance suite; for tests |

#[cfg(any(feature = "slack", feature = "whatsapp"))]
mod choices;
pub mod gateway;
#[cfg(any(feature = "slack", feature = "whatsapp"))]
mod lenient_json;
#[cfg(any(feature = "slack", feature = "whatsapp"))]
mod markdown;
#[cfg(any(feature = "slack", feature = "whatsapp"))]
mod media;
#[cfg(feature = "axum")]
mod routes;
#[cfg(feature = "slack")]
pub mod slack;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod webhook;
#[cfg(feature = "whatsapp")]
pub mod whatsapp;

#[cfg(feature = "axum")]
pub use self::routes::routes;
#[cfg(feature = "slack")]
pub use self::slack::{Slack, SlackBuilder, SlackWebhook};
#[cfg(feature = "whatsapp")]
pub use self::whatsapp::{WhatsApp, WhatsAppBuilder, WhatsAppWebhook};
pub use self::{
    gateway::{Gateway, GatewayCounts},
    webhook::{Decoded, HttpReply, Received, Webhook, WebhookRequest},
};

#[cfg(all(doctest, feature = "slack"))]
#[doc = include_str!("../README.md")]
struct Readme;
