//! Published payloads, if they are stored beside the project or at `KONSTRUCT_CORPUS`: all of them decode, and every documented
//! event gets a type.

use std::{fs, path::PathBuf};

use konstruct_channels::{
    Received, SlackWebhook, Webhook as _, WebhookRequest, WhatsAppWebhook, slack, testkit, whatsapp,
};
use konstruct_core::{Inbound, Secret, Timestamp, message::Body};
use serde_json::Value;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Types that the providers themselves call unsupported or unknown, or that are in no reference.
const UNKNOWN: &[&str] = &["unknown", "unsupported", "unknown_field_xyz"];

fn read(name: &str) -> Option<String> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("KONSTRUCT_CORPUS").map_or_else(beside, PathBuf::from);
    fs::read_to_string(folder.join(name)).ok()
}

fn payloads(name: &str) -> Vec<String> {
    let rows = read(name).unwrap_or_default();
    let payload = |row: &str| {
        let row: Value = serde_json::from_str(row).expect("a row is JSON");
        row["payload"].to_string()
    };
    rows.lines().map(payload).collect()
}

fn check(name: &str, events: &[Inbound], payload: &str) {
    for event in events {
        assert!(!event.id.is_empty(), "{name}: no id: {payload}");
        if let Body::Unsupported { kind, .. } = &event.body {
            assert!(
                UNKNOWN.contains(&kind.as_str()),
                "{name}: {kind} is unknown: {payload}"
            );
        }
    }
}

#[test]
fn slack_payloads_are_typed() {
    for name in [
        "slack_events.jsonl",
        "slack_interactions.jsonl",
        "slack_slash_commands.jsonl",
        "slack_app_rate_limited.jsonl",
    ] {
        for payload in payloads(name) {
            let decoded = slack::decode(payload.as_bytes(), NOW);
            assert_eq!(decoded.undecodable, 0, "{name}: {payload}");
            assert!(!decoded.events.is_empty(), "{name}: {payload}");
            check(name, &decoded.events, &payload);
        }
    }
    for payload in payloads("slack_socket_envelopes.jsonl") {
        let envelope = slack::decode_envelope(payload.as_bytes(), NOW).expect("an envelope");
        assert_eq!(envelope.decoded.events.len(), 1, "{payload}");
        check(
            "slack_socket_envelopes.jsonl",
            &envelope.decoded.events,
            &payload,
        );
    }
}

#[test]
fn slack_handshakes_are_answered() {
    let secret = Secret::new("s");
    let webhook = SlackWebhook::new(secret.clone()).unwrap();
    for payload in payloads("slack_url_verification.jsonl") {
        let request = testkit::signed_slack(&secret, NOW, payload.clone());
        assert!(
            matches!(webhook.receive(&request, NOW), Received::Reply(_)),
            "{payload}"
        );
    }
}

#[test]
fn whatsapp_payloads_are_typed() {
    for payload in payloads("whatsapp_webhooks.jsonl") {
        let decoded = whatsapp::decode(payload.as_bytes(), NOW);
        assert_eq!(decoded.undecodable, 0, "{payload}");
        let empty = payload.contains(r#""entry":[]"#);
        assert_eq!(decoded.events.is_empty(), empty, "{payload}");
        check("whatsapp_webhooks.jsonl", &decoded.events, &payload);
    }
}

#[test]
fn metas_own_signature_verifies() {
    let Some(vector) = read("meta_signed_webhook.json") else {
        return;
    };
    let vector: Value = serde_json::from_str(&vector).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    let webhook = WhatsAppWebhook::new(Secret::new(text("app_secret")), Secret::new("t")).unwrap();
    let request =
        WebhookRequest::post(text("body")).with_header("X-Hub-Signature-256", text("signature"));
    let Received::Events(decoded, _) = webhook.receive(&request, NOW) else {
        panic!("Meta's own signature was rejected")
    };
    assert!(matches!(&decoded.events[0].body, Body::Message { .. }));
}
