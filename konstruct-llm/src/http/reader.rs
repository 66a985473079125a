//! Reads a response: bytes from the network, events from the decoder, exactly one ending.

use std::{collections::VecDeque, time::Duration};

use konstruct_core::{Error, ErrorKind, Result, http::Response, llm::ModelEvent};
use tokio::time::{Instant, timeout_at};

use super::timed_out;
use crate::codec::{Decoder, Wire};

/// The maximum size of one stream, in bytes. OpenAI sends about 400 bytes per token, and no answer has half a million tokens.
const STREAM: usize = 256 << 20;

/// The state of reading a response.
pub(super) struct Reader<W: Wire> {
    pub(super) response: Response,
    pub(super) decoder: Decoder<W>,
    pub(super) ready: VecDeque<Result<ModelEvent>>,
    /// The origin to record in signatures of reasoning.
    pub(super) origin: Option<String>,
    pub(super) first: Instant,
    pub(super) total: Instant,
    pub(super) idle: Duration,
    pub(super) bytes: usize,
    pub(super) content: bool,
    pub(super) ended: bool,
}

impl<W: Wire> Reader<W> {
    pub(super) async fn next(mut self) -> Option<(Result<ModelEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended = matches!(event, Err(_) | Ok(ModelEvent::Finish(_)));
                self.content |= event.as_ref().is_ok_and(is_content);
                let event = event.map(|event| signed(event, &self.origin));
                return Some((event, self));
            }
            if self.ended {
                return None;
            }
            let idle = Instant::now() + self.idle;
            let deadline = if self.content {
                idle.min(self.total)
            } else {
                self.first
            };
            match timeout_at(deadline, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.take(&bytes),
                Ok(Ok(None)) => self.ready.extend(self.decoder.finish()),
                Ok(Err(error)) => self.ready.push_back(Err(error)),
                Err(_) => self
                    .ready
                    .push_back(Err(timed_out("in the middle of the response"))),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        if self.bytes > STREAM {
            let message = format!("the stream is larger than {STREAM} bytes");
            self.ready
                .push_back(Err(Error::new(ErrorKind::TooLarge, message)));
            return;
        }
        self.decoder.feed(bytes, &mut self.ready);
    }
}

fn is_content(event: &ModelEvent) -> bool {
    matches!(
        event,
        ModelEvent::Text { .. } | ModelEvent::Reasoning { .. } | ModelEvent::ToolArguments { .. }
    )
}

/// Records the origin of a signature.
pub(super) fn signed(mut event: ModelEvent, by: &Option<String>) -> ModelEvent {
    if let ModelEvent::Signature { origin, .. } = &mut event {
        origin.clone_from(by);
    }
    event
}
