//! Decoding of Slack's events.

use konstruct_channels::{
    Received, SlackWebhook, Webhook as _, WebhookRequest, slack, testkit::signed_slack,
};
use konstruct_core::{
    Inbound, Secret, Timestamp,
    message::{
        Actor, ActorKind, AttachmentKind, Body, ConversationKind, DeliveryState, Forwarded, IdKind,
        Lifecycle, Quoted, Unavailable,
    },
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn callback(event: Value) -> Vec<u8> {
    let body = json!({
        "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1", "event_time": 1_600_000_000,
        "authorizations": [{"team_id": "T1", "enterprise_id": null, "user_id": "UBOT", "is_bot": true}],
        "event": event,
    });
    body.to_string().into_bytes()
}

fn decode(body: &[u8]) -> Inbound {
    let decoded = slack::decode(body, NOW);
    assert_eq!(decoded.undecodable, 0);
    let [event] = <[Inbound; 1]>::try_from(decoded.events).expect("one event");
    event
}

fn event(event: Value) -> Inbound {
    decode(&callback(event))
}

fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
        .into_bytes()
}

#[test]
fn a_message_has_its_sender_and_conversation() {
    let check = |message: Value, key: &str, direct: bool, mention: bool, thread: bool| {
        let mut json = json!({"type": "message", "user": "U1", "text": "hi", "ts": "1.000002"});
        json.as_object_mut()
            .unwrap()
            .extend(message.as_object().unwrap().clone());
        let event = event(json);
        assert_eq!(event.conversation.as_ref().unwrap().key(), key, "{message}");
        let addressed = event.addressed;
        assert_eq!(
            (addressed.direct, addressed.mention, addressed.thread),
            (direct, mention, thread),
            "{message}"
        );
        assert_eq!(event.sender.kind, ActorKind::Human);
        assert_eq!(event.occurred_at.as_micros(), 1_000_002);
    };
    check(
        json!({"channel": "D1", "channel_type": "im"}),
        "D1",
        true,
        false,
        false,
    );
    check(
        json!({"channel": "D1", "channel_type": "im", "thread_ts": "0.5"}),
        "D1/0.5",
        true,
        false,
        true,
    );
    check(
        json!({"channel": "C1", "channel_type": "channel"}),
        "C1/1.000002",
        false,
        false,
        false,
    );
    check(
        json!({"channel": "C1", "thread_ts": "0.5"}),
        "C1/0.5",
        false,
        false,
        true,
    );
    check(
        json!({"channel": "C1", "text": "<@UBOT> hi"}),
        "C1/1.000002",
        false,
        true,
        false,
    );
    check(
        json!({"channel": "C1", "text": "<@UBOT|ava> hi"}),
        "C1/1.000002",
        false,
        true,
        false,
    );
    check(
        json!({"channel": "C1", "text": "<@UBOTTOM> hi"}),
        "C1/1.000002",
        false,
        false,
        false,
    );
    check(
        json!({"channel": "C1", "type": "app_mention"}),
        "C1/1.000002",
        false,
        true,
        false,
    );
    check(
        json!({"channel": "G1", "channel_type": "mpim"}),
        "G1/1.000002",
        false,
        false,
        false,
    );
    check(
        json!({"channel": "C1", "ts": 1.000_002}),
        "C1/1.000002",
        false,
        false,
        false,
    );
}

#[test]
fn duplicates_share_the_logical_id_and_edits_do_not() {
    let message = json!({"type": "message", "channel": "C1", "user": "U1", "ts": "1.2", "text": "<@UBOT> hi"});
    let mut mention = message.clone();
    mention["type"] = "app_mention".into();
    let (message, mention) = (event(message), event(mention));
    assert_eq!(message.logical_id, "C1:1.2");
    assert_eq!(message.logical_id, mention.logical_id);
    assert_eq!(message.conversation, mention.conversation);
    let edit = event(
        json!({"type": "message", "subtype": "message_changed", "channel": "C1", "event_ts": "2.0",
        "message": {"user": "U1", "ts": "1.2", "text": "hello", "edited": {"user": "U1", "ts": "2.0"}},
        "previous_message": {"user": "U1", "ts": "1.2", "text": "hi"}}),
    );
    assert_eq!(edit.logical_id, "");
    assert!(
        matches!(&edit.body, Body::Edited { message, content } if message == "1.2" && content.text == "hello")
    );
    assert_eq!(edit.conversation, message.conversation);
}

#[test]
fn an_unfurled_link_is_not_an_edit_and_a_tombstone_is_a_deletion() {
    let check = |message: Value, expected: Body| {
        let event = event(
            json!({"type": "message", "subtype": "message_changed", "hidden": true, "channel": "C1",
            "message": message, "previous_message": {"user": "U1", "ts": "1.2", "text": "see <https://a.example>"}}),
        );
        assert_eq!(event.body, expected);
    };
    let change = Lifecycle::Other("message.message_changed".to_owned());
    check(
        json!({"user": "U1", "ts": "1.2", "text": "see <https://a.example>", "attachments": [{"id": 1}]}),
        Body::Lifecycle { change },
    );
    let message = "1.2".to_owned();
    check(
        json!({"subtype": "tombstone", "ts": "1.2", "text": "gone"}),
        Body::Deleted { message },
    );
}

#[test]
fn our_own_echo_settles_its_send() {
    let metadata = json!({"event_type": "konstruct_send", "event_payload": {"key": "trn_1.0"}});
    let settled = |event: &Inbound| match &event.body {
        Body::Delivery {
            message,
            state,
            key,
            ..
        } => {
            assert_eq!((message.as_str(), *state), ("1.2", DeliveryState::Sent));
            assert_eq!(event.sender.kind, ActorKind::Myself);
            key.clone()
        }
        other => panic!("{other:?}"),
    };
    let echo = event(
        json!({"type": "message", "channel": "C1", "user": "UBOT", "bot_id": "B1", "ts": "1.2",
        "thread_ts": "1.0", "text": "hi", "metadata": metadata}),
    );
    assert_eq!(settled(&echo).as_deref(), Some("trn_1.0"));
    assert_eq!(echo.logical_id, "");
    let posted = event(
        json!({"type": "message_metadata_posted", "channel_id": "C1", "user_id": "UBOT",
        "message_ts": "1.2", "metadata": metadata}),
    );
    assert_eq!(settled(&posted).as_deref(), Some("trn_1.0"));
}

#[test]
fn bots_people_and_the_employee_are_distinguished() {
    let check = |message: Value, kind: ActorKind| {
        let mut json = json!({"type": "message", "channel": "C1", "ts": "1.2", "text": "hi"});
        json.as_object_mut()
            .unwrap()
            .extend(message.as_object().unwrap().clone());
        let event = event(json);
        assert_eq!(event.sender.kind, kind, "{message}");
        assert!(matches!(event.body, Body::Message { .. }), "{message}");
    };
    check(json!({"user": "U1"}), ActorKind::Human);
    check(json!({"user": "U2", "bot_id": "B2"}), ActorKind::Bot);
    check(
        json!({"subtype": "bot_message", "bot_id": "B2", "username": "ci"}),
        ActorKind::Bot,
    );
    check(json!({"user": "UBOT", "bot_id": "B1"}), ActorKind::Myself);
    check(json!({"bot_id": "B1", "app_id": "A1"}), ActorKind::Myself);
    check(
        json!({"user": "U9", "bot_id": "B1", "bot_profile": {"id": "B1", "app_id": "A1"}}),
        ActorKind::Myself,
    );
    check(json!({}), ActorKind::System);
    // Forged metadata of another sender settles nothing.
    let forged = json!({"event_type": "konstruct_send", "event_payload": {"key": "trn_1.0"}});
    check(
        json!({"user": "U2", "bot_id": "B2", "metadata": forged}),
        ActorKind::Bot,
    );
}

#[test]
fn only_unknown_changes_are_unsupported() {
    let check = |json: Value, expected: Lifecycle| {
        let event = event(json.clone());
        assert_eq!(event.body, Body::Lifecycle { change: expected }, "{json}");
    };
    let other = |name: &str| Lifecycle::Other(name.to_owned());
    check(json!({"type": "app_uninstalled"}), Lifecycle::Disconnected);
    check(
        json!({"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["UBOT"]}}),
        Lifecycle::Disconnected,
    );
    check(
        json!({"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": []}}),
        other("tokens_revoked"),
    );
    check(
        json!({"type": "app_home_opened", "user": "U1", "channel": "D1"}),
        Lifecycle::Opened,
    );
    check(
        json!({"type": "assistant_thread_started", "assistant_thread": {"channel_id": "D1", "thread_ts": "1.2"}}),
        Lifecycle::Opened,
    );
    check(
        json!({"type": "agent_session_stopped", "channel": "D1", "thread_ts": "1.2"}),
        Lifecycle::Stopped,
    );
    check(
        json!({"type": "member_joined_channel", "user": "U1", "channel": "C1"}),
        Lifecycle::Membership,
    );
    check(
        json!({"type": "message", "subtype": "channel_join", "user": "U1", "channel": "C1"}),
        Lifecycle::Membership,
    );
    check(
        json!({"type": "message", "subtype": "channel_topic", "channel": "C1"}),
        other("message.channel_topic"),
    );
    check(
        json!({"type": "user_change", "user": {"id": "U1"}}),
        other("user_change"),
    );
    check(
        json!({"type": "channel_rename", "channel": {"id": "C1", "name": "x"}}),
        other("channel_rename"),
    );
    for (json, kind) in [
        (json!({"type": "brand_new"}), "brand_new"),
        (
            json!({"type": "message", "subtype": "brand_new"}),
            "message.brand_new",
        ),
        (json!({}), ""),
    ] {
        assert!(
            matches!(event(json).body, Body::Unsupported { kind: unknown, .. } if unknown == kind)
        );
    }
    let limited =
        decode(br#"{"type":"app_rate_limited","team_id":"T1","minute_rate_limited":1518467820}"#);
    assert_eq!(
        limited.body,
        Body::Lifecycle {
            change: Lifecycle::RateLimited
        }
    );
    assert_eq!(limited.id, "app_rate_limited:T1:1518467820");
}

#[test]
fn the_account_is_the_installation() {
    let check = |body: Value, account: &str| {
        assert_eq!(
            decode(body.to_string().as_bytes()).account.0,
            account,
            "{body}"
        );
    };
    let event = json!({"type": "message"});
    let granted =
        json!([{"team_id": "T_MINE", "enterprise_id": "E1", "is_enterprise_install": false}]);
    check(
        json!({"team_id": "T_SOURCE", "authorizations": granted, "event": event}),
        "T_MINE",
    );
    let whole = json!([{"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": true}]);
    check(
        json!({"team_id": "T1", "authorizations": whole, "event": event}),
        "E1",
    );
    check(
        json!({"team_id": "T1", "authorizations": null, "event": event}),
        "T1",
    );
    check(
        json!({"type": "shortcut", "team": null, "enterprise": {"id": "E1"}, "is_enterprise_install": true}),
        "E1",
    );
    check(
        json!({"type": "shortcut", "team": {"id": "T1"}, "enterprise": null}),
        "T1",
    );
    check(
        json!({"command": "/x", "team_id": "T1", "is_enterprise_install": "false", "enterprise_id": "E1"}),
        "T1",
    );
}

#[test]
fn files_and_reactions_are_read() {
    let event_with_file = event(
        json!({"type": "message", "subtype": "file_share", "channel": "D1", "user": "U1", "ts": "1.2",
        "files": [{"id": "F1", "name": "a.png", "mimetype": "image/png", "size": 7, "url_private": "https://files.slack.com/a"},
            {"id": "F2", "subtype": "slack_audio", "mimetype": "audio/mp4"}]}),
    );
    let Body::Message { content, .. } = event_with_file.body else {
        panic!("a message")
    };
    let kinds: Vec<_> = content.attachments.iter().map(|file| file.kind).collect();
    assert_eq!(kinds, [AttachmentKind::Image, AttachmentKind::Voice]);
    assert_eq!(content.attachments[0].size, Some(7));
    let reaction = event(
        json!({"type": "reaction_removed", "user": "U1", "reaction": "eyes",
        "item": {"type": "message", "channel": "C1", "ts": "1.2"}}),
    );
    let (message, emoji) = ("1.2".to_owned(), "eyes".to_owned());
    assert_eq!(
        reaction.body,
        Body::Reaction {
            message,
            emoji,
            added: false
        }
    );
    assert_eq!(reaction.conversation.expect("a place").id, "C1");
}

#[test]
fn files_are_what_slack_lets_the_app_fetch() {
    let check = |file: Value, url: Option<&str>, size, unavailable| {
        let shared = event(
            json!({"type": "message", "subtype": "file_share", "channel": "D1", "user": "U1", "ts": "1.2",
            "files": [file]}),
        );
        let Body::Message { content, .. } = shared.body else {
            panic!("a message")
        };
        let found = &content.attachments[0];
        let found = (found.url.as_deref(), found.size, found.unavailable);
        assert_eq!(found, (url, size, unavailable), "{file}");
    };
    let photo = |mime: &str, size: u64| {
        json!({"id": "F1", "mode": "hosted", "mimetype": mime, "size": size, "url_private": "https://files.slack.com/o",
            "thumb_720": "https://files.slack.com/720", "thumb_1024": "https://files.slack.com/1024"})
    };
    let original = Some("https://files.slack.com/o");
    let smaller = Some("https://files.slack.com/1024");
    check(photo("image/jpeg", 90_000), original, Some(90_000), None);
    check(photo("image/jpeg", 7_000_000), smaller, None, None);
    check(photo("image/heic", 90_000), smaller, None, None);
    check(
        photo("application/pdf", 7_000_000),
        original,
        Some(7_000_000),
        None,
    );
    let mode = |mode: &str| json!({"id": "F1", "mode": mode});
    check(mode("tombstone"), None, None, Some(Unavailable::Deleted));
    check(
        mode("hidden_by_limit"),
        None,
        None,
        Some(Unavailable::HiddenByPlan),
    );
    check(mode("external"), None, None, Some(Unavailable::External));
    check(
        json!({"id": "F1", "is_external": true}),
        None,
        None,
        Some(Unavailable::External),
    );
}

#[test]
fn a_slash_command_is_a_command() {
    let body = form(&[
        ("team_id", "T1"),
        ("channel_id", "D1"),
        ("channel_name", "directmessage"),
        ("user_id", "U1"),
        ("user_name", "sam"),
        ("command", "/ask"),
        ("text", "is 1 &lt; 2?"),
        ("trigger_id", "1.2.x"),
    ]);
    let event = decode(&body);
    assert_eq!(event.id, "command:1.2.x");
    assert_eq!(event.sender.ids, [(IdKind::SlackUser, "U1".to_owned())]);
    assert_eq!(
        event.conversation.expect("a place").kind,
        ConversationKind::Direct
    );
    assert!(event.addressed.command && event.addressed.direct);
    let (name, arguments) = ("/ask".to_owned(), "is 1 < 2?".to_owned());
    assert_eq!(event.body, Body::Command { name, arguments });
}

#[test]
fn interactions_are_actions() {
    let check = |payload: Value, id: &str, action: &str, value: &str| {
        let event = decode(&form(&[("payload", &payload.to_string())]));
        let kind = payload["type"].as_str().unwrap().to_owned();
        let (action, value) = (action.to_owned(), value.to_owned());
        assert_eq!(
            event.body,
            Body::Action {
                kind,
                action,
                value
            }
        );
        assert!(event.id.starts_with(id), "{}", event.id);
        assert_eq!(event.account.0, "T1");
    };
    let with = |extra: Value| {
        let mut json = json!({"team": {"id": "T1"}, "user": {"id": "U1"}, "trigger_id": "1.2.x"});
        json.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json
    };
    check(
        with(json!({"type": "block_actions", "actions": [{"action_id": "ok", "value": "7"}]})),
        "block_actions:1.2.x",
        "ok",
        "7",
    );
    check(
        with(
            json!({"type": "block_actions", "actions": [{"action_id": "pick", "selected_options": [{"value": "a"}, {"value": "b"}]}]}),
        ),
        "block_actions:",
        "pick",
        "a,b",
    );
    check(
        with(
            json!({"type": "view_submission", "view": {"callback_id": "f", "state": {"values": {"b": 1}}}}),
        ),
        "view_submission:",
        "f",
        r#"{"b":1}"#,
    );
    check(
        with(json!({"type": "shortcut", "callback_id": "s"})),
        "shortcut:",
        "s",
        "",
    );
    check(
        with(json!({"type": "message_action", "callback_id": "m", "message_ts": "1.2"})),
        "message_action:",
        "m",
        "",
    );
    check(
        with(
            json!({"type": "interactive_message", "actions": [{"name": "n", "selected_options": [{"value": "C2"}]}]}),
        ),
        "interactive_message:",
        "n",
        "C2",
    );
    check(
        json!({"type": "dialog_submission", "team": {"id": "T1"}, "callback_id": "d", "submission": {"a": "b"}}),
        "sha256:",
        "d",
        r#"{"a":"b"}"#,
    );
    let both =
        with(json!({"type": "block_actions", "actions": [{"action_id": "a"}, {"action_id": "b"}]}));
    let events = slack::decode(&form(&[("payload", &both.to_string())]), NOW).events;
    assert_eq!(
        [&events[0].id, &events[1].id],
        ["block_actions:1.2.x", "block_actions:1.2.x/1"]
    );
    let plain = with(
        json!({"type": "block_actions", "actions": [{"action_id": "a"}], "view": {"state": {"values": {}}}}),
    );
    check(plain, "block_actions:", "a", "");
    // Unfinished input must not trigger an action.
    let typed = with(
        json!({"type": "block_suggestion", "action_id": "a", "value": "x", "channel": {"id": "D1"}}),
    );
    let typed = decode(&form(&[("payload", &typed.to_string())]));
    assert_eq!(typed.addressed, Default::default());
}

#[test]
fn a_socket_mode_frame_decodes_like_a_webhook() {
    let payload: Value = serde_json::from_slice(&callback(
        json!({"type": "message", "channel": "D1", "ts": "1.2"}),
    ))
    .unwrap();
    let frame =
        json!({"envelope_id": "e1", "type": "events_api", "payload": payload, "retry_attempt": 2});
    let envelope = slack::decode_envelope(frame.to_string().as_bytes(), NOW).expect("an envelope");
    assert_eq!(envelope.id, "e1");
    assert_eq!(envelope.decoded.events[0].redelivery, 2);
    assert_eq!(envelope.decoded.events[0].id, "Ev1");
    let frame =
        json!({"envelope_id": "e2", "type": "slash_commands", "payload": {"text": "hello"}});
    let envelope = slack::decode_envelope(frame.to_string().as_bytes(), NOW).expect("an envelope");
    assert!(matches!(
        envelope.decoded.events[0].body,
        Body::Command { .. }
    ));
    assert_eq!(slack::decode_envelope(br#"{"type":"hello"}"#, NOW), None);
}

#[test]
fn a_redelivery_is_marked_and_keeps_its_id() {
    let secret = Secret::new("s");
    let webhook = SlackWebhook::new(secret.clone()).unwrap();
    let body = callback(
        json!({"type": "message", "channel": "D1", "user": "U1", "ts": "1.2", "text": "hi"}),
    );
    let receive = |request: &WebhookRequest| match webhook.receive(request, NOW) {
        Received::Events(mut decoded, _) => decoded.take().remove(0),
        other => panic!("{other:?}"),
    };
    let first = receive(&signed_slack(&secret, NOW, body.clone()));
    let again = receive(&signed_slack(&secret, NOW, body).with_header("X-Slack-Retry-Num", "2"));
    assert_eq!((first.redelivery, again.redelivery), (0, 2));
    assert_eq!((first.id, first.logical_id), (again.id, again.logical_id));
}

#[test]
fn undecodable_bodies_are_counted_or_kept_under_their_account() {
    for body in ["", "x", "[]", "{", "payload=%7B", "\u{0}"] {
        let decoded = slack::decode(body.as_bytes(), NOW);
        assert_eq!(
            (decoded.events.len(), decoded.undecodable),
            (0, 1),
            "{body:?}"
        );
    }
    let deep = format!(
        r#"{{"team_id":"T1","event":{}1{}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let event = decode(deep.as_bytes());
    assert_eq!(event.account.0, "T1");
    assert!(matches!(event.body, Body::Unsupported { .. }));
    let cut = r#"{"team_id":"T1","event_id":"Ev2","event":{"type":"message","channel":"D1","ts":"1.2","text":"hi \ud83d"}}"#;
    assert!(
        matches!(decode(cut.as_bytes()).body, Body::Message { content, .. } if content.text == "hi \u{FFFD}")
    );
}

/// Outsiders control values such as a public channel's name, so these must not make a place more private.
#[test]
fn a_channels_name_does_not_make_it_private() {
    let names = [
        "im",
        "app_home",
        "directmessage",
        "mpim",
        "group",
        "privategroup",
    ];
    let place = |event: Inbound| {
        let direct = event.addressed.direct;
        let place = event.conversation.expect("a place");
        assert_eq!(place.kind == ConversationKind::Direct, direct);
        place.kind
    };
    for name in names {
        for (id, expected) in [
            ("C1", ConversationKind::Channel),
            ("G1", ConversationKind::Group),
            ("D1", ConversationKind::Direct),
            ("X1", ConversationKind::Channel),
        ] {
            let command = decode(&form(&[
                ("team_id", "T1"),
                ("channel_id", id),
                ("channel_name", name),
                ("user_id", "U1"),
                ("command", "/ask"),
                ("trigger_id", "1.2.x"),
            ]));
            assert_eq!(place(command), expected, "command: {id} {name}");
            for kind in ["block_actions", "message_action", "interactive_message"] {
                let payload = json!({
                    "type": kind, "team": {"id": "T1"}, "user": {"id": "U1"}, "trigger_id": "1.2.x",
                    "channel": {"id": id, "name": name},
                    "channel_type": "im", "channel_name": name,
                });
                let pressed = decode(&form(&[("payload", &payload.to_string())]));
                assert_eq!(place(pressed), expected, "{kind}: {id} {name}");
            }
        }
        // An event's `channel_type` comes from Slack, and both must agree.
        let said = event(json!({
            "type": "message", "user": "U1", "text": "hi", "ts": "1.2", "channel": "C1", "channel_type": name,
        }));
        assert_ne!(place(said), ConversationKind::Direct, "{name}");
    }
    for kind in ["channel", "group", "mpim", "something_new"] {
        let said = event(json!({
            "type": "message", "user": "U1", "text": "hi", "ts": "1.2", "channel": "D1", "channel_type": kind,
        }));
        assert_ne!(place(said), ConversationKind::Direct, "{kind}");
    }
}

#[test]
fn a_shared_message_is_a_reference_to_it() {
    let shared = event(json!({
        "type": "message", "user": "U1", "text": "see this", "ts": "1.2", "channel": "D1", "channel_type": "im",
        "attachments": [{"is_share": true, "is_msg_unfurl": true, "ts": "0.9", "author_id": "U2", "text": "their words"}],
    }));
    let expected = Quoted::new("0.9")
        .by("U2".to_owned())
        .with_text("their words".to_owned());
    assert_eq!(
        (shared.quoted, shared.forwarded),
        (Some(expected), Forwarded::Once)
    );
    let Body::Message { content, .. } = shared.body else {
        panic!("a message")
    };
    assert_eq!(content.text, "see this");
    let link = event(json!({
        "type": "message", "user": "U1", "text": "https://a.example", "ts": "1.2", "channel": "D1",
        "attachments": [{"from_url": "https://a.example", "ts": 1234, "text": "a page"}],
    }));
    assert_eq!((link.quoted, link.forwarded), (None, Forwarded::No));
}

#[test]
fn accounts_of_slack_are_not_persons() {
    let nobody = |event: Inbound| assert_eq!(event.sender, Actor::default(), "{:?}", event.body);
    for user in ["USLACK", "USLACKBOT"] {
        for from in [
            json!({"user": user}),
            json!({"user": user, "bot_id": "B01"}),
            json!({"user": user, "channel": "C1", "text": "<@UBOT> hi"}),
            json!({"user": user, "subtype": "bot_message", "username": "Slackbot"}),
            json!({"type": "reaction_added", "user": user, "reaction": "eyes", "item": {"channel": "D1", "ts": "1.0"}}),
        ] {
            let mut said = json!({
                "type": "message", "text": "Please complete your profile", "ts": "1.2", "channel": "D1", "channel_type": "im",
            });
            said.as_object_mut()
                .unwrap()
                .extend(from.as_object().unwrap().clone());
            nobody(event(said));
        }
        let pressed = json!({"type": "block_actions", "user": {"id": user}, "channel": {"id": "D1"}, "actions": [{"action_id": "a"}]});
        nobody(decode(&form(&[("payload", &pressed.to_string())])));
        nobody(decode(&form(&[
            ("command", "/ask"),
            ("user_id", user),
            ("channel_id", "D1"),
        ])));
    }
}

#[test]
fn a_cancelled_form_requests_nothing() {
    for kind in ["view_closed", "dialog_cancellation"] {
        let payload = json!({"type": kind, "team": {"id": "T1"}, "user": {"id": "U1"}, "channel": {"id": "D1"},
            "view": {"id": "V1", "hash": "h", "callback_id": "f"}, "callback_id": "f"});
        let event = decode(&form(&[("payload", &payload.to_string())]));
        let change = Lifecycle::Cancelled;
        assert_eq!(event.body, Body::Lifecycle { change }, "{kind}");
        assert_eq!(event.addressed, Default::default(), "{kind}");
    }
}

#[test]
fn a_response_goes_to_where_a_form_was_opened() {
    let check = |payload: Value, key: Option<&str>, url: Option<&str>, ephemeral: bool| {
        let event = decode(&form(&[("payload", &payload.to_string())]));
        let place = event.conversation.map(|place| place.key());
        assert_eq!(place.as_deref(), key, "{payload}");
        let origin = event.origin.map(|origin| *origin).unwrap_or_default();
        assert_eq!(
            (origin.response_url.as_deref(), origin.ephemeral),
            (url, ephemeral),
            "{payload}"
        );
        assert!(!format!("{origin:?}").contains("https"));
    };
    let url = "https://hooks.example/1";
    let pressed = |container: Value| {
        json!({"type": "block_actions", "user": {"id": "U1"}, "container": container, "response_url": url,
            "actions": [{"action_id": "a"}]})
    };
    let message =
        json!({"type": "message", "channel_id": "C1", "message_ts": "1.2", "is_ephemeral": false});
    check(pressed(message), Some("C1/1.2"), Some(url), false);
    let ephemeral =
        json!({"type": "message", "channel_id": "C1", "message_ts": "1.2", "is_ephemeral": true});
    check(pressed(ephemeral), Some("C1"), Some(url), true);
    let in_thread =
        json!({"channel_id": "C1", "message_ts": "1.2", "thread_ts": "0.9", "is_ephemeral": true});
    check(pressed(in_thread), Some("C1/0.9"), Some(url), true);
    let submitted = |metadata: &str, urls: Value| {
        json!({"type": "view_submission", "user": {"id": "U1"}, "response_urls": urls,
            "view": {"type": "modal", "private_metadata": metadata}})
    };
    check(
        submitted(r#"{"channel_id":"C1","thread_ts":"0.9"}"#, json!([])),
        Some("C1/0.9"),
        None,
        false,
    );
    check(
        submitted("", json!([{"channel_id": "C2", "response_url": url}])),
        Some("C2"),
        Some(url),
        false,
    );
    check(submitted("not JSON", json!([])), Some("U1"), None, false);
    check(
        json!({"type": "dialog_submission", "channel": {"id": "C1"}, "response_url": url, "submission": {}}),
        Some("C1"),
        Some(url),
        false,
    );
    check(
        json!({"type": "shortcut", "user": {"id": "U1"}}),
        Some("U1"),
        None,
        false,
    );
}
