//! RFC 9457 problem details: the format of every error of the admin API.

use std::time::Duration;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use konstruct_admin_api::ProblemDetails;
use konstruct_core::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;

/// An error response of the admin API.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    title: String,
    detail: String,
    field: Option<String>,
    retry_after: Option<u64>,
    /// The current value of the resource, and the given one.
    values: Option<Box<[Option<Value>; 2]>>,
}

impl Problem {
    /// Creates a problem whose detail is shown to the client.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self {
            status,
            title,
            detail: detail.into(),
            field: None,
            retry_after: None,
            values: None,
        }
    }

    /// Sets when the request may be sent again.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        Self {
            // Rounded up: a client that waits as long is not refused again.
            retry_after: Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            ..self
        }
    }

    /// Adds the current value of a resource and the given one.
    pub(crate) fn with_values(self, current: &impl Serialize, given: &impl Serialize) -> Self {
        let value = |value: serde_json::Result<Value>| value.ok().filter(|it| !it.is_null());
        let values = [serde_json::to_value(current), serde_json::to_value(given)];
        Self {
            values: Some(Box::new(values.map(value))),
            ..self
        }
    }

    /// Creates the refusal of a request that exceeds a rate limit.
    pub(crate) fn too_many(retry_after: Duration) -> Self {
        let detail = "too many requests; try again after the time in Retry-After";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        problem.with_retry_after(retry_after.max(Duration::from_secs(1)))
    }

    /// Creates a problem with one field of the input.
    pub(crate) fn field(field: &str, problem: &str) -> Self {
        Error::invalid(field, problem).into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::RateLimited | ErrorKind::QuotaExhausted => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if error.kind() == ErrorKind::Unsupported {
            return Self::new(status, error.message());
        }
        if status.is_server_error() {
            // Internal errors are only logged.
            tracing::error!(%error, "a request failed");
            return Self::new(
                status,
                "the server failed to process the request; see its log",
            );
        }
        let ours = matches!(
            error.kind(),
            ErrorKind::InvalidInput
                | ErrorKind::NotFound
                | ErrorKind::Conflict
                | ErrorKind::TooLarge
        );
        let mut problem = if ours {
            Self::new(status, error.message())
        } else {
            // The message may come from a provider and repeat the request's content.
            tracing::warn!(%error, "a request was rejected");
            Self::new(status, "the request was rejected; see the server's log")
        };
        problem.retry_after = error.retry_after().map(|wait| wait.as_secs().max(1));
        problem.field = error.field().map(str::to_owned);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let [current, given] = self.values.map_or([None, None], |values| *values);
        let details = ProblemDetails {
            kind: "about:blank".into(),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            field: self.field,
            current,
            given,
        };
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
