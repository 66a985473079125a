//! The one way to a provider: TLS, timeouts, and bytes through a codec into a stream.

use std::{collections::VecDeque, error::Error as StdError, fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use konstruct_core::{CallContext, Error, ErrorKind, ModelEvent, ModelStream, Result};
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use crate::codec::{Decoder, Wire};

/// The most bytes of an error's body that are read.
const ERROR_BODY: usize = 64 * 1024;

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

/// An HTTP client with its timeouts.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: std::result::Result<Client, String>,
    timeouts: Timeouts,
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

impl Http {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self {
            client: client(&timeouts).map_err(|error| error.to_string()),
            timeouts,
        }
    }

    pub(crate) fn client(&self) -> Result<&Client> {
        self.client.as_ref().map_err(|problem| {
            Error::internal(format!("the HTTP client cannot be made: {problem}"))
        })
    }

    /// Makes a call and streams its answer through the wire's decoder.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when no connection came about; [`ErrorKind::Truncated`] when it broke or stayed silent, for
    /// then the provider may have begun, and charge; otherwise what the provider said.
    pub(crate) async fn stream<W: Wire>(
        &self,
        post: Post<'_, impl Serialize>,
        call: &CallContext,
    ) -> Result<ModelStream> {
        let span = tracing::info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = post.provider,
            gen_ai.request.model = post.model,
        );
        let start = Instant::now();
        let total = start + call.timeout;
        let first = total.min(start + self.timeouts.first_content);
        let request = self
            .client()?
            .post(&post.url)
            .headers(post.headers)
            .json(post.body);
        let response = async {
            let response = timeout_at(first, request.send())
                .await
                .map_err(|_| silent("before the answer began"))?
                .map_err(unreached)?;
            if response.status().is_success() && !is_document(&response) {
                return Ok(response);
            }
            Err((post.refused)(&Refusal::read(response, first).await))
        }
        .instrument(span)
        .await?;
        let reader = Reader::<W> {
            response,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            first,
            total,
            idle: self.timeouts.idle,
            content: false,
            ended: false,
        };
        Ok(stream::unfold(reader, Reader::next).boxed())
    }
}

impl Http {
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
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self
            .client()?
            .post(&post.url)
            .headers(post.headers)
            .json(post.body);
        async {
            let mut response = timeout_at(deadline, request.send())
                .await
                .map_err(|_| silent("before the answer began"))?
                .map_err(unreached)?;
            if !response.status().is_success() {
                return Err((post.refused)(&Refusal::read(response, deadline).await));
            }
            let mut body = Vec::new();
            loop {
                let read = timeout_at(deadline, response.chunk()).await;
                match read.map_err(|_| silent("in mid-answer"))? {
                    Ok(Some(bytes)) if body.len() + bytes.len() <= most => body.extend(bytes),
                    Ok(Some(_)) => {
                        return Err(Error::new(ErrorKind::Protocol, "the answer is too large"));
                    }
                    Ok(None) => break,
                    Err(error) => return Err(broken(error)),
                }
            }
            serde_json::from_slice(&body).map_err(|error| {
                let message = format!("{} answered what is not an answer", post.provider);
                Error::new(ErrorKind::Protocol, message).with_source(error)
            })
        }
        .instrument(span)
        .await
    }
}

/// Makes the client: ring and Mozilla's roots by name, so that neither cmake nor system certificates are needed, and no
/// redirects, which would carry a key elsewhere.
fn client(timeouts: &Timeouts) -> std::result::Result<Client, Box<dyn StdError + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .connect_timeout(timeouts.connect)
        .user_agent(concat!("konstruct/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

/// Adds a header whose value may hold a secret.
pub(crate) fn header(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::invalid(name, "has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// Returns whether the answer is a document where a stream was asked for: an error or a login page under status 200.
fn is_document(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/html"))
}

pub(crate) fn unreached(error: reqwest::Error) -> Error {
    let error = error.without_url();
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

fn broken(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Truncated, "the connection broke in mid-answer")
        .with_source(error.without_url())
}

fn silent(when: &str) -> Error {
    Error::new(
        ErrorKind::Truncated,
        format!("the provider fell silent {when}"),
    )
}

/// What a provider answers instead of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Refusal {
    /// Reads the body as far as it comes in time; the status counts even without it.
    pub(crate) async fn read(mut response: Response, deadline: Instant) -> Self {
        let mut body = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await {
            let room = ERROR_BODY - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if body.len() == ERROR_BODY {
                break;
            }
        }
        Self {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        }
    }

    /// Makes the error: the kind of the typed body, or else of the status. The provider's own words are the source.
    pub(crate) fn error(
        &self,
        provider: &str,
        typed: Option<ErrorKind>,
        said: Option<ProviderError>,
    ) -> Error {
        let mut message = format!("{provider} answered {}", self.status);
        if let Some(code) = said
            .as_ref()
            .map(|said| &said.code)
            .filter(|code| !code.is_empty())
        {
            message.push_str(&format!(" {code}"));
        }
        for name in ["request-id", "x-request-id"] {
            if let Some(id) = self.headers.get(name).and_then(|id| id.to_str().ok()) {
                message.push_str(&format!(" (request {})", tame(id)));
                break;
            }
        }
        let mut error = Error::new(typed.unwrap_or_else(|| kind_of(self.status)), message);
        if let Some(said) = said {
            error = error.with_source(said);
        }
        match retry_after(&self.headers) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

/// What a provider says about an error, in its own words.
#[derive(Debug)]
pub(crate) struct ProviderError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ProviderError {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: tame(code),
            message: message.chars().take(500).collect(),
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl StdError for ProviderError {}

/// Keeps what an identifier is made of, so that no one writes into the operator's log.
fn tame(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .take(80)
        .collect()
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        400 | 405 | 406 | 415 | 422 => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        499 => ErrorKind::Cancelled,
        501 => ErrorKind::Unsupported,
        408 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// Reads `retry-after-ms`, or `retry-after` in seconds or as a date, which counts from the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    if let Some(wait) = text("retry-after-ms").and_then(seconds) {
        return Some(wait / 1000);
    }
    let after = text(RETRY_AFTER.as_str())?;
    seconds(after).or_else(|| {
        let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
        let until = date(after)?;
        let now = text(DATE.as_str())
            .and_then(date)
            .unwrap_or_else(jiff::Timestamp::now);
        Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
    })
}

/// Reads a response: bytes from the network, events from the decoder, one ending.
struct Reader<W: Wire> {
    response: Response,
    decoder: Decoder<W>,
    ready: VecDeque<Result<ModelEvent>>,
    first: Instant,
    total: Instant,
    idle: Duration,
    content: bool,
    ended: bool,
}

impl<W: Wire> Reader<W> {
    async fn next(mut self) -> Option<(Result<ModelEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended = matches!(event, Err(_) | Ok(ModelEvent::Finish(_)));
                self.content |= event.as_ref().is_ok_and(is_content);
                return Some((event, self));
            }
            if self.ended {
                return None;
            }
            let idle = Instant::now() + self.idle;
            let deadline = if self.content {
                idle.min(self.total)
            } else {
                self.first
            };
            match timeout_at(deadline, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.ready.extend(self.decoder.push(&bytes)),
                Ok(Ok(None)) => self.ready.extend(self.decoder.finish()),
                Ok(Err(error)) => self.ready.push_back(Err(broken(error))),
                Err(_) => self.ready.push_back(Err(silent("in mid-answer"))),
            }
        }
    }
}

fn is_content(event: &ModelEvent) -> bool {
    matches!(
        event,
        ModelEvent::Text { .. } | ModelEvent::Reasoning { .. } | ModelEvent::ToolArguments { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_all_its_forms() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<f64>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(retry_after(&headers), expected, "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "2")], Some(2.0));
        check(&[("retry-after", "1.5")], Some(1.5));
        check(
            &[("retry-after", "1"), ("retry-after-ms", "300")],
            Some(0.3),
        );
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "soon")], None);
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")],
            Some(30.0),
        );
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT")],
            Some(0.0),
        );
    }
}
