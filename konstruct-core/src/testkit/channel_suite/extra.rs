//! What is not a message: progress, read receipts, files.

use bytes::Bytes;

use super::{ChannelSubject, Failure, Outcome, ensure, ensure_eq};
use crate::{
    ErrorKind,
    channel::Op,
    message::{Attachment, AttachmentKind},
};

/// The file that is stored at the provider.
const FILE: &[u8] = b"0123456789";

/// Checks an operation that is best effort: [`ErrorKind::Unsupported`] where the capabilities do not name it; otherwise only
/// refused credentials are an error.
async fn best_effort(subject: &ChannelSubject, can: bool, op: Op) -> Outcome {
    let done = subject.channel.perform(op.clone()).await;
    ensure!(
        (subject.displayed)().is_empty(),
        "it sends a message to show it"
    );
    if !can {
        let kind = done.as_ref().map_err(|error| error.kind()).err();
        ensure!(
            kind == Some(ErrorKind::Unsupported),
            "the capabilities do not name it, and it answers {done:?}"
        );
        return Ok(());
    }
    done?;
    for failure in [
        Failure::DroppedBefore,
        Failure::ServerError,
        Failure::Unreadable,
        Failure::RateLimited(std::time::Duration::from_secs(1)),
        // Last, because it may last.
        Failure::Unauthorized,
    ] {
        if !subject.fail(failure) {
            continue;
        }
        let done = subject.channel.perform(op.clone()).await;
        let kind = done.as_ref().map_err(|error| error.kind()).err();
        ensure!(
            kind.is_none()
                || (failure == Failure::Unauthorized && kind == Some(ErrorKind::Unauthorized)),
            "{failure:?}: it is best effort, and fails: {done:?}"
        );
    }
    Ok(())
}

pub(super) async fn progress_is_best_effort(subject: &ChannelSubject) -> Outcome {
    let can = subject.channel.capabilities().progress;
    let op = |message: Option<&str>| Op::Progress {
        to: subject.place.clone(),
        message: message.map(str::to_owned),
    };
    best_effort(subject, can, op(Some("m1"))).await?;
    if !can {
        best_effort(subject, can, op(None)).await?;
    }
    Ok(())
}

pub(super) async fn read_receipts_are_best_effort(subject: &ChannelSubject) -> Outcome {
    let can = subject.channel.capabilities().read_receipts;
    let (to, message) = (subject.place.clone(), "m1".to_owned());
    best_effort(subject, can, Op::MarkRead { to, message }).await
}

pub(super) async fn media_keep_to_the_limit(subject: &ChannelSubject) -> Outcome {
    let Some(put) = &subject.put_media else {
        return Ok(());
    };
    let announced = put(Bytes::from_static(FILE));
    let length = FILE.len() as u64;
    // The announced size may be missing, or wrong.
    for size in [announced.size, None, Some(length), Some(1)] {
        let file = Attachment {
            size,
            ..announced.clone()
        };
        let fetched = subject.channel.fetch_media(&file, length).await?;
        ensure_eq!(fetched, FILE, "the file");
        let fetched = subject.channel.fetch_media(&file, length - 1).await;
        let kind = fetched.as_ref().map_err(|error| error.kind()).err();
        ensure!(
            kind == Some(ErrorKind::TooLarge),
            "announced with {size:?} bytes, {length} bytes are fetched though the limit is {}: {fetched:?}",
            length - 1
        );
    }
    Ok(())
}

pub(super) async fn a_wrong_digest_is_refused(subject: &ChannelSubject) -> Outcome {
    let Some(put) = &subject.put_media else {
        return Ok(());
    };
    let mut file = put(Bytes::from_static(FILE));
    // Only a provider that announces digests has files to check.
    if file.sha256.is_some() {
        file.sha256 = Some("0".repeat(64));
        let fetched = subject.channel.fetch_media(&file, 1_000).await;
        ensure!(fetched.is_err(), "a wrong digest is not noticed");
    }
    Ok(())
}

pub(super) async fn unknown_media_are_an_error(subject: &ChannelSubject) -> Outcome {
    let file = Attachment {
        kind: AttachmentKind::Document,
        id: "suite-unknown".to_owned(),
        url: None,
        mime: None,
        name: None,
        size: None,
        sha256: None,
        unavailable: None,
    };
    let fetched = subject.channel.fetch_media(&file, 1_000).await;
    ensure!(fetched.is_err(), "it fetches {fetched:?}");
    Ok(())
}
