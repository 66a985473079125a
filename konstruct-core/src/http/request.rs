//! A request, and what a failed one may have done.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::{Response, guard::Blocked};
use crate::{Error, ErrorKind, Result, Secret};

/// Headers whose values may be secret: they are not printed.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Sets a header.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a value with characters that a header cannot carry.
    pub fn set(&mut self, name: &'static str, value: &str) -> Result<()> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Error::invalid(name, "has characters that a header cannot carry"))?;
        value.set_sensitive(true);
        self.0.insert(HeaderName::from_static(name), value);
        Ok(())
    }
}

/// A request to be sent.
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

    /// Sets headers.
    pub fn headers(self, headers: Headers) -> Self {
        Self(self.0.headers(headers.0))
    }

    /// Sets a token as `Authorization: Bearer`.
    pub fn bearer(self, token: &Secret) -> Self {
        Self(self.0.bearer_auth(token.expose()))
    }

    /// Adds parameters to the URL.
    pub fn query(self, query: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.query(query))
    }

    /// Sets a body of JSON.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.json(body))
    }

    /// Sets a body of form fields.
    pub fn form(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.form(body))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// Sends the request, and returns when the head of the answer is there. Any status is an answer.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] when the guard does not allow the address; [`ErrorKind::InvalidInput`] when the request cannot be made;
    /// [`ErrorKind::Unavailable`] when no connection could be established, so that nothing was done; [`ErrorKind::Ambiguous`] when there
    /// is no answer: the request may have been carried out.
    pub async fn send(self) -> Result<Response> {
        self.0.send().await.map(Response::new).map_err(failed)
    }
}

fn failed(error: reqwest::Error) -> Error {
    // The URL may hold a token, as Slack's response URLs do.
    let error = error.without_url();
    if let Some(blocked) = Blocked::cause(&error) {
        return blocked.error();
    }
    let (kind, message) = if error.is_builder() {
        (ErrorKind::InvalidInput, "the request cannot be made")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "no connection")
    } else {
        (ErrorKind::Ambiguous, "no answer")
    };
    Error::new(kind, message).with_source(error)
}
