//! Decoding of WhatsApp's webhooks.

use konstruct_channels::whatsapp;
use konstruct_core::{
    Inbound, Timestamp,
    message::{
        ActorKind, AttachmentKind, Body, ConversationKind, DeliveryState, Forwarded, IdKind,
        Lifecycle, Quoted,
    },
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn envelope(field: &str, value: Value) -> Vec<u8> {
    let mut value = value;
    value["metadata"] = json!({"phone_number_id": "P1", "display_phone_number": "15550783881"});
    let change = json!({"field": field, "value": value});
    json!({"object": "whatsapp_business_account", "entry": [{"id": "W1", "changes": [change]}]})
        .to_string()
        .into_bytes()
}

fn decode(body: &[u8]) -> Vec<Inbound> {
    let decoded = whatsapp::decode(body, NOW);
    assert_eq!(decoded.undecodable, 0);
    decoded.events
}

fn one(field: &str, value: Value) -> Inbound {
    let [event] = <[Inbound; 1]>::try_from(decode(&envelope(field, value))).expect("one event");
    event
}

fn message(part: Value) -> Inbound {
    let mut json = json!({"id": "wamid.A", "from": "16505551234", "timestamp": "1749416383"});
    json.as_object_mut()
        .expect("a fixture")
        .extend(part.as_object().expect("a fixture").clone());
    let contacts = json!([{"profile": {"name": "Sam"}, "wa_id": "16505551234", "user_id": "US.1"}]);
    one(
        "messages",
        json!({"contacts": contacts, "messages": [json]}),
    )
}

#[test]
fn a_text_is_a_message() {
    let event =
        message(json!({"type": "text", "text": {"body": "hi"}, "context": {"id": "wamid.B"}}));
    assert_eq!(
        (event.id.as_str(), event.logical_id.as_str()),
        ("wamid.A", "16505551234:wamid.A")
    );
    assert_eq!(event.account.0, "P1");
    assert_eq!(event.occurred_at, Timestamp::from_secs(1_749_416_383));
    assert_eq!(event.sender.name.as_deref(), Some("Sam"));
    let ids = [
        (IdKind::WhatsAppPhone, "16505551234".to_owned()),
        (IdKind::WhatsAppUser, "US.1".to_owned()),
    ];
    assert_eq!(event.sender.ids, ids);
    assert!(event.addressed.direct);
    let Body::Message { message, content } = event.body else {
        panic!("a message")
    };
    assert_eq!((message.as_str(), content.text.as_str()), ("wamid.A", "hi"));
    assert_eq!(event.quoted, Some(Quoted::new("wamid.B")));
}

#[test]
fn attachments_of_every_kind_are_read() {
    let check = |part: Value, kind: AttachmentKind, id: &str, text: &str| {
        let Body::Message { content, .. } = message(part.clone()).body else {
            panic!("{part}: a message")
        };
        assert_eq!(content.attachments[0].kind, kind, "{part}");
        assert_eq!(
            (content.attachments[0].id.as_str(), content.text.as_str()),
            (id, text),
            "{part}"
        );
    };
    check(
        json!({"type": "image", "image": {"id": "M1", "caption": "look"}}),
        AttachmentKind::Image,
        "M1",
        "look",
    );
    check(
        json!({"type": "audio", "audio": {"id": "M1", "voice": true}}),
        AttachmentKind::Voice,
        "M1",
        "",
    );
    check(
        json!({"type": "audio", "audio": {"id": 5}}),
        AttachmentKind::Audio,
        "5",
        "",
    );
    check(
        json!({"type": "video", "video": {"id": "M1"}}),
        AttachmentKind::Video,
        "M1",
        "",
    );
    check(
        json!({"type": "sticker", "sticker": {"id": "M1"}}),
        AttachmentKind::Sticker,
        "M1",
        "",
    );
    check(
        json!({"type": "document", "document": {"id": "M1", "filename": "a.pdf"}}),
        AttachmentKind::Document,
        "M1",
        "",
    );
    // The type may be missing.
    check(
        json!({"location": {"latitude": 37.5, "longitude": "-122", "name": "Shop"}}),
        AttachmentKind::Location,
        "",
        "Shop, (37.5, -122)",
    );
    check(
        json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Jo"}, "phones": [{"phone": "+1"}]}]}),
        AttachmentKind::Contact,
        "",
        "Jo, +1",
    );
    check(
        json!({"type": "order", "order": {"catalog_id": "C1", "text": "", "product_items":
        [{"product_retailer_id": "sku", "quantity": 2, "item_price": 30, "currency": "USD"}]}}),
        AttachmentKind::Order,
        "C1",
        "2 x sku at 30 USD",
    );
}

#[test]
fn other_message_types() {
    let check = |part: Value, expected: Body| {
        let event = message(part.clone());
        assert_eq!(event.body, expected, "{part}");
        assert_eq!(event.logical_id, "", "{part}");
    };
    let action = |kind: &str, action: &str, value: &str| Body::Action {
        kind: kind.to_owned(),
        action: action.to_owned(),
        value: value.to_owned(),
    };
    let reaction = |emoji: &str| Body::Reaction {
        message: "wamid.B".to_owned(),
        emoji: emoji.to_owned(),
        added: !emoji.is_empty(),
    };
    let lifecycle = |change| Body::Lifecycle { change };
    check(
        json!({"type": "button", "button": {"payload": "no", "text": "No"}}),
        action("button", "no", "No"),
    );
    check(
        json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "i", "title": "T"}}}),
        action("list_reply", "i", "T"),
    );
    check(
        json!({"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"name": "flow", "response_json": "{}"}}}),
        action("nfm_reply", "flow", "{}"),
    );
    check(
        json!({"type": "reaction", "reaction": {"message_id": "wamid.B", "emoji": "👍"}}),
        reaction("👍"),
    );
    check(
        json!({"type": "reaction", "reaction": {"message_id": "wamid.B", "emoji": ""}}),
        reaction(""),
    );
    check(
        json!({"type": "reaction", "reaction": {"message_id": "wamid.B"}}),
        reaction(""),
    );
    check(
        json!({"type": "revoke", "revoke": {"original_message_id": "wamid.B"}}),
        Body::Deleted {
            message: "wamid.B".to_owned(),
        },
    );
    check(
        json!({"type": "system", "system": {"type": "user_changed_number", "wa_id": "2"}}),
        lifecycle(Lifecycle::IdentityChanged {
            old: "16505551234".to_owned(),
            new: "2".to_owned(),
        }),
    );
    check(
        json!({"type": "system", "from_user_id": "US.1", "system": {"type": "user_changed_user_id",
            "wa_id": "2", "previous_user_id": "US.1", "user_id": "US.2"}}),
        lifecycle(Lifecycle::IdentityChanged {
            old: "US.1".to_owned(),
            new: "US.2".to_owned(),
        }),
    );
    check(
        json!({"type": "system", "system": {"type": "customer_identity_changed"}}),
        lifecycle(Lifecycle::Other("customer_identity_changed".to_owned())),
    );
    let edit = message(
        json!({"type": "edit", "edit": {"original_message_id": "wamid.B", "message": {"type": "text", "text": {"body": "new"}}}}),
    );
    assert!(
        matches!(&edit.body, Body::Edited { message, content } if message == "wamid.B" && content.text == "new")
    );
    let unsupported = message(
        json!({"type": "unsupported", "errors": [{"code": 131_051, "title": "Unsupported"}]}),
    );
    assert!(
        matches!(&unsupported.body, Body::Unsupported { kind, errors } if kind == "unsupported" && errors[0].code == "131051")
    );
    let empty = message(json!({"type": "interactive", "errors": [{"code": 1}]}));
    assert!(matches!(&empty.body, Body::Unsupported { kind, .. } if kind == "interactive"));
}

#[test]
fn a_person_without_a_phone_number_has_a_user_id() {
    let contacts = json!([{"profile": {"name": "Sam"}, "user_id": "US.13"}]);
    let check = |message: Value| {
        let event = one(
            "messages",
            json!({"contacts": contacts, "messages": [message]}),
        );
        assert_eq!(event.conversation.expect("a place").id, "US.13");
        assert_eq!(
            event.sender.ids,
            [(IdKind::WhatsAppUser, "US.13".to_owned())]
        );
    };
    check(json!({"id": "wamid.A", "type": "text", "text": {"body": "hi"}}));
    check(json!({"id": "wamid.A", "from": "US.13", "type": "text", "text": {"body": "hi"}}));
    check(
        json!({"id": "wamid.A", "from_user_id": "US.13", "type": "text", "text": {"body": "hi"}}),
    );
}

#[test]
fn a_status_updates_its_send() {
    let check = |status: Value, state: DeliveryState, id: &str, billed: Option<&str>| {
        let mut json = json!({"id": "wamid.A", "recipient_id": "1650", "timestamp": 1_749_416_383, "biz_opaque_callback_data": "trn_1.0"});
        json.as_object_mut()
            .unwrap()
            .extend(status.as_object().unwrap().clone());
        let event = one("messages", json!({"statuses": [json]}));
        assert_eq!(event.id, id);
        assert_eq!(event.conversation.expect("a place").id, "1650");
        let Body::Delivery {
            message,
            state: given,
            key,
            billed: category,
            ..
        } = event.body
        else {
            panic!("{status}: a delivery")
        };
        assert_eq!(
            (message.as_str(), given, key.as_deref()),
            ("wamid.A", state, Some("trn_1.0"))
        );
        assert_eq!(category.as_deref(), billed);
    };
    check(
        json!({"status": "sent"}),
        DeliveryState::Sent,
        "wamid.A:sent",
        None,
    );
    check(
        json!({"status": "played"}),
        DeliveryState::Read,
        "wamid.A:played",
        None,
    );
    check(
        json!({"status": "failed", "errors": [{"code": 131_047}]}),
        DeliveryState::Failed,
        "wamid.A:failed",
        None,
    );
    check(
        json!({"status": "delivered", "pricing": {"billable": true, "category": "utility"}}),
        DeliveryState::Delivered,
        "wamid.A:delivered",
        Some("utility"),
    );
    check(
        json!({"status": "delivered", "pricing": {"billable": false, "category": "service"}}),
        DeliveryState::Delivered,
        "wamid.A:delivered",
        None,
    );
    check(
        json!({"status": "read", "recipient_type": "group", "recipient_participant_id": "1"}),
        DeliveryState::Read,
        "wamid.A:read:1",
        None,
    );
}

#[test]
fn a_reply_from_the_phone_app_is_an_operators() {
    let echo = json!({"id": "wamid.A", "from": "15550783881", "to": "1650", "timestamp": "1", "type": "text", "text": {"body": "hi"}});
    let event = one("smb_message_echoes", json!({"message_echoes": [echo]}));
    assert_eq!(event.sender.kind, ActorKind::Operator);
    assert_eq!(event.conversation.expect("a place").id, "1650");
    assert!(!event.addressed.direct);
    assert!(matches!(event.body, Body::Message { .. }));
}

#[test]
fn only_unknown_fields_are_unsupported() {
    let check = |field: &str, value: Value, expected: Lifecycle| {
        assert_eq!(
            one(field, value).body,
            Body::Lifecycle { change: expected },
            "{field}"
        );
    };
    let other = |name: &str| Lifecycle::Other(name.to_owned());
    check(
        "account_update",
        json!({"event": "PARTNER_REMOVED"}),
        Lifecycle::Disconnected,
    );
    check(
        "account_update",
        json!({"event": "VERIFIED_ACCOUNT"}),
        other("account_update"),
    );
    for (value, expected) in [
        (json!({"event": "ACCOUNT_DELETED"}), Lifecycle::Disconnected),
        (
            json!({"event": "ACCOUNT_OFFBOARDED"}),
            Lifecycle::Disconnected,
        ),
        (
            json!({"event": "ACCOUNT_RECONNECTED"}),
            Lifecycle::Reconnected,
        ),
        (
            json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}),
            Lifecycle::Disconnected,
        ),
        (
            json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}),
            Lifecycle::Reconnected,
        ),
        (
            json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}}),
            other("account_update"),
        ),
        (
            json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [
                {"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1},
                {"restriction_type": "RESTRICTED_CUSTOMER_INITIATED_MESSAGING", "expiration": 1_800_000_000}]}),
            Lifecycle::Restricted {
                until: Some(Timestamp::from_secs(1_800_000_000)),
            },
        ),
        (
            json!({"event": "ACCOUNT_RESTRICTION", "restrictions": {
                "restriction_type": "RESTRICTED_CUSTOMER_INITIATED_MESSAGING", "expiration": "2027-01-15T08:00:00.000Z"}}),
            Lifecycle::Restricted {
                until: Some(Timestamp::from_secs(1_800_000_000)),
            },
        ),
        (
            json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [
                {"restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION"}]}),
            other("account_update"),
        ),
    ] {
        check("account_update", value, expected);
    }
    check(
        "group_participants_update",
        json!({"groups": []}),
        Lifecycle::Membership,
    );
    check(
        "user_preferences",
        json!({"user_preferences": [{"wa_id": "1"}]}),
        other("user_preferences"),
    );
    for (value, granted) in [("stop", false), ("resume", true)] {
        check(
            "user_preferences",
            json!({"user_preferences": [{"wa_id": "1", "category": "marketing_messages", "value": value}]}),
            Lifecycle::Consent {
                category: "marketing_messages".to_owned(),
                granted,
            },
        );
    }
    check("calls", json!({"calls": []}), other("calls"));
    check("standby", json!({}), other("standby"));
    check(
        "messaging_handovers",
        json!({"messaging_handovers": [{"wa_id": "1"}]}),
        other("messaging_handovers"),
    );
    let changed = Lifecycle::IdentityChanged {
        old: "US.1".to_owned(),
        new: "US.2".to_owned(),
    };
    check(
        "user_id_update",
        json!({"user_id_update": [{"user_id": {"previous": "US.1", "current": "US.2"}, "wa_id": "1"}]}),
        changed,
    );
    let unknown = one("brand_new", json!({}));
    assert!(matches!(unknown.body, Body::Unsupported { kind, .. } if kind == "brand_new"));
    let failed = one(
        "messages",
        json!({"errors": [{"code": 130_429, "title": "Rate limit hit"}]}),
    );
    assert!(matches!(failed.body, Body::Unsupported { errors, .. } if errors[0].code == "130429"));
}

#[test]
fn an_unreadable_message_does_not_affect_its_batch() {
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let good = r#"{"id":"wamid.A","from":"1","type":"text","text":{"body":"hi"}}"#;
    let group =
        r#"{"id":"wamid.B","from":"1","group_id":"G1","type":"text","text":{"body":"cut \udc00"}}"#;
    let change = format!(
        r#"{{"field":"messages","value":{{"metadata":{{"phone_number_id":"P1"}},"messages":[{good},{{"text":{deep}}},{group}]}}}}"#
    );
    let body = format!(
        r#"{{"entry":[{{"id":"W1","changes":[{change}]}},{{"id":"W2","changes":[{{"field":"flows"}}]}}]}}"#
    );
    let events = decode(body.as_bytes());
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!([ids[0], ids[2]], ["wamid.A", "wamid.B"]);
    assert!(matches!(events[1].body, Body::Unsupported { .. }));
    assert_eq!(
        events[2].conversation.as_ref().expect("a place").kind,
        ConversationKind::Group
    );
    assert_eq!((events.len(), events[3].account.0.as_str()), (4, "W2"));
    assert_eq!(events[0].raw.as_ref().expect("the JSON").get(), good);
    for body in ["", "[]", "{}", r#"{"entry":1}"#, "\u{FF}"] {
        assert_eq!(
            whatsapp::decode(body.as_bytes(), NOW).undecodable,
            1,
            "{body}"
        );
    }
}

#[test]
fn message_metadata_is_kept() {
    let plain = message(json!({"type": "text", "text": {"body": "hi"}}));
    assert_eq!(
        (plain.quoted, plain.label, plain.referral, plain.forwarded),
        (None, None, None, Forwarded::No)
    );
    let quoted = message(json!({
        "type": "text", "text": {"body": "hi"},
        "context": {"from": "15550783881", "id": "wamid.B"},
    }));
    let author = "15550783881".to_owned();
    assert_eq!(quoted.quoted, Some(Quoted::new("wamid.B").by(author)));
    for (flag, expected) in [
        ("forwarded", Forwarded::Once),
        ("frequently_forwarded", Forwarded::Often),
    ] {
        let passed_on = message(json!({
            "type": "text", "text": {"body": "hi"}, "context": {flag: true},
        }));
        assert_eq!(
            (passed_on.forwarded, passed_on.quoted),
            (expected, None),
            "{flag}"
        );
    }
    let clicked = message(json!({
        "type": "text", "text": {"body": "hi"},
        "referral": {"source_url": "https://fb.me/1", "source_type": "ad", "headline": "Bikes", "body": "Fast",
            "ctwa_clid": "clid"},
    }));
    let referral = clicked.referral.expect("a referral");
    assert_eq!(
        [
            referral.source_url,
            referral.headline,
            referral.body,
            referral.click_id
        ],
        ["https://fb.me/1", "Bikes", "Fast", "clid"].map(|text| Some(text.to_owned()))
    );
    for (part, expected) in [
        (
            json!({"type": "interactive", "interactive": {"type": "button_reply",
            "button_reply": {"id": "y", "title": "Yes"}}}),
            ("y", "Yes"),
        ),
        (
            json!({"type": "interactive", "interactive": {"type": "list_reply",
            "list_reply": {"id": "l", "title": "Large", "description": "XL"}}}),
            ("l", "Large"),
        ),
        (
            json!({"type": "button", "button": {"payload": "p", "text": "Pay"}}),
            ("p", "Pay"),
        ),
    ] {
        let picked = message(part);
        let Body::Action { action, .. } = &picked.body else {
            panic!("an action")
        };
        assert_eq!(
            (action.as_str(), picked.label.as_deref()),
            (expected.0, Some(expected.1))
        );
    }
}

#[test]
fn a_call_names_its_caller() {
    let check = |field: Value, sender: &str, expected: Lifecycle| {
        let event = one("calls", field);
        assert_eq!(event.sender.id(), Some(sender));
        assert_eq!(event.conversation.expect("a place").id, sender);
        assert_eq!(event.addressed, Default::default());
        assert_eq!(event.body, Body::Lifecycle { change: expected });
    };
    let call = |event: &str, incoming, outcome: Option<&str>, seconds| Lifecycle::Call {
        call: "wacid.1".to_owned(),
        event: event.to_owned(),
        incoming: Some(incoming),
        outcome: outcome.map(str::to_owned),
        seconds,
    };
    let json = |extra: Value| {
        let mut json =
            json!({"id": "wacid.1", "from": "1650", "to": "1555", "timestamp": "1728932177"});
        json.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({"calls": [json]})
    };
    check(
        json(json!({"event": "connect", "direction": "USER_INITIATED", "session": {"sdp": "v=0"}})),
        "1650",
        call("connect", true, None, None),
    );
    check(
        json(
            json!({"event": "terminate", "direction": "BUSINESS_INITIATED", "status": "COMPLETED", "duration": 33}),
        ),
        "1555",
        call("terminate", false, Some("completed"), Some(33)),
    );
    let statuses = json!({"statuses": [{"id": "wacid.1", "type": "call", "status": "REJECTED", "recipient_id": "1650"}]});
    check(statuses, "1650", call("rejected", false, None, None));
}

#[test]
fn call_permission_is_no_message() {
    for (response, granted) in [("accept", true), ("reject", false)] {
        let event = message(
            json!({"type": "interactive", "interactive": {"type": "call_permission_reply",
            "call_permission_reply": {"response": response, "response_source": "user_action", "expiration_timestamp": 1_800_000_000}}}),
        );
        let until = Some(Timestamp::from_secs(1_800_000_000));
        let change = Lifecycle::CallPermission { granted, until };
        assert_eq!(event.body, Body::Lifecycle { change });
    }
}

#[test]
fn a_user_id_is_never_a_phone_number() {
    let ids = |contact: Value, message: Value| {
        let mut json = json!({"id": "wamid.A", "type": "text", "text": {"body": "hi"}});
        json.as_object_mut()
            .unwrap()
            .extend(message.as_object().unwrap().clone());
        let event = one(
            "messages",
            json!({"contacts": [contact], "messages": [json]}),
        );
        assert_eq!(
            event.conversation.expect("a place").id,
            event.sender.ids[0].1
        );
        event.sender.ids
    };
    let user = |id: &str| (IdKind::WhatsAppUser, id.to_owned());
    let phone = |id: &str| (IdKind::WhatsAppPhone, id.to_owned());
    assert_eq!(
        ids(json!({}), json!({"from": "MY.2026"})),
        [user("MY.2026")]
    );
    assert_eq!(
        ids(json!({"wa_id": "MY.2026"}), json!({"from": "MY.2026"})),
        [user("MY.2026")]
    );
    assert_eq!(
        ids(json!({"wa_id": "MY.2026"}), json!({})),
        [user("MY.2026")]
    );
    assert_eq!(
        ids(
            json!({"wa_id": "1650", "user_id": "MY.2026"}),
            json!({"from": "MY.2026"})
        ),
        [phone("1650"), user("MY.2026")]
    );
}

#[test]
fn a_changed_identity_names_all_ids() {
    let check = |message: Value, old: &str, new: &str, ids: &[&str]| {
        let mut json = json!({"id": "wamid.A", "type": "system"});
        json.as_object_mut()
            .unwrap()
            .extend(message.as_object().unwrap().clone());
        let event = one("messages", json!({"messages": [json]}));
        let change = Lifecycle::IdentityChanged {
            old: old.to_owned(),
            new: new.to_owned(),
        };
        assert_eq!(event.body, Body::Lifecycle { change });
        let all: Vec<_> = event.sender.ids.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(all, ids);
        assert_eq!(event.conversation.expect("a place").id, ids[0]);
    };
    check(
        json!({"from": "1650", "system": {"type": "user_changed_number", "wa_id": "1219"}}),
        "1650",
        "1219",
        &["1650", "1219"],
    );
    check(
        json!({"from": "1650", "system": {"type": "user_changed_number", "wa_id": "1219",
            "previous_user_id": "US.1", "user_id": "US.2"}}),
        "1650",
        "1219",
        &["1650", "1219", "US.1", "US.2"],
    );
    // Only the ids of the user are known.
    check(
        json!({"from": "US.1", "system": {"type": "user_changed_number", "wa_id": "US.2"}}),
        "US.1",
        "US.2",
        &["US.1", "US.2"],
    );
    check(
        json!({"from_user_id": "US.2", "system": {"type": "user_changed_user_id", "previous_user_id": "US.1", "user_id": "US.2"}}),
        "US.1",
        "US.2",
        &["US.1", "US.2"],
    );
}

#[test]
fn a_message_in_a_group_can_address_the_business() {
    let check = |part: Value, expected: bool| {
        let mut json = json!({"group_id": "G1", "type": "text", "text": {"body": "hi"}});
        json.as_object_mut()
            .unwrap()
            .extend(part.as_object().unwrap().clone());
        let event = message(json);
        assert_eq!(
            (event.addressed.mention, event.addressed.direct),
            (expected, false),
            "{part}"
        );
    };
    check(json!({}), false);
    check(json!({"text": {"body": "is it ready @15550783881?"}}), true);
    check(
        json!({"text": {"body": "@15550783881 2 bikes please"}}),
        true,
    );
    check(
        json!({"text": {"body": "call 15550783881 or @155507838812"}}),
        false,
    );
    check(
        json!({"context": {"id": "wamid.B", "from": "15550783881"}}),
        true,
    );
    check(json!({"context": {"id": "wamid.B", "from": "1650"}}), false);
}

#[test]
fn nothing_is_answered_in_standby() {
    let part = json!({"id": "wamid.A", "from": "1650", "type": "text", "text": {"body": "hi"}});
    let event = one("standby", json!({"messages": [part]}));
    assert!(matches!(event.body, Body::Message { .. }));
    assert_eq!(event.addressed, Default::default());
    let pressed = json!({"id": "wamid.A", "from": "1650", "type": "button", "button": {"payload": "y", "text": "Yes"}});
    let event = one("standby", json!({"messages": [pressed]}));
    assert_eq!(event.addressed, Default::default());
}
