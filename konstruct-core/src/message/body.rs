//! What an event reports.

use serde::{Deserialize, Serialize};

use super::Content;
use crate::{ConversationId, Outgoing, Timestamp, turn::ItemId};

/// What an event reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// A message was sent.
    Message {
        /// The provider's id of the message.
        message: String,
        /// The content.
        content: Content,
    },
    /// A message was edited.
    Edited {
        /// The edited message.
        message: String,
        /// The new content.
        content: Content,
    },
    /// A message was deleted.
    Deleted {
        /// The deleted message.
        message: String,
    },
    /// A reaction to a message was added or removed.
    Reaction {
        /// The message.
        message: String,
        /// The emoji: a Slack short code, or the character itself.
        emoji: String,
        /// Whether the reaction was added rather than removed.
        added: bool,
    },
    /// A button was pressed, a list row was selected or a form was submitted.
    Action {
        /// The provider's kind of interaction, such as `block_actions`.
        kind: String,
        /// The id of the element: for [`Choices`](crate::outgoing::Choices) the id of the option.
        action: String,
        /// The submitted value. The text that the person saw is [`Inbound::label`](super::Inbound::label).
        value: String,
    },
    /// A command was used.
    Command {
        /// The name, including the slash.
        name: String,
        /// The rest of the line.
        arguments: String,
    },
    /// The delivery status of a message that we sent.
    Delivery {
        /// The provider's id of our message.
        message: String,
        /// The delivery state.
        state: DeliveryState,
        /// The delivery key of the message, if the provider returns it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The reasons of a failure.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<ProviderError>,
        /// The provider's pricing category, if the provider reports that it bills the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        billed: Option<String>,
    },
    /// The account, the conversation or its members changed.
    Lifecycle {
        /// What changed.
        change: Lifecycle,
    },
    /// A person made a decision about an open item of a conversation.
    Decision {
        /// The conversation.
        target: ConversationId,
        /// The item. Each opening has its own id, so a decision is made at most once.
        item: ItemId,
        /// The decision.
        decision: Decision,
    },
    /// The business lets the employee send a message without being asked ("proactive message", "business-initiated message").
    ///
    /// If the message is for one person, [`Inbound::sender`](super::Inbound::sender) is that person, and the message is encrypted for them.
    /// If the sender is an [`Operator`](super::ActorKind::Operator), it is the reply of a team member, who holds the conversation
    /// from then on.
    Proactive {
        /// The message.
        outgoing: Outgoing,
        /// When the message expires. It is dropped if it could not be sent before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// An unknown kind of event. It is kept, never dropped.
    Unsupported {
        /// The provider's name of the kind.
        kind: String,
        /// Errors that the provider reports about it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<ProviderError>,
    },
}

/// The delivery state of a message that we sent. It only advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// The provider accepted the message.
    Accepted,
    /// The provider sent the message on.
    Sent,
    /// The message did not arrive. Ranks below `Delivered`, because a delivered message did not fail.
    Failed,
    /// The message reached the device.
    Delivered,
    /// The message was read, or the voice message was played.
    Read,
}

/// A person's decision about an open item.
///
/// | item | possible decisions |
/// |---|---|
/// | [`Send`](crate::turn::ItemKind::Send), `Unresolved` | `Arrived`, `Resend`, `Drop` |
/// | `Send`, `Failed` or `NotDelivered` | `Resend`, `Drop` |
/// | [`Question`](crate::turn::ItemKind::Question) | `Answer`, `Drop` |
/// | [`Rest`](crate::turn::ItemKind::Rest) | `Drop` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// The message arrived.
    Arrived,
    /// Send the message again, even if it may then arrive twice.
    Resend,
    /// Let the employee answer the question now.
    Answer,
    /// Take no further action.
    Drop,
}

/// A change to an account, a conversation or its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// The app was removed, its tokens were revoked, or the account was disabled, deleted or migrated.
    Disconnected,
    /// The account works again after it was disabled or migrated.
    Reconnected,
    /// The provider does not allow the account to answer people.
    Restricted {
        /// The end of the restriction, if the provider reports it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// The provider is withholding events because of a limit.
    RateLimited,
    /// A person opened the employee's thread or home tab.
    Opened,
    /// A person joined or left.
    Membership,
    /// The person stopped the employee's current work.
    Stopped,
    /// A team member returned the conversation to the employee.
    HandedBack,
    /// The person stopped or resumed messages of a category, such as `marketing_messages`.
    Consent {
        /// The provider's category.
        category: String,
        /// Whether the person receives such messages from now on.
        granted: bool,
    },
    /// The person allowed or declined calls from the business.
    CallPermission {
        /// Whether calls are allowed.
        granted: bool,
        /// The end of the permission, if it is temporary.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A call between the person and the business, which the employee cannot take.
    Call {
        /// The provider's id of the call.
        call: String,
        /// What happened, by the provider's name: `connect`, `terminate`, `ringing`, ...
        event: String,
        /// Whether the person called the business. `false` if the business called, `None` if the provider does not report it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incoming: Option<bool>,
        /// How it ended, by the provider's name, such as `completed` or `failed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<String>,
        /// How long it lasted, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// The person looks at something else now, see [`Inbound::viewing`](super::Inbound::viewing).
    Viewing,
    /// A dialog or form was closed without being submitted.
    Cancelled,
    /// A person's number or id changed.
    IdentityChanged {
        /// The old id.
        old: String,
        /// The new id.
        new: String,
    },
    /// Another change that the provider documents, by the provider's name.
    Other(String),
}

/// An error that a provider reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The provider's code.
    pub code: String,
    /// The provider's text.
    pub message: String,
}
