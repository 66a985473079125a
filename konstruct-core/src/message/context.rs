//! What a provider reports about a message besides its content: what it quotes, where it comes from, what the person looked at.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A reference to a quoted message. Its text is looked up in the conversation, because it belongs to its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quoted {
    /// The provider's id of the message.
    pub message: String,
    /// The provider's id of the author, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The text, if the sender passed it on with the event: a message that was shared from another place, or the message that a
    /// shortcut was used on. This copy belongs to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Quoted {
    /// Creates a reference to a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            author: None,
            text: None,
        }
    }

    /// Sets the author.
    #[must_use]
    pub fn by(mut self, author: impl Into<Option<String>>) -> Self {
        self.author = author.into();
        self
    }

    /// Sets the text that the sender passed on.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Option<String>>) -> Self {
        self.text = text.into();
        self
    }
}

/// Whether a message was forwarded from another author.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Forwarded {
    /// The sender wrote the message.
    #[default]
    No,
    /// It was forwarded.
    Once,
    /// It was forwarded many times (WhatsApp: more than five times).
    Often,
}

impl Forwarded {
    pub(super) fn is_no(&self) -> bool {
        *self == Self::No
    }
}

/// The advertisement or post that led a person to the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Referral {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Its kind, such as `ad` or `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Its headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The kind of its picture or video, such as `image` or `video`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The addresses of its picture, video and thumbnail, as far as they exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media_urls: Vec<String>,
    /// The greeting that the person saw when the chat opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub welcome: Option<String>,
    /// The provider's id of the click, which is used to report conversions (WhatsApp: `ctwa_clid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_id: Option<String>,
}

/// A product in the business's catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Product {
    /// The business's id of the product (WhatsApp: `product_retailer_id`).
    pub id: String,
    /// The provider's id of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
}

impl Product {
    /// Creates a product.
    pub fn new(id: impl Into<String>, catalog: impl Into<Option<String>>) -> Self {
        Self {
            id: id.into(),
            catalog: catalog.into(),
        }
    }
}

/// A thing in the channel that a person was looking at while writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Viewed {
    /// The kind of thing: `channel`, `message`, `canvas`, `list`, or another name of the provider.
    pub kind: String,
    /// The provider's id of it.
    pub id: String,
    /// The channel that contains it, if it is a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl Viewed {
    /// Creates a thing that is not in a channel, or is one.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            channel: None,
        }
    }

    /// Sets the channel that contains it.
    #[must_use]
    pub fn in_channel(mut self, channel: impl Into<Option<String>>) -> Self {
        self.channel = channel.into();
        self
    }
}

/// Where an interaction began. It determines how the answer reaches the person, see [`SentVia`](crate::turn::SentVia).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The address that accepts responses for a short time (Slack: `response_url`). Whoever knows it can respond, so it is not
    /// printed and not exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_url: Option<String>,
    /// When [`response_url`](Self::response_url) expires. Without it, the address is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether the person selected the place behind [`response_url`](Self::response_url) for the response. It is then sent there
    /// first, and everyone there can read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub selected: bool,
    /// Whether only the person sees the answer, because the interaction was visible only to them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("response_url", &self.response_url.as_ref().map(|_| ".."))
            .field("expires_at", &self.expires_at)
            .field("selected", &self.selected)
            .field("ephemeral", &self.ephemeral)
            .finish()
    }
}
