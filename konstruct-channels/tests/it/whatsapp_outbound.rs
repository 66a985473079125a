//! The `WhatsApp` channel against a Graph API that misbehaves.

use std::time::Duration;

use konstruct_channels::{
    WhatsApp,
    testkit::{FakeGraph, Fault},
};
use konstruct_core::{
    Attachment, AttachmentKind, Channel as _, ConversationRef, ErrorKind, FindQuery, Op, Outgoing,
    Secret, Timestamp,
};

async fn fake() -> (FakeGraph, WhatsApp) {
    let fake = FakeGraph::start().await.expect("a fixture");
    let whatsapp = WhatsApp::builder("P1", Secret::new("EAAG1"))
        .api_url(fake.url())
        .build()
        .expect("a fixture");
    (fake, whatsapp)
}

fn send(to: &str, text: &str) -> Op {
    Op::Send {
        to: ConversationRef::direct(to),
        key: "trn_1.0".to_owned(),
        outgoing: Outgoing::markdown(text).quoting("wamid.A"),
    }
}

#[tokio::test]
async fn a_send_carries_its_key_and_its_quote() {
    let (fake, whatsapp) = fake().await;
    let receipt = whatsapp
        .perform(send("16505551234", "**hi**"))
        .await
        .unwrap();
    let post = &fake.posts()[0];
    assert_eq!(
        (post.number.as_str(), post.to.as_str(), post.text.as_str()),
        ("P1", "16505551234", "*hi*")
    );
    assert_eq!(post.key.as_deref(), Some("trn_1.0"));
    assert_eq!(post.reply_to.as_deref(), Some("wamid.A"));
    assert_eq!(receipt.message.as_ref(), Some(&post.id));
    whatsapp
        .perform(send("US.13491208655302741918", "hi"))
        .await
        .unwrap();
    assert_eq!(fake.posts()[1].to, "US.13491208655302741918");
    assert_eq!(whatsapp.identity().await.unwrap().name, "Fake");
}

#[tokio::test]
async fn an_error_says_whether_anything_happened() {
    let (fake, whatsapp) = fake().await;
    for (fault, kind, posted) in [
        (Fault::DropBefore, ErrorKind::Ambiguous, 0),
        (Fault::DropAfter, ErrorKind::Ambiguous, 1),
        (Fault::StatusAfter(500), ErrorKind::Ambiguous, 1),
        (Fault::Malformed, ErrorKind::Ambiguous, 1),
        (Fault::RateLimit(7), ErrorKind::RateLimited, 0),
        (Fault::StatusBefore(401), ErrorKind::Unauthorized, 0),
    ] {
        let before = fake.posts().len();
        fake.plan("messages", fault);
        let error = whatsapp.perform(send("1650", "hi")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert_eq!(fake.posts().len() - before, posted, "{fault:?}");
        if kind == ErrorKind::RateLimited {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn meta_cannot_be_asked() {
    let (_, whatsapp) = fake().await;
    let query = FindQuery {
        to: ConversationRef::direct("1650"),
        key: "trn_1.0".to_owned(),
        since: Timestamp::from_secs(0),
    };
    assert_eq!(
        whatsapp.find(query).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[tokio::test]
async fn progress_marks_as_read() {
    let (fake, whatsapp) = fake().await;
    let progress = || Op::Progress {
        to: ConversationRef::direct("1650"),
        message: Some("wamid.A".to_owned()),
    };
    whatsapp.perform(progress()).await.unwrap();
    assert_eq!(fake.reads(), ["wamid.A"]);
    fake.plan("read", Fault::DropBefore);
    whatsapp.perform(progress()).await.unwrap();
}

#[tokio::test]
async fn a_file_is_bounded_and_checked() {
    let (fake, whatsapp) = fake().await;
    fake.put_media("M1", "image/png", "hello");
    let mut file = Attachment {
        kind: AttachmentKind::Image,
        id: "M1".to_owned(),
        url: None,
        mime: None,
        name: None,
        size: None,
        sha256: None,
    };
    assert_eq!(whatsapp.fetch_media(&file, 5).await.unwrap(), "hello");
    assert_eq!(
        whatsapp.fetch_media(&file, 4).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    file.sha256 = Some("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=".to_owned());
    assert_eq!(whatsapp.fetch_media(&file, 5).await.unwrap(), "hello");
    file.sha256 = Some("SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI=".to_owned());
    assert_eq!(
        whatsapp.fetch_media(&file, 5).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    file.id = "../me".to_owned();
    assert!(whatsapp.fetch_media(&file, 5).await.is_err());
}
