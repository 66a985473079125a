//! Classifies the error of an attempt.

use std::time::Duration;

use konstruct_core::{Error, ErrorKind};

/// What may be tried next, and what the failure is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) next: Next,
    pub(super) blame: Blame,
    /// Whether the same deployment may be tried again, after a wait.
    pub(super) again: bool,
    pub(super) wait: Option<Duration>,
}

/// What may be tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the caller gave up.
    Nobody,
    /// One more provider; if it also rejects the request, the request is at fault.
    OtherProvider,
    /// Only a model with a larger context window.
    Larger,
    /// Only a deployment with another credential.
    OtherCredential,
    /// Any other deployment.
    Other,
}

/// The breaker that counts the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Nothing,
    /// The credential's, which opens at once.
    Credential,
    /// The deployment's, which opens at once: it has its own rate limit, or names a model that the provider does not know.
    Deployment,
    /// The endpoint's, which opens after several consecutive failures.
    Endpoint,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        let (next, blame, again) = match error.kind() {
            // Some providers return these for an empty balance, others for a request that only they cannot handle.
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
    fn should_retry_overrides_the_verdict_except_for_a_quota() {
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
