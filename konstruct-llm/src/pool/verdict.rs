//! What an error of an attempt means for the next one.

use std::time::Duration;

use konstruct_core::{Error, ErrorKind};

/// What may be tried next, and what is to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) next: Next,
    pub(super) blame: Blame,
    /// Whether the same deployment may be tried again, after a wait.
    pub(super) again: bool,
    pub(super) wait: Option<Duration>,
}

/// Who may be tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody: the caller gave up.
    Nobody,
    /// One more provider: when it refuses the request as well, the request is at fault.
    OtherProvider,
    /// Only a model with a larger context window.
    Larger,
    /// Only a deployment with another credential.
    OtherCredential,
    /// Any other.
    Other,
}

/// What a failure is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Nothing,
    /// The credential, at once.
    Credential,
    /// Only the deployment, at once: it has its own share of the provider's rate, or names a model that the provider does not know.
    Deployment,
    /// The endpoint, after several failures in a row.
    Endpoint,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        let (next, blame, again) = match error.kind() {
            // Some providers answer so to an empty balance, others to what only they cannot do.
            ErrorKind::InvalidInput | ErrorKind::Unsupported => {
                (Next::OtherProvider, Blame::Nothing, false)
            }
            ErrorKind::Cancelled => (Next::Nobody, Blame::Nothing, false),
            ErrorKind::TooLarge => (Next::Larger, Blame::Nothing, false),
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::QuotaExhausted => {
                (Next::OtherCredential, Blame::Credential, false)
            }
            ErrorKind::RateLimited => (Next::Other, Blame::Deployment, true),
            ErrorKind::NotFound => (Next::Other, Blame::Deployment, false),
            ErrorKind::Conflict => (Next::Other, Blame::Nothing, true),
            ErrorKind::Protocol => (Next::Other, Blame::Endpoint, false),
            _ => (Next::Other, Blame::Endpoint, true),
        };
        let quota = error.kind() == ErrorKind::QuotaExhausted;
        Self {
            next,
            blame,
            again: error.should_retry().unwrap_or(again) && !quota,
            wait: error.retry_after(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_has_the_last_word_but_not_about_a_quota() {
        let check = |kind, told: Option<bool>, again| {
            let mut error = Error::new(kind, "");
            if let Some(told) = told {
                error = error.with_should_retry(told);
            }
            assert_eq!(Verdict::of(&error).again, again, "{kind} {told:?}");
        };
        check(ErrorKind::Unavailable, None, true);
        check(ErrorKind::Unavailable, Some(false), false);
        check(ErrorKind::InvalidInput, None, false);
        check(ErrorKind::InvalidInput, Some(true), true);
        check(ErrorKind::QuotaExhausted, Some(true), false);
    }
}
