//! A provider's error response, and its classification.

use std::{error::Error as StdError, fmt, time::Duration};

use konstruct_core::{
    Error, ErrorKind,
    http::{Response, kind_of},
};
use tokio::time::{Instant, timeout_at};

/// The maximum number of bytes read from an error's body.
const ERROR_BODY: usize = 64 * 1024;

/// A provider's error response.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The provider's request id.
    request: Option<String>,
    wait: Option<Duration>,
    /// `x-should-retry`, which overrides the status.
    repeat: Option<bool>,
}

impl Refusal {
    /// Reads the response head.
    pub(crate) fn of(response: &Response) -> Self {
        let request = response.header("request-id");
        let request = request.or_else(|| response.header("x-request-id"));
        Self {
            status: response.status(),
            body: Vec::new(),
            request: request.map(sanitized),
            wait: response.retry_after(),
            repeat: should_retry(response.header("x-should-retry")),
        }
    }

    /// Returns the same error response with a body.
    pub(crate) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// Reads the part of the body that arrives before the deadline; the status is enough without it.
    pub(crate) async fn read(response: Response, deadline: Instant) -> Self {
        let mut refusal = Self::of(&response);
        let read = response.beginning(ERROR_BODY, &mut refusal.body);
        // A partial body is kept.
        let _late = timeout_at(deadline, read).await;
        refusal
    }

    /// Builds the error. Its kind comes from the typed body, or else from the status. The provider's own message is the source.
    pub(crate) fn error(
        &self,
        provider: &str,
        typed: Option<ErrorKind>,
        said: Option<ProviderError>,
    ) -> Error {
        let mut message = format!("{provider} returned status {}", self.status);
        if let Some(code) = said
            .as_ref()
            .map(|said| &said.code)
            .filter(|code| !code.is_empty())
        {
            message.push_str(&format!(" {code}"));
        }
        if let Some(request) = &self.request {
            message.push_str(&format!(" (request {request})"));
        }
        // A body with a generic "server error" is less precise than a status such as 503.
        let typed = typed.filter(|kind| *kind != ErrorKind::Ambiguous || self.status < 400);
        let mut error = Error::new(typed.unwrap_or_else(|| kind_of(self.status)), message);
        if let Some(said) = said {
            error = error.with_source(said);
        }
        if let Some(wait) = self.wait {
            error = error.with_retry_after(wait);
        }
        match self.repeat {
            Some(repeat) => error.with_should_retry(repeat),
            None => error,
        }
    }
}

/// The code and message of a provider's error.
#[derive(Debug)]
pub(crate) struct ProviderError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ProviderError {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: sanitized(code),
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

/// Keeps only identifier characters, so that a provider cannot inject text into the operator's log.
fn sanitized(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .take(80)
        .collect()
}

fn should_retry(header: Option<&str>) -> Option<bool> {
    match header?.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn should_retry_is_true_false_or_absent() {
        let check = |value, expected| assert_eq!(should_retry(value), expected, "{value:?}");
        check(Some("true"), Some(true));
        check(Some("false"), Some(false));
        check(Some("maybe"), None);
        check(None, None);
    }
}
