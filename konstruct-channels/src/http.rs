//! HTTP calls to the vendors over [`konstruct_core::http`], and the classification of failed sends.

use std::time::Duration;

use bytes::Bytes;
use konstruct_core::{
    Error, ErrorKind, Result,
    http::{Client, Request, Url, kind_of},
};

/// The maximum size of a response, in bytes.
const ANSWER: usize = 8 * 1024 * 1024;

/// Creates a client with a timeout for every exchange.
///
/// # Errors
/// [`ErrorKind::Internal`] if TLS cannot be initialised.
pub(crate) fn client(timeout: Duration) -> Result<Client> {
    let client = Client::builder().timeout(timeout).build();
    client.prepare()?;
    Ok(client)
}

/// Parses a base URL from the configuration.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] unless it is an HTTP or HTTPS URL.
pub(crate) fn base_url(field: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| Error::invalid(field, error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Error::invalid(
            field,
            "must be a URL that starts with https:// or http://",
        ));
    }
    Ok(url)
}

/// Appends segments to the path of a base URL and escapes them.
pub(crate) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A complete response.
pub(crate) struct Exchange {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Exchange {
    /// Returns whether the status is a success.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the status is a server error.
    pub(crate) fn is_server_error(&self) -> bool {
        (500..600).contains(&self.status)
    }
}

/// Sends a request and reads the whole response.
///
/// # Errors
/// Those of [`Request::send`], and [`ErrorKind::Ambiguous`] if the response breaks off or is too large.
pub(crate) async fn exchange(request: Request) -> Result<Exchange> {
    let response = request.send().await?;
    let (status, retry_after) = (response.status(), response.retry_after());
    let body = response.body(ANSWER).await.map_err(|error| {
        Error::new(ErrorKind::Ambiguous, "the response broke off").with_source(error)
    })?;
    Ok(Exchange {
        status,
        retry_after,
        body,
    })
}

/// Classifies the status of a send if the body gives no reason. Only a plain rejection guarantees that nothing was sent: a
/// gateway that returns 503, or a response from outside the vendor's API, may have forwarded the request.
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
    fn only_a_rejection_guarantees_that_nothing_was_sent() {
        let refused: Vec<u16> = (100..600)
            .filter(|status| status_kind(*status) != ErrorKind::Ambiguous)
            .collect();
        let expected = [
            400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429,
        ];
        assert_eq!(refused, expected);
    }
}
