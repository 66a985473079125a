//! One attempt: the request, and its events up to the first content and beyond.

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

/// Who was silent for less when the caller's time was up, is not to blame for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest index of a block: no answer has so many, and those of attempts that go on are added up.
const INDEX: u32 = 1 << 20;

/// An attempt whose stream is open.
pub(super) struct AttemptStream {
    pub(super) candidate: Arc<Candidate>,
    stream: ModelStream,
    bill: Bill,
    permits: Option<Permits>,
    total: Instant,
    /// When it last said something.
    heard: Instant,
}

/// An attempt that has begun to say something, or is already over.
pub(super) struct Opened {
    /// What it said up to its first content.
    pub(super) events: VecDeque<ModelEvent>,
    /// The rest; `None` when the last of the events is its finish.
    pub(super) rest: Option<AttemptStream>,
}

/// Makes an attempt, and waits for its first content. Until then nothing has been promised to anybody.
///
/// # Errors
/// What went wrong. The breakers know of it, and the bill is settled.
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
    // This attempt is paid for here.
    .with_budget(Arc::new(Unmetered));
    own.conversation = call.conversation;
    bill.sent();
    let begun = timeout_at(first, candidate.deployment.backend.stream(request, &own)).await;
    let stream = match begun.unwrap_or_else(|_| Err(silent("before it answered"))) {
        Ok(stream) => stream,
        Err(error) => {
            bill.failed(&error, false);
            blame(permits, &error, (now, total));
            return Err(error);
        }
    };
    let mut live = AttemptStream {
        candidate,
        stream,
        bill,
        permits: Some(permits),
        total,
        heard: now,
    };
    let mut events = VecDeque::new();
    loop {
        let event = live.next(first).await?;
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
                    let rest = Some(live);
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
    /// What went wrong; the attempt is over then.
    pub(super) async fn follow(&mut self) -> Result<ModelEvent> {
        self.next(Instant::now() + self.candidate.deployment.idle)
            .await
    }

    async fn next(&mut self, until: Instant) -> Result<ModelEvent> {
        let next = timeout_at(until.min(self.total), self.stream.next()).await;
        let event = match next {
            Ok(Some(Ok(ModelEvent::BlockStart { index, .. }))) if index >= INDEX => {
                Err(Error::new(
                    ErrorKind::Protocol,
                    format!("a block has the index {index}"),
                ))
            }
            Ok(Some(event)) => event,
            Ok(None) => Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a finish",
            )),
            Err(_) => Err(silent("in mid-answer")),
        };
        match event {
            Ok(event) => {
                self.heard = Instant::now();
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
                    blame(permits, &error, (self.heard, self.total));
                }
                Err(error)
            }
        }
    }
}

/// Counts a failure against whom it is the fault of; against nobody, where the caller had no time to wait.
fn blame(permits: Permits, error: &Error, (heard, total): (Instant, Instant)) {
    let now = Instant::now();
    let hurried = now >= total && now.duration_since(heard) < PATIENCE;
    if !(hurried && error.kind() == ErrorKind::Truncated) {
        permits.fail(now, &Verdict::of(error));
    }
}

/// Returns whether an event is something that a person could be shown, or that commits the model to an act.
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

fn silent(when: &str) -> Error {
    let message = format!("the model fell silent {when}");
    Error::new(ErrorKind::Truncated, message)
}
