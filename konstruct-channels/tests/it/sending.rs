//! Both channels pass the conformance suite of sending.

use std::time::Duration;

use bytes::Bytes;
use konstruct_channels::{
    Slack, WhatsApp,
    testkit::{FakeGraph, FakeSlack, Fault, GraphPost, SlackPost},
};
use konstruct_core::{
    ConversationRef, Secret,
    message::{Attachment, AttachmentKind, ConversationKind},
    testkit::{ChannelSubject, Displayed, Failure, channel_case, channel_suite},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Returns the fault of a fake vendor. `None` for what the vendor reports in its own words.
fn fault(failure: Failure) -> Option<Fault> {
    Some(match failure {
        Failure::RateLimited(wait) => Fault::RateLimit(wait.as_secs()),
        Failure::DroppedBefore => Fault::DropBefore,
        Failure::DroppedAfter => Fault::DropAfter,
        Failure::ServerError => Fault::StatusAfter(503),
        Failure::Unreadable => Fault::Malformed,
        Failure::Silent => Fault::HangAfter,
        _ => return None,
    })
}

fn file(id: &str, url: Option<String>, bytes: &Bytes) -> Attachment {
    Attachment {
        kind: AttachmentKind::Document,
        id: id.to_owned(),
        url,
        mime: Some("text/plain".to_owned()),
        name: None,
        size: Some(bytes.len() as u64),
        sha256: Some(hex::encode(Sha256::digest(bytes))),
        unavailable: None,
    }
}

/// Returns the labels in a message: the texts of its buttons or of its menu's options.
fn labels(value: &Value, name: &str, labels: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| self::labels(item, name, labels)),
        Value::Object(fields) => {
            let label = fields.get(name).and_then(Value::as_str);
            labels.extend(label.map(str::to_owned));
            fields
                .values()
                .for_each(|field| self::labels(field, name, labels));
        }
        _ => {}
    }
}

fn in_slack(post: SlackPost) -> Displayed {
    let text = [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(post.text, |text, (entity, c)| text.replace(entity, c));
    let mut choices = Vec::new();
    labels(&Value::Array(post.blocks), "text", &mut choices);
    Displayed::new(text)
        .with_choices(choices)
        .with_key(post.key)
        .with_message(post.ts)
}

async fn slack(timeout: Duration, place: ConversationRef) -> ChannelSubject {
    let fake = FakeSlack::start().await.expect("a fixture");
    let slack = Slack::builder(Secret::new("xoxb-1"))
        .api_url(fake.url())
        .request_timeout(timeout)
        .build()
        .expect("a fixture");
    let (vendor, files) = (fake.clone(), fake.clone());
    ChannelSubject::new(slack, place, move || {
        fake.posts().into_iter().map(in_slack).collect()
    })
    .failing(move |failure| {
        match failure {
            Failure::Refused => vendor.refuse(Some("invalid_blocks")),
            Failure::Unauthorized => vendor.refuse(Some("token_revoked")),
            Failure::Forbidden => vendor.refuse(Some("not_in_channel")),
            _ => match fault(failure) {
                Some(fault) => vendor.plan("*", fault),
                None => return false,
            },
        }
        true
    })
    .with_media(move |bytes| {
        let url = files.put_file("F1", "text/plain", bytes.clone());
        file("F1", Some(url), &bytes)
    })
}

#[tokio::test]
async fn slack_passes() {
    channel_suite(async |timeout| slack(timeout, ConversationRef::direct("D1")).await).await;
}

/// A thread is searched by another method than a channel.
#[tokio::test]
async fn slack_passes_in_a_thread() {
    let make = async |timeout| {
        let mut place = ConversationRef::direct("C1");
        place.kind = ConversationKind::Channel;
        place.thread = Some("1.2".to_owned());
        slack(timeout, place).await
    };
    for case in [
        "a_send_arrives_once",
        "sends_do_not_mix",
        "what_arrived_is_found",
        "a_send_without_an_answer_is_found",
        "a_failed_lookup_is_an_error",
        "progress_is_best_effort",
    ] {
        channel_case(case, &make).await.unwrap();
    }
}

fn in_whatsapp(post: GraphPost) -> Displayed {
    let mut choices = Vec::new();
    labels(&post.interactive, "title", &mut choices);
    Displayed::new(post.text)
        .with_choices(choices)
        .with_key(post.key)
        .with_message(post.id)
}

#[tokio::test]
async fn whatsapp_passes() {
    channel_suite(async |timeout| {
        let fake = FakeGraph::start().await.unwrap();
        let whatsapp = WhatsApp::builder("P1", Secret::new("EAAG1"))
            .api_url(fake.url())
            .request_timeout(timeout)
            .build()
            .unwrap();
        let (vendor, files) = (fake.clone(), fake.clone());
        ChannelSubject::new(
            whatsapp,
            ConversationRef::direct("16505551234"),
            move || fake.posts().into_iter().map(in_whatsapp).collect(),
        )
        .failing(move |failure| {
            match failure {
                Failure::Refused => vendor.refuse(Some(131_009)),
                Failure::Unauthorized => vendor.refuse(Some(190)),
                Failure::Forbidden => vendor.refuse(Some(131_047)),
                _ => match fault(failure) {
                    Some(fault) => vendor.plan("*", fault),
                    None => return false,
                },
            }
            true
        })
        .with_media(move |bytes| {
            files.put_media("M1", "text/plain", bytes.clone());
            file("M1", None, &bytes)
        })
    })
    .await;
}
