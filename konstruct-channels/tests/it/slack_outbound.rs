//! The `Slack` channel against a misbehaving Slack.

use std::time::Duration;

use konstruct_channels::{
    Slack, slack,
    testkit::{FakeSlack, Fault},
};
use konstruct_core::{
    Channel as _, ConversationRef, ErrorKind, Outgoing, Secret, Timestamp,
    channel::{FindQuery, Op, Via},
    message::{Attachment, AttachmentKind, Body, ConversationKind},
    outgoing::{Choice, Choices},
};

async fn fake() -> (FakeSlack, Slack) {
    let fake = FakeSlack::start().await.expect("a fixture");
    let slack = Slack::builder(Secret::new("xoxb-1"))
        .api_url(fake.url())
        .build()
        .expect("a fixture");
    (fake, slack)
}

fn thread() -> ConversationRef {
    ConversationRef {
        id: "C1".to_owned(),
        kind: ConversationKind::Channel,
        thread: Some("1.2".to_owned()),
        external: false,
    }
}

fn send(to: ConversationRef, key: &str, text: &str) -> Op {
    Op::Send {
        to,
        key: key.to_owned(),
        outgoing: Outgoing::markdown(text),
        via: Via::Conversation,
    }
}

fn query(to: ConversationRef, key: &str) -> FindQuery {
    FindQuery {
        to,
        key: key.to_owned(),
        since: Timestamp::from_secs(1_000),
    }
}

#[tokio::test]
async fn a_send_carries_its_key_and_mentions_nobody() {
    let (fake, slack) = fake().await;
    let receipt = slack
        .perform(send(thread(), "trn_1.0", "**hi** <!channel>"))
        .await
        .unwrap();
    let posts = fake.posts();
    assert_eq!(posts[0].text, "*hi* &lt;!channel&gt;");
    assert_eq!(posts[0].thread_ts.as_deref(), Some("1.2"));
    assert_eq!(posts[0].key.as_deref(), Some("trn_1.0"));
    assert_eq!(receipt.message.as_ref(), Some(&posts[0].ts));
    let empty = slack
        .perform(send(thread(), "trn_1.1", " "))
        .await
        .unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::InvalidInput);
    assert_eq!(slack.identity().await.unwrap().user, "UBOT");
}

#[tokio::test]
async fn errors_state_whether_the_send_took_effect() {
    let (fake, slack) = fake().await;
    for (fault, kind, posted) in [
        (Fault::DropBefore, ErrorKind::Ambiguous, 0),
        (Fault::DropAfter, ErrorKind::Ambiguous, 1),
        (Fault::StatusBefore(500), ErrorKind::Ambiguous, 0),
        (Fault::StatusAfter(503), ErrorKind::Ambiguous, 1),
        (Fault::StatusAfter(302), ErrorKind::Ambiguous, 1),
        (Fault::Malformed, ErrorKind::Ambiguous, 1),
        (Fault::RateLimit(7), ErrorKind::RateLimited, 0),
        (Fault::StatusBefore(403), ErrorKind::Forbidden, 0),
    ] {
        let before = fake.posts().len();
        fake.plan("chat.postMessage", fault);
        let error = slack
            .perform(send(thread(), "trn_1.0", "hi"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert_eq!(fake.posts().len() - before, posted, "{fault:?}");
        if kind == ErrorKind::RateLimited {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }
    // No server listens there any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let slack = Slack::builder(Secret::new("x"))
        .api_url(format!("http://{gone}"))
        .build()
        .unwrap();
    let error = slack
        .perform(send(thread(), "trn_1.0", "hi"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_silent_slack_times_out() {
    let fake = FakeSlack::start().await.unwrap();
    let timeout = Duration::from_millis(200);
    let slack = Slack::builder(Secret::new("x"))
        .api_url(fake.url())
        .request_timeout(timeout)
        .build()
        .unwrap();
    assert_eq!(slack.capabilities().request_timeout, timeout);
    fake.plan("chat.postMessage", Fault::HangAfter);
    let error = slack
        .perform(send(thread(), "trn_1.0", "hi"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), fake.posts().len()),
        (ErrorKind::Ambiguous, 1)
    );
}

#[tokio::test]
async fn a_lost_send_is_found_by_its_key() {
    let (fake, slack) = fake().await;
    fake.plan("chat.postMessage", Fault::DropAfter);
    slack
        .perform(send(thread(), "trn_1.0", "hi"))
        .await
        .unwrap_err();
    let found = slack
        .find(query(thread(), "trn_1.0"))
        .await
        .unwrap()
        .expect("it arrived");
    assert_eq!(found.message.as_ref(), Some(&fake.posts()[0].ts));
    assert_eq!(slack.find(query(thread(), "trn_1.1")).await.unwrap(), None);
    let direct = ConversationRef::direct("D1");
    for part in 0..250 {
        slack
            .perform(send(direct.clone(), &format!("trn_2.{part}"), "hi"))
            .await
            .unwrap();
    }
    let last = slack
        .find(query(direct.clone(), "trn_2.249"))
        .await
        .unwrap();
    assert_eq!(
        last.expect("it arrived").message.as_ref(),
        fake.posts().last().map(|post| &post.ts)
    );
    // A thread's messages are not searched outside the thread.
    assert_eq!(slack.find(query(direct, "trn_1.0")).await.unwrap(), None);
    fake.plan("conversations.replies", Fault::StatusBefore(500));
    assert!(
        slack.find(query(thread(), "trn_1.0")).await.is_err(),
        "an incomplete search must not return None"
    );
}

#[tokio::test]
async fn progress_is_best_effort() {
    let (fake, slack) = fake().await;
    let progress = |to: ConversationRef, message: Option<&str>| Op::Progress {
        to,
        message: message.map(str::to_owned),
    };
    slack.perform(progress(thread(), None)).await.unwrap();
    slack
        .perform(progress(ConversationRef::direct("D1"), Some("1.2")))
        .await
        .unwrap();
    assert_eq!(fake.statuses(), 2);
    fake.plan("assistant.threads.setStatus", Fault::StatusBefore(500));
    slack.perform(progress(thread(), None)).await.unwrap();
}

#[tokio::test]
async fn files_are_downloaded_only_from_slack() {
    let (fake, slack) = fake().await;
    let mut file = Attachment {
        kind: AttachmentKind::Document,
        id: "F1".to_owned(),
        url: Some(fake.put_file("F1", "text/plain", "hello")),
        mime: Some("text/plain".to_owned()),
        name: None,
        size: None,
        sha256: None,
        unavailable: None,
    };
    assert_eq!(slack.fetch_media(&file, 5).await.unwrap(), "hello");
    assert_eq!(
        slack.fetch_media(&file, 4).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    file.url = Some(fake.put_file("F2", "text/html; charset=utf-8", "<html>"));
    assert_eq!(
        slack.fetch_media(&file, 99).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    for url in [
        "http://127.0.0.1:1/x",
        "http://files.slack.com/x",
        "https://files.slack.com.evil.example/x",
        "file:///etc/passwd",
    ] {
        file.url = Some(url.to_owned());
        assert_eq!(
            slack.fetch_media(&file, 99).await.unwrap_err().kind(),
            ErrorKind::Forbidden,
            "{url}"
        );
    }
    file.url = None;
    assert_eq!(
        slack.fetch_media(&file, 99).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

fn choices(count: usize, label: usize, described: bool) -> Choices {
    Choices::new((0..count).map(|n| {
        let choice = Choice::new(format!("pick.{n}"), format!("{n}{}", "x".repeat(label)));
        if described {
            choice.describing("<!channel> *what* it is")
        } else {
            choice
        }
    }))
}

fn offer(slack: &Slack, text: &str, choices: Choices) -> Op {
    let outgoing = Outgoing::markdown(text).with_choices(choices);
    let rendered = slack.render(&outgoing, 4);
    assert_eq!((rendered.parts.len(), rendered.rest), (1, None));
    Op::Send {
        to: thread(),
        key: "trn_1.0".to_owned(),
        outgoing: rendered.parts[0].clone(),
        via: Via::Conversation,
    }
}

#[tokio::test]
async fn a_choice_returns_the_id_that_was_sent() {
    let (fake, slack) = fake().await;
    for (count, label, described) in [
        (1, 1, false),
        (5, 70, false),
        (6, 70, false),
        (3, 1, true),
        (100, 1, true),
    ] {
        let op = offer(
            &slack,
            "**Which** <!here> one?",
            choices(count, label, described),
        );
        slack.perform(op).await.unwrap();
        let post = fake.posts().pop().unwrap();
        assert!(!post.blocks.is_empty(), "{count}");
        let json = serde_json::json!(post.blocks).to_string();
        assert!(
            json.contains("*Which* &lt;!here&gt; one?") && json.contains(r#""verbatim":true"#),
            "{json}"
        );
        for n in [0, count - 1] {
            let body = fake
                .press(&post, "U1", &format!("pick.{n}"))
                .expect("it is shown");
            let event = slack::decode(&body, Timestamp::default()).take().remove(0);
            let Body::Action { action, .. } = event.body else {
                panic!("an action")
            };
            assert_eq!(action, format!("pick.{n}"));
            assert_eq!(event.label, Some(format!("{n}{}", "x".repeat(label))));
            assert_eq!(
                event.quoted.map(|quoted| quoted.message),
                Some(post.ts.clone())
            );
            assert_eq!(
                event.conversation.map(|place| place.key()),
                Some(thread().key())
            );
            assert!(event.addressed.command);
        }
    }
}

#[tokio::test]
async fn choices_beyond_the_limits_become_text() {
    let (fake, slack) = fake().await;
    let mut same = choices(2, 1, false);
    same.options[1].id = "pick.0".to_owned();
    for choices in [choices(101, 1, false), choices(2, 80, false), same] {
        let op = offer(&slack, "Which one?", choices);
        slack.perform(op).await.unwrap();
        let post = fake.posts().pop().unwrap();
        assert!(post.blocks.is_empty());
        assert!(
            post.text.starts_with("Which one?\n\n1. 0x"),
            "{}",
            post.text
        );
    }
    let marked =
        Choices::new([Choice::new("a", "x".repeat(70) + "*<!channel>*").describing("_d_")]);
    slack.perform(offer(&slack, "", marked)).await.unwrap();
    let text = fake.posts().pop().unwrap().text;
    assert!(
        text.contains("&lt;!channel&gt;") && !text.contains('\\') && text.contains("d"),
        "{text}"
    );
}

#[tokio::test]
async fn only_rendered_texts_are_sent() {
    let (fake, slack) = fake().await;
    for text in [
        "One & <two> sentences. ".repeat(500),
        "a".repeat(9_000),
        "&".repeat(9_000),
        format!("```\n{}\n```", "x & y\n".repeat(2_000)),
        "| a | b |\n|---|---|\n".to_owned() + &"| & | <> |\n".repeat(900),
    ] {
        for choices in [Choices::new([]), choices(2, 1, false)] {
            let outgoing = Outgoing::markdown(text.as_str()).with_choices(choices);
            let rendered = slack.render(&outgoing, 4);
            assert!((2..=4).contains(&rendered.parts.len()));
            for outgoing in rendered.parts {
                let (to, key) = (thread(), "trn_1.0".to_owned());
                slack
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
        // Slack would truncate it silently.
        let error = slack
            .perform(send(thread(), "trn_1.0", &text.repeat(5)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    assert!(
        fake.posts()
            .iter()
            .all(|post| post.text.chars().count() <= 4_000)
    );
}

#[tokio::test]
async fn a_rejected_token_differs_from_a_forbidden_conversation() {
    let (fake, slack) = fake().await;
    for (code, kind) in [
        ("invalid_auth", ErrorKind::Unauthorized),
        ("token_revoked", ErrorKind::Unauthorized),
        ("token_expired", ErrorKind::Unauthorized),
        ("account_inactive", ErrorKind::Unauthorized),
        ("not_authed", ErrorKind::Unauthorized),
        ("team_access_not_granted", ErrorKind::Unauthorized),
        ("not_in_channel", ErrorKind::Forbidden),
        ("missing_scope", ErrorKind::Forbidden),
        ("channel_not_found", ErrorKind::NotFound),
        ("ratelimited", ErrorKind::RateLimited),
    ] {
        fake.refuse(Some(code));
        let sent = slack.perform(send(thread(), "trn_1.0", "hi")).await;
        assert_eq!(sent.unwrap_err().kind(), kind, "{code}");
        let found = slack.find(query(thread(), "trn_1.0")).await;
        assert_eq!(found.unwrap_err().kind(), kind, "{code}");
        let (to, message) = (thread(), None);
        let shown = slack.perform(Op::Progress { to, message }).await;
        assert_eq!(shown.is_err(), kind == ErrorKind::Unauthorized, "{code}");
        assert_eq!(slack.identity().await.unwrap_err().kind(), kind, "{code}");
    }
    fake.refuse(None);
    fake.plan("conversations.replies", Fault::RateLimit(9));
    let error = slack.find(query(thread(), "trn_1.0")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (ErrorKind::RateLimited, Some(Duration::from_secs(9)))
    );
    assert!(fake.posts().is_empty());
}
