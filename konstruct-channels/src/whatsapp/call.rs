//! Calls between a person and the business.

use konstruct_core::{
    ConversationRef, Inbound,
    message::{Body, Lifecycle},
};
use serde_json::{Value, value::RawValue};

use super::{inbound::Change, wire};
use crate::lenient_json::LenientJson as _;

/// Returns what happened to a call.
pub(super) fn change(call: &Value) -> Lifecycle {
    Lifecycle::Call {
        call: call.text("id").unwrap_or_default(),
        event: call.text("event").unwrap_or_default(),
        incoming: match call.text("direction").as_deref() {
            Some("USER_INITIATED") => Some(true),
            Some("BUSINESS_INITIATED") => Some(false),
            _ => None,
        },
        outcome: outcome(call),
        seconds: call.text("duration").and_then(|text| text.parse().ok()),
    }
}

fn outcome(call: &Value) -> Option<String> {
    let status = match call.at("status") {
        Value::Array(list) => list.first().and_then(crate::lenient_json::scalar),
        _ => call.text("status"),
    };
    status.map(|status| status.to_lowercase())
}

/// Decodes the status of a call that the business began.
pub(super) fn status(change: &Change<'_>, raw: &RawValue, status: &Value) -> Inbound {
    let id = status.text("id").unwrap_or_default();
    let state = outcome(status).unwrap_or_default();
    let sender = change.person(status, &["recipient_id"], &["recipient_user_id"]);
    let body = Body::Lifecycle {
        change: Lifecycle::Call {
            call: id.clone(),
            event: state.clone(),
            incoming: Some(false),
            outcome: None,
            seconds: None,
        },
    };
    let event = change.event(raw, body);
    let time = wire::timestamp(status, "timestamp").unwrap_or(event.occurred_at);
    event
        .with_id(format!("{id}:{state}"))
        .in_conversation(sender.id().map(ConversationRef::direct))
        .sent_by(sender)
        .at(time)
}
