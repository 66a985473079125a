//! A request and its whole response, where it matters whether a failed request took effect.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Request, kind_of};
use crate::{Error, ErrorKind, Result};

/// The maximum size of a response, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A whole response. Its debug output does not contain the body.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// The status.
    pub status: u16,
    /// How long the server asks to wait, see [`retry_after`](super::retry_after).
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// Sends a request that has an effect, and reads the whole response, of at most 8 MiB. Any status is a response.
    ///
    /// The error says whether the request may have taken effect, as [`Channel::perform`](crate::Channel::perform) must:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use konstruct_core::{ErrorKind, Result, http::{Client, Exchange, base_url, join}};
    ///
    /// let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let api = base_url("api_url", &format!("http://{}", server.local_addr()?))?;
    /// let client = Client::builder().timeout(Duration::from_secs(10)).direct().build();
    /// let send = async || -> Result<Exchange> {
    ///     let request = client.post(join(&api, &["v1", "messages"]))?;
    ///     request.json(&serde_json::json!({"text": "hello"})).exchange().await
    /// };
    ///
    /// // The server closes the connection: it may have taken the message.
    /// let (sent, _) = tokio::join!(send(), async { drop(server.accept().await) });
    /// assert_eq!(sent.unwrap_err().kind(), ErrorKind::Ambiguous);
    ///
    /// // Nothing listens there any more: the message was certainly not sent.
    /// drop(server);
    /// assert_eq!(send().await.unwrap_err().kind(), ErrorKind::Unavailable);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of [`Request::send`], and [`ErrorKind::Ambiguous`] if the response breaks off or is too large.
    pub async fn exchange(self) -> Result<Exchange> {
        let response = self.send().await?;
        let (status, retry_after) = (response.status(), response.retry_after());
        let body = response.body(MAX_BODY).await.map_err(|error| {
            Error::new(ErrorKind::Ambiguous, "the response broke off").with_source(error)
        })?;
        Ok(Exchange {
            status,
            retry_after,
            body,
        })
    }
}

impl Exchange {
    /// Returns whether the status is a success: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the status is a server error: 500 to 599.
    pub fn is_server_error(&self) -> bool {
        (500..600).contains(&self.status)
    }

    /// Parses the body of a success.
    ///
    /// # Errors
    /// [`Exchange::status_error`] if the status is not a success; [`ErrorKind::Ambiguous`] if the body is not the expected JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if !self.is_success() {
            return Err(self.status_error());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(ErrorKind::Ambiguous, "the response cannot be parsed").with_source(error)
        })
    }

    /// Makes an error of the status for a response whose body gives no reason: [`kind_of_effect`].
    pub fn status_error(&self) -> Error {
        let message = format!("status {}", self.status);
        self.error(kind_of_effect(self.status), message)
    }

    /// Makes an error that carries how long the server asks to wait.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let error = Error::new(kind, message);
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Returns what a status means for a request that has an effect, if the body gives no reason. It is [`kind_of`] where the server
/// plainly rejected the request. Anything else is [`ErrorKind::Ambiguous`]: a gateway that answers 503, or a response from outside
/// the provider's API, may have forwarded the request.
pub fn kind_of_effect(status: u16) -> ErrorKind {
    match kind_of(status) {
        ErrorKind::Unavailable
        | ErrorKind::Unsupported
        | ErrorKind::Cancelled
        | ErrorKind::Protocol => ErrorKind::Ambiguous,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rejection_guarantees_that_nothing_was_done() {
        let refused: Vec<u16> = (100..600)
            .filter(|status| kind_of_effect(*status) != ErrorKind::Ambiguous)
            .collect();
        let expected = [
            400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429,
        ];
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_response_is_parsed_or_says_why_not() {
        let parse = |status, body: &'static str| {
            let exchange = Exchange {
                status,
                retry_after: Some(Duration::from_secs(3)),
                body: Bytes::from_static(body.as_bytes()),
            };
            let parsed: Result<Vec<u8>> = exchange.json();
            parsed.map_err(|error| (error.kind(), error.retry_after()))
        };
        let wait = Some(Duration::from_secs(3));
        assert_eq!(parse(200, "[1, 2]"), Ok(vec![1, 2]));
        assert_eq!(parse(200, "<html>"), Err((ErrorKind::Ambiguous, None)));
        assert_eq!(parse(429, "[1]"), Err((ErrorKind::RateLimited, wait)));
        assert_eq!(parse(503, "[1]"), Err((ErrorKind::Ambiguous, wait)));
    }
}
