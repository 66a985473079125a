//! What a provider answers instead of an answer, and what it means.

use std::{error::Error as StdError, fmt, time::Duration};

use konstruct_core::{
    Error, ErrorKind,
    http::{Response, kind_of},
};
use tokio::time::{Instant, timeout_at};

/// The most bytes of an error's body that are read.
const ERROR_BODY: usize = 64 * 1024;

/// What a provider answers instead of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The provider's name of the request.
    request: Option<String>,
    wait: Option<Duration>,
    /// `x-should-retry`, which knows better than a status.
    repeat: Option<bool>,
}

impl Refusal {
    /// Reads the head.
    pub(crate) fn of(response: &Response) -> Self {
        let request = response.header("request-id");
        let request = request.or_else(|| response.header("x-request-id"));
        Self {
            status: response.status(),
            body: Vec::new(),
            request: request.map(tame),
            wait: response.retry_after(),
            repeat: should_retry(response.header("x-should-retry")),
        }
    }

    /// The same with a body.
    pub(crate) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// Reads the body as far as it comes in time; the status counts even without it.
    pub(crate) async fn read(response: Response, deadline: Instant) -> Self {
        let mut refusal = Self::of(&response);
        let read = response.beginning(ERROR_BODY, &mut refusal.body);
        // What came in time is what there is.
        let _late = timeout_at(deadline, read).await;
        refusal
    }

    /// Makes the error: the kind of the typed body, or else of the status. The provider's own words are the source.
    pub(crate) fn error(
        &self,
        provider: &str,
        typed: Option<ErrorKind>,
        said: Option<ProviderError>,
    ) -> Error {
        let mut message = format!("{provider} answered {}", self.status);
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
        // A body that only says "server error" says less than a status such as 503.
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

/// What a provider says about an error, in its own words.
#[derive(Debug)]
pub(crate) struct ProviderError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ProviderError {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: tame(code),
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

/// Keeps what an identifier is made of, so that no one writes into the operator's log.
fn tame(text: &str) -> String {
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
    fn should_retry_says_yes_no_or_nothing() {
        let check = |value, expected| assert_eq!(should_retry(value), expected, "{value:?}");
        check(Some("true"), Some(true));
        check(Some("false"), Some(false));
        check(Some("maybe"), None);
        check(None, None);
    }
}
