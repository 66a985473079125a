//! An answer that has begun: its events, and what happens when the provider breaks off.

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

/// What the next model is told where an answer goes on.
const GO_ON: &str = "(Your message above was cut off. Go on exactly where it stopped: do not repeat anything of it, and do not \
                     mention that it was cut off.)";

/// The stream of a call, over all its attempts.
pub(super) struct AnswerStream {
    inner: Arc<Inner>,
    request: ModelRequest,
    /// How many messages the caller's request has.
    asked: usize,
    call: CallContext,
    route: Route,
    total: Instant,
    /// What is yielded before the attempt's own events.
    before: VecDeque<ModelEvent>,
    ready: VecDeque<ModelEvent>,
    live: Option<AttemptStream>,
    shown: Shown,
    over: bool,
}

/// What was yielded so far.
#[derive(Debug, Default)]
struct Shown {
    began: bool,
    text: String,
    /// Blocks that have begun and not ended.
    open: Vec<u32>,
    called: bool,
    /// What is added to the indexes of an attempt that goes on with the answer.
    base: u32,
    next: u32,
    /// Whether the answer is gone on with: the attempt's own start is not the answer's.
    goes_on: bool,
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
            live: opened.rest,
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
            // Settled before the caller hears of the end.
            self.live = None;
        }
        Some((event, self))
    }

    async fn follow(&mut self) -> Result<ModelEvent> {
        let Some(live) = &mut self.live else {
            return Err(Error::internal("an answer that is over goes on"));
        };
        let event = live.follow().await?;
        if matches!(event, ModelEvent::Restart) && self.call.on_break != OnBreak::Restart {
            return Err(Error::new(
                ErrorKind::Truncated,
                "the provider began its answer anew",
            ));
        }
        Ok(event)
    }

    /// Finds another provider for an answer that broke off, as the call's policy allows.
    async fn recover(&mut self, error: Error) -> Result<()> {
        // Its bill is settled here.
        let Some(live) = self.live.take() else {
            return Err(error);
        };
        let candidate = Arc::clone(&live.candidate);
        drop(live);
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
                    messages.push(ModelMessage::text(Role::User, GO_ON));
                }
                if !self.request.context.is_empty() || !self.request.passages.is_empty() {
                    // Else they would stand behind what is added here.
                    self.request = std::mem::take(&mut self.request).told();
                    self.asked = self.request.messages.len();
                }
                self.request.messages.truncate(self.asked);
                self.request.messages.extend(messages);
            }
            _ => return Err(error),
        }
        tracing::warn!(%error, deployment = candidate.deployment.name, "an answer broke off, and is taken up elsewhere");
        self.route
            .failed_at(&candidate, error, Instant::now(), self.inner.chance());
        let asked = (&self.request, &self.call);
        let opened = self.inner.open(&mut self.route, asked, self.total).await?;
        self.ready = opened.events;
        self.live = opened.rest;
        Ok(())
    }
}

impl Shown {
    /// Takes note of an event, and makes it one of the whole answer; `None` where it is none.
    fn show(&mut self, mut event: ModelEvent) -> Option<ModelEvent> {
        match &mut event {
            ModelEvent::Start { .. } if self.goes_on && self.began => return None,
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

    /// Ends the open blocks. What comes then has indexes of its own.
    fn end_open(&mut self) -> Vec<ModelEvent> {
        self.base = self.next;
        self.goes_on = true;
        let open = self.open.drain(..);
        open.map(|index| ModelEvent::BlockEnd { index }).collect()
    }
}
