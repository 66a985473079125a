//! `find` does what the capabilities say, and its "no" can be relied on.

use super::{
    ChannelSubject, Failure, Outcome, ensure, ensure_eq, failure::in_time, send::receipt_names,
};
use crate::{
    Clock as _, ErrorKind, Outgoing, Result, SystemClock, Timestamp,
    channel::{Find, FindQuery, Receipt},
};

fn is_asked(subject: &ChannelSubject) -> bool {
    subject.channel.capabilities().find == Find::Query
}

async fn find(subject: &ChannelSubject, key: &str, since: Timestamp) -> Result<Option<Receipt>> {
    let (to, key) = (subject.place.clone(), key.to_owned());
    let query = FindQuery { to, key, since };
    subject.channel.find(query).await
}

pub(super) async fn find_agrees_with_its_capability(subject: &ChannelSubject) -> Outcome {
    let found = find(subject, "trn_1.p0", SystemClock.now()).await;
    if is_asked(subject) {
        ensure_eq!(found?, None, "what was never sent");
        return Ok(());
    }
    let kind = found.as_ref().map_err(|error| error.kind()).err();
    ensure!(
        kind == Some(ErrorKind::Unsupported),
        "its capability is not `Find::Query`, and it answers {found:?}"
    );
    Ok(())
}

pub(super) async fn what_arrived_is_found(subject: &ChannelSubject) -> Outcome {
    if !is_asked(subject) {
        return Ok(());
    }
    let since = SystemClock.now();
    let mut receipts = Vec::new();
    for n in 1..=3 {
        let key = format!("trn_{n}.p0");
        let outgoing = Outgoing::markdown(format!("w{n}w"));
        receipts.push((subject.send(&key, outgoing).await?, key));
    }
    for (receipt, key) in receipts {
        let found = find(subject, &key, since).await?;
        ensure_eq!(found, Some(receipt), "what is found of {key}");
    }
    // Neither the key's beginning nor a key that begins with it.
    for key in ["trn_1.p", "trn_1.p00", "trn_4.p0"] {
        ensure_eq!(find(subject, key, since).await?, None, "the unsent {key}");
    }
    Ok(())
}

pub(super) async fn a_send_without_an_answer_is_found(subject: &ChannelSubject) -> Outcome {
    if !is_asked(subject) {
        return Ok(());
    }
    let since = SystemClock.now();
    for (failure, key) in [
        (Failure::DroppedBefore, "trn_1.p0"),
        (Failure::DroppedAfter, "trn_2.p0"),
    ] {
        if !subject.fail(failure) {
            continue;
        }
        let sent = subject.send(key, Outgoing::markdown("w1w")).await;
        ensure!(sent.is_err(), "{failure:?}: the send succeeds");
        let (found, displayed) = (find(subject, key, since).await?, (subject.displayed)());
        let displayed = displayed
            .last()
            .filter(|_| failure == Failure::DroppedAfter);
        match (&found, displayed) {
            (Some(receipt), Some(displayed)) => receipt_names(receipt, displayed)?,
            (None, None) => {}
            _ => return Err(format!("{failure:?}: it finds {found:?}").into()),
        }
    }
    Ok(())
}

pub(super) async fn a_failed_lookup_is_an_error(subject: &ChannelSubject) -> Outcome {
    if !is_asked(subject) {
        return Ok(());
    }
    let since = SystemClock.now();
    for failure in [
        Failure::DroppedBefore,
        Failure::DroppedAfter,
        Failure::ServerError,
        Failure::Unreadable,
        Failure::RateLimited(std::time::Duration::from_secs(1)),
        // Last, because it may last.
        Failure::Unauthorized,
    ] {
        if subject.fail(failure) {
            let found = find(subject, "trn_1.p0", since).await;
            ensure!(
                found.is_err(),
                "{failure:?}: a failed lookup is answered with {found:?}"
            );
        }
    }
    Ok(())
}

pub(super) async fn a_silent_lookup_ends_in_time(subject: &ChannelSubject) -> Outcome {
    if !is_asked(subject) || !subject.fail(Failure::Silent) {
        return Ok(());
    }
    let asking = find(subject, "trn_1.p0", SystemClock.now());
    let found = in_time(subject, asking).await?;
    ensure!(
        found.is_err(),
        "a lookup without an answer is answered with {found:?}"
    );
    Ok(())
}
