//! How the vendors are called, over [`konstruct_core::http`], and what a failed send may have done.

use std::time::Duration;

use bytes::Bytes;
use konstruct_core::{
    Error, ErrorKind, Result,
    http::{Client, Request, Url, kind_of},
};

/// The most bytes of an answer that are read.
const ANSWER: usize = 8 * 1024 * 1024;

/// Makes a client whose exchanges take so long at most.
///
/// # Errors
/// [`ErrorKind::Internal`] if TLS cannot be set up.
pub(crate) fn client(timeout: Duration) -> Result<Client> {
    let client = Client::builder().timeout(timeout).build();
    client.prepare()?;
    Ok(client)
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
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Exchange {
    /// Returns whether the status is one of success.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the status is one of the server's faults.
    pub(crate) fn is_server_error(&self) -> bool {
        (500..600).contains(&self.status)
    }
}

/// Sends a request and reads the answer whole.
///
/// # Errors
/// Those of [`Request::send`], and [`ErrorKind::Ambiguous`] when the answer breaks off or is too large.
pub(crate) async fn exchange(request: Request) -> Result<Exchange> {
    let response = request.send().await?;
    let (status, retry_after) = (response.status(), response.retry_after());
    let body = response.body(ANSWER).await.map_err(|error| {
        Error::new(ErrorKind::Ambiguous, "the answer broke off").with_source(error)
    })?;
    Ok(Exchange {
        status,
        retry_after,
        body,
    })
}

/// Returns what the status of a send means where the body says nothing. Only a plain refusal promises that nothing was sent: a gateway
/// that answers 503, or anything that is not of the vendor's API, may have passed the request on.
pub(crate) fn status_kind(status: u16) -> ErrorKind {
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
    fn only_a_refusal_promises_that_nothing_was_sent() {
        let refused: Vec<u16> = (100..600)
            .filter(|status| status_kind(*status) != ErrorKind::Ambiguous)
            .collect();
        let expected = [
            400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429,
        ];
        assert_eq!(refused, expected);
    }
}
