//! From a [`ModelRequest`] to the wire's request, and from its chunks to events.

use konstruct_core::{
    BlockKind, Error, ErrorKind, Finish, ModelEvent, ModelRequest, Part, Result, Role, Usage,
};

use super::{
    client::in_stream,
    wire::{
        self, Arguments, CallIn, CallOut, Choice, Chunk, Content, Function, FunctionOut, Message,
        StreamOptions, Tool,
    },
};
use crate::{
    codec::{Wire, call_id, parse},
    sse::SseFrames,
};

/// Under which name the token limit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    MaxTokens,
    MaxCompletionTokens { reasons: bool },
}

impl Limit {
    pub(super) fn of(model: &str, official: bool) -> Self {
        // Routers put the vendor before the name: `openai/gpt-5-mini`.
        let name = model.rsplit('/').next().unwrap_or(model);
        let version = name.strip_prefix("gpt-").and_then(|rest| {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            rest[..digits].parse::<u32>().ok()
        });
        let reasons = version.is_some_and(|version| (5..100).contains(&version))
            || ["o1", "o3", "o4"]
                .iter()
                .any(|family| name.starts_with(family));
        if official || reasons {
            Self::MaxCompletionTokens { reasons }
        } else {
            Self::MaxTokens
        }
    }
}

/// Makes the wire's request.
pub(super) fn request<'a>(
    model: &'a str,
    limit: Limit,
    asked: &'a ModelRequest,
) -> wire::Request<'a> {
    let (max_tokens, max_completion_tokens, reasons) = match limit {
        Limit::MaxTokens => (Some(asked.max_tokens), None, false),
        Limit::MaxCompletionTokens { reasons } => (None, Some(asked.max_tokens), reasons),
    };
    wire::Request {
        model,
        messages: messages(asked),
        stream: true,
        stream_options: StreamOptions {
            include_usage: true,
        },
        max_tokens,
        max_completion_tokens,
        // Reasoning models refuse any but the default.
        temperature: asked.temperature.filter(|_| !reasons),
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
    }
}

fn messages(asked: &ModelRequest) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    let system = asked.system_text();
    if !system.is_empty() {
        messages.push(Message::System { content: system });
    }
    for message in &asked.messages {
        let (mut text, mut calls) = (String::new(), Vec::new());
        for part in &message.parts {
            match part {
                Part::Text { text: more } => text.push_str(more),
                Part::ToolCall(call) => calls.push(CallOut {
                    id: &call.id,
                    r#type: "function",
                    function: FunctionOut {
                        name: &call.name,
                        arguments: &call.arguments,
                    },
                }),
                Part::ToolResult { id, content, .. } => messages.push(Message::Tool {
                    tool_call_id: id,
                    content,
                }),
                // Chat Completions takes no reasoning back.
                _ => {}
            }
        }
        match message.role {
            Role::Assistant if !text.is_empty() || !calls.is_empty() => {
                messages.push(Message::Assistant {
                    content: (!text.is_empty()).then_some(text),
                    tool_calls: calls,
                });
            }
            Role::User | Role::Tool if !text.is_empty() => {
                messages.push(Message::User { content: text });
            }
            _ => {}
        }
    }
    messages
}

/// Decodes a stream of chat completion chunks.
///
/// The terminal event is `data: [DONE]` after a `finish_reason`. A `[DONE]` without one is what gateways put behind a
/// stream that broke, so it is [`ErrorKind::Truncated`], unless whole tool calls stand before it: some servers forget the reason then.
#[derive(Debug, Default)]
pub struct Chat {
    started: bool,
    answer: String,
    next: u32,
    /// The open text or reasoning block.
    prose: Option<(u32, Prose)>,
    calls: Vec<Call>,
    refused: bool,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Reasoning,
}

/// A tool call that is being read.
#[derive(Debug)]
struct Call {
    /// The wire's index, where there is one.
    index: Option<u32>,
    /// The wire's id; empty where there is none.
    id: String,
    /// The block, once the name is known.
    block: Option<u32>,
    arguments: String,
}

impl Wire for Chat {
    type Frame = SseFrames;

    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        if Self::is_terminal(frame) {
            return self.done(events);
        }
        let chunk: Chunk = parse(frame)?;
        if let Some(error) = &chunk.error {
            return Err(in_stream(error));
        }
        if !self.started && !chunk.id.is_empty() {
            self.started = true;
            self.answer.clone_from(&chunk.id);
            events.push(ModelEvent::Start {
                id: chunk.id,
                model: chunk.model,
            });
        }
        for choice in chunk.choices {
            // Only one answer is asked for; a server that sends more mixes them by index.
            if choice.index == 0 {
                self.choice(choice, events)?;
            }
        }
        if let Some(usage) = chunk.usage {
            events.push(ModelEvent::Usage(usage_of(usage)));
        }
        Ok(())
    }

    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        self.frame(body, events)?;
        if events.is_empty() {
            return Err(Error::new(ErrorKind::Protocol, "not an answer"));
        }
        self.done(events)
    }

    fn is_terminal(frame: &str) -> bool {
        frame.trim() == "[DONE]"
    }
}

impl Chat {
    fn choice(&mut self, choice: Choice, events: &mut Vec<ModelEvent>) -> Result<()> {
        let delta = choice.delta;
        if let Some(thought) = delta.reasoning_content.or(delta.reasoning) {
            self.prose(Prose::Reasoning, thought, events);
        }
        match delta.content {
            Some(Content::Text(text)) => self.prose(Prose::Text, text, events),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    self.prose(Prose::Text, part.text, events);
                }
            }
            None => {}
        }
        if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
            self.refused = true;
            self.prose(Prose::Text, refusal, events);
        }
        for call in delta.tool_calls {
            self.call(call, events)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.reason = Some(reason);
        }
        Ok(())
    }

    fn prose(&mut self, kind: Prose, delta: String, events: &mut Vec<ModelEvent>) {
        if delta.is_empty() {
            return;
        }
        let index = match self.prose {
            Some((index, open)) if open == kind => index,
            _ => {
                self.end_prose(events);
                let index = self.begin(
                    match kind {
                        Prose::Text => BlockKind::Text,
                        Prose::Reasoning => BlockKind::Reasoning,
                    },
                    events,
                );
                self.prose = Some((index, kind));
                index
            }
        };
        events.push(match kind {
            Prose::Text => ModelEvent::Text { index, delta },
            Prose::Reasoning => ModelEvent::Reasoning { index, delta },
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

    fn call(&mut self, fragment: CallIn, events: &mut Vec<ModelEvent>) -> Result<()> {
        self.end_prose(events);
        let at = self.find(&fragment);
        let more = match fragment.function.arguments {
            Arguments::Text(text) => text,
            Arguments::Object(value) => value.to_string(),
        };
        let name = fragment.function.name;
        if self.calls[at].block.is_none() && !name.is_empty() {
            let mut id = self.calls[at].id.clone();
            if id.is_empty() {
                id = call_id(&self.answer, self.next);
            }
            let index = self.begin(BlockKind::ToolCall { id, name }, events);
            self.calls[at].block = Some(index);
            let early = self.calls[at].arguments.clone();
            if !early.is_empty() {
                events.push(ModelEvent::ToolArguments {
                    index,
                    delta: early,
                });
            }
        }
        let call = &mut self.calls[at];
        call.arguments.push_str(&more);
        if let (Some(index), false) = (call.block, more.is_empty()) {
            events.push(ModelEvent::ToolArguments { index, delta: more });
        }
        Ok(())
    }

    /// Finds the call that a fragment belongs to, or begins it. By index where there is one, unless a new id says that a
    /// server counts every call as 0; else by id; else it is the last one, unless a name begins another.
    fn find(&mut self, fragment: &CallIn) -> usize {
        let same = |call: &Call| match fragment.index {
            Some(index) => {
                call.index == Some(index)
                    && (fragment.id.is_empty() || call.id.is_empty() || call.id == fragment.id)
            }
            None => !fragment.id.is_empty() && call.id == fragment.id,
        };
        let continues =
            fragment.index.is_none() && fragment.id.is_empty() && fragment.function.name.is_empty();
        let found = self
            .calls
            .iter()
            .rposition(same)
            .or_else(|| (continues && !self.calls.is_empty()).then(|| self.calls.len() - 1));
        found.unwrap_or_else(|| {
            self.calls.push(Call {
                index: fragment.index,
                id: fragment.id.clone(),
                block: None,
                arguments: String::new(),
            });
            self.calls.len() - 1
        })
    }

    fn done(&mut self, events: &mut Vec<ModelEvent>) -> Result<()> {
        let whole =
            |call: &Call| serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_ok();
        let forgotten = !self.calls.is_empty() && self.calls.iter().all(whole);
        if self.reason.is_none() && !forgotten {
            return Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a finish_reason",
            ));
        }
        self.end_prose(events);
        let called = !self.calls.is_empty();
        for call in std::mem::take(&mut self.calls) {
            let Some(index) = call.block else {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "a tool call without a name",
                ));
            };
            if call.arguments.trim().is_empty() {
                events.push(ModelEvent::ToolArguments {
                    index,
                    delta: "{}".into(),
                });
            }
            events.push(ModelEvent::BlockEnd { index });
        }
        events.push(ModelEvent::Finish(self.finish(called)));
        Ok(())
    }

    /// Reads the reason. Servers say `stop` after tool calls too, so that there were some counts more.
    fn finish(&self, called: bool) -> Finish {
        match self.reason.as_deref() {
            Some("length" | "model_length") => Finish::Length,
            Some("content_filter") => Finish::ContentFilter,
            _ if called => Finish::ToolCalls,
            _ if self.refused => Finish::Refusal,
            Some("stop" | "tool_calls" | "function_call") | None => Finish::Stop,
            Some(other) => Finish::Other(other.into()),
        }
    }
}

/// Makes the buckets disjoint: here the prompt's tokens count the cached ones too.
fn usage_of(usage: wire::Usage) -> Usage {
    let details = usage.prompt_tokens_details;
    let cache_read = details.cached_tokens.max(usage.prompt_cache_hit_tokens);
    Usage {
        input: usage
            .prompt_tokens
            .saturating_sub(cache_read)
            .saturating_sub(details.cache_write_tokens),
        cache_read,
        cache_write_5m: details.cache_write_tokens,
        output: usage
            .completion_tokens
            .saturating_sub(usage.completion_tokens_details.reasoning_tokens),
        reasoning: usage.completion_tokens_details.reasoning_tokens,
        ..Usage::default()
    }
}
