//! The `WhatsApp` channel against a misbehaving Graph API.

use std::time::Duration;

use konstruct_channels::{
    WhatsApp,
    testkit::{FakeGraph, Fault},
    whatsapp,
};
use konstruct_core::{
    Channel as _, ConversationRef, ErrorKind, Outgoing, Secret, Timestamp,
    channel::{FindQuery, Op, Via},
    message::{Attachment, AttachmentKind, Body},
    outgoing::{Choice, Choices},
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
        via: Via::Conversation,
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
async fn errors_state_whether_the_send_took_effect() {
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
async fn find_is_unsupported() {
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
async fn file_size_and_digest_are_checked() {
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
        unavailable: None,
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

fn choices(count: usize, label: usize, described: bool) -> Choices {
    Choices::new((0..count).map(|n| {
        let choice = Choice::new(format!("pick.{n}"), format!("{n}{}", "x".repeat(label)));
        if described {
            choice.describing("what it is")
        } else {
            choice
        }
    }))
}

fn offer(whatsapp: &WhatsApp, text: &str, choices: Choices) -> Op {
    let outgoing = Outgoing::markdown(text)
        .with_choices(choices)
        .quoting("wamid.A");
    let rendered = whatsapp.render(&outgoing, 4);
    assert_eq!((rendered.parts.len(), rendered.rest), (1, None));
    Op::Send {
        to: ConversationRef::direct("1650"),
        key: "trn_1.0".to_owned(),
        outgoing: rendered.parts[0].clone(),
        via: Via::Conversation,
    }
}

#[tokio::test]
async fn a_choice_returns_the_id_that_was_sent() {
    let (fake, whatsapp) = fake().await;
    for (count, label, described, kind) in [
        (1, 1, false, "button"),
        (3, 19, false, "button"),
        (3, 20, false, "list"),
        (4, 1, false, "list"),
        (10, 22, true, "list"),
        (2, 1, true, "list"),
    ] {
        let op = offer(
            &whatsapp,
            "**Which** one?",
            choices(count, label, described),
        );
        whatsapp.perform(op).await.unwrap();
        let post = fake.posts().pop().unwrap();
        assert_eq!(post.interactive["type"], kind, "{count} {label}");
        assert_eq!(
            (post.text.as_str(), post.reply_to.as_deref()),
            ("*Which* one?", Some("wamid.A"))
        );
        for n in [0, count - 1] {
            let body = fake
                .press(&post, &format!("pick.{n}"))
                .expect("it is shown");
            let event = whatsapp::decode(&body, Timestamp::default())
                .take()
                .remove(0);
            let Body::Action { action, .. } = event.body else {
                panic!("an action")
            };
            assert_eq!(action, format!("pick.{n}"));
            assert_eq!(event.label, Some(format!("{n}{}", "x".repeat(label))));
            assert_eq!(
                event.quoted.map(|quoted| quoted.message),
                Some(post.id.clone())
            );
        }
    }
    let op = offer(
        &whatsapp,
        "",
        choices(2, 1, false).with_prompt("Bitte wählen Sie eine Größe"),
    );
    whatsapp.perform(op).await.unwrap();
    assert_eq!(fake.posts().pop().unwrap().text, "Bitte wählen Sie ein");
}

#[tokio::test]
async fn choices_beyond_the_limits_become_text() {
    let (fake, whatsapp) = fake().await;
    for choices in [choices(11, 1, false), choices(2, 24, false)] {
        let op = offer(&whatsapp, "Which one?", choices);
        whatsapp.perform(op).await.unwrap();
        let post = fake.posts().pop().unwrap();
        assert!(post.interactive.is_null());
        assert!(
            post.text.starts_with("Which one?\n\n1. 0x"),
            "{}",
            post.text
        );
    }
}

#[tokio::test]
async fn only_rendered_texts_are_sent() {
    let (fake, whatsapp) = fake().await;
    for text in [
        "One sentence, and another one. ".repeat(400),
        "👨‍👩‍👧‍👦".repeat(900),
        format!("```\n{}\n```", "x and y\n".repeat(2_000)),
        "- item of a list\n".repeat(900),
    ] {
        for choices in [Choices::new([]), choices(2, 1, false)] {
            let outgoing = Outgoing::markdown(text.as_str()).with_choices(choices);
            let rendered = whatsapp.render(&outgoing, 4);
            assert!((2..=4).contains(&rendered.parts.len()));
            for outgoing in rendered.parts {
                let (to, key) = (ConversationRef::direct("1650"), "trn_1.0".to_owned());
                whatsapp
                    .perform(Op::Send {
                        to,
                        key,
                        outgoing,
                        via: Via::Conversation,
                    })
                    .await
                    .unwrap();
            }
        }
        let error = whatsapp.perform(send("1650", &text)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    assert!(fake.posts().len() > 8);
}

#[tokio::test]
async fn account_errors_differ_from_recipient_errors() {
    let (fake, whatsapp) = fake().await;
    let limited = Some(Duration::from_secs(6));
    for (code, kind, wait) in [
        (190, ErrorKind::Unauthorized, None),
        (10, ErrorKind::Unauthorized, None),
        (200, ErrorKind::Unauthorized, None),
        (131_005, ErrorKind::Unauthorized, None),
        (131_031, ErrorKind::Unauthorized, None),
        (133_010, ErrorKind::Unauthorized, None),
        (131_042, ErrorKind::QuotaExhausted, None),
        (131_047, ErrorKind::Forbidden, None),
        (131_049, ErrorKind::Forbidden, None),
        (131_050, ErrorKind::Forbidden, None),
        (131_030, ErrorKind::Forbidden, None),
        (131_026, ErrorKind::NotFound, None),
        (130_429, ErrorKind::RateLimited, None),
        (131_056, ErrorKind::RateLimited, limited),
    ] {
        fake.refuse(Some(code));
        let error = whatsapp.perform(send("1650", "hi")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (kind, wait), "{code}");
        let (to, message) = (ConversationRef::direct("1650"), Some("wamid.A".to_owned()));
        let shown = whatsapp.perform(Op::Progress { to, message }).await;
        assert_eq!(shown.is_err(), kind == ErrorKind::Unauthorized, "{code}");
        assert_eq!(
            whatsapp.identity().await.unwrap_err().kind(),
            kind,
            "{code}"
        );
    }
    assert!(fake.posts().is_empty());
}
