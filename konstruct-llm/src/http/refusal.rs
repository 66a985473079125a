//! What a provider answers instead of an answer, and what it means.

use std::{error::Error as StdError, fmt, time::Duration};

use konstruct_core::{Error, ErrorKind};
use reqwest::{
    Response,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use tokio::time::{Instant, timeout_at};

/// The most bytes of an error's body that are read.
const ERROR_BODY: usize = 64 * 1024;

/// What a provider answers instead of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Refusal {
    /// Reads the body as far as it comes in time; the status counts even without it.
    pub(crate) async fn read(mut response: Response, deadline: Instant) -> Self {
        let mut body = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await {
            let room = ERROR_BODY - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if body.len() == ERROR_BODY {
                break;
            }
        }
        Self {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        }
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
        for name in ["request-id", "x-request-id"] {
            if let Some(id) = self.headers.get(name).and_then(|id| id.to_str().ok()) {
                message.push_str(&format!(" (request {})", tame(id)));
                break;
            }
        }
        let mut error = Error::new(typed.unwrap_or_else(|| kind_of(self.status)), message);
        if let Some(said) = said {
            error = error.with_source(said);
        }
        if let Some(wait) = retry_after(&self.headers) {
            error = error.with_retry_after(wait);
        }
        match should_retry(&self.headers) {
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

fn kind_of(status: u16) -> ErrorKind {
    match status {
        400 | 405 | 406 | 415 | 422 => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        499 => ErrorKind::Cancelled,
        501 => ErrorKind::Unsupported,
        408 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// Reads `retry-after-ms`, or `retry-after` in seconds or as a date, which counts from the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    if let Some(wait) = text("retry-after-ms").and_then(seconds) {
        return Some(wait / 1000);
    }
    let after = text(RETRY_AFTER.as_str())?;
    seconds(after).or_else(|| {
        let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
        let until = date(after)?;
        let now = text(DATE.as_str())
            .and_then(date)
            .unwrap_or_else(jiff::Timestamp::now);
        Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
    })
}

/// Reads `x-should-retry`, which knows better than a status.
fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.to_str().ok()?.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn should_retry_says_yes_no_or_nothing() {
        let check = |value: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert("x-should-retry", HeaderValue::from_static(value));
            assert_eq!(should_retry(&headers), expected, "{value}");
        };
        check("true", Some(true));
        check("false", Some(false));
        check("maybe", None);
        assert_eq!(should_retry(&HeaderMap::new()), None);
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<f64>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(retry_after(&headers), expected, "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "2")], Some(2.0));
        check(&[("retry-after", "1.5")], Some(1.5));
        check(
            &[("retry-after", "1"), ("retry-after-ms", "300")],
            Some(0.3),
        );
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "soon")], None);
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")],
            Some(30.0),
        );
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT")],
            Some(0.0),
        );
    }
}
