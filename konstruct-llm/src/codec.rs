//! What the codecs of all wires share: frames in, events out, one ending.

use std::{fmt, ops::ControlFlow};

use konstruct_core::{Error, ErrorKind, Result, llm::ModelEvent};
use serde::Deserialize;

/// Splits a provider's bytes into frames. The same bytes give the same frames however they are cut.
pub trait Frame: fmt::Debug + Default + Send {
    /// Takes bytes and shows each frame that they complete, until told to stop.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when a frame outgrows the limit.
    fn push(&mut self, bytes: &[u8], each: impl FnMut(&str) -> ControlFlow<()>) -> Result<()>;

    /// Takes what the end of the bytes left unterminated.
    fn rest(&mut self) -> Option<String>;
}

/// Translates the frames of one wire.
pub trait Wire: fmt::Debug + Default + Send + 'static {
    /// How its frames are cut.
    type Frame: Frame;

    /// Translates a frame. A [`ModelEvent::Finish`] or an error is the last.
    ///
    /// # Errors
    /// What the provider says went wrong; [`ErrorKind::Protocol`] where it breaks its own wire.
    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()>;

    /// Returns whether a frame that the end of the bytes left unterminated is whole, and the last one of an answer.
    fn is_terminal(frame: &str) -> bool;

    /// The bytes have ended without the terminal frame: completes an answer that has already given its reason to end, and does nothing
    /// otherwise.
    ///
    /// # Errors
    /// As [`Wire::frame`].
    fn end(&mut self, _events: &mut Vec<ModelEvent>) -> Result<()> {
        Ok(())
    }

    /// Translates a whole answer in one document, as it comes where no stream was asked for, into the events of a stream with the same
    /// content. A [`ModelEvent::Finish`] or an error is the last.
    ///
    /// # Errors
    /// As [`Wire::frame`]; [`ErrorKind::Truncated`] when it does not say why it ended.
    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()>;
}

/// A sans-IO decoder of one answer: the provider's bytes in, [`ModelEvent`]s out.
///
/// However the bytes are cut, the events are the same, and they keep the contract of
/// [`LlmBackend`](konstruct_core::LlmBackend): one [`ModelEvent::Finish`] or one error, and nothing after it.
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
    ended: bool,
    /// What a frame makes; empty between frames.
    events: Vec<ModelEvent>,
}

impl<W: Wire> Decoder<W> {
    /// Reads a whole answer that came as one document: the events of the stream that would say the same, with the finish as the last.
    ///
    /// # Errors
    /// What the provider says went wrong; [`ErrorKind::Protocol`] where the document is no answer, and [`ErrorKind::Truncated`] where it does
    /// not say why it ended.
    pub fn document(body: &[u8]) -> Result<Vec<ModelEvent>> {
        let document = String::from_utf8_lossy(body);
        let document = document.strip_prefix('\u{feff}').unwrap_or(&document);
        let mut events = Vec::new();
        W::default().document(document, &mut events)?;
        match events.last() {
            Some(ModelEvent::Finish(_)) => Ok(events),
            _ => Err(Error::new(
                ErrorKind::Truncated,
                "the answer does not say why it ended",
            )),
        }
    }

    /// Takes bytes; returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        self.feed(bytes, &mut out);
        out
    }

    /// Takes bytes; adds the events that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut impl Extend<Result<ModelEvent>>) {
        if self.ended {
            return;
        }
        let Self {
            frames,
            wire,
            ended,
            events,
        } = self;
        let framed = frames.push(bytes, |frame| {
            *ended = translate(wire, frame, events, out);
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

    /// Says that the bytes have ended; returns what is left. Without the provider's terminal event, and without a reason to end before
    /// it, that is an [`ErrorKind::Truncated`].
    pub fn finish(&mut self) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        if let Some(frame) = self.frames.rest()
            && W::is_terminal(&frame)
        {
            self.ended = translate(&mut self.wire, &frame, &mut self.events, &mut out);
        }
        if !self.ended {
            let result = self.wire.end(&mut self.events);
            self.ended = result.is_err() || !self.events.is_empty();
            out.extend(self.events.drain(..).map(Ok));
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

/// Adds the events of a frame, and returns whether it was the last.
fn translate<W: Wire>(
    wire: &mut W,
    frame: &str,
    events: &mut Vec<ModelEvent>,
    out: &mut impl Extend<Result<ModelEvent>>,
) -> bool {
    // Some servers keep a connection alive with an empty event.
    if frame.trim_ascii().is_empty() {
        return false;
    }
    let result = wire.frame(frame, events);
    let ended = result.is_err() || matches!(events.last(), Some(ModelEvent::Finish(_)));
    out.extend(events.drain(..).map(Ok));
    out.extend(result.err().map(Err));
    ended
}

/// Reads a frame's JSON.
pub(crate) fn parse<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<T> {
    serde_json::from_str(frame).map_err(|error| {
        // The cause's text may quote what the model said, so only where it stands is told.
        Error::new(
            ErrorKind::Protocol,
            format!(
                "an event is not what the wire allows, at column {}",
                error.column()
            ),
        )
    })
}

/// A call id for a provider that gives none: unlike those of other answers as far as the answer's own id is.
pub(crate) fn call_id(answer: &str, index: u32) -> String {
    let id: Vec<char> = answer.chars().filter(char::is_ascii_alphanumeric).collect();
    let tail: String = id[id.len().saturating_sub(20)..].iter().collect();
    format!("call_{tail}_{index}")
}
