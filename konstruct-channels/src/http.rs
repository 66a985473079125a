//! The one way out: TLS with its own roots, no redirects, no repeats, and what a failed exchange may have done.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use konstruct_core::{Error, ErrorKind, Result};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER, redirect};

/// How long connecting may take. What fails here has done nothing.
const CONNECT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read.
const ANSWER: u64 = 8 * 1024 * 1024;

/// Makes a client that follows no redirect and repeats nothing.
///
/// # Errors
/// [`ErrorKind::Internal`] if the TLS backend cannot be set up.
pub(crate) fn client(timeout: Duration) -> Result<Client> {
    let failed = |cause: Box<dyn StdError + Send + Sync>| {
        Error::internal("the HTTP client cannot be made").with_source(cause)
    };
    // The provider is named here, so that neither a global default nor aws-lc is needed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        .user_agent(concat!("konstruct/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(error.into()))
}

/// Reads a base URL from the configuration.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] unless it is one of HTTP or HTTPS.
pub(crate) fn base_url(field: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| Error::invalid(field, error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Error::invalid(field, "must begin with https:// or http://"));
    }
    Ok(url)
}

/// Adds segments to the path of a base URL; they are escaped.
pub(crate) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// An answer, read whole.
pub(crate) struct Exchange {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// Sends a request and reads the answer whole.
///
/// # Errors
/// [`ErrorKind::Unavailable`] if no connection came about, and [`ErrorKind::Ambiguous`] if it failed later.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Exchange> {
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let retry_after = retry_after(&response);
    let body = read(response, ANSWER).await.map_err(|error| {
        Error::new(ErrorKind::Ambiguous, "the answer broke off").with_source(error)
    })?;
    Ok(Exchange {
        status,
        retry_after,
        body,
    })
}

/// What a request that got no answer may have done.
pub(crate) fn failed(error: reqwest::Error) -> Error {
    // The address may hold a token, as Slack's response URLs do.
    let error = error.without_url();
    if error.is_builder() {
        Error::new(ErrorKind::InvalidInput, "the request cannot be made").with_source(error)
    } else if error.is_connect() {
        Error::new(ErrorKind::Unavailable, "no connection").with_source(error)
    } else {
        Error::new(ErrorKind::Ambiguous, "no answer").with_source(error)
    }
}

/// What a status says where the body says nothing.
pub(crate) fn status_kind(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        400 | 405 | 422 => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        // Whoever answers so may have passed the request on; 408 too, for it says nothing about how far it had come.
        _ => ErrorKind::Ambiguous,
    }
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// [`ErrorKind::TooLarge`], or [`ErrorKind::Unavailable`] if it breaks off.
pub(crate) async fn read(mut response: Response, max_bytes: u64) -> Result<Bytes> {
    let too_large = || Error::new(ErrorKind::TooLarge, format!("more than {max_bytes} bytes"));
    if response
        .content_length()
        .is_some_and(|length| length > max_bytes)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "the body broke off").with_source(error.without_url())
    })? {
        if (body.len() + chunk.len()) as u64 > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}
