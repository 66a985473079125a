//! Webhook requests signed like the vendors', and deliveries like the vendors': repeated and out of order.

use std::time::Duration;

use konstruct_core::{
    Result, Secret, Timestamp,
    http::{Client, base_url},
};

use crate::{WebhookRequest, slack, whatsapp};

/// Returns Slack's signature (`v0=…`) of a body sent at that time, in seconds as text.
pub fn sign_slack(secret: &Secret, time: &str, body: &[u8]) -> String {
    slack::signature::sign(secret, time, body)
}

/// Returns Meta's signature (`sha256=…`) of a body.
pub fn sign_whatsapp(secret: &Secret, body: &[u8]) -> String {
    whatsapp::signature::sign(secret, body)
}

/// Builds a signed Slack request: JSON, or a form.
pub fn signed_slack(secret: &Secret, now: Timestamp, body: impl Into<Vec<u8>>) -> WebhookRequest {
    let body = body.into();
    let time = now.as_secs().to_string();
    let signature = sign_slack(secret, &time, &body);
    let media_type = if body.starts_with(b"{") {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    WebhookRequest::post(body)
        .with_header("content-type", media_type)
        .with_header("x-slack-request-timestamp", time)
        .with_header("x-slack-signature", signature)
}

/// Builds a signed Meta request.
pub fn signed_whatsapp(secret: &Secret, body: impl Into<Vec<u8>>) -> WebhookRequest {
    let body = body.into();
    let signature = sign_whatsapp(secret, &body);
    WebhookRequest::post(body)
        .with_header("content-type", "application/json")
        .with_header("x-hub-signature-256", signature)
}

/// Posts a request to a server's webhook and returns the status.
///
/// # Errors
/// If the server cannot be reached or does not respond within 10 seconds.
pub async fn deliver(url: &str, request: &WebhookRequest) -> Result<u16> {
    let client = Client::builder().timeout(Duration::from_secs(10)).build();
    let url = base_url("url", url)?;
    let mut post = client.post(url)?.body(request.body().clone());
    for (name, value) in request.headers() {
        post = post.header(name, value);
    }
    Ok(post.send().await?.status())
}

/// Repeats every item `times` times and shuffles them; the same seed gives the same order.
pub fn redelivered<T: Clone>(items: &[T], times: usize, seed: u64) -> Vec<T> {
    let mut all: Vec<T> = items
        .iter()
        .flat_map(|item| vec![item.clone(); times])
        .collect();
    let mut state = seed;
    for index in (1..all.len()).rev() {
        // Knuth's linear congruential generator, which is sufficient for shuffling.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = (state >> 33) as usize % (index + 1);
        all.swap(index, other);
    }
    all
}
