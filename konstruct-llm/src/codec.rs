//! What the codecs of all wires share: frames in, events out, one ending.

use std::fmt;

use konstruct_core::{Error, ErrorKind, ModelEvent, Result};
use serde::de::DeserializeOwned;

/// Splits a provider's bytes into frames. The same bytes give the same frames however they are cut.
pub trait Frame: fmt::Debug + Default + Send {
    /// Takes bytes and adds the frames that they complete.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when a frame outgrows the limit.
    fn push(&mut self, bytes: &[u8], frames: &mut Vec<String>) -> Result<()>;

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

    /// Translates a whole answer in one document, as it comes where no stream was asked for, into the events of a stream with the same
    /// content. A [`ModelEvent::Finish`] or an error is the last.
    ///
    /// # Errors
    /// As [`Wire::frame`]; [`ErrorKind::Truncated`] when it does not say why it ended.
    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()>;

    /// Returns whether a frame that the end of the bytes left unterminated is whole, and the last one of an answer.
    fn is_terminal(frame: &str) -> bool;
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
}

impl<W: Wire> Decoder<W> {
    /// Takes bytes; returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        let mut frames = Vec::new();
        let framed = self.frames.push(bytes, &mut frames);
        for frame in frames {
            self.translate(&frame, &mut out);
            if self.ended {
                return out;
            }
        }
        if let Err(error) = framed {
            self.ended = true;
            out.push(Err(error));
        }
        out
    }

    /// Says that the bytes have ended; returns what is left. Without the provider's terminal event that is an
    /// [`ErrorKind::Truncated`].
    pub fn finish(&mut self) -> Vec<Result<ModelEvent>> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        if let Some(frame) = self.frames.rest()
            && W::is_terminal(&frame)
        {
            self.translate(&frame, &mut out);
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

    /// Takes a whole answer that came in one document rather than in a stream; returns all of its events, and the ending last. To be
    /// called on a decoder that has got no bytes.
    pub fn document(&mut self, body: &[u8]) -> Vec<Result<ModelEvent>> {
        if std::mem::replace(&mut self.ended, true) {
            return Vec::new();
        }
        let mut events = Vec::new();
        let body = String::from_utf8_lossy(body);
        let body = body.strip_prefix('\u{feff}').unwrap_or(&body);
        let result = self.wire.document(body, &mut events);
        let finished = matches!(events.last(), Some(ModelEvent::Finish(_)));
        let mut out: Vec<Result<ModelEvent>> = events.into_iter().map(Ok).collect();
        match result {
            Err(error) => out.push(Err(error)),
            Ok(()) if finished => {}
            Ok(()) => out.push(Err(Error::new(
                ErrorKind::Truncated,
                "the answer does not say why it ended",
            ))),
        }
        out
    }

    fn translate(&mut self, frame: &str, out: &mut Vec<Result<ModelEvent>>) {
        let mut events = Vec::new();
        let result = self.wire.frame(frame, &mut events);
        self.ended = result.is_err() || matches!(events.last(), Some(ModelEvent::Finish(_)));
        out.extend(events.into_iter().map(Ok));
        out.extend(result.err().map(Err));
    }
}

/// Reads a frame's JSON.
pub(crate) fn parse<T: DeserializeOwned>(frame: &str) -> Result<T> {
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
