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
    /// Nobody: the request is at fault.
    Nobody,
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
    /// The deployment alone, at once: it has its own share of the provider's rate.
    Deployment,
    /// The endpoint; at once if it cannot be otherwise next time.
    Endpoint {
        at_once: bool,
    },
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        let endpoint = Blame::Endpoint { at_once: false };
        let (next, blame, again) = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::Cancelled => {
                (Next::Nobody, Blame::Nothing, false)
            }
            ErrorKind::TooLarge => (Next::Larger, Blame::Nothing, false),
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::QuotaExhausted => {
                (Next::OtherCredential, Blame::Credential, false)
            }
            ErrorKind::RateLimited => (Next::Other, Blame::Deployment, true),
            ErrorKind::NotFound => (Next::Other, Blame::Endpoint { at_once: true }, false),
            ErrorKind::Conflict => (Next::Other, Blame::Nothing, true),
            ErrorKind::Protocol => (Next::Other, endpoint, false),
            _ => (Next::Other, endpoint, true),
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
