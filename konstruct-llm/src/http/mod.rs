//! The way to a provider over [`konstruct_core::http`]: timeouts, refusals, and bytes through a codec into a stream.

mod endpoint;
mod get;
#[cfg(any(feature = "openai", feature = "ollama"))]
mod post;
mod reader;
mod refusal;
mod stream;
mod timeouts;

use konstruct_core::{
    Error, ErrorKind, Result,
    http::{Client, Guard, Headers, Request, Response},
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

/// An HTTP client with its timeouts. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) timeouts: Timeouts,
    client: Client,
}

/// A call to be made.
#[derive(Debug)]
pub(crate) struct Post<'a, B> {
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) body: &'a B,
    /// Reads the provider's error. Status and typed body become a kind there, and only there.
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

    /// The same with other timeouts. The guard stays.
    #[must_use]
    pub(crate) fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        let client = self.client.to_builder().connect_timeout(timeouts.connect);
        Self {
            timeouts,
            client: client.build(),
        }
    }

    /// The same with a guard.
    #[must_use]
    pub(crate) fn guarded(&self, guard: Guard) -> Self {
        Self {
            timeouts: self.timeouts,
            client: self.client.to_builder().guard(guard).build(),
        }
    }
}

async fn answered(
    request: Request,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
) -> Result<Response> {
    let response = begun(request, deadline).await?;
    if response.is_success() {
        return Ok(response);
    }
    Err(refused(&Refusal::read(response, deadline).await))
}

/// Sends a request and waits for the head of the answer. An answer that does not begin was cut: the provider may be at work.
async fn begun(request: Request, deadline: Instant) -> Result<Response> {
    let sent = timeout_at(deadline, request.send()).await;
    sent.map_err(|_| silent("before the answer began"))?
        .map_err(|error| match error.kind() {
            ErrorKind::Ambiguous => Error::new(
                ErrorKind::Truncated,
                "the connection broke before the answer began",
            )
            .with_source(error),
            _ => error,
        })
}

/// Reads a whole body of at most so many bytes.
async fn body(response: Response, deadline: Instant, most: usize) -> Result<Vec<u8>> {
    let read = timeout_at(deadline, response.body(most)).await;
    match read.map_err(|_| silent("in mid-answer"))? {
        Ok(body) => Ok(body.into()),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            Err(Error::new(ErrorKind::Protocol, "the answer is too large").with_source(error))
        }
        Err(error) => Err(error),
    }
}

fn parsed<T: DeserializeOwned>(provider: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("{provider} answered what is not an answer");
        Error::new(ErrorKind::Protocol, message).with_source(error)
    })
}

pub(crate) fn silent(when: &str) -> Error {
    Error::new(
        ErrorKind::Truncated,
        format!("the provider fell silent {when}"),
    )
}
