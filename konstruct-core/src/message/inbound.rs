//! The event itself.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    AccountId, Actor, ActorKind, Addressing, Attachment, Body, ChannelKind, Content,
    ConversationRef, Decision, Forwarded, IdKind, Lifecycle, Origin, Product, Quoted, Referral,
    Viewed,
};
use crate::{Clock as _, ConversationId, Outgoing, SystemClock, Timestamp, turn::ItemId};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    pub raw: Option<RawJson>,
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
        self.raw = raw.into().map(RawJson);
        self
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The provider's own JSON. `Debug` does not show it, because it may contain a secret address to respond to.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl From<Box<RawValue>> for RawJson {
    fn from(json: Box<RawValue>) -> Self {
        Self(json)
    }
}

impl Deref for RawJson {
    type Target = RawValue;

    fn deref(&self) -> &RawValue {
        &self.0
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawJson(..)")
    }
}
