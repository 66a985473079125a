//! The part of a webhook that does no IO: a request becomes a reply and events, whatever its bytes are.

use std::{fmt, mem};

use bytes::Bytes;
use konstruct_core::{Inbound, Timestamp};
use sha2::{Digest as _, Sha256};

/// A channel that is told of events by HTTP requests: verification and decoding, without IO.
///
/// # Contract
/// * The signature is verified over the raw bytes, before anything in them is believed.
/// * Decoding is total: any verified bytes give events, never a panic and never an error. What the channel does not know
///   becomes [`Body::Unsupported`](konstruct_core::message::Body::Unsupported).
/// * The same bytes give the same events with the same ids, at every delivery.
pub trait Webhook: fmt::Debug + Send + Sync + 'static {
    /// Verifies and decodes a request that came in at `now`.
    fn receive(&self, request: &WebhookRequest, now: Timestamp) -> Received;
}

/// An HTTP request, as far as a webhook needs it. It does not print what it carries.
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
    /// A `GET` with what follows the question mark.
    pub fn get(query: impl Into<String>) -> Self {
        Self {
            get: true,
            query: query.into(),
            ..Self::default()
        }
    }

    /// A `POST` with its body, byte for byte as it came.
    pub fn post(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns a header's first value; the case of its name does not matter.
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

    /// Returns the first value of a parameter of the query.
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

/// What to answer a webhook with.
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
    /// A status without a body.
    pub const fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// A 200 with plain text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("text/plain; charset=utf-8"),
            body: body.into(),
        }
    }

    /// A 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("application/json"),
            body: body.into(),
        }
    }
}

/// What a webhook made of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Received {
    /// It is not from the provider.
    Rejected(HttpReply),
    /// A handshake: there is nothing to keep.
    Reply(HttpReply),
    /// Events to keep, and the reply that may be sent once they are durable.
    Events(Decoded, HttpReply),
}

/// Events, and how much there was that could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The events, in the order of the request.
    pub events: Vec<Inbound>,
    /// How many parts were not even JSON of the expected outline, and name no account to keep them under.
    pub undecodable: usize,
}

impl Decoded {
    /// Nothing but one part that could not be read.
    pub fn undecodable() -> Self {
        Self {
            events: Vec::new(),
            undecodable: 1,
        }
    }

    /// Takes the events out.
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

/// Makes an id of what has none: the same parts give the same id, at every delivery.
pub fn digest_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", hex::encode(&hash.finalize()[..16]))
}
