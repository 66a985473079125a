//! Meta's JSON, and the names in its reference.

use konstruct_core::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::lenient_json::LenientJson as _;

/// The body of `POST /{phone_number_id}/messages`.
#[derive(Serialize)]
pub(super) struct Send<'a> {
    pub(super) messaging_product: &'static str,
    pub(super) recipient_type: &'static str,
    #[serde(flatten)]
    pub(super) recipient: Recipient<'a>,
    #[serde(flatten)]
    pub(super) message: Message<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Context<'a>>,
    pub(super) biz_opaque_callback_data: &'a str,
}

/// The recipient: a phone number or group, or a business-scoped user id.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Recipient<'a> {
    To(&'a str),
    Recipient(&'a str),
}

/// The content, under the name of its type.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message<'a> {
    Text {
        text: Text<'a>,
    },
    /// Buttons or a list.
    Interactive {
        interactive: Value,
    },
}

/// The text.
#[derive(Serialize)]
pub(super) struct Text<'a> {
    pub(super) body: &'a str,
    pub(super) preview_url: bool,
}

/// The quoted message.
#[derive(Serialize)]
pub(super) struct Context<'a> {
    pub(super) message_id: &'a str,
}

/// The body that marks a message as read and shows a typing indicator.
#[derive(Serialize)]
pub(super) struct Reading<'a> {
    pub(super) messaging_product: &'static str,
    pub(super) status: &'static str,
    pub(super) message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) typing_indicator: Option<Typing>,
}

/// The kind of typing indicator.
#[derive(Serialize)]
pub(super) struct Typing {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

/// Returns whether an id is a business-scoped user id, such as `US.13491208655302741918`.
pub(super) fn is_user_id(id: &str) -> bool {
    id.split_once('.').is_some_and(|(country, rest)| {
        country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    })
}

/// Parses the time at a path.
pub(super) fn timestamp(value: &Value, path: &str) -> Option<Timestamp> {
    seconds(&value.text(path)?)
}

/// Parses a time in seconds, or in milliseconds as in some fields.
pub(super) fn seconds(time: &str) -> Option<Timestamp> {
    const MILLIS_SINCE: i64 = 100_000_000_000;
    Some(match time.parse().ok()? {
        millis @ MILLIS_SINCE.. => Timestamp::from_micros(millis.saturating_mul(1000)),
        secs => Timestamp::from_secs(secs),
    })
}

/// The message types that have content under their own name.
pub(super) const MESSAGE_TYPES: &[&str] = &[
    "text",
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
    "reaction",
    "order",
    "system",
    "edit",
    "revoke",
];

/// The webhook fields that Meta documents and that are not decoded further.
pub(super) const FIELDS: &[&str] = &[
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "automatic_events",
    "business_capability_update",
    "business_status_update",
    "business_username_update",
    "calls",
    "flows",
    "group_lifecycle_update",
    "group_settings_update",
    "group_status_update",
    "history",
    "message_echoes",
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
    "messaging_handovers",
    "partner_solutions",
    "payment_configuration_update",
    "phone_number_name_update",
    "phone_number_quality_update",
    "security",
    "smb_app_state_sync",
    "standby",
    "template_category_update",
    "template_correct_category_detection",
    "tracking_events",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_differ_from_phone_numbers() {
        assert!(is_user_id("US.13491208655302741918"));
        assert!(is_user_id("DE.ENT.11815799212886844830"));
        for other in [
            "16505551234",
            "+1.650",
            "us.1",
            "US.",
            "USA.1",
            "US.1/2",
            "",
        ] {
            assert!(!is_user_id(other), "{other}");
        }
    }
}
