//! Complete answers, and how a stream of events is collected into one.

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{BlockKind, Finish, ModelEvent, ModelStream, Part, ToolCall};
use crate::{Error, ErrorKind, Result, money::Usage, outgoing::Choices};

/// A complete answer of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelAnswer {
    /// The model that answered.
    pub model: String,
    /// Its blocks in order: text, reasoning and tool calls.
    pub parts: Vec<Part>,
    /// Why the answer ended.
    pub finish: Finish,
    /// The token counts, if the provider reported them.
    pub usage: Option<Usage>,
}

impl ModelAnswer {
    /// Returns the text of all text blocks, concatenated.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| {
                if let Part::Text { text } = part {
                    Some(text.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// Returns the options that the answer offers.
    pub fn choices(&self) -> Option<&Choices> {
        self.parts.iter().rev().find_map(|part| match part {
            Part::Choices(choices) => Some(choices),
            _ => None,
        })
    }

    /// Returns whether the answer contains nothing for a person or a tool: no tool call, and no text except white space and
    /// invisible characters. An answer with only reasoning is blank.
    pub fn is_blank(&self) -> bool {
        let invisible = |c: char| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
        };
        self.parts.iter().all(|part| match part {
            Part::Text { text } => text.chars().all(invisible),
            Part::Reasoning { .. } => true,
            _ => false,
        })
    }

    /// Returns the tool calls in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| {
            if let Part::ToolCall(call) = part {
                Some(call)
            } else {
                None
            }
        })
    }
}

/// Collects a stream into an answer.
///
/// # Errors
/// The stream's own error; [`ErrorKind::Protocol`] if a backend violates the contract.
pub async fn collect(mut stream: ModelStream) -> Result<ModelAnswer> {
    let mut answer = Collector::default();
    while let Some(event) = stream.next().await {
        if let Some(answer) = answer.push(event?)? {
            return Ok(answer);
        }
    }
    Err(Error::new(
        ErrorKind::Truncated,
        "the stream ended without a finish event",
    ))
}

/// Collects events into an answer, one by one.
#[derive(Debug, Default)]
pub struct Collector {
    model: String,
    blocks: Vec<(u32, Option<Part>)>,
    usage: Option<Usage>,
}

impl Collector {
    /// Adds an event. Returns the answer if the event was the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if a delta belongs to no open block of its kind.
    pub fn push(&mut self, event: ModelEvent) -> Result<Option<ModelAnswer>> {
        match event {
            ModelEvent::Start { model, .. } => self.model = model,
            ModelEvent::BlockStart { index, kind } => {
                let part = match kind {
                    BlockKind::Text => Some(Part::Text {
                        text: String::new(),
                    }),
                    BlockKind::Reasoning => Some(Part::Reasoning {
                        text: String::new(),
                        signature: None,
                        origin: None,
                    }),
                    BlockKind::ToolCall { id, name } => Some(Part::ToolCall(ToolCall {
                        id,
                        name,
                        arguments: String::new(),
                    })),
                    BlockKind::Choices(choices) => Some(Part::Choices(choices)),
                    BlockKind::Other(_) => None,
                };
                self.blocks.push((index, part));
            }
            ModelEvent::Text { index, delta } => match self.block(index)? {
                Some(Part::Text { text }) => text.push_str(&delta),
                _ => return Err(Self::stray(index)),
            },
            ModelEvent::Reasoning { index, delta } => match self.block(index)? {
                Some(Part::Reasoning { text, .. }) => text.push_str(&delta),
                _ => return Err(Self::stray(index)),
            },
            ModelEvent::Signature {
                index,
                signature: new,
                origin: by,
            } => match self.block(index)? {
                Some(Part::Reasoning {
                    signature, origin, ..
                }) => (*signature, *origin) = (Some(new), by),
                _ => return Err(Self::stray(index)),
            },
            ModelEvent::ToolArguments { index, delta } => match self.block(index)? {
                Some(Part::ToolCall(call)) => call.arguments.push_str(&delta),
                _ => return Err(Self::stray(index)),
            },
            ModelEvent::Usage(usage) => self.usage = Some(usage),
            ModelEvent::Restart => *self = Self::default(),
            ModelEvent::BlockEnd { .. } | ModelEvent::Heartbeat => {}
            ModelEvent::Finish(finish) => return Ok(Some(self.finish(finish))),
        }
        Ok(None)
    }

    /// Returns the token counts reported so far for a stream that failed.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn block(&mut self, index: u32) -> Result<&mut Option<Part>> {
        // The last block of an index is the open one, because the provider may reuse indices when it starts over.
        self.blocks
            .iter_mut()
            .rev()
            .find(|(i, _)| *i == index)
            .map(|(_, part)| part)
            .ok_or_else(|| Self::stray(index))
    }

    fn stray(index: u32) -> Error {
        Error::new(
            ErrorKind::Protocol,
            format!("received a delta for block {index}, which is not open"),
        )
    }

    fn finish(&mut self, finish: Finish) -> ModelAnswer {
        let mut parts: Vec<Part> = std::mem::take(&mut self.blocks)
            .into_iter()
            .filter_map(|(_, part)| part)
            .collect();
        for part in &mut parts {
            if let Part::ToolCall(call) = part
                && call.arguments.trim().is_empty()
            {
                call.arguments = "{}".into();
            }
        }
        ModelAnswer {
            model: std::mem::take(&mut self.model),
            parts,
            finish,
            usage: self.usage.take(),
        }
    }
}
