//! The three webhooks of a Slack app, which share their secret and their decoding.

use konstruct_core::{Result, Secret, Timestamp};

use super::{
    inbound::{Payload, Source, decode},
    interaction,
    signature::Verifier,
};
use crate::{Decoded, HttpReply, Received, Webhook, WebhookRequest};

/// Verifies and decodes what Slack sends to an app: events, interactions and slash commands, on one address or on three.
#[derive(Clone, Debug)]
pub struct SlackWebhook(Verifier);

impl SlackWebhook {
    /// Makes it with the app's signing secret.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if the secret is empty.
    pub fn new(signing_secret: Secret) -> Result<Self> {
        Verifier::new(signing_secret).map(Self)
    }
}

impl Webhook for SlackWebhook {
    fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received {
        if !self.0.verify(request, now) {
            return Received::Rejected(HttpReply::empty(401));
        }
        let attempt = request.header("x-slack-retry-num");
        let redelivery = attempt.and_then(|text| text.parse().ok()).unwrap_or(0);
        match Payload::read(request.body()) {
            Payload::Handshake(challenge) => {
                let body = serde_json::json!({ "challenge": challenge });
                Received::Reply(HttpReply::json(body.to_string()))
            }
            Payload::SslCheck => Received::Reply(HttpReply::empty(200)),
            Payload::Json { raw, value, kind } => {
                let reply = if interaction::wants_options(&value) {
                    HttpReply::json(r#"{"options":[]}"#)
                } else {
                    HttpReply::empty(200)
                };
                let source = Source::new(&raw, &value, now, redelivery);
                Received::Events(source.decode(kind), reply)
            }
            Payload::Deep(_) => {
                Received::Events(decode(request.body(), now), HttpReply::empty(200))
            }
            Payload::Unreadable => Received::Events(Decoded::undecodable(), HttpReply::empty(200)),
        }
    }
}
