//! Attachments as the team sees them.

use konstruct_core::turn::AttachmentContent;

use super::name_of;

/// The most characters of a document that are shown.
const MOST: usize = 1_000;

/// Returns what an attachment says, or why it was not read and what the owner can do.
pub(super) fn shown(content: &AttachmentContent) -> String {
    match content {
        AttachmentContent::Speech { text, .. } => format!("[voice message] {text}"),
        AttachmentContent::Text { text, .. } => {
            let text: String = text.chars().take(MOST).collect();
            format!("[document] {text}")
        }
        AttachmentContent::Image { media_type, .. } => format!("[{media_type}]"),
        AttachmentContent::Unread { reason, detail } => {
            let reason = name_of(reason).unwrap_or_else(|| "unknown".into());
            let reason = reason.replace('_', " ");
            let detail = detail.as_deref().map(|detail| format!(": {detail}"));
            format!("[not read: {reason}{}]", detail.unwrap_or_default())
        }
        _ => "[attachment]".into(),
    }
}
