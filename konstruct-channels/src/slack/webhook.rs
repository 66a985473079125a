//! The three webhooks of a Slack app, which share their secret and decoding.

use konstruct_core::{Result, Secret, Timestamp};

use super::{
    inbound::{Payload, Source, decode},
    interaction,
    signature::{Verifier, recent_signature},
};
use crate::{Decoded, HttpReply, Received, Webhook, WebhookRequest};

/// Verifies and decodes Slack's requests to an app: events, interactions and slash commands, on one URL or on three.
#[derive(Clone, Debug)]
pub struct SlackWebhook(Verifier);

impl SlackWebhook {
    /// Creates the webhook with the app's signing secret.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if the secret is empty.
    pub fn new(signing_secret: Secret) -> Result<Self> {
        Verifier::new(signing_secret).map(Self)
    }
}

impl Webhook for SlackWebhook {
    fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received {
        // Slack does not sign this request, and it contains nothing that needs verification.
        if is_ssl_check(request.body()) {
            return Received::Reply(HttpReply::empty(200));
        }
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

    fn refuse_head(&self, head: &WebhookRequest, now: Timestamp) -> Option<HttpReply> {
        let length = head
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let may_be_ssl_check = length.is_some_and(|length: usize| length <= LONGEST_SSL_CHECK);
        let refused = !may_be_ssl_check && recent_signature(head, now).is_none();
        refused.then(|| HttpReply::empty(401))
    }
}

/// The longest certificate check, in bytes.
const LONGEST_SSL_CHECK: usize = 256;

/// Recognises Slack's certificate check: a short form with `ssl_check=1` and the deprecated token.
fn is_ssl_check(body: &[u8]) -> bool {
    body.len() <= LONGEST_SSL_CHECK
        && form_urlencoded::parse(body).any(|(key, value)| key == "ssl_check" && value == "1")
        && form_urlencoded::parse(body).all(|(key, _)| matches!(&*key, "ssl_check" | "token"))
}
