//! HTTP requests, and whether a failed one may have had an effect.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::{Response, guard::Blocked};
use crate::{Error, ErrorKind, Result, Secret};

/// Headers with possibly secret values, which are not printed.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Sets a header.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a value with characters that are not allowed in a header.
    pub fn set(&mut self, name: &'static str, value: &str) -> Result<()> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Error::invalid(name, "contains characters that are not allowed in a header")
        })?;
        value.set_sensitive(true);
        self.0.insert(HeaderName::from_static(name), value);
        Ok(())
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
#[must_use = "a request is made by `send`"]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    pub(super) fn new(request: reqwest::RequestBuilder) -> Self {
        Self(request)
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: impl AsRef<str>) -> Self {
        Self(self.0.header(name, value.as_ref()))
    }

    /// Adds headers.
    pub fn headers(self, headers: Headers) -> Self {
        Self(self.0.headers(headers.0))
    }

    /// Sets a token as `Authorization: Bearer`.
    pub fn bearer(self, token: &Secret) -> Self {
        Self(self.0.bearer_auth(token.expose()))
    }

    /// Adds query parameters to the URL.
    pub fn query(self, query: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.query(query))
    }

    /// Sets a JSON body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.json(body))
    }

    /// Sets a form body.
    pub fn form(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.form(body))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// Sends the request, and returns when the head of the response has arrived. Any status is a response, not an error.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if the guard does not allow the address, [`ErrorKind::InvalidInput`] if the request is invalid,
    /// [`ErrorKind::Unavailable`] if no connection could be established, so that the request had no effect, and
    /// [`ErrorKind::Ambiguous`] if there is no response, so that the request may have been carried out.
    pub async fn send(self) -> Result<Response> {
        self.0.send().await.map(Response::new).map_err(failed)
    }
}

fn failed(error: reqwest::Error) -> Error {
    // The URL may contain a token, as Slack's response URLs do.
    let error = error.without_url();
    if let Some(blocked) = Blocked::cause(&error) {
        return blocked.error();
    }
    let (kind, message) = if error.is_builder() {
        (ErrorKind::InvalidInput, "the request is invalid")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "could not connect to the server")
    } else {
        (ErrorKind::Ambiguous, "the server did not respond")
    };
    Error::new(kind, message).with_source(error)
}
