//! Both decoders pass the conformance suite.

use konstruct_channels::{slack, testkit::decoding_suite, whatsapp};
use konstruct_core::Timestamp;
use serde_json::json;

use crate::{slack_inbound::callback, whatsapp_inbound::envelope};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

#[test]
fn slack_passes() {
    let mut twin = json!({"type": "message", "channel": "C1", "user": "U1", "ts": "1.2", "text": "<@UBOT> `a` <b|c> &amp;"});
    let message = callback(twin.clone());
    twin["type"] = "app_mention".into();
    let mention = String::from_utf8(callback(twin))
        .unwrap()
        .replace("Ev1", "Ev2")
        .into_bytes();
    let form = b"payload=%7B%22type%22%3A%22block_actions%22%2C%22team%22%3A%7B%22id%22%3A%22T1%22%7D%2C%22actions%22%3A%5B%7B%7D%2C%7B%7D%5D%7D";
    let command = b"command=%2Fask&team_id=T1&text=hi";
    let samples: [&[u8]; 4] = [&message, &mention, form, command];
    decoding_suite(&samples, &[(&message, &mention)], |body| {
        slack::decode(body, NOW).take()
    });
}

#[test]
fn slacks_socket_mode_passes() {
    let frame = br#"{"envelope_id":"e","type":"events_api","payload":{"team_id":"T1","event":{"type":"message"}}}"#;
    decoding_suite(&[frame], &[], |body| {
        slack::decode_envelope(body, NOW)
            .map_or_else(Vec::new, |mut envelope| envelope.decoded.take())
    });
}

#[test]
fn whatsapp_passes() {
    let message = json!({"id": "wamid.A", "from": "1", "timestamp": "1749416383", "type": "text", "text": {"body": "é\u{1F600}"}});
    let statuses =
        json!([{"id": "wamid.A", "status": "sent"}, {"id": "wamid.A", "status": "read"}]);
    let both = envelope(
        "messages",
        json!({"messages": [message], "statuses": statuses, "errors": [{"code": 1}]}),
    );
    let preferences = envelope(
        "user_preferences",
        json!({"user_preferences": [{"wa_id": "1"}, {"wa_id": "2"}]}),
    );
    decoding_suite(&[&both, &preferences], &[], |body| {
        whatsapp::decode(body, NOW).take()
    });
}
