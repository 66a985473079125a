//! Delivers webhooks as the vendors do: signed, over HTTP, and repeated until acknowledged.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_core::{Clock as _, Result, Secret, SystemClock, http::Client};
use serde_json::Value;
use sha2::Sha256;

use crate::secrets;

/// The number of attempts to deliver a webhook, and the first wait between two attempts.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Delivers to the server's own webhooks.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    http: Client,
    base: String,
    signing_secret: Secret,
    app_secret: Secret,
}

impl Delivery {
    pub(super) fn new(base: String, signing_secret: Secret, app_secret: Secret) -> Result<Self> {
        // It delivers only over loopback.
        let http = Client::builder().direct().timeout(Duration::from_secs(10));
        let http = http.build();
        http.prepare()?;
        Ok(Self {
            http,
            base,
            signing_secret,
            app_secret,
        })
    }

    /// Delivers a Slack event. Returns whether it was acknowledged.
    pub(super) async fn slack(&self, payload: &Value) -> bool {
        let body = payload.to_string();
        self.post("/webhooks/slack/events", body, |body| {
            let timestamp = SystemClock.now().as_secs().to_string();
            let signed = format!("v0:{timestamp}:{body}");
            let signature = format!("v0={}", hex_hmac(&self.signing_secret, signed.as_bytes()));
            vec![
                ("x-slack-request-timestamp", timestamp),
                ("x-slack-signature", signature),
            ]
        })
        .await
    }

    /// Delivers a WhatsApp webhook. Returns whether it was acknowledged.
    pub(super) async fn whatsapp(&self, payload: &Value) -> bool {
        let body = payload.to_string();
        self.post("/webhooks/whatsapp", body, |body| {
            let signature = format!("sha256={}", hex_hmac(&self.app_secret, body.as_bytes()));
            vec![("x-hub-signature-256", signature)]
        })
        .await
    }

    async fn post(
        &self,
        path: &str,
        body: String,
        sign: impl Fn(&str) -> Vec<(&'static str, String)>,
    ) -> bool {
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let sent = async {
                let url = format!("{}{path}", self.base);
                let request = self.http.post(url)?;
                let request = request.header("content-type", "application/json");
                let signed = sign(&body).into_iter();
                let request = signed.fold(request, |request, (name, value)| {
                    request.header(name, value)
                });
                request.body(body.clone()).send().await
            };
            match sent.await {
                Ok(answer) if answer.is_success() => return true,
                Ok(answer) => tracing::warn!(
                    status = answer.status(),
                    "the server rejected a simulated webhook"
                ),
                Err(error) => tracing::warn!(%error, "could not deliver a simulated webhook"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        false
    }
}

pub(super) fn hex_hmac(secret: &Secret, bytes: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("any key length");
    mac.update(bytes);
    hex::encode(mac.finalize().into_bytes())
}

/// Creates an unguessable id.
///
/// # Errors
/// If the system's random number generator fails.
pub(super) fn random(prefix: &str) -> Result<String> {
    let bytes = secrets::random::<12>()?;
    Ok(format!("{prefix}{}", hex::encode(bytes)))
}
