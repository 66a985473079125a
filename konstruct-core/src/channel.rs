//! The `Channel` trait: what the engine needs of Slack, WhatsApp, or a channel of your own.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConversationRef, Outgoing, Result, Timestamp, message::Attachment,
    outgoing::Rendered,
};

/// A way to talk to people.
///
/// `testkit::channel_suite` (feature `testkit`) tests the contract on any channel.
///
/// # Contract
/// * An error of [`perform`](Channel::perform) says whether anything can have happened: only
///   [`ErrorKind::Ambiguous`](crate::ErrorKind::Ambiguous) leaves it open, every other kind promises that nothing was done.
/// * A request is given up after [`Capabilities::request_timeout`], and cannot take effect later than
///   [`Capabilities::grace`] after that.
/// * A channel never repeats a send by itself.
/// * A rendered part arrives as one message, whole and within [`Capabilities::max_text`]. Between the parts and the rest, no word is
///   lost, invented or moved, and no grapheme is cut unless it alone exceeds the limit.
/// * [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) means that nothing of this connection will succeed until its
///   credentials or its account are put in order; [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) is about one place or
///   one recipient. [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited) carries how long to wait, if the provider says so.
#[async_trait]
pub trait Channel: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of channel.
    fn kind(&self) -> ChannelKind;

    /// Returns what this channel can do.
    fn capabilities(&self) -> &Capabilities;

    /// Splits what is said into messages that fit the channel's limits, at most `max_parts`; the remainder is
    /// [`Rendered::rest`].
    ///
    /// Pure: the same value gives the same parts. The parts are not translated; [`perform`](Channel::perform) translates
    /// each when it is sent. The quote is in the first part and the choices are in the last.
    /// [`Rendered::plain`] suits a channel that shows the text as it is.
    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered;

    /// Performs one operation, once.
    ///
    /// # Errors
    /// As the contract says; a kind that this channel cannot do is
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Cancel safety
    /// None: a dropped future leaves the outcome open.
    async fn perform(&self, op: Op) -> Result<Receipt>;

    /// Asks the provider whether a send with this key arrived.
    ///
    /// # Errors
    /// When the provider could not be asked, and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) unless
    /// [`Capabilities::find`] is [`Find::Query`].
    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>>;

    /// Fetches what was attached to a message.
    ///
    /// # Errors
    /// When it is gone, larger than `max_bytes`, or its digest is not the one announced.
    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes>;
}

/// What a channel can do. The engine asks this instead of trying.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// How to learn whether a send arrived.
    pub find: Find,
    /// The most characters of one message; longer texts are sent in parts.
    pub max_text: usize,
    /// Whether it can show that the employee is at work.
    pub progress: bool,
    /// Whether it has threads.
    pub threads: bool,
    /// Whether people write in bursts: a turn then begins after a moment of quiet, see
    /// [`TurnLimits::burst_ms`](crate::employee::TurnLimits::burst_ms).
    pub bursts: bool,
    /// Whether [`Op::MarkRead`] shows a person that their message was read.
    pub read_receipts: bool,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long after that the provider may still carry it out.
    pub grace: Duration,
}

impl Capabilities {
    /// A channel that sends texts of at most `max_text` characters and can do nothing else.
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

/// How a channel tells whether a send arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Find {
    /// It can be asked, and its "no" can be relied on once the request can no longer be in flight.
    Query,
    /// It tells by an event that carries the delivery key; silence means nothing.
    Event,
    /// It never tells.
    None,
}

/// An operation on a channel.
///
/// The enum is exhaustive on purpose: a channel matches every operation, so that a new one is never silently dropped.
#[derive(Clone, Debug)]
pub enum Op {
    /// Says something.
    Send {
        /// Where.
        to: ConversationRef,
        /// The key that this send is known by, the same at every repetition. At most 64 characters of `[a-z0-9_.]`.
        key: String,
        /// What: one of the parts that [`Channel::render`] returned. The channel translates and escapes it.
        outgoing: Outgoing,
    },
    /// Shows that the employee is at work; it is gone by itself. Asked for once a model has been thinking for 0.3 seconds. Best effort: it fails only if the credentials are refused.
    Progress {
        /// Where.
        to: ConversationRef,
        /// The message that is being worked on.
        message: Option<String>,
    },
    /// Shows a person that their message was read, for a reply that came too fast for [`Op::Progress`]. Asked for only with
    /// [`Capabilities::read_receipts`]. Best effort: it fails only if the credentials are refused.
    MarkRead {
        /// Where.
        to: ConversationRef,
        /// The message.
        message: String,
    },
}

/// What a channel gives back for a send that the provider took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The provider's id of the message; `None` for operations that make none.
    pub message: Option<String>,
}

/// Which send is looked for.
#[derive(Clone, Debug)]
pub struct FindQuery {
    /// Where it was sent to.
    pub to: ConversationRef,
    /// Its key.
    pub key: String,
    /// When its intent was recorded: it cannot be older.
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
