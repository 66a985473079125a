//! HTTP calls to a provider over [`konstruct_core::http`]: timeouts, error responses, and decoding bytes into a stream.

mod endpoint;
mod get;
#[cfg(any(feature = "openai", feature = "ollama"))]
mod post;
mod reader;
mod refusal;
mod stream;
mod timeouts;
#[cfg(feature = "openai")]
mod upload;

use konstruct_core::{
    Error, ErrorKind, Result,
    http::{Client, Guard, Headers, Request, Response},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

#[cfg(any(feature = "openai", feature = "ollama"))]
pub(crate) use self::endpoint::server;
#[cfg(feature = "openai")]
pub(crate) use self::endpoint::without_slash;
pub(crate) use self::get::Get;
pub use self::timeouts::Timeouts;
#[cfg(feature = "openai")]
pub(crate) use self::upload::Upload;
pub(crate) use self::{
    endpoint::describe,
    refusal::{ProviderError, Refusal},
};

/// An HTTP client with its timeouts. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) timeouts: Timeouts,
    client: Client,
}

/// A call to send.
#[derive(Debug)]
pub(crate) struct Post<'a, B> {
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) body: &'a B,
    /// Converts an error response. Only this function maps the status and the typed body to an error kind.
    pub(crate) refused: fn(&Refusal) -> Error,
}

impl Http {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        let client = Client::builder().connect_timeout(timeouts.connect);
        Self {
            timeouts,
            client: client.build(),
        }
    }

    /// Returns a client with other timeouts and the same guard.
    #[must_use]
    pub(crate) fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        let client = self.client.to_builder().connect_timeout(timeouts.connect);
        Self {
            timeouts,
            client: client.build(),
        }
    }

    /// Returns a client with a guard.
    #[must_use]
    pub(crate) fn guarded(&self, guard: Guard) -> Self {
        Self {
            timeouts: self.timeouts,
            client: self.client.to_builder().guard(guard).build(),
        }
    }
}

async fn send_ok(
    request: Request,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
) -> Result<Response> {
    let response = send(request, deadline).await?;
    if response.is_success() {
        return Ok(response);
    }
    Err(refused(&Refusal::read(response, deadline).await))
}

/// Sends a request and waits for the response head. A missing head is [`ErrorKind::Truncated`], because the provider may be
/// processing it.
async fn send(request: Request, deadline: Instant) -> Result<Response> {
    let sent = timeout_at(deadline, request.send()).await;
    sent.map_err(|_| timed_out("before the response started"))?
        .map_err(|error| match error.kind() {
            ErrorKind::Ambiguous => Error::new(
                ErrorKind::Truncated,
                "the connection broke before the response started",
            )
            .with_source(error),
            _ => error,
        })
}

/// Reads a whole body of at most `most` bytes.
async fn body(response: Response, deadline: Instant, most: usize) -> Result<Vec<u8>> {
    let read = timeout_at(deadline, response.body(most)).await;
    match read.map_err(|_| timed_out("in the middle of the response"))? {
        Ok(body) => Ok(body.into()),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            Err(Error::new(ErrorKind::Protocol, "the response is too large").with_source(error))
        }
        Err(error) => Err(error),
    }
}

fn parsed<T: DeserializeOwned>(provider: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("{provider} returned an unexpected document");
        Error::new(ErrorKind::Protocol, message).with_source(error)
    })
}

pub(crate) fn timed_out(when: &str) -> Error {
    Error::new(
        ErrorKind::Truncated,
        format!("the provider timed out {when}"),
    )
}
