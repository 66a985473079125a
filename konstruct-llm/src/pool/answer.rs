//! An answer that has started: its events, and recovery when the provider breaks off.

use std::{collections::VecDeque, sync::Arc};

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{BlockKind, CallContext, ModelEvent, ModelMessage, ModelRequest, OnBreak, Role},
};
use tokio::time::Instant;

use super::{
    Inner,
    attempt::{AttemptStream, Opened},
    route::Route,
    verdict::{Next, Verdict},
};

/// The instruction for a model that continues an answer.
const CONTINUE: &str = "(Your message above was cut off. Go on exactly where it stopped: do not repeat anything of it, and do not \
                     mention that it was cut off.)";

/// The stream of a call across all its attempts.
pub(super) struct AnswerStream {
    inner: Arc<Inner>,
    request: ModelRequest,
    /// The number of messages in the caller's request.
    asked: usize,
    call: CallContext,
    route: Route,
    total: Instant,
    /// Events that precede those of the attempt.
    before: VecDeque<ModelEvent>,
    ready: VecDeque<ModelEvent>,
    attempt: Option<AttemptStream>,
    shown: Shown,
    over: bool,
}

/// What was yielded so far.
#[derive(Debug, Default)]
struct Shown {
    began: bool,
    text: String,
    /// Blocks that have started and not ended.
    open: Vec<u32>,
    called: bool,
    /// The offset added to the block indexes of an attempt that continues the answer.
    base: u32,
    next: u32,
    /// Whether the answer is being continued; the continuing attempt's own start event is dropped then.
    continued: bool,
}

impl AnswerStream {
    pub(super) fn new(
        inner: Arc<Inner>,
        (request, call): (ModelRequest, CallContext),
        (route, total): (Route, Instant),
        opened: Opened,
    ) -> Self {
        Self {
            inner,
            asked: request.messages.len(),
            request,
            call,
            route,
            total,
            before: VecDeque::new(),
            ready: opened.events,
            attempt: opened.rest,
            shown: Shown::default(),
            over: false,
        }
    }

    /// Returns the next event; `None` after the last.
    pub(super) async fn next(mut self) -> Option<(Result<ModelEvent>, Self)> {
        if self.over {
            return None;
        }
        let event = loop {
            if let Some(event) = self.before.pop_front() {
                break Ok(event);
            }
            let event = match self.ready.pop_front() {
                Some(event) => Ok(event),
                None => self.follow().await,
            };
            match event {
                Ok(event) => {
                    if let Some(event) = self.shown.show(event) {
                        break Ok(event);
                    }
                }
                Err(error) => match self.recover(error).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
            }
        };
        self.over = matches!(event, Err(_) | Ok(ModelEvent::Finish(_)));
        if self.over {
            // The attempt is settled before the caller sees the end.
            self.attempt = None;
        }
        Some((event, self))
    }

    async fn follow(&mut self) -> Result<ModelEvent> {
        let Some(attempt) = &mut self.attempt else {
            return Err(Error::internal("an answer was read after its end"));
        };
        let event = attempt.follow().await?;
        if matches!(event, ModelEvent::Restart) && self.call.on_break != OnBreak::Restart {
            return Err(Error::new(
                ErrorKind::Truncated,
                "the provider restarted its answer",
            ));
        }
        Ok(event)
    }

    /// Finds another provider for an answer that broke off, if the call's policy allows it.
    async fn recover(&mut self, error: Error) -> Result<()> {
        // Dropping the attempt settles its bill.
        let Some(attempt) = self.attempt.take() else {
            return Err(error);
        };
        let candidate = Arc::clone(&attempt.candidate);
        drop(attempt);
        if Verdict::of(&error).next == Next::Nobody {
            return Err(error);
        }
        match self.call.on_break {
            OnBreak::Restart => {
                self.shown = Shown::default();
                self.before.push_back(ModelEvent::Restart);
            }
            OnBreak::Continue if !self.shown.called => {
                self.before.extend(self.shown.end_open());
                let mut messages = Vec::new();
                if !self.shown.text.is_empty() {
                    let text = self.shown.text.clone();
                    messages.push(ModelMessage::text(Role::Assistant, text));
                    messages.push(ModelMessage::text(Role::User, CONTINUE));
                }
                if !self.request.context.is_empty() || !self.request.passages.is_empty() {
                    // Otherwise they would follow the messages added here.
                    self.request = std::mem::take(&mut self.request).told();
                    self.asked = self.request.messages.len();
                }
                self.request.messages.truncate(self.asked);
                self.request.messages.extend(messages);
            }
            _ => return Err(error),
        }
        tracing::warn!(%error, deployment = candidate.deployment.name, "an answer broke off; trying another deployment");
        self.route
            .failed_later(&candidate, error, Instant::now(), self.inner.chance());
        let asked = (&self.request, &self.call);
        let opened = self.inner.open(&mut self.route, asked, self.total).await?;
        self.ready = opened.events;
        self.attempt = opened.rest;
        Ok(())
    }
}

impl Shown {
    /// Records an event and adapts it to the whole answer; returns `None` if it must not be yielded.
    fn show(&mut self, mut event: ModelEvent) -> Option<ModelEvent> {
        match &mut event {
            ModelEvent::Start { .. } if self.continued && self.began => return None,
            ModelEvent::Start { .. } => self.began = true,
            ModelEvent::BlockStart { index, kind } => {
                *index = index.saturating_add(self.base);
                self.next = self.next.max(index.saturating_add(1));
                self.open.push(*index);
                self.called |= matches!(kind, BlockKind::ToolCall { .. });
            }
            ModelEvent::BlockEnd { index } => {
                *index = index.saturating_add(self.base);
                self.open.retain(|open| open != index);
            }
            ModelEvent::Text { index, delta } => {
                *index = index.saturating_add(self.base);
                self.text.push_str(delta);
            }
            ModelEvent::Reasoning { index, .. }
            | ModelEvent::Signature { index, .. }
            | ModelEvent::ToolArguments { index, .. } => {
                *index = index.saturating_add(self.base);
            }
            ModelEvent::Restart => *self = Self::default(),
            ModelEvent::Usage(_) | ModelEvent::Heartbeat | ModelEvent::Finish(_) => {}
            _ => {}
        }
        Some(event)
    }

    /// Ends the open blocks. Later events get new indexes.
    fn end_open(&mut self) -> Vec<ModelEvent> {
        self.base = self.next;
        self.continued = true;
        let open = self.open.drain(..);
        open.map(|index| ModelEvent::BlockEnd { index }).collect()
    }
}
