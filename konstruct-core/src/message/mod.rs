//! Incoming events, normalised to one type for all channels.
//!
//! Decoding never fails. An event that a channel does not know becomes [`Body::Unsupported`], and the provider's own JSON is kept
//! in [`Inbound::raw`].

mod body;
mod context;
mod inbound;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use self::{
    body::{Body, Decision, DeliveryState, Lifecycle, ProviderError},
    context::{Forwarded, Origin, Product, Quoted, Referral, Viewed},
    inbound::{Inbound, RawJson},
};
use crate::ConnectionId;

/// A kind of channel: `slack`, `whatsapp`, or the name of your own channel.
///
/// ```
/// use konstruct_core::ChannelKind;
///
/// assert_eq!(ChannelKind::SLACK.as_str(), "slack");
/// assert_eq!(ChannelKind::new("slack"), ChannelKind::SLACK);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelKind(Cow<'static, str>);

impl ChannelKind {
    /// Slack.
    pub const SLACK: Self = Self(Cow::Borrowed("slack"));
    /// WhatsApp Business Cloud API.
    pub const WHATSAPP: Self = Self(Cow::Borrowed("whatsapp"));
    /// The built-in channel of an app that calls [`Workforce::ask`](crate::Workforce::ask).
    pub const APP: Self = Self(Cow::Borrowed("app"));

    /// Creates a kind of channel from its name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The provider's id of the account that an event belongs to: a Slack team or a WhatsApp phone number id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub String);

/// An event together with the connection that received it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutedEvent {
    /// The tenant's connection.
    pub connection: ConnectionId,
    /// The event.
    pub event: Inbound,
}

/// A place in a channel where messages are exchanged, as the channel identifies it. Replies are sent to it.
///
/// ```
/// use konstruct_core::{ConversationRef, message::ConversationKind};
///
/// let direct = ConversationRef::direct("491711234567");
/// assert_eq!(direct.kind, ConversationKind::Direct);
/// assert_eq!(direct.key(), "491711234567");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConversationRef {
    /// The channel's id of the place: a Slack channel or a WhatsApp user.
    pub id: String,
    /// The kind of place.
    pub kind: ConversationKind,
    /// The thread in the place, identified by its root message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Whether people of another organisation can read the conversation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
}

impl ConversationRef {
    /// Creates a reference to a one-to-one conversation.
    pub fn direct(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ConversationKind::Direct,
            thread: None,
            external: false,
        }
    }

    /// Returns the unique name of the conversation within its connection: the place and the thread.
    pub fn key(&self) -> String {
        match &self.thread {
            Some(thread) => format!("{}/{thread}", self.id),
            None => self.id.clone(),
        }
    }
}

/// The kind of place of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConversationKind {
    /// A conversation of one person with the employee.
    Direct,
    /// A private group.
    Group,
    /// A channel with many readers.
    Channel,
}

/// The person, program or system that caused an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// All ids of this actor that the provider reports, as pairs of kind and id. The most stable id comes first.
    pub ids: Vec<(IdKind, String)>,
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind of actor.
    pub kind: ActorKind,
}

impl Actor {
    /// Creates an actor for a person with one id.
    pub fn human(kind: IdKind, id: impl Into<String>) -> Self {
        Self {
            ids: vec![(kind, id.into())],
            name: None,
            kind: ActorKind::Human,
        }
    }

    /// Returns the most stable id.
    pub fn id(&self) -> Option<&str> {
        self.ids.first().map(|(_, id)| id.as_str())
    }
}

/// The kind of an actor's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IdKind {
    /// A Slack user, `U…` or `W…`.
    SlackUser,
    /// A Slack bot, `B…`.
    SlackBot,
    /// A WhatsApp id: a phone number in digits.
    WhatsAppPhone,
    /// A WhatsApp business-scoped user id, `US.…`.
    WhatsAppUser,
    /// A parent business-scoped user id.
    WhatsAppParent,
    /// An id of another channel.
    Other,
}

/// The kind of actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorKind {
    /// A person.
    Human,
    /// A program other than the employee.
    Bot,
    /// The employee itself, for an echo of its own message.
    Myself,
    /// A person of the business who replied instead of the employee, for example from the phone app.
    Operator,
    /// The provider.
    #[default]
    System,
}

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The plain text, with mentions resolved and entities unescaped.
    pub text: String,
    /// The attachments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl Content {
    /// Creates a content of plain text without attachments.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// An attachment of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The kind of attachment.
    pub kind: AttachmentKind,
    /// The provider's id, which is needed to fetch the attachment.
    pub id: String,
    /// The provider's address of the attachment, if it was reported. Most of these addresses expire and require the connection's
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// The file name or title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The SHA-256 digest, in the provider's notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why the provider does not let the attachment be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
}

impl Attachment {
    /// Creates an attachment of a kind with the provider's id.
    pub fn new(kind: AttachmentKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            url: None,
            mime: None,
            name: None,
            size: None,
            sha256: None,
            unavailable: None,
        }
    }
}

/// Why an attachment cannot be fetched from the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unavailable {
    /// It was deleted.
    Deleted,
    /// The provider hides it because of the limits of the account's plan.
    HiddenByPlan,
    /// It is stored at another service.
    External,
}

/// The kind of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttachmentKind {
    /// A picture.
    Image,
    /// An audio file.
    Audio,
    /// A voice message.
    Voice,
    /// A video.
    Video,
    /// Any other file.
    Document,
    /// A sticker.
    Sticker,
    /// A location.
    Location,
    /// A contact card.
    Contact,
    /// A product order.
    Order,
}

/// To whom an event is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// The event is part of a one-to-one conversation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
    /// The event mentions the employee.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mention: bool,
    /// The event is part of a thread. The conversation's log shows whether the employee takes part in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thread: bool,
    /// The event is a command, or an action on a message of the employee.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub command: bool,
    /// The event addresses the employee if its text contains the employee's name, because the provider has no other mentions in
    /// this place. The gateway, which knows the name, resolves this into [`mention`](Self::mention).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
}
