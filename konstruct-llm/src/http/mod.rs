//! The one way to a provider: TLS, timeouts, and bytes through a codec into a stream.

mod endpoint;
mod get;
#[cfg(any(feature = "openai", feature = "ollama"))]
mod post;
mod reader;
mod refusal;
mod stream;
mod timeouts;

use std::{
    error::Error as StdError,
    sync::{Arc, OnceLock},
};

use konstruct_core::{Error, ErrorKind, Result};
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

#[cfg(any(feature = "openai", feature = "ollama"))]
pub(crate) use self::endpoint::server;
pub(crate) use self::get::Get;
pub use self::timeouts::Timeouts;
pub(crate) use self::{
    endpoint::describe,
    refusal::{ProviderError, Refusal},
};
use crate::guard::{Blocked, Guard};

/// An HTTP client with its timeouts, and perhaps a guard. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) timeouts: Timeouts,
    guard: Option<Guard>,
    /// Made when first used: for any server, and for public ones alone.
    clients: Arc<[OnceLock<std::result::Result<Client, String>>; 2]>,
}

/// A call to be made.
#[derive(Debug)]
pub(crate) struct Post<'a, B> {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: &'a B,
    /// Reads the provider's error. Status and typed body become a kind there, and only there.
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

    /// Returns the client for any server, or for public ones alone.
    pub(crate) fn client(&self, any: bool) -> Result<&Client> {
        let client = self.clients[usize::from(!any)].get_or_init(|| {
            client(&self.timeouts, self.guard.as_ref(), any).map_err(|error| error.to_string())
        });
        client.as_ref().map_err(|problem| {
            Error::internal(format!("the HTTP client cannot be made: {problem}"))
        })
    }

    /// Begins a request, unless the guard forbids it.
    fn request(&self, method: Method, url: &str) -> Result<RequestBuilder> {
        let url = Url::parse(url).map_err(|_| Error::invalid("base_url", "not a URL to call"))?;
        let any = match &self.guard {
            None => true,
            Some(guard) => guard.passes(&url)?,
        };
        Ok(self.client(any)?.request(method, url))
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
