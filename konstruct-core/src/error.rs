//! The error type of Konstruct.

use std::{error::Error as StdError, fmt, time::Duration};

/// A result with Konstruct's [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, which tells a caller how to react.
///
/// ```
/// use konstruct_core::{Employee, ErrorKind};
///
/// let error = Employee::builder("").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.field(), Some("name"));
/// assert!(!error.is_transient(), "repeating it cannot help");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is invalid; the message names the field. Repeating the request does not help.
    InvalidInput,
    /// The credentials are missing, wrong, expired or revoked.
    Unauthorized,
    /// The credentials are valid but do not permit the request.
    Forbidden,
    /// The resource does not exist, or belongs to another tenant. The two cannot be told apart.
    NotFound,
    /// The request conflicts with existing data.
    Conflict,
    /// Too many requests. `retry_after` is the time to wait, if known.
    RateLimited,
    /// A quota or balance is used up. A short wait does not help.
    QuotaExhausted,
    /// The remote side was not reached, or refused the request without performing it.
    Unavailable,
    /// The request may or may not have been carried out.
    Ambiguous,
    /// A stream ended before its terminal event, or stalled.
    Truncated,
    /// The remote side violated its protocol.
    Protocol,
    /// A limit on size was exceeded.
    TooLarge,
    /// The backend does not support the operation.
    Unsupported,
    /// The caller cancelled the request.
    Cancelled,
    /// Stored data cannot be read.
    Corrupt,
    /// A defect of this program or its store.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidInput => "invalid input",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate limited",
            Self::QuotaExhausted => "quota exhausted",
            Self::Unavailable => "unavailable",
            Self::Ambiguous => "outcome unknown",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol violation",
            Self::TooLarge => "too large",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt data",
            Self::Internal => "internal error",
        };
        f.write_str(text)
    }
}

/// An error with a kind for the program, a message for the operator, and a source.
///
/// The message never contains a secret, a header or the text of a person's message.
///
/// ```
/// use konstruct_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::InvalidInput, "name: must not be empty");
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert!(!error.is_transient());
/// assert_eq!(error.to_string(), "invalid input: name: must not be empty");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    field: Option<Box<str>>,
    retry_after: Option<Duration>,
    should_retry: Option<bool>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of a kind, with a message for the operator.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            retry_after: None,
            should_retry: None,
            source: None,
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the input field that the error is about, as a path such as `hours.open[0].to`.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Sets how long to wait before a retry.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets whether the remote side wants the request to be repeated. This takes precedence over the kind.
    #[must_use]
    pub fn with_should_retry(mut self, repeat: bool) -> Self {
        self.should_retry = Some(repeat);
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the message for the operator, without the kind.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the input field that the error is about, if there is one.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns how long the remote side asks to wait, if known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the remote side wants the request to be repeated, if known.
    pub fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }

    /// Returns whether the request had no effect and may succeed later.
    ///
    /// An [`ErrorKind::Ambiguous`] error is not transient: find out what happened before repeating the request.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::RateLimited | ErrorKind::Unavailable)
    }
}

impl Error {
    /// Creates an [`ErrorKind::InvalidInput`] error about a field. The message starts with the field's name.
    ///
    /// ```
    /// use konstruct_core::Error;
    ///
    /// let error = Error::invalid("hours.open[0].to", "must be later than `from`");
    /// assert_eq!(error.field(), Some("hours.open[0].to"));
    /// assert_eq!(error.message(), "hours.open[0].to: must be later than `from`");
    /// ```
    pub fn invalid(field: &str, problem: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidInput, format!("{field}: {problem}")).with_field(field)
    }

    /// Creates an [`ErrorKind::NotFound`] error. It does not reveal whether the resource exists for another tenant.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("no such {what}"))
    }

    /// Creates an [`ErrorKind::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}
