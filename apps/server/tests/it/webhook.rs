//! Webhooks: accepted only if signed, stored only if the account is known.

use konstruct_channels::{
    WebhookRequest,
    testkit::{Fault, signed_slack, signed_whatsapp},
};
use konstruct_core::{Clock as _, Secret, SystemClock};
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Server, get, secret};

async fn nothing_is_kept(server: &Server) {
    let conversations = server.admin().conversations(BUSINESS_TENANT, None).await;
    assert!(conversations.unwrap().items.is_empty());
    let accepted = "konstruct_events_total{outcome=\"accepted\"}";
    assert_eq!(server.metric(accepted).await, Some(0.0));
}

#[tokio::test]
async fn a_wrong_signature_is_rejected_and_nothing_is_stored() {
    let office = Office::open().await;
    let server = office.start().await;
    let (whatsapp, slack) = (
        office.graph.message(NUMBER, CUSTOMER, "hello"),
        office.slack.message("D1", "U1", "hello"),
    );
    let other = Secret::new("another secret");
    let now = SystemClock.now();
    let early = konstruct_core::Timestamp::from_secs(now.as_secs() - 3_600);
    let ours = secret();
    let rejected_reply = [
        ("whatsapp", signed_whatsapp(&other, whatsapp.clone())),
        ("whatsapp", WebhookRequest::post(whatsapp)),
        ("slack/events", signed_slack(&other, now, slack.clone())),
        (
            "slack/interactions",
            signed_slack(&other, now, slack.clone()),
        ),
        ("slack/commands", signed_slack(&other, now, slack.clone())),
        // A request signed an hour ago is a replay.
        ("slack/events", signed_slack(&ours, early, slack.clone())),
        ("slack/events", WebhookRequest::post(slack)),
    ];
    for (webhook, request) in &rejected_reply {
        assert_eq!(server.deliver(webhook, request).await, 401, "{webhook}");
    }
    nothing_is_kept(&server).await;
    let counted = server
        .metric("konstruct_webhooks_refused_total{reason=\"signature\"}")
        .await;
    assert_eq!(counted, Some(rejected_reply.len() as f64));
}

#[tokio::test]
async fn an_unknown_account_is_acknowledged_and_dropped() {
    let office = Office::open().await;
    let server = office.start().await;
    let whatsapp = office.graph.message("999", CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&whatsapp).await, 200);
    let slack = String::from_utf8(office.slack.message("D1", "U1", "hello")).unwrap();
    let slack = slack.replace("\"T1\"", "\"T9\"");
    assert_eq!(server.slack(slack.as_bytes()).await, 200);
    nothing_is_kept(&server).await;
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(2.0));
}

#[tokio::test]
async fn handshakes_are_answered() {
    let office = Office::open().await;
    let server = office.start().await;
    let query = |token: &str| {
        format!(
            "{}/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=42&hub.verify_token={token}",
            server.url
        )
    };
    assert_eq!(get(&query("verify")).await, (200, "42".into()));
    assert_eq!(get(&query("guessed")).await.0, 403);
    let body = br#"{"type":"url_verification","challenge":"3eZb"}"#;
    assert_eq!(server.slack(body).await, 200);
}

#[tokio::test]
async fn unreadable_webhooks_are_acknowledged() {
    let office = Office::open().await;
    let server = office.start().await;
    for body in [b"{\"entry\":[".as_slice(), b"", b"\xff\xfe", b"[]", b"null"] {
        assert_eq!(server.whatsapp(body).await, 200);
        assert_eq!(server.slack(body).await, 200);
    }
    nothing_is_kept(&server).await;
}

#[tokio::test]
async fn a_workspace_stays_known_after_a_restart() {
    let office = Office::open().await;
    let server = office.start().await;
    server.kill().await;
    office.slack.plan("auth.test", Fault::Delay(60_000));
    let server = office.start().await;
    let ours = String::from_utf8(office.slack.message("D1", "U1", "hello")).unwrap();
    let theirs = ours.replace("\"T1\"", "\"T2\"");
    assert_eq!(server.slack(theirs.as_bytes()).await, 200);
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(1.0));
}
