//! The webhook of a WhatsApp app: the handshake, and all of Meta's reports.

use konstruct_core::{Error, Result, Secret, Timestamp};

use super::{
    inbound::decode,
    signature::{Verifier, signature},
};
use crate::{HttpReply, Received, Webhook, WebhookRequest};

/// Verifies and decodes Meta's requests to an app.
#[derive(Clone, Debug)]
pub struct WhatsAppWebhook {
    verifier: Verifier,
    verify_token: Secret,
}

impl WhatsAppWebhook {
    /// Creates the webhook with the app's secret and the verify token that was entered next to the webhook's URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if either is empty.
    pub fn new(app_secret: Secret, verify_token: Secret) -> Result<Self> {
        if verify_token.is_empty() {
            return Err(Error::invalid("verify_token", "must not be empty"));
        }
        Ok(Self {
            verifier: Verifier::new(app_secret)?,
            verify_token,
        })
    }

    /// Answers Meta's one-time verification of the URL.
    fn handshake(&self, request: &WebhookRequest) -> HttpReply {
        let given = request.parameter("hub.verify_token").unwrap_or_default();
        let expected = self.verifier.same(&given, self.verify_token.expose());
        let subscribe = request.parameter("hub.mode").as_deref() == Some("subscribe");
        match request.parameter("hub.challenge") {
            Some(challenge) if subscribe && expected => HttpReply::text(challenge),
            _ => HttpReply::empty(403),
        }
    }
}

impl Webhook for WhatsAppWebhook {
    fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received {
        if request.is_get() {
            return Received::Reply(self.handshake(request));
        }
        if !self.verifier.verify(request) {
            return Received::Rejected(HttpReply::empty(401));
        }
        Received::Events(decode(request.body(), now), HttpReply::empty(200))
    }

    fn refuse_head(&self, head: &WebhookRequest, _: Timestamp) -> Option<HttpReply> {
        let refused = !head.is_get() && signature(head).is_none();
        refused.then(|| HttpReply::empty(401))
    }
}
