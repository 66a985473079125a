//! Statuses of sent messages.

use konstruct_core::{
    ConversationRef, Inbound,
    message::{Body, ConversationKind, DeliveryState},
};
use serde_json::{Value, value::RawValue};

use super::{
    inbound::{Change, errors},
    wire,
};
use crate::lenient_json::LenientJson as _;

/// Decodes a status. It belongs to its recipient's conversation.
pub(super) fn decode(change: &Change<'_>, raw: &RawValue, status: &Value) -> Inbound {
    let name = status.text("status").unwrap_or_default();
    let message = status.text("id");
    let event = change.event(raw, body(status, &name));
    let participant = status.first(&["recipient_participant_id", "recipient_participant_user_id"]);
    let id = match (&message, participant) {
        (Some(message), Some(participant)) => format!("{message}:{name}:{participant}"),
        (Some(message), None) => format!("{message}:{name}"),
        (None, _) => event.id.clone(),
    };
    let group = status.text("recipient_type").as_deref() == Some("group");
    let recipient = status.first(&["recipient_id", "recipient_user_id"]);
    let place = recipient.map(|id| ConversationRef {
        kind: if group {
            ConversationKind::Group
        } else {
            ConversationKind::Direct
        },
        ..ConversationRef::direct(id)
    });
    let time = wire::timestamp(status, "timestamp").unwrap_or(event.occurred_at);
    event.with_id(id).in_conversation(place).at(time)
}

fn body(status: &Value, name: &str) -> Body {
    let message = status.text("id").unwrap_or_default();
    let errors = errors(status.items("errors"));
    let state = match name {
        "accepted" | "held_for_quality_assessment" => DeliveryState::Accepted,
        "sent" => DeliveryState::Sent,
        "delivered" => DeliveryState::Delivered,
        "read" | "played" => DeliveryState::Read,
        "failed" => DeliveryState::Failed,
        "deleted" => return Body::Deleted { message },
        name => {
            return Body::Unsupported {
                kind: format!("status.{name}"),
                errors,
            };
        }
    };
    Body::Delivery {
        message,
        state,
        key: status.text("biz_opaque_callback_data"),
        errors,
        billed: status
            .flag("pricing.billable")
            .then(|| status.text("pricing.category"))
            .flatten(),
    }
}
