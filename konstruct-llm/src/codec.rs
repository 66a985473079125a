//! What the codecs of all wire formats share: frames in, events out, exactly one ending.

use std::{fmt, ops::ControlFlow};

use konstruct_core::{Error, ErrorKind, Result, llm::ModelEvent};
use serde::Deserialize;

use crate::text_filter::{TextFilter, Tools};

/// Splits a provider's bytes into frames. The frames do not depend on how the bytes are split.
pub trait Frame: fmt::Debug + Default + Send {
    /// Accepts bytes and calls `each` with every completed frame, until `each` breaks.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if a frame exceeds the limit.
    fn push(&mut self, bytes: &[u8], each: impl FnMut(&str) -> ControlFlow<()>) -> Result<()>;

    /// Returns the unterminated frame at the end of the bytes, if there is one.
    fn rest(&mut self) -> Option<String>;
}

/// Translates the frames of one wire format.
pub trait Wire: fmt::Debug + Default + Send + 'static {
    /// How its bytes are split into frames.
    type Frame: Frame;

    /// Translates a frame. A [`ModelEvent::Finish`] or an error is the last result.
    ///
    /// # Errors
    /// The error that the provider reports; [`ErrorKind::Protocol`] if it violates its own protocol.
    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()>;

    /// Returns whether an unterminated last frame is complete, and terminates an answer.
    fn is_terminal(frame: &str) -> bool;

    /// Handles the end of the bytes without the terminal frame: completes an answer that has already given its finish reason, and
    /// does nothing otherwise.
    ///
    /// # Errors
    /// Those of [`Wire::frame`].
    fn end(&mut self, _events: &mut Vec<ModelEvent>) -> Result<()> {
        Ok(())
    }

    /// Translates a whole answer in one document, as sent by servers when no stream was requested, into the events of a stream
    /// with the same content. A [`ModelEvent::Finish`] or an error is the last result.
    ///
    /// # Errors
    /// Those of [`Wire::frame`]; [`ErrorKind::Truncated`] if the document has no finish reason.
    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()>;
}

/// A sans-IO decoder of one answer: the provider's bytes in, [`ModelEvent`]s out.
///
/// The events do not depend on how the bytes are split, and they keep the contract of [`LlmBackend`](konstruct_core::LlmBackend):
/// exactly one [`ModelEvent::Finish`] or one error, and nothing after it.
///
/// ```
/// # #[cfg(feature = "openai")] {
/// use konstruct_core::ErrorKind;
/// use konstruct_llm::OpenAiDecoder;
///
/// let mut decoder = OpenAiDecoder::default();
/// let events = decoder.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hel");
/// assert!(events.is_empty());
/// let error = decoder.finish().pop().unwrap().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Truncated);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Decoder<W: Wire> {
    frames: W::Frame,
    wire: W,
    filter: TextFilter,
    ended: bool,
    /// The wire's events of one frame; empty between frames.
    events: Vec<ModelEvent>,
}

impl<W: Wire> Decoder<W> {
    /// Creates a decoder for the answer to a request with these tools.
    pub(crate) fn for_tools(tools: Tools) -> Self {
        Self {
            filter: TextFilter::new(tools),
            ..Self::default()
        }
    }

    /// Decodes a whole answer in one document into the events of an equivalent stream; the finish is the last.
    ///
    /// # Errors
    /// The error that the provider reports; [`ErrorKind::Protocol`] if the document is not an answer, and
    /// [`ErrorKind::Truncated`] if it has no finish reason.
    pub fn document(body: &[u8]) -> Result<Vec<ModelEvent>> {
        let document = String::from_utf8_lossy(body);
        let document = document.strip_prefix('\u{feff}').unwrap_or(&document);
        let mut events = Vec::new();
        Self::default().whole(document, &mut events)?;
        match events.last() {
            Some(ModelEvent::Finish(_)) => Ok(events),
            _ => Err(Error::new(
                ErrorKind::Truncated,
                "the answer has no finish reason",
            )),
        }
    }

    /// Adds the events of a whole answer in one document, also of one that ends with an error.
    ///
    /// # Errors
    /// Those of [`Wire::document`].
    pub(crate) fn whole(mut self, document: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        let result = self.wire.document(document, &mut self.events);
        for event in self.events {
            self.filter.push(event, events);
        }
        result
    }

    /// Accepts bytes and returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        self.feed(bytes, &mut out);
        out
    }

    /// Accepts bytes and adds the events that they complete to `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut impl Extend<Result<ModelEvent>>) {
        if self.ended {
            return;
        }
        let Self {
            frames,
            wire,
            filter,
            ended,
            events,
        } = self;
        let framed = frames.push(bytes, |frame| {
            *ended = translate(wire, frame, (events, filter), out);
            if *ended {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if let (Err(error), false) = (framed, self.ended) {
            self.ended = true;
            out.extend([Err(error)]);
        }
    }

    /// Ends the input and returns the remaining events. Without the provider's terminal event, and without a finish reason before
    /// it, the result is an [`ErrorKind::Truncated`].
    pub fn finish(&mut self) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        if let Some(frame) = self.frames.rest()
            && W::is_terminal(&frame)
        {
            let through = (&mut self.events, &mut self.filter);
            self.ended = translate(&mut self.wire, &frame, through, &mut out);
        }
        if !self.ended {
            let result = self.wire.end(&mut self.events);
            self.ended = result.is_err() || !self.events.is_empty();
            filtered(&mut self.events, &mut self.filter, &mut out);
            out.extend(result.err().map(Err));
        }
        if !self.ended {
            self.ended = true;
            out.push(Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without its terminal event",
            )));
        }
        out
    }
}

/// Adds the events of a frame and returns whether it was the last.
fn translate<W: Wire>(
    wire: &mut W,
    frame: &str,
    (events, filter): (&mut Vec<ModelEvent>, &mut TextFilter),
    out: &mut impl Extend<Result<ModelEvent>>,
) -> bool {
    // Some servers send an empty event as a keep-alive.
    if frame.trim_ascii().is_empty() {
        return false;
    }
    let result = wire.frame(frame, events);
    let ended = result.is_err() || matches!(events.last(), Some(ModelEvent::Finish(_)));
    filtered(events, filter, out);
    out.extend(result.err().map(Err));
    ended
}

/// Adds the wire's events after the text filter.
fn filtered(
    events: &mut Vec<ModelEvent>,
    filter: &mut TextFilter,
    out: &mut impl Extend<Result<ModelEvent>>,
) {
    let mut passed = Vec::with_capacity(events.len());
    for event in events.drain(..) {
        filter.push(event, &mut passed);
    }
    out.extend(passed.into_iter().map(Ok));
}

/// Parses a frame's JSON.
pub(crate) fn parse<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<T> {
    serde_json::from_str(frame).map_err(|error| {
        // The cause's text may quote the model's output, so the message contains only the position.
        Error::new(
            ErrorKind::Protocol,
            format!(
                "an event does not match the protocol, at column {}",
                error.column()
            ),
        )
    })
}

/// Returns a call id for a provider that sends none. It is as unique as the answer's own id.
pub(crate) fn call_id(answer: &str, index: u32) -> String {
    let id: Vec<char> = answer.chars().filter(char::is_ascii_alphanumeric).collect();
    let tail: String = id[id.len().saturating_sub(20)..].iter().collect();
    format!("call_{tail}_{index}")
}
