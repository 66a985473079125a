//! The `Channel` trait, which connects the engine to Slack, WhatsApp, or your own channel.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConversationRef, Outgoing, Result, Secret, Timestamp, message::Attachment,
    outgoing::Rendered,
};

/// A channel through which the employee talks to people.
///
/// `testkit::channel_suite` (feature `testkit`) tests the contract on any channel.
///
/// # Contract
/// * The kind of an error of [`perform`](Channel::perform) tells whether the operation may have taken effect: after
///   [`ErrorKind::Ambiguous`](crate::ErrorKind::Ambiguous) that is unknown, every other kind guarantees that it had no effect.
/// * A request times out after [`Capabilities::request_timeout`], and cannot take effect later than [`Capabilities::grace`] after
///   that.
/// * A channel never repeats a send by itself.
/// * A rendered part arrives as one message, complete and within [`Capabilities::max_text`]. Between the parts and the rest, no word
///   is lost, added or moved, and no grapheme is cut unless it alone exceeds the limit.
/// * [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) means that no request of this connection will succeed until its
///   credentials or its account are repaired. [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) concerns one place or one
///   recipient. [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited) includes the time to wait, if the provider reports it.
///
/// ```
/// use konstruct_core::{
///     Channel, ChannelKind, Outgoing, Result, async_trait, bytes::Bytes,
///     channel::{Capabilities, Find, FindQuery, Op, Receipt}, message::Attachment, outgoing::Rendered,
/// };
/// use konstruct_core::{Error, ErrorKind};
///
/// /// A channel that writes to the terminal.
/// #[derive(Debug)]
/// struct Terminal(Capabilities);
///
/// #[async_trait]
/// impl Channel for Terminal {
///     fn kind(&self) -> ChannelKind {
///         ChannelKind::new("terminal")
///     }
///
///     fn capabilities(&self) -> &Capabilities {
///         &self.0
///     }
///
///     fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
///         Rendered::plain(outgoing, self.0.max_text, max_parts)
///     }
///
///     async fn perform(&self, op: Op) -> Result<Receipt> {
///         match op {
///             Op::Send { key, outgoing, .. } => {
///                 println!("{}", outgoing.text);
///                 Ok(Receipt { message: Some(key) })
///             }
///             Op::Progress { .. } | Op::MarkRead { .. } => {
///                 Err(Error::new(ErrorKind::Unsupported, "a terminal only prints"))
///             }
///         }
///     }
///
///     async fn find(&self, _: FindQuery) -> Result<Option<Receipt>> {
///         Err(Error::new(ErrorKind::Unsupported, "a terminal cannot be searched"))
///     }
///
///     async fn fetch_media(&self, _: &Attachment, _: u64) -> Result<Bytes> {
///         Err(Error::new(ErrorKind::Unsupported, "a terminal has no media"))
///     }
/// }
///
/// let terminal = Terminal(Capabilities::new(Find::None, 80));
/// assert_eq!(terminal.render(&"word ".repeat(20).into(), 5).parts.len(), 2);
/// ```
#[async_trait]
pub trait Channel: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of channel.
    fn kind(&self) -> ChannelKind;

    /// Returns the channel's capabilities.
    fn capabilities(&self) -> &Capabilities;

    /// Splits a message into at most `max_parts` parts that fit the channel's limits. The remaining text is [`Rendered::rest`].
    ///
    /// Pure: equal messages have equal parts. The parts are not translated yet; [`perform`](Channel::perform) translates each
    /// when it is sent. The first part contains the quote, and the last contains the choices. [`Rendered::plain`] is suitable for
    /// a channel that shows the text unchanged.
    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered;

    /// Performs one operation, once.
    ///
    /// # Errors
    /// See the contract. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for an operation that this channel does not
    /// support.
    ///
    /// # Cancel safety
    /// Not cancel safe: after dropping the future, the outcome is unknown.
    async fn perform(&self, op: Op) -> Result<Receipt>;

    /// Queries the provider whether a send with a key arrived.
    ///
    /// # Errors
    /// Those of the query, and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) unless [`Capabilities::find`] is
    /// [`Find::Query`].
    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>>;

    /// Fetches the content of an attachment.
    ///
    /// # Errors
    /// If the attachment no longer exists, is larger than `max_bytes`, or does not match the announced digest.
    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes>;
}

/// What a channel supports. The engine checks this before it uses a feature.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// How to find out whether a send arrived.
    pub find: Find,
    /// The most characters of a message. Longer texts are sent in parts.
    pub max_text: usize,
    /// Whether the channel can show that the employee is working.
    pub progress: bool,
    /// Whether the channel has threads.
    pub threads: bool,
    /// Whether people send several messages in a row. A turn then begins after a moment of silence, see
    /// [`TurnLimits::burst_ms`](crate::employee::TurnLimits::burst_ms).
    pub bursts: bool,
    /// Whether [`Op::MarkRead`] marks a message as read for its sender.
    pub read_receipts: bool,
    /// The timeout of a request.
    pub request_timeout: Duration,
    /// How long after the timeout the provider may still carry out the request.
    pub grace: Duration,
}

impl Capabilities {
    /// Creates the capabilities of a channel that only sends texts of at most `max_text` characters.
    pub fn new(find: Find, max_text: usize) -> Self {
        Self {
            find,
            max_text,
            progress: false,
            threads: false,
            bursts: true,
            read_receipts: false,
            request_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(2),
        }
    }
}

/// How a channel reports whether a send arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Find {
    /// The provider can be queried. A negative answer is reliable once the request can no longer be in flight.
    Query,
    /// The provider reports it in an event that contains the delivery key. No event means that the outcome is unknown.
    Event,
    /// The provider never reports it.
    None,
}

/// An operation on a channel.
///
/// The enum is deliberately exhaustive: a channel must handle every operation, so that a new one is never ignored silently.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sends a message.
    Send {
        /// The recipient.
        to: ConversationRef,
        /// The delivery key, which is the same for every attempt of this send. At most 64 characters of `[a-z0-9_.]`.
        key: String,
        /// One of the parts that [`Channel::render`] returned. The channel translates and escapes it.
        outgoing: Outgoing,
        /// How the message reaches its readers.
        via: Via,
    },
    /// Shows that the employee is working; the indicator disappears by itself. Requested once a model has been running for 0.3
    /// seconds. Best effort: fails only if the credentials are refused.
    Progress {
        /// The recipient.
        to: ConversationRef,
        /// The message that is being processed.
        message: Option<String>,
    },
    /// Marks a message as read, when the reply comes too fast for [`Op::Progress`]. Requested only with
    /// [`Capabilities::read_receipts`]. Best effort: fails only if the credentials are refused.
    MarkRead {
        /// The recipient.
        to: ConversationRef,
        /// The message.
        message: String,
    },
}

/// How a message reaches its readers. Only an event with an [`Origin`](crate::message::Origin) causes another value than
/// [`Via::Conversation`].
///
/// A channel without such a way fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), and the engine tries the next
/// one. It must never show a message for one person to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// As a message of the conversation.
    #[default]
    Conversation,
    /// As a message in the conversation that only one person sees. It cannot be found later.
    Ephemeral {
        /// The channel's id of the person.
        person: String,
    },
    /// As a response to an interaction. It cannot be found later.
    Response {
        /// The address that accepts the response.
        url: Secret,
        /// Whether only the person who caused the interaction sees it.
        ephemeral: bool,
    },
}

/// The provider's receipt for a send that it accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The provider's id of the message; `None` for operations that create none.
    pub message: Option<String>,
}

/// A query for a send.
#[derive(Clone, Debug)]
pub struct FindQuery {
    /// The recipient.
    pub to: ConversationRef,
    /// The delivery key.
    pub key: String,
    /// When the send was recorded. The message cannot be older.
    pub since: Timestamp,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: Channel + ?Sized> Channel for Arc<C> {
    fn kind(&self) -> ChannelKind {
        (**self).kind()
    }

    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        (**self).render(outgoing, max_parts)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        (**self).perform(op).await
    }

    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        (**self).find(query).await
    }

    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes> {
        (**self).fetch_media(attachment, max_bytes).await
    }
}
