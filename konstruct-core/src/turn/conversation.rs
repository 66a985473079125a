//! The state of a conversation between turns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attachment::Unread;
use crate::{
    Employee, Inbound, PersonId, Timestamp,
    message::{ActorKind, Body, Lifecycle},
};

/// The state of a conversation between turns, besides the log and the open items. It contains no message text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConversationState {
    /// The latest time, by the provider's clock, of any event processed so far.
    #[serde(default)]
    pub latest: Timestamp,
    /// How many consecutive turns were caused by another bot.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bot_turns: u32,
    /// Whether the employee has sent a message in this conversation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoke: bool,
    /// Whether the latest message of a person was of a kind that cannot be read. The employee answers only the first of several.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
    /// The latest reply that attachments could not be read, unless something was read since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<UnreadNotice>,
    /// When the latest notice was sent that a rate limit delays the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_at: Option<Timestamp>,
    /// The person of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// When a team member last wrote in the conversation, unless it was handed back since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
}

/// A reply that attachments could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadNotice {
    /// The reason.
    pub reason: Unread,
    /// When it was decided.
    pub at: Timestamp,
}

impl ConversationState {
    /// Returns until when a team member holds the conversation, so that the employee is silent. A time in the past means that the
    /// conversation returned to the employee by itself.
    pub fn held_until(&self, employee: &Employee) -> Option<Timestamp> {
        self.held_since
            .map(|since| employee.limits.held_until(since))
    }

    /// Returns whether a notice may be sent that a rate limit delays the answer.
    pub(super) fn may_say_busy(&self, employee: &Employee, at: Timestamp) -> bool {
        let apart = Duration::from_secs(u64::from(employee.rates.notice_secs));
        self.busy_at.is_none_or(|last| last + apart <= at)
    }

    /// Applies an event that passes the conversation to a team member or back. Returns whether a team member took it over.
    pub fn pass(&mut self, event: &Inbound, accepted_at: Timestamp) -> bool {
        let by_team = event.sender.kind == ActorKind::Operator;
        match &event.body {
            Body::Proactive { .. } | Body::Message { .. } if by_team => {
                // A message that is reported late took effect when it was written.
                self.held_since = Some(accepted_at.min(event.occurred_at));
                true
            }
            Body::Lifecycle {
                change: Lifecycle::HandedBack,
            } => {
                self.held_since = None;
                false
            }
            _ => false,
        }
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
