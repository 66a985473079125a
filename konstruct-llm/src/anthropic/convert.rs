//! From a [`ModelRequest`] to the wire's request, and from its events to ours.

use konstruct_core::{
    BlockKind, Error, ErrorKind, Finish, ModelEvent, ModelRequest, Part, Result, Role, Usage,
};
use serde_json::{Value, json};

use super::{
    client::in_stream,
    wire::{self, Block, BlockIn, Delta, Event, Message, Start, Tool},
};
use crate::{
    codec::{Wire, call_id, parse},
    sse::SseFrames,
};

/// What marks a signature as the data of a `redacted_thinking` block, which must go back as it came.
const REDACTED: &str = "redacted:";

/// Makes the wire's request.
pub(super) fn request<'a>(model: &'a str, asked: &'a ModelRequest) -> wire::Request<'a> {
    wire::Request {
        model,
        max_tokens: asked.max_tokens,
        stream: true,
        system: asked.system_text(),
        messages: messages(asked),
        temperature: asked.temperature,
        tools: asked
            .tools
            .iter()
            .map(|tool| Tool {
                name: &tool.name,
                description: &tool.description,
                input_schema: &tool.parameters,
            })
            .collect(),
    }
}

/// Makes messages that alternate and begin with the user, as the wire wants them. A tool's result is the user's, and stands
/// before the user's text.
fn messages(asked: &ModelRequest) -> Vec<Message<'_>> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    for message in &asked.messages {
        let role = match message.role {
            Role::Assistant => "assistant",
            _ => "user",
        };
        let blocks = message.parts.iter().filter_map(block);
        match messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => messages.push(Message {
                role,
                content: blocks.collect(),
            }),
        }
        if messages.last().is_some_and(|last| last.content.is_empty()) {
            messages.pop();
        }
    }
    for message in &mut messages {
        // Stable: results keep their order, and so does the rest.
        message
            .content
            .sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
    }
    if messages
        .first()
        .is_some_and(|first| first.role == "assistant")
    {
        let text = "(Earlier messages are left out.)";
        messages.insert(
            0,
            Message {
                role: "user",
                content: vec![Block::Text { text }],
            },
        );
    }
    messages
}

fn block(part: &Part) -> Option<Block<'_>> {
    Some(match part {
        // The wire refuses blank text.
        Part::Text { text } if text.trim().is_empty() => return None,
        Part::Text { text } => Block::Text { text },
        Part::Reasoning {
            text, signature, ..
        } => {
            let signature = signature.as_deref()?;
            match signature.strip_prefix(REDACTED) {
                Some(data) => Block::RedactedThinking { data },
                None => Block::Thinking {
                    thinking: text,
                    signature,
                },
            }
        }
        Part::ToolCall(call) => Block::ToolUse {
            id: tame(&call.id),
            name: &call.name,
            input: match serde_json::from_str(&call.arguments) {
                Ok(input @ Value::Object(_)) => input,
                // The wire takes objects alone; what the model got wrong is shown to it as it was.
                _ => json!({ "invalid_json": call.arguments }),
            },
        },
        Part::ToolResult {
            id, content, error, ..
        } => Block::ToolResult {
            tool_use_id: tame(id),
            content,
            is_error: *error,
        },
        _ => return None,
    })
}

/// Makes another provider's call id one that this wire takes: letters, digits, `_` and `-`.
fn tame(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// Decodes a stream of Messages events. The terminal event is `message_stop`.
///
/// A gateway that retries by itself may splice a second `message_start` into a stream. As long as no text was yielded that
/// is a [`ModelEvent::Restart`]; after text it is [`ErrorKind::Truncated`], for what was yielded never ended.
#[derive(Debug, Default)]
pub struct Messages {
    answer: Option<String>,
    open: Vec<Open>,
    said: bool,
    usage: wire::Usage,
    reason: Option<String>,
}

/// A block that has begun and not ended.
#[derive(Debug)]
struct Open {
    index: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thinking,
    /// With the input that stood in the beginning, which counts when no delta comes.
    Tool {
        input: Option<Value>,
        began: bool,
    },
    Other,
}

impl Wire for Messages {
    type Frame = SseFrames;

    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        if frame.trim() == "[DONE]" {
            // Gateways append it; here it means nothing.
            return Ok(());
        }
        match parse(frame)? {
            Event::MessageStart { message } => return self.start(message, events),
            Event::ContentBlockStart {
                index,
                content_block,
            } => {
                return self.begin(index, content_block, events);
            }
            Event::ContentBlockDelta { index, delta } => return self.delta(index, delta, events),
            Event::ContentBlockStop { index } => {
                let at = self.at(index)?;
                self.end(at, events);
            }
            Event::MessageDelta { delta, usage } => {
                self.reason = delta.stop_reason.or(self.reason.take());
                self.usage(usage, events);
            }
            Event::MessageStop => {
                while !self.open.is_empty() {
                    self.end(0, events);
                }
                events.push(ModelEvent::Finish(self.finish()?));
            }
            Event::Ping => events.push(ModelEvent::Heartbeat),
            Event::Error { error } => return Err(in_stream(&error)),
            Event::Unknown => {}
        }
        Ok(())
    }

    fn is_terminal(frame: &str) -> bool {
        matches!(parse(frame), Ok(Event::MessageStop))
    }
}

impl Messages {
    fn start(&mut self, message: Start, events: &mut Vec<ModelEvent>) -> Result<()> {
        match &self.answer {
            Some(answer) if *answer == message.id => {
                self.usage(message.usage, events);
                return Ok(());
            }
            Some(_) if self.said => {
                return Err(Error::new(
                    ErrorKind::Truncated,
                    "another answer began in mid-answer",
                ));
            }
            Some(_) => {
                *self = Self::default();
                events.push(ModelEvent::Restart);
            }
            None => {}
        }
        self.answer = Some(message.id.clone());
        events.push(ModelEvent::Start {
            id: message.id,
            model: message.model,
        });
        self.usage(message.usage, events);
        Ok(())
    }

    fn begin(&mut self, index: u32, block: BlockIn, events: &mut Vec<ModelEvent>) -> Result<()> {
        if self.at(index).is_ok() {
            return Err(protocol("a block begins twice", index));
        }
        let (kind, shown) = match block.r#type.as_str() {
            "text" => (Kind::Text, BlockKind::Text),
            "thinking" | "redacted_thinking" => (Kind::Thinking, BlockKind::Reasoning),
            "tool_use" => {
                let input = block
                    .input
                    .filter(|input| input.as_object().is_some_and(|object| !object.is_empty()));
                let given = block.id.filter(|id| !id.is_empty());
                let answer = self.answer.as_deref().unwrap_or_default();
                let id = given.unwrap_or_else(|| call_id(answer, index));
                let name = block.name.unwrap_or_default();
                (
                    Kind::Tool {
                        input,
                        began: false,
                    },
                    BlockKind::ToolCall { id, name },
                )
            }
            other => (Kind::Other, BlockKind::Other(other.into())),
        };
        events.push(ModelEvent::BlockStart { index, kind: shown });
        let early = match kind {
            Kind::Text => block.text.map(|text| Delta::Text { text }),
            Kind::Thinking => block.thinking.map(|thinking| Delta::Thinking { thinking }),
            _ => None,
        };
        let signature = match kind {
            Kind::Thinking => block
                .data
                .map(|data| format!("{REDACTED}{data}"))
                .or(block.signature),
            _ => None,
        };
        self.open.push(Open { index, kind });
        if let Some(early) = early {
            self.delta(index, early, events)?;
        }
        if let Some(signature) = signature {
            self.delta(index, Delta::Signature { signature }, events)?;
        }
        Ok(())
    }

    fn delta(&mut self, index: u32, delta: Delta, events: &mut Vec<ModelEvent>) -> Result<()> {
        let at = self.at(index)?;
        let event = match (&mut self.open[at].kind, delta) {
            (Kind::Text, Delta::Text { text }) => {
                self.said |= !text.is_empty();
                ModelEvent::Text { index, delta: text }
            }
            (Kind::Thinking, Delta::Thinking { thinking }) => ModelEvent::Reasoning {
                index,
                delta: thinking,
            },
            (Kind::Thinking, Delta::Signature { signature }) => {
                if !signature.is_empty() {
                    events.push(ModelEvent::Signature {
                        index,
                        signature,
                        origin: None,
                    });
                }
                return Ok(());
            }
            (Kind::Tool { began, .. }, Delta::InputJson { partial_json }) => {
                *began |= !partial_json.is_empty();
                ModelEvent::ToolArguments {
                    index,
                    delta: partial_json,
                }
            }
            // What a later version adds, and blocks that are not ours to read.
            (Kind::Other, _) | (_, Delta::Unknown) => return Ok(()),
            _ => return Err(protocol("a delta of another kind than its block", index)),
        };
        let empty = matches!(&event,
            ModelEvent::Text { delta, .. } | ModelEvent::Reasoning { delta, .. } | ModelEvent::ToolArguments { delta, .. }
                if delta.is_empty());
        if !empty {
            events.push(event);
        }
        Ok(())
    }

    fn end(&mut self, at: usize, events: &mut Vec<ModelEvent>) {
        let Open { index, kind } = self.open.remove(at);
        if let Kind::Tool {
            input,
            began: false,
        } = kind
        {
            let delta = input.map_or_else(|| "{}".into(), |input| input.to_string());
            events.push(ModelEvent::ToolArguments { index, delta });
        }
        events.push(ModelEvent::BlockEnd { index });
    }

    fn at(&self, index: u32) -> Result<usize> {
        self.open
            .iter()
            .position(|open| open.index == index)
            .ok_or_else(|| protocol("an event of a block that is not open", index))
    }

    fn usage(&mut self, new: Option<wire::Usage>, events: &mut Vec<ModelEvent>) {
        let Some(new) = new else { return };
        let old = self.usage;
        self.usage = wire::Usage {
            input_tokens: new.input_tokens.or(old.input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            cache_creation_input_tokens: new
                .cache_creation_input_tokens
                .or(old.cache_creation_input_tokens),
            cache_creation: new.cache_creation.or(old.cache_creation),
            output_tokens: new.output_tokens.or(old.output_tokens),
            output_tokens_details: new.output_tokens_details.or(old.output_tokens_details),
        };
        events.push(ModelEvent::Usage(usage_of(self.usage)));
    }

    fn finish(&mut self) -> Result<Finish> {
        let reason = self.reason.take().ok_or_else(|| {
            Error::new(
                ErrorKind::Truncated,
                "the stream ended without a stop_reason",
            )
        })?;
        Ok(match reason.as_str() {
            "end_turn" | "stop_sequence" => Finish::Stop,
            "max_tokens" => Finish::Length,
            "tool_use" => Finish::ToolCalls,
            "refusal" => Finish::Refusal,
            "model_context_window_exceeded" => Finish::ContextWindow,
            _ => Finish::Other(reason),
        })
    }
}

/// Makes the buckets of the last snapshot. The total of the cache writes comes later than its split, so that what the split lacks
/// counts as written for five minutes.
fn usage_of(usage: wire::Usage) -> Usage {
    let split = usage.cache_creation.unwrap_or_default();
    let hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
    let five = split.ephemeral_5m_input_tokens.unwrap_or(0);
    let written = usage.cache_creation_input_tokens.unwrap_or(0);
    let thinking = usage
        .output_tokens_details
        .and_then(|details| details.thinking_tokens)
        .unwrap_or(0);
    Usage {
        input: usage.input_tokens.unwrap_or(0),
        cache_read: usage.cache_read_input_tokens.unwrap_or(0),
        cache_write_5m: five.max(written.saturating_sub(hour)),
        cache_write_1h: hour,
        output: usage.output_tokens.unwrap_or(0).saturating_sub(thinking),
        reasoning: thinking,
    }
}

fn protocol(what: &str, index: u32) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what}: {index}"))
}
