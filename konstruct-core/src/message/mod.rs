//! Incoming events, normalised to one type for all channels.
//!
//! Decoding never fails. An event that a channel does not know becomes [`Body::Unsupported`], and the provider's own JSON is kept
//! in [`Inbound::raw`].

mod body;
mod context;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::{
    body::{Body, Decision, DeliveryState, Lifecycle, ProviderError},
    context::{Forwarded, Origin, Product, Quoted, Referral, Viewed},
};
use crate::{
    Clock as _, ConnectionId, ConversationId, Outgoing, SystemClock, Timestamp, turn::ItemId,
};

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

/// A normalised event of a provider.
///
/// ```
/// use konstruct_core::{AccountId, ChannelKind, Inbound};
///
/// let question = Inbound::message("visitor-7", "Is my bike ready?")
///     .on(ChannelKind::new("terminal"), AccountId("console".into()))
///     .with_id("1");
/// assert!(question.addressed.direct);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inbound {
    /// The first deduplication key: the provider's id of the event. An empty id is not a key.
    pub id: String,
    /// The second deduplication key, which identifies the subject of the event: Slack's `message` and `app_mention` events for
    /// one message have the same logical id. An empty id is not a key.
    pub logical_id: String,
    /// The channel's kind.
    pub channel: ChannelKind,
    /// The account at the provider.
    pub account: AccountId,
    /// The conversation of the event; `None` if it belongs to none, such as the removal of an app.
    pub conversation: Option<ConversationRef>,
    /// Who caused the event.
    pub sender: Actor,
    /// When it happened, by the provider's clock.
    pub occurred_at: Timestamp,
    /// How often the provider tried to deliver the event before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivery: u32,
    /// What happened.
    pub body: Body,
    /// To whom the event is addressed. Determines whether the employee answers, independent of the channel.
    #[serde(default)]
    pub addressed: Addressing,
    /// The message that this one quotes or replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// The visible title of the selected button or list row. The value for the program is the `value` of [`Body::Action`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The visible text below the title of the selected list row, or the text that introduces a submitted form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The advertisement that led the person here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Box<Referral>>,
    /// The product of the business that the person asks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// What the person was looking at, most relevant first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub viewing: Vec<Viewed>,
    /// Where an interaction began, if its provider accepts a response there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// Whether the message was forwarded from another author.
    #[serde(default, skip_serializing_if = "Forwarded::is_no")]
    pub forwarded: Forwarded,
    /// The provider's own JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Box<RawValue>>,
}

impl Inbound {
    /// Creates an event of the provider that belongs to no conversation. Use the methods below to set the other fields.
    pub fn new(
        channel: ChannelKind,
        account: AccountId,
        id: impl Into<String>,
        occurred_at: Timestamp,
        body: Body,
    ) -> Self {
        Self {
            id: id.into(),
            logical_id: String::new(),
            channel,
            account,
            conversation: None,
            sender: Actor::default(),
            occurred_at,
            redelivery: 0,
            body,
            addressed: Addressing::default(),
            quoted: None,
            label: None,
            description: None,
            referral: None,
            product: None,
            viewing: Vec::new(),
            origin: None,
            forwarded: Forwarded::No,
            raw: None,
        }
    }

    /// Creates a message that a person writes in a one-to-one conversation, with the current time and a random id. To send the
    /// same event twice, set the same id with [`with_id`](Self::with_id).
    pub fn message(person: impl Into<String>, text: impl Into<String>) -> Self {
        let person = person.into();
        let id = uuid::Uuid::now_v7().to_string();
        let body = Body::Message {
            message: id.clone(),
            content: Content::text(text),
        };
        Self::new(
            ChannelKind::APP,
            AccountId::default(),
            id,
            SystemClock.now(),
            body,
        )
        .in_conversation(ConversationRef::direct(&person))
        .sent_by(Actor::human(IdKind::Other, person))
        .addressed(Addressing {
            direct: true,
            ..Addressing::default()
        })
    }

    /// Creates a person's decision about an open item. Repeated decisions about an item have the same id, so the first one counts.
    pub fn decision(
        target: ConversationId,
        item: ItemId,
        decision: Decision,
        at: Timestamp,
    ) -> Self {
        let id = format!("decision.{item}");
        let body = Body::Decision {
            target,
            item,
            decision,
        };
        Self::new(ChannelKind::APP, AccountId::default(), id, at, body)
    }

    /// Creates a team member's reply in a conversation, with a random id. The team member holds the conversation from then on.
    pub fn team_reply(place: ConversationRef, what: impl Into<Outgoing>, at: Timestamp) -> Self {
        let body = Body::Proactive {
            outgoing: what.into(),
            expires_at: None,
        };
        let team = Actor {
            kind: ActorKind::Operator,
            ..Actor::default()
        };
        Self::by_us(place, body, at).sent_by(team)
    }

    /// Creates the return of a conversation to the employee, with a random id.
    pub fn handed_back(place: ConversationRef, at: Timestamp) -> Self {
        let change = Lifecycle::HandedBack;
        Self::by_us(place, Body::Lifecycle { change }, at)
    }

    fn by_us(place: ConversationRef, body: Body, at: Timestamp) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self::new(ChannelKind::APP, AccountId::default(), id, at, body).in_conversation(place)
    }

    /// Sets the channel and the account at the provider.
    #[must_use]
    pub fn on(mut self, channel: ChannelKind, account: AccountId) -> Self {
        self.channel = channel;
        self.account = account;
        self
    }

    /// Adds an attachment to a message.
    #[must_use]
    pub fn with_attachment(mut self, attachment: Attachment) -> Self {
        if let Body::Message { content, .. } = &mut self.body {
            content.attachments.push(attachment);
        }
        self
    }

    /// Sets the id of the event, and that of its message if both were equal.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        let id = id.into();
        if let Body::Message { message, .. } = &mut self.body
            && *message == self.id
        {
            message.clone_from(&id);
        }
        self.id = id;
        self
    }

    /// Sets the second deduplication key.
    #[must_use]
    pub fn with_logical_id(mut self, id: impl Into<String>) -> Self {
        self.logical_id = id.into();
        self
    }

    /// Sets the conversation of the event.
    #[must_use]
    pub fn in_conversation(mut self, conversation: impl Into<Option<ConversationRef>>) -> Self {
        self.conversation = conversation.into();
        self
    }

    /// Sets who caused the event.
    #[must_use]
    pub fn sent_by(mut self, sender: Actor) -> Self {
        self.sender = sender;
        self
    }

    /// Sets when it happened.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.occurred_at = time;
        self
    }

    /// Sets to whom the event is addressed.
    #[must_use]
    pub fn addressed(mut self, addressed: Addressing) -> Self {
        self.addressed = addressed;
        self
    }

    /// Sets the message that this one quotes.
    #[must_use]
    pub fn quoting(mut self, quoted: impl Into<Option<Quoted>>) -> Self {
        self.quoted = quoted.into();
        self
    }

    /// Sets the title of the selected button or list row.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<Option<String>>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the text below the title of the selected list row, or the text that introduces a submitted form.
    #[must_use]
    pub fn described(mut self, description: impl Into<Option<String>>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the product that the person asks about.
    #[must_use]
    pub fn about_product(mut self, product: impl Into<Option<Product>>) -> Self {
        self.product = product.into();
        self
    }

    /// Sets what the person was looking at, most relevant first.
    #[must_use]
    pub fn viewing(mut self, viewing: Vec<Viewed>) -> Self {
        self.viewing = viewing;
        self
    }

    /// Sets where an interaction began.
    #[must_use]
    pub fn from_origin(mut self, origin: impl Into<Option<Origin>>) -> Self {
        self.origin = origin.into().map(Box::new);
        self
    }

    /// Sets the advertisement that led the person here.
    #[must_use]
    pub fn referred_by(mut self, referral: impl Into<Option<Referral>>) -> Self {
        self.referral = referral.into().map(Box::new);
        self
    }

    /// Sets whether the message was forwarded from another author.
    #[must_use]
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = forwarded;
        self
    }

    /// Sets the provider's own JSON.
    #[must_use]
    pub fn with_raw(mut self, raw: impl Into<Option<Box<RawValue>>>) -> Self {
        self.raw = raw.into();
        self
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl PartialEq for Inbound {
    fn eq(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten.
        let Self {
            id,
            logical_id,
            channel,
            account,
            conversation,
            sender,
            occurred_at,
            redelivery,
            body,
            addressed,
            quoted,
            label,
            description,
            referral,
            product,
            viewing,
            origin,
            forwarded,
            raw,
        } = self;
        *id == other.id
            && *logical_id == other.logical_id
            && *channel == other.channel
            && *account == other.account
            && *conversation == other.conversation
            && *sender == other.sender
            && *occurred_at == other.occurred_at
            && *redelivery == other.redelivery
            && *body == other.body
            && *addressed == other.addressed
            && *quoted == other.quoted
            && *label == other.label
            && *description == other.description
            && *product == other.product
            && *viewing == other.viewing
            && *origin == other.origin
            && *referral == other.referral
            && *forwarded == other.forwarded
            && raw.as_ref().map(|raw| raw.get()) == other.raw.as_ref().map(|raw| raw.get())
    }
}

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
}
