//! The one way to a provider: TLS, timeouts, and bytes through a codec into a stream.

mod endpoint;
mod reader;
mod refusal;

use std::{
    collections::VecDeque,
    error::Error as StdError,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use konstruct_core::{CallContext, Error, ErrorKind, ModelEvent, ModelInfo, ModelStream, Result};
use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use self::reader::Reader;
pub(crate) use self::{
    endpoint::describe,
    refusal::{ProviderError, Refusal},
};
use crate::{
    codec::{Decoder, Wire},
    guard::{Blocked, Guard},
};

/// The most bytes of an answer in one document.
const DOCUMENT: usize = 64 << 20;

/// How long a provider may take. The whole call is bounded by [`CallContext::timeout`].
///
/// ```
/// use std::time::Duration;
/// use konstruct_llm::Timeouts;
///
/// let timeouts = Timeouts::default().with_idle(Duration::from_secs(10));
/// assert_eq!(timeouts.idle, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// To connect: 5 seconds.
    pub connect: Duration,
    /// From the request to the first content, which no heartbeat puts off: 60 seconds, and 5 minutes for Ollama, which may
    /// have to load the model.
    pub first_content: Duration,
    /// Between any bytes after that: 30 seconds.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_content: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// Says how long connecting may take.
    #[must_use]
    pub fn with_connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Says how long the first content may take.
    #[must_use]
    pub fn with_first_content(mut self, first_content: Duration) -> Self {
        self.first_content = first_content;
        self
    }

    /// Says how long a stream may be silent.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

/// An HTTP client with its timeouts, and perhaps a guard. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    timeouts: Timeouts,
    guard: Option<Guard>,
    /// Made when first used: for any server, and for public ones alone.
    clients: Arc<[OnceLock<std::result::Result<Client, String>>; 2]>,
}

/// A call to be made.
#[derive(Debug)]
pub(crate) struct Post<'a, B> {
    pub(crate) provider: &'static str,
    pub(crate) model: &'a str,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: &'a B,
    /// Reads the provider's error. Status and typed body become a kind there, and only there.
    pub(crate) refused: fn(&Refusal) -> Error,
}

/// A document to be fetched.
#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) provider: &'static str,
    pub(crate) url: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) refused: fn(&Refusal) -> Error,
}

impl Http {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            guard: None,
            clients: Arc::default(),
        }
    }

    /// The same with other timeouts. The guard stays.
    #[must_use]
    pub(crate) fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        Self {
            guard: self.guard.clone(),
            ..Self::new(timeouts)
        }
    }

    /// The same with a guard.
    #[must_use]
    pub(crate) fn guarded(&self, guard: Guard) -> Self {
        Self {
            guard: Some(guard),
            ..Self::new(self.timeouts)
        }
    }

    #[cfg(feature = "ollama")]
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Returns the client that any server may be asked with.
    #[cfg(feature = "testkit")]
    pub(crate) fn client(&self) -> Result<&Client> {
        self.client_for(true)
    }

    fn client_for(&self, any: bool) -> Result<&Client> {
        let client = self.clients[usize::from(!any)].get_or_init(|| {
            client(&self.timeouts, self.guard.as_ref(), any).map_err(|error| error.to_string())
        });
        client.as_ref().map_err(|problem| {
            Error::internal(format!("the HTTP client cannot be made: {problem}"))
        })
    }

    /// Begins a request, unless the guard forbids it.
    fn request(&self, method: reqwest::Method, url: &str) -> Result<RequestBuilder> {
        let url = Url::parse(url).map_err(|_| Error::invalid("base_url", "not a URL to call"))?;
        let any = match &self.guard {
            None => true,
            Some(guard) => guard.passes(&url)?,
        };
        Ok(self.client_for(any)?.request(method, url))
    }

    /// Makes a call and streams its answer through the wire's decoder. A whole answer in one JSON document is read as well.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] when the guard does not let it pass; [`ErrorKind::Unavailable`] when no connection came about;
    /// [`ErrorKind::Truncated`] when it broke or stayed silent, for then the provider may have begun, and charge; otherwise what the
    /// provider said.
    pub(crate) async fn stream<W: Wire>(
        &self,
        post: Post<'_, impl Serialize>,
        info: &ModelInfo,
        call: &CallContext,
    ) -> Result<ModelStream> {
        let start = Instant::now();
        let total = start + call.timeout;
        let first = total.min(start + self.timeouts.first_content);
        let request = self
            .request(reqwest::Method::POST, &post.url)?
            .headers(post.headers)
            .json(post.body);
        let response = timeout_at(first, request.send())
            .await
            .map_err(|_| silent("before the answer began"))?
            .map_err(unreached)?;
        let media = Media::of(&response);
        if !response.status().is_success() || media == Media::Page {
            return Err((post.refused)(&Refusal::read(response, first).await));
        }
        let origin = info.origin.clone();
        if media == Media::Json {
            let deadline = first.max(Instant::now() + self.timeouts.idle).min(total);
            let events = document::<W>(response, deadline, post.refused).await?;
            let events = events.into_iter();
            let events = events.map(move |event| event.map(|event| signed(event, &origin)));
            return Ok(stream::iter(events).boxed());
        }
        let reader = Reader::<W> {
            response,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            origin,
            first,
            total,
            idle: self.timeouts.idle,
            bytes: 0,
            content: false,
            ended: false,
        };
        Ok(stream::unfold(reader, Reader::next).boxed())
    }

    /// Makes a call whose answer is one document, of at most so many bytes, within [`Timeouts::first_content`].
    ///
    /// # Errors
    /// As [`Http::stream`]; [`ErrorKind::Protocol`] when the answer is too large or no such document.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        post: Post<'_, impl Serialize>,
        most: usize,
    ) -> Result<T> {
        let span = tracing::info_span!(
            "embeddings",
            gen_ai.operation.name = "embeddings",
            gen_ai.provider.name = post.provider,
            gen_ai.request.model = post.model,
        );
        self.exchange(post, most).instrument(span).await
    }

    /// The same of a call that is no embedding.
    ///
    /// # Errors
    /// As [`Http::document`].
    pub(crate) async fn exchange<T: DeserializeOwned>(
        &self,
        post: Post<'_, impl Serialize>,
        most: usize,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let provider = post.provider;
        let response = self.open(post).await?;
        parsed(provider, &body(response, deadline, most).await?)
    }

    /// Fetches a document of at most so many bytes, within [`Timeouts::first_content`].
    ///
    /// # Errors
    /// As [`Http::document`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, get: Get, most: usize) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self.request(reqwest::Method::GET, &get.url)?;
        let request = request.query(&get.query).headers(get.headers);
        let response = answered(request, deadline, get.refused).await?;
        parsed(get.provider, &body(response, deadline, most).await?)
    }

    /// Makes a call and returns the response, of which nothing is read yet.
    ///
    /// # Errors
    /// As [`Http::stream`].
    pub(crate) async fn open(&self, post: Post<'_, impl Serialize>) -> Result<Response> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self
            .request(reqwest::Method::POST, &post.url)?
            .headers(post.headers)
            .json(post.body);
        answered(request, deadline, post.refused).await
    }
}

async fn answered(
    request: RequestBuilder,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
) -> Result<Response> {
    let response = timeout_at(deadline, request.send())
        .await
        .map_err(|_| silent("before the answer began"))?
        .map_err(unreached)?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refused(&Refusal::read(response, deadline).await))
}

/// Reads a whole body of at most so many bytes.
async fn body(mut response: Response, deadline: Instant, most: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let read = timeout_at(deadline, response.chunk()).await;
        match read.map_err(|_| silent("in mid-answer"))? {
            Ok(Some(bytes)) if body.len() + bytes.len() <= most => body.extend(bytes),
            Ok(Some(_)) => return Err(Error::new(ErrorKind::Protocol, "the answer is too large")),
            Ok(None) => return Ok(body),
            Err(error) => return Err(broken(error)),
        }
    }
}

fn parsed<T: DeserializeOwned>(provider: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("{provider} answered what is not an answer");
        Error::new(ErrorKind::Protocol, message).with_source(error)
    })
}

/// Makes the client: ring and Mozilla's roots by name, so that neither cmake nor system certificates are needed, and no
/// redirects, which would carry a key elsewhere. A guarded one goes through no proxy, for that would look names up itself.
fn client(
    timeouts: &Timeouts,
    guard: Option<&Guard>,
    any: bool,
) -> std::result::Result<Client, Box<dyn StdError + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .connect_timeout(timeouts.connect)
        .user_agent(concat!("konstruct/", env!("CARGO_PKG_VERSION")));
    if let Some(guard) = guard {
        builder = builder.no_proxy().dns_resolver(guard.resolver(any));
    }
    Ok(builder.build()?)
}

/// Adds a header whose value may hold a secret.
pub(crate) fn header(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::invalid(name, "has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// What a response is by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// One document where a stream was asked for: a whole answer, or an error under status 200.
    Json,
    /// A page for people, such as one to log in.
    Page,
    Other,
}

impl Media {
    fn of(response: &Response) -> Self {
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        match kind.unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/html" => Self::Page,
            _ => Self::Other,
        }
    }
}

/// Reads an answer in one document.
///
/// # Errors
/// What the provider says in it, or [`ErrorKind::Protocol`], when it is no answer at all.
async fn document<W: Wire>(
    response: Response,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
) -> Result<Vec<Result<ModelEvent>>> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = body(response, deadline, DOCUMENT).await?;
    let mut events = Vec::new();
    let read = W::default().document(&String::from_utf8_lossy(&body), &mut events);
    let mut events: Vec<Result<ModelEvent>> = events.into_iter().map(Ok).collect();
    match read {
        Ok(()) => Ok(events),
        // It broke off, and what it told of its usage counts.
        Err(error) if !events.is_empty() => {
            events.push(Err(error));
            Ok(events)
        }
        Err(error) => {
            let refusal = refused(&Refusal {
                status,
                headers,
                body,
            });
            // A typed error says more, also of who asks; where nothing is typed the status is no help.
            Err(match refusal.kind() {
                ErrorKind::Protocol => error,
                _ => refusal,
            })
        }
    }
}

/// Says who signed what is signed.
fn signed(mut event: ModelEvent, by: &Option<String>) -> ModelEvent {
    if let ModelEvent::Signature { origin, .. } = &mut event {
        origin.clone_from(by);
    }
    event
}

fn unreached(error: reqwest::Error) -> Error {
    let error = error.without_url();
    if let Some(blocked) = Blocked::cause(&error) {
        return blocked.error();
    }
    let (kind, message) = if error.is_connect() {
        (ErrorKind::Unavailable, "no connection")
    } else if error.is_builder() {
        (ErrorKind::InvalidInput, "base_url: not a URL to call")
    } else {
        (
            ErrorKind::Truncated,
            "the connection broke before the answer began",
        )
    };
    Error::new(kind, message).with_source(error)
}

pub(crate) fn broken(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Truncated, "the connection broke in mid-answer")
        .with_source(error.without_url())
}

pub(crate) fn silent(when: &str) -> Error {
    Error::new(
        ErrorKind::Truncated,
        format!("the provider fell silent {when}"),
    )
}
