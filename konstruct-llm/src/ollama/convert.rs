//! From a [`ModelRequest`] to the wire's request, and from its lines to events.

use konstruct_core::{
    BlockKind, Error, ErrorKind, Finish, ModelEvent, ModelRequest, Part, Result, Role, Usage,
};
use serde_json::{Value, json};

use super::{
    client::in_stream,
    wire::{self, CallIn, CallOut, Function, FunctionOut, Line, Message, Options, Tool},
};
use crate::{
    codec::{Wire, call_id, parse},
    ndjson,
};

/// Makes the wire's request.
pub(super) fn request<'a>(
    model: &'a str,
    context: u32,
    asked: &'a ModelRequest,
) -> wire::Request<'a> {
    wire::Request {
        model,
        messages: messages(asked),
        tools: asked
            .tools
            .iter()
            .map(|tool| Tool {
                r#type: "function",
                function: Function {
                    name: &tool.name,
                    description: &tool.description,
                    parameters: &tool.parameters,
                },
            })
            .collect(),
        stream: true,
        truncate: false,
        options: Options {
            num_predict: asked.max_tokens,
            num_ctx: context,
            temperature: asked.temperature,
        },
    }
}

fn messages(asked: &ModelRequest) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    let system = asked.system_text();
    if !system.is_empty() {
        messages.push(Message::System { content: system });
    }
    for message in &asked.messages {
        let (mut content, mut tool_calls) = (String::new(), Vec::new());
        for part in &message.parts {
            match part {
                Part::Text { text } => content.push_str(text),
                Part::ToolCall(call) => tool_calls.push(CallOut {
                    id: &call.id,
                    function: FunctionOut {
                        name: &call.name,
                        arguments: match serde_json::from_str(&call.arguments) {
                            Ok(arguments @ Value::Object(_)) => arguments,
                            // The wire takes objects alone; what the model got wrong is shown to it as it was.
                            _ => json!({ "invalid_json": call.arguments }),
                        },
                    },
                }),
                Part::ToolResult {
                    id, name, content, ..
                } => messages.push(Message::Tool {
                    tool_name: name,
                    tool_call_id: id,
                    content,
                }),
                // Thoughts are not shown again.
                _ => {}
            }
        }
        match message.role {
            Role::Assistant if !content.is_empty() || !tool_calls.is_empty() => {
                messages.push(Message::Assistant {
                    content,
                    tool_calls,
                });
            }
            Role::User | Role::Tool if !content.is_empty() => {
                messages.push(Message::User { content });
            }
            _ => {}
        }
    }
    messages
}

/// Decodes a stream of lines. The terminal one has `done` and a `done_reason`; without the reason the server lost the model, so
/// that is [`ErrorKind::Truncated`].
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
            return Err(in_stream(error));
        }
        if !self.started {
            self.started = true;
            self.answer.clone_from(&line.created_at);
            events.push(ModelEvent::Start {
                id: line.created_at,
                model: line.model,
            });
        }
        self.prose(true, line.message.thinking.unwrap_or_default(), events);
        self.prose(false, line.message.content, events);
        for call in line.message.tool_calls.into_iter().flatten() {
            self.call(call, events);
        }
        if line.done {
            self.end_prose(events);
            events.push(ModelEvent::Usage(Usage {
                input: line.prompt_eval_count,
                output: line.eval_count,
                ..Usage::default()
            }));
            events.push(ModelEvent::Finish(self.finish(line.done_reason)?));
        }
        Ok(())
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

    /// Calls come whole, with an object for arguments.
    fn call(&mut self, call: CallIn, events: &mut Vec<ModelEvent>) {
        self.end_prose(events);
        self.called = true;
        let id = if call.id.is_empty() {
            call_id(&self.answer, self.next)
        } else {
            call.id
        };
        let name = call.function.name;
        let index = self.begin(BlockKind::ToolCall { id, name }, events);
        let delta = match call.function.arguments {
            Value::Null => "{}".into(),
            arguments => arguments.to_string(),
        };
        events.push(ModelEvent::ToolArguments { index, delta });
        events.push(ModelEvent::BlockEnd { index });
    }

    fn finish(&self, reason: Option<String>) -> Result<Finish> {
        match reason.as_deref() {
            Some("length") => Ok(Finish::Length),
            // The reason is `stop` after tool calls too.
            Some("stop") if self.called => Ok(Finish::ToolCalls),
            Some("stop") => Ok(Finish::Stop),
            Some("") | None => Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a done_reason",
            )),
            Some(other) => Ok(Finish::Other(other.into())),
        }
    }
}
