//! Slack's JSON, and the names in its reference.

use konstruct_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The metadata event type that marks our messages, so that they can be found again.
pub(crate) const SEND_EVENT: &str = "konstruct_send";

/// Returns whether a user is an account of Slack itself, such as Slackbot's. It is not a person, and it answers automatically.
pub(super) fn is_slack(user: &str) -> bool {
    matches!(user, "USLACK" | "USLACKBOT")
}

/// The action of the choice menu; its value is the selected option.
pub(crate) const CHOICE: &str = "konstruct_choice";

/// The body of `chat.postMessage`.
#[derive(Serialize)]
pub(super) struct PostMessage<'a> {
    pub(super) channel: &'a str,
    /// The text in notifications and, without blocks, the message itself.
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) blocks: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread_ts: Option<&'a str>,
    pub(super) metadata: Metadata<'a>,
    pub(super) link_names: bool,
    pub(super) unfurl_links: bool,
    pub(super) unfurl_media: bool,
}

/// The body of `chat.postEphemeral`.
#[derive(Serialize)]
pub(super) struct PostEphemeral<'a> {
    pub(super) channel: &'a str,
    pub(super) user: &'a str,
    #[serde(flatten)]
    pub(super) message: Message<'a>,
    pub(super) link_names: bool,
}

/// The body of a request to a `response_url`. Its text is `mrkdwn`; `markdown_text` is not accepted.
#[derive(Serialize)]
pub(super) struct Respond<'a> {
    pub(super) response_type: &'static str,
    pub(super) replace_original: bool,
    #[serde(flatten)]
    pub(super) message: Message<'a>,
}

/// A message that is not marked, because Slack keeps no metadata of it.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) blocks: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread_ts: Option<&'a str>,
}

/// Metadata of a message, invisible to people.
#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) event_type: &'static str,
    pub(super) event_payload: SendMark<'a>,
}

/// The key of a send.
#[derive(Serialize)]
pub(super) struct SendMark<'a> {
    pub(super) key: &'a str,
}

/// The body of `assistant.threads.setStatus`.
#[derive(Serialize)]
pub(super) struct SetStatus<'a> {
    pub(super) channel_id: &'a str,
    pub(super) thread_ts: &'a str,
    pub(super) status: &'static str,
}

/// The fields of every Web API response.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) ok: bool,
    #[serde(default)]
    pub(super) error: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub(super) rest: serde_json::Value,
}

/// Parses a `ts`: seconds, a point and up to six digits. It never becomes a float, which cannot represent it exactly.
pub(crate) fn timestamp(ts: &str) -> Option<Timestamp> {
    let (secs, fraction) = ts.split_once('.').unwrap_or((ts, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(secs) || !digits(fraction) {
        return None;
    }
    let micros = format!("{fraction:0<6.6}").parse::<i64>().ok()?;
    let secs = secs.parse::<i64>().ok()?;
    secs.checked_mul(1_000_000)?
        .checked_add(micros)
        .map(Timestamp::from_micros)
}

/// Formats a `ts`.
pub(crate) fn ts(time: Timestamp) -> String {
    let micros = time.as_micros().rem_euclid(1_000_000);
    format!("{}.{micros:06}", time.as_secs())
}

/// Message subtypes that are written by a person or a bot.
pub(super) const WRITTEN_MESSAGES: &[&str] = &[
    "bot_message",
    "file_share",
    "me_message",
    "reply_broadcast",
    "thread_broadcast",
];

/// Message subtypes about joining and leaving members.
pub(super) const MEMBERSHIP: &[&str] =
    &["channel_join", "channel_leave", "group_join", "group_leave"];

/// The other message subtypes that Slack documents.
pub(super) const NOTICES: &[&str] = &[
    "app_conversation_join",
    "assistant_app_thread",
    "bot_add",
    "bot_disable",
    "bot_enable",
    "bot_remove",
    "channel_archive",
    "channel_convert_to_private",
    "channel_convert_to_public",
    "channel_name",
    "channel_posting_permissions",
    "channel_purpose",
    "channel_topic",
    "channel_unarchive",
    "document_comment_root",
    "document_mention",
    "ekm_access_denied",
    "file_comment",
    "file_mention",
    "group_archive",
    "group_name",
    "group_purpose",
    "group_topic",
    "group_unarchive",
    "huddle_thread",
    "joiner_notification",
    "joiner_notification_for_inviter",
    "message_replied",
    "pinned_item",
    "reminder_add",
    "reminder_delete",
    "reminder_summary",
    "sh_room_created",
    "sh_room_shared",
    "slackbot_response",
    "tabbed_canvas_updated",
    "unpinned_item",
];

/// The kinds of interactions that Slack documents.
pub(super) const INTERACTIONS: &[&str] = &[
    "block_actions",
    "block_suggestion",
    "dialog_cancellation",
    "dialog_submission",
    "dialog_suggestion",
    "interactive_message",
    "message_action",
    "shortcut",
    "view_closed",
    "view_submission",
    "workflow_step_edit",
];

/// All other events that Slack documents, or documented while it sent them.
pub(super) const EVENTS: &[&str] = &[
    "accounts_changed",
    "agent_session_title_changed",
    "app_context_changed",
    "app_deleted",
    "app_installed",
    "app_requested",
    "apps_changed",
    "apps_installed",
    "apps_uninstalled",
    "assistant_thread_context_changed",
    "bot_added",
    "bot_changed",
    "call_rejected",
    "channel_archive",
    "channel_created",
    "channel_deleted",
    "channel_history_changed",
    "channel_id_changed",
    "channel_marked",
    "channel_posting_permissions",
    "channel_rename",
    "channel_shared",
    "channel_unarchive",
    "channel_unshared",
    "commands_changed",
    "dnd_updated",
    "dnd_updated_user",
    "email_domain_changed",
    "emoji_changed",
    "entity_comments_requested",
    "entity_details_requested",
    "external_org_migration_finished",
    "external_org_migration_started",
    "file_change",
    "file_comment_added",
    "file_comment_deleted",
    "file_comment_edited",
    "file_created",
    "file_deleted",
    "file_public",
    "file_shared",
    "file_unshared",
    "function_executed",
    "goodbye",
    "grid_migration_finished",
    "grid_migration_started",
    "group_archive",
    "group_close",
    "group_deleted",
    "group_history_changed",
    "group_marked",
    "group_open",
    "group_rename",
    "group_unarchive",
    "hello",
    "im_close",
    "im_created",
    "im_history_changed",
    "im_marked",
    "im_open",
    "invite_requested",
    "link_shared",
    "manual_presence_change",
    "message_metadata_deleted",
    "message_metadata_posted",
    "message_metadata_updated",
    "pin_added",
    "pin_removed",
    "pref_change",
    "presence_change",
    "presence_query",
    "presence_sub",
    "reconnect_url",
    "resources_added",
    "resources_removed",
    "scope_denied",
    "scope_granted",
    "shared_channel_invite_accepted",
    "shared_channel_invite_approved",
    "shared_channel_invite_declined",
    "shared_channel_invite_received",
    "shared_channel_invite_requested",
    "star_added",
    "star_removed",
    "subteam_created",
    "subteam_members_changed",
    "subteam_self_added",
    "subteam_self_removed",
    "subteam_updated",
    "team_access_granted",
    "team_access_revoked",
    "team_domain_change",
    "team_join",
    "team_migration_started",
    "team_plan_change",
    "team_pref_change",
    "team_profile_change",
    "team_profile_delete",
    "team_profile_reorder",
    "team_rename",
    "user_change",
    "user_connection",
    "user_huddle_changed",
    "user_profile_changed",
    "user_resource_denied",
    "user_resource_granted",
    "user_resource_removed",
    "user_status_changed",
    "user_typing",
    "workflow_deleted",
    "workflow_published",
    "workflow_step_deleted",
    "workflow_step_execute",
    "workflow_unpublished",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ts_keeps_its_microseconds() {
        let check = |text: &str, micros: Option<i64>| {
            assert_eq!(
                timestamp(text),
                micros.map(Timestamp::from_micros),
                "{text}"
            );
        };
        check("1355517523.000005", Some(1_355_517_523_000_005));
        check("1355517523.5", Some(1_355_517_523_500_000));
        check("1355517523.0000059", Some(1_355_517_523_000_005));
        check("1355517523", Some(1_355_517_523_000_000));
        check("0000000000.000000", Some(0));
        check("99999999999999999999.0", None);
        check("1.é", None);
        check("-1.0", None);
        assert_eq!(
            ts(Timestamp::from_micros(1_355_517_523_000_005)),
            "1355517523.000005"
        );
    }
}
