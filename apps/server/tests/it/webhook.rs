//! What comes in: believed if it is signed, kept if it is somebody's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::{join, join_all};
use konstruct_channels::{
    WebhookRequest,
    testkit::{Fault, signed_slack, signed_whatsapp},
};
use konstruct_core::{Clock as _, Secret, SystemClock};
use konstruct_server::DEMO_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Server, get, http, secret};

async fn nothing_is_kept(server: &Server) {
    let conversations = server.admin().conversations(DEMO_TENANT, None).await;
    assert!(conversations.unwrap().items.is_empty());
    let accepted = "konstruct_events_total{outcome=\"accepted\"}";
    assert_eq!(server.metric(accepted).await, Some(0.0));
}

#[tokio::test]
async fn a_wrong_signature_is_refused_and_nothing_is_kept() {
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
    let refused = [
        ("whatsapp", signed_whatsapp(&other, whatsapp.clone())),
        ("whatsapp", WebhookRequest::post(whatsapp)),
        ("slack/events", signed_slack(&other, now, slack.clone())),
        (
            "slack/interactions",
            signed_slack(&other, now, slack.clone()),
        ),
        ("slack/commands", signed_slack(&other, now, slack.clone())),
        // What was signed an hour ago is a replay.
        ("slack/events", signed_slack(&ours, early, slack.clone())),
        ("slack/events", WebhookRequest::post(slack)),
    ];
    for (webhook, request) in &refused {
        assert_eq!(server.deliver(webhook, request).await, 401, "{webhook}");
    }
    nothing_is_kept(&server).await;
    let counted = server
        .metric("konstruct_webhooks_refused_total{reason=\"signature\"}")
        .await;
    assert_eq!(counted, Some(refused.len() as f64));
}

#[tokio::test]
async fn an_unknown_account_is_acknowledged_and_dropped() {
    let office = Office::open().await;
    let server = office.start().await;
    server.workspace_is_known().await;
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
async fn nothing_is_dropped_while_the_workspace_is_learned() {
    let office = Office::open().await;
    office.slack.plan("auth.test", Fault::Delay(300));
    let server = office.start().await;
    let (known, client) = (AtomicBool::new(false), http());
    let speaker = async |number: usize| {
        let mut said = 0;
        while !known.load(Relaxed) {
            let place = format!("D{number}");
            let body = office.slack.message(&place, "U1", "hello");
            let request = signed_slack(&secret(), SystemClock.now(), body.clone());
            let mut post = client.post(format!("{}/webhooks/slack/events", server.url));
            for (name, value) in request.headers() {
                post = post.header(name, value);
            }
            let answer = post.body(body).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            said += 1;
        }
        said
    };
    let learned = async {
        server.workspace_is_known().await;
        known.store(true, Relaxed);
    };
    let (speakers, ()) = join(join_all((0..8).map(speaker)), learned).await;
    let said: u32 = speakers.into_iter().sum();
    assert!(said > 8, "{said}");
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(0.0), "of {said}");
    let accepted = "konstruct_events_total{outcome=\"accepted\"}";
    assert_eq!(server.metric(accepted).await, Some(f64::from(said)));
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
async fn what_cannot_be_read_is_acknowledged() {
    let office = Office::open().await;
    let server = office.start().await;
    for body in [b"{\"entry\":[".as_slice(), b"", b"\xff\xfe", b"[]", b"null"] {
        assert_eq!(server.whatsapp(body).await, 200);
        assert_eq!(server.slack(body).await, 200);
    }
    nothing_is_kept(&server).await;
}

#[tokio::test]
async fn a_known_workspace_stays_known_over_a_restart() {
    let office = Office::open().await;
    let server = office.start().await;
    server.workspace_is_known().await;
    server.kill().await;
    office.slack.plan("auth.test", Fault::Delay(60_000));
    let server = office.start().await;
    let ours = String::from_utf8(office.slack.message("D1", "U1", "hello")).unwrap();
    let theirs = ours.replace("\"T1\"", "\"T2\"");
    assert_eq!(server.slack(theirs.as_bytes()).await, 200);
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(1.0));
}
