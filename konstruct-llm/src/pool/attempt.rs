//! One attempt: the request, and its events before and after the first content.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use konstruct_core::{
    Error, ErrorKind, Result,
    limit::Unmetered,
    llm::{BlockKind, CallContext, ModelEvent, ModelRequest, ModelStream, OnBreak},
};
use tokio::time::{Instant, timeout_at};

use super::{
    bill::Bill,
    deployment::{Candidate, Permits},
    verdict::Verdict,
};

/// When the caller's time runs out, a deployment that was silent for less than this is not blamed.
const MIN_SILENCE: Duration = Duration::from_secs(5);

/// The limit of block indexes: no answer has so many blocks, and the indexes of continuing attempts are added up.
const MAX_INDEX: u32 = 1 << 20;

/// An attempt whose stream is open.
pub(super) struct AttemptStream {
    pub(super) candidate: Arc<Candidate>,
    stream: ModelStream,
    bill: Bill,
    permits: Option<Permits>,
    total: Instant,
    /// When its last event arrived.
    last_event: Instant,
}

/// An attempt that has yielded its first content, or has already ended.
pub(super) struct Opened {
    /// The events up to its first content.
    pub(super) events: VecDeque<ModelEvent>,
    /// The rest; `None` if the last of the events is its finish.
    pub(super) rest: Option<AttemptStream>,
}

/// Makes an attempt and waits for its first content. Until then nothing was yielded to the caller, so another attempt can replace
/// it.
///
/// # Errors
/// The error of the attempt. It is already counted by the breakers, and the bill is settled.
pub(super) async fn open(
    candidate: Arc<Candidate>,
    (permits, mut bill): (Permits, Bill),
    (request, call): (ModelRequest, CallContext),
    total: Instant,
) -> Result<Opened> {
    let now = Instant::now();
    let within = candidate.deployment.first_content;
    let first = within.map_or(total, |within| total.min(now + within));
    let mut own = CallContext::new(
        call.tenant,
        bill.key(),
        total.saturating_duration_since(now),
    )
    .for_purpose(call.purpose)
    .on_break(OnBreak::Fail)
    // The pool already pays for this attempt.
    .with_budget(Arc::new(Unmetered));
    own.conversation = call.conversation;
    bill.sent();
    let begun = timeout_at(first, candidate.deployment.backend.stream(request, &own)).await;
    let stream = match begun.unwrap_or_else(|_| Err(timed_out("before it answered"))) {
        Ok(stream) => stream,
        Err(error) => {
            bill.failed(&error, false);
            blame(permits, &error, (now, total));
            return Err(error);
        }
    };
    let mut attempt = AttemptStream {
        candidate,
        stream,
        bill,
        permits: Some(permits),
        total,
        last_event: now,
    };
    let mut events = VecDeque::new();
    loop {
        let event = attempt.next(first).await?;
        match event {
            ModelEvent::Heartbeat => {}
            ModelEvent::Restart => events.clear(),
            ModelEvent::Finish(_) => {
                events.push_back(event);
                return Ok(Opened { events, rest: None });
            }
            event => {
                let content = is_content(&event);
                events.push_back(event);
                if content {
                    let rest = Some(attempt);
                    return Ok(Opened { events, rest });
                }
            }
        }
    }
}

impl AttemptStream {
    /// Returns the next event, within the idle time.
    ///
    /// # Errors
    /// The error that ended the attempt.
    pub(super) async fn follow(&mut self) -> Result<ModelEvent> {
        self.next(Instant::now() + self.candidate.deployment.idle)
            .await
    }

    async fn next(&mut self, until: Instant) -> Result<ModelEvent> {
        let next = timeout_at(until.min(self.total), self.stream.next()).await;
        let event = match next {
            Ok(Some(Ok(ModelEvent::BlockStart { index, .. }))) if index >= MAX_INDEX => {
                Err(Error::new(
                    ErrorKind::Protocol,
                    format!("the block index {index} is too large"),
                ))
            }
            Ok(Some(event)) => event,
            Ok(None) => Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a finish",
            )),
            Err(_) => Err(timed_out("in the middle of the answer")),
        };
        match event {
            Ok(event) => {
                self.last_event = Instant::now();
                self.bill.note(&event);
                if matches!(event, ModelEvent::Finish(_))
                    && let Some(permits) = self.permits.take()
                {
                    permits.succeed();
                }
                Ok(event)
            }
            Err(error) => {
                self.bill.failed(&error, true);
                if let Some(permits) = self.permits.take() {
                    blame(permits, &error, (self.last_event, self.total));
                }
                Err(error)
            }
        }
    }
}

/// Counts a failure against the responsible party; against none if the caller left too little time.
fn blame(permits: Permits, error: &Error, (last_event, total): (Instant, Instant)) {
    let now = Instant::now();
    let hurried = now >= total && now.duration_since(last_event) < MIN_SILENCE;
    if !(hurried && error.kind() == ErrorKind::Truncated) {
        permits.fail(now, &Verdict::of(error));
    }
}

/// Returns whether an event is visible content, or commits the model to a tool call.
fn is_content(event: &ModelEvent) -> bool {
    match event {
        ModelEvent::Text { delta, .. } | ModelEvent::Reasoning { delta, .. } => !delta.is_empty(),
        ModelEvent::ToolArguments { .. }
        | ModelEvent::Signature { .. }
        | ModelEvent::BlockStart {
            kind: BlockKind::ToolCall { .. },
            ..
        } => true,
        _ => false,
    }
}

fn timed_out(when: &str) -> Error {
    let message = format!("the model timed out {when}");
    Error::new(ErrorKind::Truncated, message)
}
