//! Converts the wire's chunks, or one document, into events.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{BlockKind, Finish, ModelEvent},
    money::Usage,
};

use super::{
    super::{
        error::in_stream,
        wire::{Content, Name},
    },
    wire::{self, CallIn, Choice, Chunk, Delta},
};
use crate::{
    codec::{Wire, call_id, parse},
    lenient::{uncached, without_reasoning},
    sse::SseFrames,
};

/// Decodes a stream of chat completion chunks.
///
/// The terminal event is `data: [DONE]` after a `finish_reason`. Gateways append `[DONE]` without a reason to a broken stream, so
/// that is [`ErrorKind::Truncated`]. After complete tool calls it is accepted, because some servers omit the reason then.
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
    /// Whether the last reason was present and empty.
    empty_reason: bool,
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Reasoning,
}

/// A tool call being received.
#[derive(Debug)]
struct Call {
    /// The wire's index, if present.
    index: Option<u32>,
    /// The wire's id; empty if absent.
    id: String,
    /// The block, once the tool's name is known.
    block: Option<u32>,
    arguments: String,
}

impl Wire for Chat {
    type Frame = SseFrames;

    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        if Self::is_terminal(frame) {
            return self.done(events);
        }
        let chunk: Chunk<'_> = parse(frame)?;
        if let Some(error) = &chunk.error {
            return Err(in_stream(error));
        }
        if chunk.object.0 == "error" {
            // vLLM sends the error without an enclosing `error` object.
            return Err(in_stream(&parse(frame)?));
        }
        let named = !chunk.id.is_empty() || !chunk.model.is_empty();
        if named && !self.started {
            self.started = true;
            self.answer = chunk.id.0.into_owned();
            events.push(ModelEvent::Start {
                id: self.answer.clone(),
                model: chunk.model.0.into_owned(),
            });
        }
        for choice in chunk.choices {
            // Only one answer is requested; a server that sends several interleaves them by index.
            if choice.index.unwrap_or(0) == 0 {
                self.choice(choice, events);
            }
        }
        self.ends(&[chunk.finish_reason]);
        if let Some(usage) = chunk.usage {
            self.counted = true;
            events.push(ModelEvent::Usage(usage_of(usage)));
        }
        Ok(())
    }

    fn is_terminal(frame: &str) -> bool {
        frame.trim_ascii() == "[DONE]"
    }

    /// Some servers omit `[DONE]`. A `finish_reason` ends the answer; only without one is it truncated.
    fn end(&mut self, events: &mut Vec<ModelEvent>) -> Result<()> {
        match self.reason {
            Some(_) => self.done(events),
            None if self.empty_reason && self.counted => self.done(events),
            None => Ok(()),
        }
    }

    fn document(&mut self, document: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        self.frame(document, events)?;
        if events.is_empty() && self.reason.is_none() && !self.empty_reason {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the document is not an answer",
            ));
        }
        self.done(events)
    }
}

impl Chat {
    fn choice(&mut self, choice: Choice<'_>, events: &mut Vec<ModelEvent>) {
        if let Some(delta) = choice.delta {
            self.delta(delta, events);
        }
        // Some servers repeat the whole message after its deltas.
        if let (Some(message), 0) = (choice.message, self.next) {
            self.delta(message, events);
        }
        if let Some(reason) = choice.finish_reason {
            self.empty_reason = reason.is_empty();
            self.ends(&[reason]);
        }
        self.ends(&[
            choice.native_finish_reason,
            choice.finish_details.r#type,
            choice.stop_reason,
        ]);
    }

    /// Takes the first reason that is present, unless there is one.
    fn ends(&mut self, reasons: &[Name<'_>]) {
        let reason = reasons.iter().find(|reason| !reason.is_empty());
        if let (Some(reason), None) = (reason, &self.reason) {
            self.reason = Some(reason.0.clone().into_owned());
        }
    }

    fn delta(&mut self, delta: Delta<'_>, events: &mut Vec<ModelEvent>) {
        let Content { text, thought } = delta.content;
        // Some servers send the same thought under both names.
        let thoughts = [delta.reasoning_content.text, delta.reasoning.text, thought];
        let thought = thoughts.into_iter().find(|thought| !thought.is_empty());
        self.prose(Prose::Reasoning, thought.unwrap_or_default(), events);
        for signed in delta.thinking_blocks {
            self.sign(signed.signature.0.into_owned(), events);
        }
        self.prose(Prose::Text, text, events);
        self.refused |= !delta.refusal.text.is_empty();
        self.prose(Prose::Text, delta.refusal.text, events);
        let repeated = !delta.tool_calls.is_empty();
        for call in delta.tool_calls {
            self.call(call, events);
        }
        if let (Some(function), false) = (delta.function_call, repeated) {
            let call = CallIn {
                index: None,
                id: Default::default(),
                function,
            };
            self.call(call, events);
        }
        self.ends(&[delta.finish_reason]);
    }

    /// Signs the last thought.
    fn sign(&mut self, signature: String, events: &mut Vec<ModelEvent>) {
        if let (Some((index, Prose::Reasoning)), false) = (self.prose, signature.is_empty()) {
            events.push(ModelEvent::Signature {
                index,
                signature,
                origin: None,
            });
        }
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

    fn call(&mut self, fragment: CallIn<'_>, events: &mut Vec<ModelEvent>) {
        let function = &fragment.function;
        if fragment.id.is_empty() && function.name.is_empty() && function.arguments.0.is_empty() {
            return;
        }
        self.end_prose(events);
        let at = self.find(&fragment);
        let more = fragment.function.arguments.0;
        let name = fragment.function.name.0.into_owned();
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
    }

    /// Finds the call that a fragment belongs to, or starts one. With an index, the index decides, unless a new id shows that the
    /// server numbers every call 0. Otherwise the id decides; without one it is the last call, unless the fragment has a name and
    /// so starts another.
    fn find(&mut self, fragment: &CallIn<'_>) -> usize {
        // A call with a name and arguments after one that is complete is another one, although it has the same id.
        let function = &fragment.function;
        let begins = !function.name.is_empty() && !function.arguments.0.is_empty();
        let same = |call: &Call| match fragment.index {
            _ if begins && is_json(&call.arguments) => false,
            Some(index) => {
                call.index == Some(index)
                    && (fragment.id.is_empty() || call.id.is_empty() || call.id == fragment.id.0)
            }
            None => !fragment.id.is_empty() && call.id == fragment.id.0,
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
                id: fragment.id.0.clone().into_owned(),
                block: None,
                arguments: String::new(),
            });
            self.calls.len() - 1
        })
    }

    fn done(&mut self, events: &mut Vec<ModelEvent>) -> Result<()> {
        let whole = |call: &Call| is_json(&call.arguments);
        let forgotten = !self.calls.is_empty() && self.calls.iter().all(whole);
        if self.reason.is_none() && !forgotten && !self.empty_reason {
            return Err(Error::new(
                ErrorKind::Truncated,
                "the stream ended without a finish_reason",
            ));
        }
        self.end_prose(events);
        let called = self.calls.iter().any(|call| call.block.is_some());
        for call in std::mem::take(&mut self.calls) {
            let Some(index) = call.block else {
                if call.arguments.trim().is_empty() {
                    continue;
                }
                return Err(Error::new(ErrorKind::Protocol, "a tool call has no name"));
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

    /// Converts the finish reason. Servers also send `stop` after tool calls, so the presence of calls takes precedence.
    fn finish(&self, called: bool) -> Finish {
        let reason = self.reason.as_deref().unwrap_or("stop");
        match &*reason.to_ascii_lowercase() {
            "length" | "model_length" | "max_tokens" | "max_output_tokens" => Finish::Length,
            "content_filter" => Finish::ContentFilter,
            _ if called => Finish::ToolCalls,
            _ if self.refused => Finish::Refusal,
            "stop" | "tool_calls" | "function_call" | "tool_use" | "end_turn" | "eos"
            | "completed" => Finish::Stop,
            _ => Finish::Other(reason.into()),
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Makes the counts disjoint: in this API the prompt's tokens include the cached ones.
fn usage_of(usage: wire::Usage) -> Usage {
    let details = usage.prompt_tokens_details;
    let cache_read = details
        .cached_tokens
        .max(usage.prompt_cache_hit_tokens)
        .max(usage.cache_read_input_tokens);
    let written = details
        .cache_write_tokens
        .max(usage.cache_creation_input_tokens);
    let hour = details
        .cache_creation_token_details
        .ephemeral_1h_input_tokens
        .min(written);
    let (output, reasoning) = without_reasoning(
        usage.completion_tokens,
        usage.completion_tokens_details.reasoning_tokens,
        usage.total_tokens.checked_sub(usage.prompt_tokens),
    );
    Usage {
        input: uncached(usage.prompt_tokens, cache_read, written),
        cache_read,
        cache_write_5m: written - hour,
        cache_write_1h: hour,
        output,
        reasoning,
    }
}
