//! What comes in: one normalised event per provider event, whatever the channel.
//!
//! Decoding is total. What a channel does not know becomes [`Body::Unsupported`], never an error, and the provider's own
//! JSON stays in [`Inbound::raw`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Clock as _, ConnectionId, ConversationId, Outgoing, SystemClock, Timestamp, turn::ItemId,
};

/// Which kind of channel: `slack`, `whatsapp`, or the name that your own channel gives itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelKind(Cow<'static, str>);

impl ChannelKind {
    /// Slack.
    pub const SLACK: Self = Self(Cow::Borrowed("slack"));
    /// WhatsApp Business Cloud API.
    pub const WHATSAPP: Self = Self(Cow::Borrowed("whatsapp"));
    /// The built-in channel of an app that asks its employee directly: [`Workforce::ask`](crate::Workforce::ask).
    pub const APP: Self = Self(Cow::Borrowed("app"));

    /// Names a kind of channel.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The provider's id of the account that an event belongs to: a Slack team, a WhatsApp phone number id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub String);

/// One event of a provider, normalised.
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
    /// First key of deduplication: the provider's id of the event. An empty id is never a key.
    pub id: String,
    /// Second key of deduplication: what the event is about, so that Slack's `message` and `app_mention` of one
    /// message fold into one. Empty: no key.
    pub logical_id: String,
    /// The channel's kind.
    pub channel: ChannelKind,
    /// The account at the provider.
    pub account: AccountId,
    /// Where it was said. `None` for what belongs to no conversation (an app was uninstalled).
    pub conversation: Option<ConversationRef>,
    /// Who did it.
    pub sender: Actor,
    /// When it happened, by the provider's clock.
    pub occurred_at: Timestamp,
    /// How often the provider has tried to deliver it before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivery: u32,
    /// What happened.
    pub body: Body,
    /// Whom it was said to: decides whether the employee answers, without knowing the channel.
    #[serde(default)]
    pub addressed: Addressing,
    /// The message that it quotes or answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// The visible title of the button or list row that was picked. An action's `value` is what the program reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The advertisement that the person came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Box<Referral>>,
    /// Whether the sender passed on somebody else's message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwarded: bool,
    /// The provider's own JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Box<RawValue>>,
}

impl Inbound {
    /// Makes an event of the provider, which belongs to no conversation. The other parts are added with the methods below.
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
            referral: None,
            forwarded: false,
            raw: None,
        }
    }

    /// Makes what a person writes in a one-to-one conversation, now and under an id of its own. Sending the same event twice
    /// needs the same id: set it with [`with_id`](Self::with_id).
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
        .in_place(ConversationRef::direct(&person))
        .sent_by(Actor::human(IdKind::Other, person))
        .addressed(Addressing {
            direct: true,
            ..Addressing::default()
        })
    }

    /// Sets the channel and the account at the provider.
    #[must_use]
    pub fn on(mut self, channel: ChannelKind, account: AccountId) -> Self {
        self.channel = channel;
        self.account = account;
        self
    }

    /// Sets the id of the event, and of its message if the two were the same.
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

    /// Sets the second key of deduplication.
    #[must_use]
    pub fn with_logical_id(mut self, id: impl Into<String>) -> Self {
        self.logical_id = id.into();
        self
    }

    /// Sets where it was said.
    #[must_use]
    pub fn in_place(mut self, conversation: impl Into<Option<ConversationRef>>) -> Self {
        self.conversation = conversation.into();
        self
    }

    /// Sets who did it.
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

    /// Sets whom it was said to.
    #[must_use]
    pub fn addressed(mut self, addressed: Addressing) -> Self {
        self.addressed = addressed;
        self
    }

    /// Sets the message that it quotes.
    #[must_use]
    pub fn quoting(mut self, quoted: impl Into<Option<Quoted>>) -> Self {
        self.quoted = quoted.into();
        self
    }

    /// Sets the title of what was picked.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<Option<String>>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the advertisement that the person came from.
    #[must_use]
    pub fn referred_by(mut self, referral: impl Into<Option<Referral>>) -> Self {
        self.referral = referral.into().map(Box::new);
        self
    }

    /// Sets whether somebody else's message was passed on.
    #[must_use]
    pub fn forwarded(mut self, forwarded: bool) -> Self {
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
        // Named one by one, so that a new field is not forgotten.
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
            referral,
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
            && *referral == other.referral
            && *forwarded == other.forwarded
            && raw.as_ref().map(|raw| raw.get()) == other.raw.as_ref().map(|raw| raw.get())
    }
}

/// A message that is quoted: a reference, never its text, because the text belongs to its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quoted {
    /// The provider's id of the message.
    pub message: String,
    /// The provider's id of its author, where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

impl Quoted {
    /// Refers to a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            author: None,
        }
    }

    /// Adds who wrote it.
    #[must_use]
    pub fn by(mut self, author: impl Into<Option<String>>) -> Self {
        self.author = author.into();
        self
    }
}

/// The advertisement or post whose button led a person here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Referral {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// Its headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The provider's id of the click, which conversions are reported with (WhatsApp: `ctwa_clid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_id: Option<String>,
}

/// An event that was routed: it is known whose connection it came through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutedEvent {
    /// The tenant's connection.
    pub connection: ConnectionId,
    /// The event.
    pub event: Inbound,
}

/// Where something is said, as the channel names it. It is an address to reply to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConversationRef {
    /// The channel's id: a Slack channel, a WhatsApp user.
    pub id: String,
    /// What kind of place it is.
    pub kind: ConversationKind,
    /// The thread within, named by its root message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Whether people of another organisation can read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
}

impl ConversationRef {
    /// A one-to-one conversation.
    pub fn direct(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ConversationKind::Direct,
            thread: None,
            external: false,
        }
    }

    /// Returns what tells this conversation from every other of its connection: the place and the thread.
    pub fn key(&self) -> String {
        match &self.thread {
            Some(thread) => format!("{}/{thread}", self.id),
            None => self.id.clone(),
        }
    }
}

/// What kind of place a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConversationKind {
    /// One person and the employee.
    Direct,
    /// A closed group.
    Group,
    /// A channel that many read.
    Channel,
}

/// Who did something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// All ids the provider gives for this actor, the steadiest first: (what kind of id, the id).
    pub ids: Vec<(IdKind, String)>,
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What kind of actor.
    pub kind: ActorKind,
}

impl Actor {
    /// A person with one id.
    pub fn human(kind: IdKind, id: impl Into<String>) -> Self {
        Self {
            ids: vec![(kind, id.into())],
            name: None,
            kind: ActorKind::Human,
        }
    }

    /// Returns the steadiest id.
    pub fn id(&self) -> Option<&str> {
        self.ids.first().map(|(_, id)| id.as_str())
    }
}

/// What kind of id an actor is known by.
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

/// What kind of actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorKind {
    /// A person.
    Human,
    /// A program other than the employee.
    Bot,
    /// The employee itself: an echo of what it sent.
    Myself,
    /// A person of the business who answered in the employee's place, such as from the phone app.
    Operator,
    /// The provider.
    #[default]
    System,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// Somebody said something.
    Message {
        /// The provider's id of the message.
        message: String,
        /// What was said.
        content: Content,
    },
    /// A message was changed.
    Edited {
        /// The message that was changed.
        message: String,
        /// What it says now.
        content: Content,
    },
    /// A message was taken back.
    Deleted {
        /// The message that is gone.
        message: String,
    },
    /// Somebody reacted to a message.
    Reaction {
        /// The message.
        message: String,
        /// The emoji: a Slack short code, or the character itself.
        emoji: String,
        /// Whether it was added; otherwise it was removed.
        added: bool,
    },
    /// Somebody pressed a button, chose from a list or submitted a form.
    Action {
        /// The provider's kind of interaction, such as `block_actions`.
        kind: String,
        /// What was pressed: for [`Choices`](crate::outgoing::Choices) the option's id.
        action: String,
        /// The value that came with it. What the person saw is [`Inbound::label`].
        value: String,
    },
    /// Somebody used a command.
    Command {
        /// Its name, with the slash.
        name: String,
        /// The rest of the line.
        arguments: String,
    },
    /// What became of a message that we sent.
    Delivery {
        /// The provider's id of our message.
        message: String,
        /// How far it came.
        state: DeliveryState,
        /// The delivery key that we gave with it, where the provider gives it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<ProviderError>,
        /// The provider's pricing category, where it says whether it bills the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        billed: Option<String>,
    },
    /// Something changed about the account, the conversation or its members.
    Lifecycle {
        /// What changed.
        change: Lifecycle,
    },
    /// A person decided about an open item of a conversation.
    Decision {
        /// The conversation.
        target: ConversationId,
        /// The item. Each opening has an id of its own, so that a decision is made once.
        item: ItemId,
        /// What they decided.
        decision: Decision,
    },
    /// The business has the employee send a message without being asked ("proactive message", "business-initiated message").
    ///
    /// [`Inbound::sender`] names the person that it is for, if it is for one person: the message is sealed to them.
    Proactive {
        /// The message.
        outgoing: Outgoing,
        /// If it could not be sent by then, it is dropped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// A kind of event that this version does not know. Kept, never dropped.
    Unsupported {
        /// What the provider calls it.
        kind: String,
        /// What the provider says about it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<ProviderError>,
    },
}

/// How far a message that we sent has come. It only ever advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// The provider took it.
    Accepted,
    /// It was sent on.
    Sent,
    /// It did not arrive. Ranks below `Delivered`: what was delivered did not fail.
    Failed,
    /// It reached the device.
    Delivered,
    /// It was read, or a voice message was played.
    Read,
}

/// What a person decided about an open item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// The message arrived.
    Arrived,
    /// Send the message again, even if it may then arrive twice.
    Resend,
    /// The employee shall answer the question now.
    Answer,
    /// Nothing more is to be done.
    Drop,
}

/// A change to an account, a conversation or its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// The app was removed, its tokens were revoked, or the account was disabled, deleted or moved away.
    Disconnected,
    /// The account works again after it was disabled or moved away.
    Reconnected,
    /// The provider does not let the account answer people.
    Restricted {
        /// Until when, if the provider says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// The provider is holding events back.
    RateLimited,
    /// Somebody opened the employee's thread or home.
    Opened,
    /// Somebody joined or left.
    Membership,
    /// The person pressed stop.
    Stopped,
    /// A person has got another number or id.
    IdentityChanged {
        /// The id before.
        old: String,
        /// The id from now on.
        new: String,
    },
    /// Anything else that the provider documents, by its name.
    Other(String),
}

/// What a provider says about a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The provider's code.
    pub code: String,
    /// Its text.
    pub message: String,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Plain text: mentions resolved, entities unescaped.
    pub text: String,
    /// What was attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl Content {
    /// Plain text and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// Something attached to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// The provider's id, to fetch it with.
    pub id: String,
    /// Where the provider keeps it, if it said so; most such addresses expire and need the connection's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// Its file name or title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The SHA-256 that the provider gives, as it gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttachmentKind {
    /// A picture.
    Image,
    /// A sound file.
    Audio,
    /// A voice message.
    Voice,
    /// A film.
    Video,
    /// Any other file.
    Document,
    /// A sticker.
    Sticker,
    /// A place.
    Location,
    /// An address card.
    Contact,
    /// A list of goods.
    Order,
}

/// Whom something was said to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// In a one-to-one conversation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
    /// It names the employee.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mention: bool,
    /// In a thread; whether the employee takes part in it, its log shows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thread: bool,
    /// As a command or an action on what the employee showed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub command: bool,
}
