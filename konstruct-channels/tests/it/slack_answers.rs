//! Answers to interactions arrive where the request was made.

use std::time::Duration;

use konstruct_channels::{
    Slack, slack,
    testkit::{FakeSlack, Fault, SlackPost},
};
use konstruct_core::{
    Clock as _, Employee, Secret, Workforce,
    employee::TurnLimits,
    message::Decision,
    testkit::{ReferenceStore, ScriptedAnswer, ScriptedModel, VirtualClock},
    turn::{ItemKind, OpenReason},
};
use serde_json::{Value, json};

struct Office {
    fake: FakeSlack,
    clock: VirtualClock,
    workforce: Workforce,
}

impl Office {
    async fn new(model: ScriptedModel) -> Self {
        Self::with(model, 9).await
    }

    async fn with(model: ScriptedModel, parts: u32) -> Self {
        let fake = FakeSlack::start().await.expect("a fixture");
        let slack = Slack::builder(Secret::new("xoxb-1"))
            .api_url(fake.url())
            .build()
            .expect("a fixture");
        let clock = VirtualClock::default();
        let store = ReferenceStore::new(std::sync::Arc::new(clock.clone()));
        let limits = TurnLimits::default().with(|it| {
            it.burst_ms = 0;
            it.reply_parts = parts;
        });
        let ava = Employee::builder("Ava").limits(limits).build();
        let workforce = Workforce::builder_without_memory(store)
            .clock(clock.clone())
            .model(model)
            .channel("T1", slack)
            .hire(ava.expect("a fixture"))
            .build()
            .expect("a fixture");
        Self {
            fake,
            clock,
            workforce,
        }
    }

    /// Delivers what Slack sends, as the webhook decodes it.
    async fn deliver(&self, body: &[u8]) {
        for event in slack::decode(body, self.clock.now()).events {
            self.workforce.accept(event).await.expect("a fixture");
        }
    }

    async fn work(&self) {
        self.workforce.run_until_idle().await.expect("a fixture");
    }

    async fn answer(&self, body: &[u8]) -> Vec<SlackPost> {
        let before = self.fake.posts().len();
        self.deliver(body).await;
        self.work().await;
        self.fake.posts().split_off(before)
    }

    /// Lets time pass until nothing is left to do.
    async fn wait(&self) {
        for _ in 0..20 {
            self.clock.advance(Duration::from_secs(30));
            self.work().await;
        }
    }
}

fn says(text: &'static str) -> ScriptedModel {
    ScriptedModel::new(move |_| ScriptedAnswer::text(text))
}

fn long() -> ScriptedModel {
    let text = "A paragraph of some length, which is repeated.\n\n".repeat(500);
    ScriptedModel::new(move |_| ScriptedAnswer::text(text.clone()))
}

fn interaction(payload: &Value) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string());
    form.finish().into_bytes()
}

/// A form that was opened where its metadata says.
fn submitted(metadata: &Value, urls: &Value) -> Vec<u8> {
    interaction(
        &json!({"type": "view_submission", "team": {"id": "T1"}, "user": {"id": "U1"}, "response_urls": urls,
            "view": {"id": "V1", "hash": "h", "type": "modal", "callback_id": "order", "private_metadata": metadata.to_string(),
                "state": {"values": {}}}}),
    )
}

/// Where an answer arrived: the channel, the thread, the only person who sees it, and whether it is a response.
type Place<'a> = (&'a str, Option<&'a str>, Option<&'a str>, bool);

fn place(post: &SlackPost) -> Place<'_> {
    let (thread, person) = (post.thread_ts.as_deref(), post.visible_to.as_deref());
    (&post.channel, thread, person, post.response)
}

#[tokio::test]
async fn an_answer_goes_where_the_request_was_made() {
    let check = async |make: &dyn Fn(&FakeSlack) -> Vec<u8>, expected: Place<'_>| {
        let office = Office::new(says("**Yes** & no <!channel>")).await;
        // The bot is only in some places.
        for left in ["C9", "D9"] {
            office.fake.leave(left);
        }
        let posts = office.answer(&make(&office.fake)).await;
        let places: Vec<_> = posts.iter().map(place).collect();
        assert_eq!(places, [expected]);
        assert_eq!(posts[0].text, "*Yes* &amp; no &lt;!channel&gt;");
        // Only a message of the conversation can be found again.
        let marked = expected.2.is_none() && !expected.3;
        assert_eq!(posts[0].key.is_some(), marked);
    };
    let command = |channel: &'static str| {
        move |fake: &FakeSlack| fake.command(channel, "U1", "/ava", "open?")
    };
    check(&command("C1"), ("C1", None, Some("U1"), true)).await;
    check(&command("C9"), ("C9", None, Some("U1"), true)).await;
    check(&command("D1"), ("D1", None, None, false)).await;
    check(&command("D9"), ("D9", None, Some("U1"), true)).await;

    let expired = |channel: &'static str| {
        move |fake: &FakeSlack| {
            let command = fake.command(channel, "U1", "/ava", "open?");
            fake.expire_responses();
            command
        }
    };
    check(&expired("C1"), ("C1", None, Some("U1"), false)).await;
    check(&expired("C9"), ("U1", None, None, false)).await;

    let pressed = |channel: &'static str, ephemeral: bool, thread: Option<&'static str>| {
        move |fake: &FakeSlack| {
            interaction(
                &json!({"type": "block_actions", "team": {"id": "T1"}, "user": {"id": "U1"}, "trigger_id": "1.1",
                "container": {"type": "message", "message_ts": "1.2", "channel_id": channel, "thread_ts": thread,
                    "is_ephemeral": ephemeral},
                "channel": {"id": channel}, "response_url": fake.response_url(channel, "U1"),
                "actions": [{"action_id": "a", "type": "button", "value": "v"}]}),
            )
        }
    };
    check(
        &pressed("C1", false, None),
        ("C1", Some("1.2"), None, false),
    )
    .await;
    check(
        &pressed("C9", false, None),
        ("C9", Some("1.2"), Some("U1"), true),
    )
    .await;

    let form = |metadata: Value| move |_: &FakeSlack| submitted(&metadata, &json!([]));
    // From the App Home, from a message, from an ephemeral message.
    check(&form(json!({})), ("U1", None, None, false)).await;
    let message = json!({"channel_id": "C1", "message_ts": "1.2"});
    check(&form(message), ("C1", Some("1.2"), None, false)).await;
    let ephemeral = json!({"channel_id": "C1", "message_ts": "1.2", "is_ephemeral": true});
    check(&form(ephemeral), ("C1", None, Some("U1"), false)).await;
    let elsewhere = json!({"channel_id": "C9", "is_ephemeral": true});
    check(&form(elsewhere), ("U1", None, None, false)).await;
    let opened = |fake: &FakeSlack| {
        let url = fake.response_url("C9", "U1");
        let metadata = json!({"channel_id": "C9", "is_ephemeral": true, "response_url": url});
        submitted(&metadata, &json!([]))
    };
    check(&opened, ("C9", None, Some("U1"), true)).await;
    let selected = |fake: &FakeSlack| {
        let urls = json!([{"channel_id": "C9", "response_url": fake.response_url("C9", "U1")}]);
        submitted(&json!({}), &urls)
    };
    check(&selected, ("C9", None, None, true)).await;
}

/// An interaction in a thread whose message only the person sees is answered there.
#[tokio::test]
async fn a_response_in_a_thread_stays_there() {
    let office = Office::new(says("Yes.")).await;
    let url = office.fake.response_url("C1", "U1");
    let press = json!({"type": "block_actions", "team": {"id": "T1"}, "user": {"id": "U1"}, "trigger_id": "1.1",
        "container": {"type": "message", "message_ts": "9.2", "channel_id": "C1", "thread_ts": "0.9", "is_ephemeral": true},
        "channel": {"id": "C1"}, "response_url": url,
        "actions": [{"action_id": "a", "type": "button", "value": "v"}]});
    let posts = office.answer(&interaction(&press)).await;
    let places: Vec<_> = posts.iter().map(place).collect();
    assert_eq!(places, [("C1", Some("0.9"), Some("U1"), true)]);
}

#[tokio::test]
async fn buttons_work_in_an_answer_that_only_one_person_sees() {
    let office = Office::with(long(), 1).await;
    office.fake.leave("C9");
    let posts = office
        .answer(&office.fake.command("C9", "U1", "/ava", "all"))
        .await;
    let offer = posts.last().unwrap();
    let rest = offer
        .blocks
        .iter()
        .flat_map(|block| block["elements"].as_array());
    let rest = rest.flatten().find_map(|button| button["value"].as_str());
    let press = office.fake.press(offer, "U1", rest.unwrap()).unwrap();
    let places = office.answer(&press).await;
    assert!(places[0].text.contains("paragraph"));
    assert_eq!(place(&places[0]), ("C9", None, Some("U1"), true));
}

/// A lost answer of a `response_url` cannot be looked up, so nothing is sent again until a person decides.
#[tokio::test]
async fn a_response_without_an_answer_is_never_repeated() {
    for fault in [
        Fault::DropAfter,
        Fault::DropBefore,
        Fault::StatusAfter(503),
        Fault::Malformed,
    ] {
        let office = Office::new(says("Yes.")).await;
        office.fake.plan("response_url", fault);
        office
            .deliver(&office.fake.command("C1", "U1", "/ava", "open?"))
            .await;
        office.work().await;
        office.wait().await;
        let arrived = usize::from(fault != Fault::DropBefore);
        assert_eq!(office.fake.posts().len(), arrived, "{fault:?}");
        let items = office.workforce.open_items(None, 9).await.unwrap();
        assert!(
            matches!(&items[0].item.kind, ItemKind::Send { reason: OpenReason::Unresolved, keys } if keys.len() == 1),
            "{fault:?}: {items:?}"
        );
        // A person decides to send it again: it still is for nobody else.
        let entry = &items[0];
        office
            .workforce
            .decide(entry, Decision::Resend)
            .await
            .unwrap();
        office.work().await;
        let posts = office.fake.posts();
        assert_eq!(
            place(posts.last().unwrap()),
            ("U1", None, None, false),
            "{fault:?}"
        );
        assert_eq!(posts.len(), arrived + 1);
    }
}

/// A `response_url` accepts five responses; a refused one may be tried again within them.
#[tokio::test]
async fn responses_stop_at_their_limit() {
    let office = Office::new(long()).await;
    office.fake.plan("response_url", Fault::RateLimit(2));
    office
        .deliver(&office.fake.command("C1", "U1", "/ava", "all"))
        .await;
    office.work().await;
    office.wait().await;
    let posts = office.fake.posts();
    let responses = posts.iter().take_while(|post| post.response).count();
    assert_eq!(responses, 4, "the refused attempt counts");
    assert!(posts.len() > 4, "{}", posts.len());
    for post in &posts {
        assert_eq!(
            (post.channel.as_str(), post.visible_to.as_deref()),
            ("C1", Some("U1"))
        );
    }
    let shown: String = posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!(shown.matches("paragraph").count(), 500);
}

/// Only Slack's host is asked, and nobody can read the address.
#[tokio::test]
async fn a_response_address_is_guarded_and_secret() {
    let office = Office::new(says("Yes.")).await;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/commands/secret", other.local_addr().unwrap());
    let command = format!(
        "command=%2Fava&team_id=T1&channel_id=C1&user_id=U1&trigger_id=1&response_url={url}"
    );
    let decoded = slack::decode(command.as_bytes(), office.clock.now());
    assert!(!format!("{decoded:?}").contains("secret"));
    let posts = office.answer(command.as_bytes()).await;
    assert_eq!(place(&posts[0]), ("C1", None, Some("U1"), false));
    let asked = tokio::time::timeout(Duration::from_millis(50), other.accept());
    assert!(asked.await.is_err());
}
