//! The one error of Konstruct.

use std::{error::Error as StdError, fmt, time::Duration};

/// Shorthand for a result with Konstruct's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input is wrong; the message names the field. Repeating it cannot help.
    InvalidInput,
    /// The credentials are missing, wrong, expired or revoked.
    Unauthorized,
    /// The credentials are right and do not allow this.
    Forbidden,
    /// It does not exist, or belongs to another tenant: the two look the same.
    NotFound,
    /// It clashes with what exists already.
    Conflict,
    /// Too many requests; `retry_after` says when to come back, if it is known.
    RateLimited,
    /// A quota or a balance is used up: waiting a little will not help.
    QuotaExhausted,
    /// The other side was not reached, or refused without doing anything.
    Unavailable,
    /// The request may or may not have been carried out.
    Ambiguous,
    /// A stream ended before its terminal event, or stalled.
    Truncated,
    /// The other side said something that its protocol does not allow.
    Protocol,
    /// A limit on size was exceeded.
    TooLarge,
    /// The operation is not one that this backend can do.
    Unsupported,
    /// The caller gave up.
    Cancelled,
    /// Stored data cannot be read back.
    Corrupt,
    /// A fault of this program or of its store.
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

/// An error with a kind to act on, a message for the operator, and the cause as its source.
///
/// The message never holds a secret, a header or the text of a person's message.
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

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names the field of the input that the error is about, as a path such as `hours.open[0].to`.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says how long to wait before the next try.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says whether the other side wants the request repeated, whatever the kind: it knows better than a status.
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

    /// Returns the field of the input that the error is about, if it is about one.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns how long the other side asks to wait, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the other side wants the request repeated, if it said so.
    pub fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }

    /// Returns whether the same request, which did nothing, may succeed later.
    ///
    /// An [`ErrorKind::Ambiguous`] error is not transient: ask what happened before repeating.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::RateLimited | ErrorKind::Unavailable)
    }
}

impl Error {
    /// An [`ErrorKind::InvalidInput`] error about a field; its message begins with the field's name.
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

    /// An [`ErrorKind::NotFound`] error for a kind of thing; it never tells whose it is.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("no such {what}"))
    }

    /// An [`ErrorKind::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}
