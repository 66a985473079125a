//! Webhooks without IO: converts any request into a reply and events.

use std::{fmt, mem};

use bytes::Bytes;
use konstruct_core::{Inbound, Timestamp};
use sha2::{Digest as _, Sha256};

/// A channel that receives events as HTTP requests: verification and decoding, without IO.
///
/// # Contract
/// * The signature is verified over the raw bytes, before any content is used.
/// * Decoding is total: any verified bytes yield events, never a panic and never an error. Unknown events become
///   [`Body::Unsupported`](konstruct_core::message::Body::Unsupported).
/// * The same bytes yield the same events with the same ids at every delivery.
///
/// ```
/// use konstruct_channels::{HttpReply, Received, Webhook, WebhookRequest};
/// use konstruct_core::{AccountId, ChannelKind, Inbound, Timestamp};
///
/// /// A webhook that is authenticated by a shared token and carries one text.
/// #[derive(Debug)]
/// struct Notes;
///
/// impl Webhook for Notes {
///     fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received {
///         if request.header("x-token") != Some("secret") {
///             return Received::Rejected(HttpReply::empty(401));
///         }
///         let text = String::from_utf8_lossy(request.body()).into_owned();
///         let id = request.header("x-id").unwrap_or_default();
///         let event = Inbound::message("visitor", text)
///             .on(ChannelKind::new("notes"), AccountId("shop".into()))
///             .with_id(id)
///             .at(now);
///         Received::Events(vec![event].into(), HttpReply::empty(200))
///     }
/// }
///
/// let now = Timestamp::from_secs(1_794_657_600);
/// let rejected = Notes.receive(&WebhookRequest::post("hello"), now);
/// assert!(matches!(rejected, Received::Rejected(reply) if reply.status == 401));
/// ```
pub trait Webhook: fmt::Debug + Send + Sync + 'static {
    /// Verifies and decodes a request received at `now`.
    fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received;

    /// Returns the refusal of a request whose headers already show that the provider did not send it, such as one without a
    /// signature. `head` is the request without its body, which is read only if this returns `None`, so that a flood of such
    /// requests takes no memory.
    ///
    /// [`receive`](Self::receive) must reject such a request too. By default, nothing is refused here.
    fn refuse_head(&self, head: &WebhookRequest, now: Timestamp) -> Option<HttpReply> {
        let _ = (head, now);
        None
    }
}

/// The parts of an HTTP request that a webhook needs. Its debug output does not contain the content.
///
/// With the feature `axum`, it is an extractor for a handler of your own.
///
/// ```
/// use konstruct_channels::WebhookRequest;
///
/// let request = WebhookRequest::post("{}").with_header("X-Slack-Signature", "v0=00");
/// assert_eq!(request.header("x-slack-signature"), Some("v0=00"));
/// ```
#[derive(Clone, Default)]
pub struct WebhookRequest {
    get: bool,
    query: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl WebhookRequest {
    /// Returns a `GET` with a query string.
    pub fn get(query: impl Into<String>) -> Self {
        Self {
            get: true,
            query: query.into(),
            ..Self::default()
        }
    }

    /// Returns a `POST` with its exact body.
    pub fn post(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Sets the query string.
    #[must_use]
    pub fn with_query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[cfg(feature = "axum")]
    pub(crate) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// Returns a header's first value; names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns all headers.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns whether it is a `GET`.
    pub fn is_get(&self) -> bool {
        self.get
    }

    /// Returns the first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRequest")
            .field("get", &self.get)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The response to a webhook request. With the feature `axum`, a handler can return it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpReply {
    /// The status.
    pub status: u16,
    /// The media type of the body, if there is one.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl HttpReply {
    /// Returns a status without a body.
    pub const fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// Returns a 200 with plain text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("text/plain; charset=utf-8"),
            body: body.into(),
        }
    }

    /// Returns a 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("application/json"),
            body: body.into(),
        }
    }
}

/// The result of a webhook request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Received {
    /// The request does not come from the provider.
    Rejected(HttpReply),
    /// A handshake, with nothing to store.
    Reply(HttpReply),
    /// Events to store, and the reply to send once they are durable.
    Events(Decoded, HttpReply),
}

/// Events, and the number of unreadable parts.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The events, in the order of the request.
    pub events: Vec<Inbound>,
    /// The number of parts that are not JSON of the expected structure and name no account.
    pub undecodable: usize,
}

impl Decoded {
    /// Returns one undecodable part and no events.
    pub fn undecodable() -> Self {
        Self {
            events: Vec::new(),
            undecodable: 1,
        }
    }

    /// Takes the events out and leaves none.
    pub fn take(&mut self) -> Vec<Inbound> {
        mem::take(&mut self.events)
    }
}

impl From<Vec<Inbound>> for Decoded {
    fn from(events: Vec<Inbound>) -> Self {
        Self {
            events,
            undecodable: 0,
        }
    }
}

/// Derives an id from parts of an event that has none; the same parts give the same id at every delivery.
pub fn digest_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", hex::encode(&hash.finalize()[..16]))
}
