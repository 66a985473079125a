//! Delivers webhooks like the vendors: signed again for each attempt, and repeated until acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use konstruct_channels::{
    WebhookRequest,
    testkit::{signed_slack, signed_whatsapp},
};
use konstruct_core::{Clock as _, Secret, SystemClock};
use tokio::sync::Semaphore;

use crate::Failed;

/// The pause between two attempts. Vendors wait longer, which would only prolong the benchmark.
const RETRY: Duration = Duration::from_millis(40);

/// Creates a client that connects only to this machine.
///
/// # Errors
/// TLS cannot be set up, although it is never used.
pub fn client() -> Result<reqwest::Client, Failed> {
    let tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()?
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(Duration::from_secs(10));
    Ok(client.build()?)
}

/// The vendor of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Slack.
    Slack,
    /// WhatsApp.
    WhatsApp,
}

/// Delivers webhooks to a server. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    bases: Arc<[String]>,
    next: Arc<AtomicUsize>,
    secret: Secret,
    at_once: Arc<Semaphore>,
}

impl Sender {
    /// Creates a sender for the servers at these addresses, which get the attempts in turn; both vendors sign with the same secret.
    ///
    /// # Errors
    /// As [`client`].
    pub fn new(bases: Vec<String>, secret: Secret) -> Result<Self, Failed> {
        Ok(Self {
            client: client()?,
            bases: bases.into(),
            next: Arc::default(),
            secret,
            at_once: Arc::new(Semaphore::new(64)),
        })
    }

    /// Delivers a body until it is answered with 200. Returns the number of attempts.
    pub async fn deliver(&self, vendor: Vendor, body: &[u8]) -> u32 {
        for attempt in 1.. {
            // The permit is released while waiting for the next attempt.
            let permit = self.at_once.acquire().await;
            let answered = self.once(vendor, body).await;
            drop(permit);
            if answered {
                return attempt;
            }
            tokio::time::sleep(RETRY).await;
        }
        u32::MAX
    }

    async fn once(&self, vendor: Vendor, body: &[u8]) -> bool {
        let (path, request): (_, WebhookRequest) = match vendor {
            Vendor::Slack => (
                "/webhooks/slack/events",
                signed_slack(&self.secret, SystemClock.now(), body),
            ),
            Vendor::WhatsApp => ("/webhooks/whatsapp", signed_whatsapp(&self.secret, body)),
        };
        let base = &self.bases[self.next.fetch_add(1, Relaxed) % self.bases.len()];
        let mut post = self.client.post(format!("{base}{path}"));
        for (name, value) in request.headers() {
            post = post.header(name, value);
        }
        let answer = post.body(request.body().clone()).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }
}
