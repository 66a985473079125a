//! The error of a failed send says whether anything can have been delivered.

use std::time::Duration;

use tokio::time::timeout;

use super::{ChannelSubject, Failed, Failure, Outcome, ensure, ensure_eq};
use crate::{Error, ErrorKind, Outgoing};

/// The wait that the provider asks for.
const WAIT: Duration = Duration::from_secs(7);

/// The tolerated delay of a loaded machine.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Sends while the provider fails, and returns the error. `None` if the provider does not have the failure.
async fn failed_send(subject: &ChannelSubject, failure: Failure) -> Result<Option<Error>, Failed> {
    let before = (subject.displayed)().len();
    if !subject.fail(failure) {
        return Ok(None);
    }
    let sent = subject.send("trn_1.p0", Outgoing::markdown("w1w")).await;
    let delivered = (subject.displayed)().len() - before;
    let error = match sent {
        Ok(receipt) => {
            return Err(format!("{failure:?}: the send succeeds with {receipt:?}").into());
        }
        Err(error) => error,
    };
    ensure!(
        delivered <= 1,
        "{failure:?}: the message arrives {delivered} times"
    );
    ensure!(
        delivered == 0 || error.kind() == ErrorKind::Ambiguous,
        "{failure:?}: the error promises that nothing was done, and the message arrived: {error}"
    );
    Ok(Some(error))
}

/// Checks the kind of the error, and that nothing is delivered.
async fn refused_as(
    subject: &ChannelSubject,
    failure: Failure,
    kind: ErrorKind,
) -> Result<Option<Error>, Failed> {
    let error = failed_send(subject, failure).await?;
    if let Some(error) = &error {
        ensure_eq!(error.kind(), kind, "the error is {error}; its kind");
        ensure!((subject.displayed)().is_empty(), "it is delivered");
    }
    Ok(error)
}

pub(super) async fn a_refusal_delivers_nothing(subject: &ChannelSubject) -> Outcome {
    let Some(error) = failed_send(subject, Failure::Refused).await? else {
        return Ok(());
    };
    ensure!((subject.displayed)().is_empty(), "it is delivered");
    let open = error.is_transient() || error.kind() == ErrorKind::Ambiguous;
    ensure!(!open, "a refusal for good is {error}");
    ensure!(
        error.kind() != ErrorKind::Unauthorized,
        "a refused message counts as refused credentials"
    );
    Ok(())
}

pub(super) async fn refused_credentials_are_unauthorized(subject: &ChannelSubject) -> Outcome {
    refused_as(subject, Failure::Unauthorized, ErrorKind::Unauthorized).await?;
    Ok(())
}

pub(super) async fn a_refused_place_is_forbidden(subject: &ChannelSubject) -> Outcome {
    refused_as(subject, Failure::Forbidden, ErrorKind::Forbidden).await?;
    Ok(())
}

pub(super) async fn a_rate_limit_carries_its_wait(subject: &ChannelSubject) -> Outcome {
    let failure = Failure::RateLimited(WAIT);
    if let Some(error) = refused_as(subject, failure, ErrorKind::RateLimited).await? {
        ensure_eq!(error.retry_after(), Some(WAIT), "its wait");
    }
    Ok(())
}

pub(super) async fn a_broken_connection_is_not_a_refusal(subject: &ChannelSubject) -> Outcome {
    if let Some(error) = failed_send(subject, Failure::DroppedBefore).await? {
        ensure!(
            matches!(error.kind(), ErrorKind::Ambiguous | ErrorKind::Unavailable),
            "the provider did not refuse it, and the error is {error}"
        );
        ensure!((subject.displayed)().is_empty(), "it is repeated");
    }
    Ok(())
}

pub(super) async fn a_lost_answer_is_ambiguous(subject: &ChannelSubject) -> Outcome {
    for failure in [
        Failure::DroppedAfter,
        Failure::ServerError,
        Failure::Unreadable,
    ] {
        if let Some(error) = failed_send(subject, failure).await? {
            ensure_eq!(
                error.kind(),
                ErrorKind::Ambiguous,
                "{failure:?}: the kind of the error"
            );
        }
    }
    Ok(())
}

pub(super) async fn silence_ends_in_time(subject: &ChannelSubject) -> Outcome {
    let sending = failed_send(subject, Failure::Silent);
    if let Some(error) = in_time(subject, sending).await?? {
        ensure_eq!(error.kind(), ErrorKind::Ambiguous, "the kind of the error");
    }
    Ok(())
}

/// Waits for something that may take no longer than a request.
pub(super) async fn in_time<T>(
    subject: &ChannelSubject,
    request: impl Future<Output = T>,
) -> Result<T, Failed> {
    let limit = subject.channel.capabilities().request_timeout + TOLERANCE;
    let done = timeout(limit, request).await;
    done.map_err(|_| format!("the request is not given up after {limit:?}").into())
}
