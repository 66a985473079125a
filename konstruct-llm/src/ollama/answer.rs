//! Converts the wire's lines, or one document, into events.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{BlockKind, Finish, ModelEvent},
    money::Usage,
};
use serde_json::Value;

use super::{
    client::in_stream,
    wire::{CallIn, Line},
};
use crate::{
    codec::{Wire, call_id, parse},
    ndjson,
};

/// Decodes a stream of lines. The terminal line has `done` and a `done_reason`. Older servers omit the reason, but count the
/// tokens. Without both the server lost the model, which is [`ErrorKind::Truncated`].
#[derive(Debug, Default)]
pub struct Lines {
    started: bool,
    answer: String,
    next: u32,
    /// The open text or reasoning block, and whether it is reasoning.
    prose: Option<(u32, bool)>,
    called: bool,
}

impl Wire for Lines {
    type Frame = ndjson::Lines;

    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        let line: Line = parse(frame)?;
        if let Some(error) = &line.error {
            return Err(in_stream(error.text()));
        }
        if !self.started {
            self.started = true;
            self.answer.clone_from(&line.created_at);
            events.push(ModelEvent::Start {
                id: line.created_at,
                model: line.model,
            });
        }
        let message = line.message.unwrap_or_default();
        self.prose(true, message.thinking.unwrap_or_default(), events);
        self.prose(false, message.content.unwrap_or_default(), events);
        for call in message.tool_calls.into_iter().flatten() {
            self.call(call, events);
        }
        if line.done {
            self.end_prose(events);
            // Zero counts are omitted, so only a line without both counts has no usage.
            let counted = line.prompt_eval_count.is_some() || line.eval_count.is_some();
            if counted {
                events.push(ModelEvent::Usage(Usage {
                    input: line.prompt_eval_count.unwrap_or(0),
                    output: line.eval_count.unwrap_or(0),
                    ..Usage::default()
                }));
            }
            events.push(ModelEvent::Finish(self.finish(line.done_reason, counted)?));
        }
        Ok(())
    }

    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        let line: Line = parse(body)?;
        if line.message.is_none() && line.error.is_none() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the document is not an answer",
            ));
        }
        // A document is a stream with only its last line.
        self.frame(body, events)?;
        match events.last() {
            Some(ModelEvent::Finish(_)) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Truncated,
                "the answer is not marked as done",
            )),
        }
    }

    fn is_terminal(frame: &str) -> bool {
        parse::<Line>(frame).is_ok_and(|line| line.done || line.error.is_some())
    }
}

impl Lines {
    fn prose(&mut self, reasoning: bool, delta: String, events: &mut Vec<ModelEvent>) {
        if delta.is_empty() {
            return;
        }
        let index = match self.prose {
            Some((index, open)) if open == reasoning => index,
            _ => {
                self.end_prose(events);
                let kind = if reasoning {
                    BlockKind::Reasoning
                } else {
                    BlockKind::Text
                };
                let index = self.begin(kind, events);
                self.prose = Some((index, reasoning));
                index
            }
        };
        events.push(if reasoning {
            ModelEvent::Reasoning { index, delta }
        } else {
            ModelEvent::Text { index, delta }
        });
    }

    fn begin(&mut self, kind: BlockKind, events: &mut Vec<ModelEvent>) -> u32 {
        let index = self.next;
        self.next += 1;
        events.push(ModelEvent::BlockStart { index, kind });
        index
    }

    fn end_prose(&mut self, events: &mut Vec<ModelEvent>) {
        if let Some((index, _)) = self.prose.take() {
            events.push(ModelEvent::BlockEnd { index });
        }
    }

    /// Calls arrive whole, with an object as arguments; compatible servers send the object's JSON as a string.
    fn call(&mut self, call: CallIn, events: &mut Vec<ModelEvent>) {
        if call.function.name.is_empty() && call.function.arguments.is_null() {
            return;
        }
        self.end_prose(events);
        self.called = true;
        let given = call.id.filter(|id| !id.is_empty());
        let id = given.unwrap_or_else(|| call_id(&self.answer, self.next));
        let name = call.function.name;
        let index = self.begin(BlockKind::ToolCall { id, name }, events);
        let delta = match call.function.arguments {
            Value::String(json) => json,
            arguments => arguments.to_string(),
        };
        events.push(ModelEvent::ToolArguments { index, delta });
        events.push(ModelEvent::BlockEnd { index });
    }

    fn finish(&self, reason: Option<String>, counted: bool) -> Result<Finish> {
        let reason = reason.filter(|reason| !reason.is_empty());
        match reason.as_deref().or(counted.then_some("stop")) {
            Some("length") => Ok(Finish::Length),
            // The reason is also `stop` after tool calls.
            Some("stop") if self.called => Ok(Finish::ToolCalls),
            Some("stop") => Ok(Finish::Stop),
            None => Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a done_reason",
            )),
            Some(other) => Ok(Finish::Other(other.into())),
        }
    }
}
