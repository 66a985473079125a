//! How a turn ended, and why.

use super::attachment::Unread;
use serde::{Deserialize, Serialize};

use super::ItemId;

/// How a turn ended. Every turn ends with exactly one of these outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A reply was sent.
    Replied {
        /// The number of parts.
        parts: u32,
        /// The reason, if the reply was a fixed phrase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<FallbackReason>,
    },
    /// The turn ended without a reply.
    Silent {
        /// The reason.
        reason: SilenceReason,
    },
    /// The outcome of a send is unknown or needs a decision, so a person must settle it.
    Asked {
        /// The open item.
        item: ItemId,
    },
}

/// Why a fixed phrase was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FallbackReason {
    /// It is outside the employee's hours.
    Closed,
    /// The person sent only a message of a kind that cannot be read.
    Unreadable,
    /// The person sent only attachments that could not be read, for this reason among others.
    Attachment(Unread),
    /// The model did not answer in time, failed too often, or declined without a text.
    Model,
    /// The model's answer was truncated each time.
    Cut,
    /// The model's answer was blank each time.
    Blank,
    /// The turn reached its limit of model calls.
    Limit,
    /// A rate limit delays the answer.
    Busy,
    /// The cap is reached, or a cap is set and the price is unknown.
    Budget,
    /// The question is too old to be answered without asking a person, because the connection or the service was down.
    Late,
    /// The conversation could not be processed: its employee or connection is missing, or its log cannot be read.
    Broken,
}

impl FallbackReason {
    /// Returns whether the phrase is the whole answer, so that no question stays open. A missing permission is shown to the owner.
    pub(super) fn is_complete(self) -> bool {
        match self {
            Self::Attachment(reason) => reason != Unread::Forbidden,
            _ => matches!(self, Self::Closed | Self::Unreadable),
        }
    }
}

/// Why a turn ended without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SilenceReason {
    /// No message was addressed to the employee.
    NotAddressed,
    /// Another bot has reached its limit of consecutive turns.
    BotLoop,
    /// A person decided that an item needs no answer.
    Dropped,
    /// A person was forgotten while the turn was open, so it cannot be read and is not continued.
    Forgotten,
    /// A question that was retried could still not be answered.
    Unanswered,
    /// The question waits for a decision of a person, see the open item.
    Late,
    /// The conversation could not be processed, see the open item.
    Broken,
    /// The person sent only attachments that could not be read, and was told so a moment ago.
    Unread,
    /// A proactive message expired before it could be sent.
    Expired,
    /// A team member holds the conversation.
    Held,
}
