//! Converts wire events, or one document, into [`ModelEvent`]s.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{BlockKind, Finish, ModelEvent},
    money::Usage,
};
use serde_json::value::RawValue;

use super::{
    super::{
        error::in_stream,
        wire::{Content, ErrorBody},
    },
    parallel,
    wire::{self, Event, Output, Response, Typed},
};
use crate::{
    codec::{Wire, call_id, parse},
    lenient::{uncached, without_reasoning},
    sse::SseFrames,
};

/// Decodes a stream of response events. The terminal event is `response.completed`, `.incomplete` or `.failed`, or an `error`.
///
/// Items are identified by their output index, because behind some gateways their ids change with every event. Items of hosted
/// tools and unknown items are [`BlockKind::Other`]. The signature of a reasoning item is the whole item, because the API
/// requires it back unchanged.
#[derive(Debug, Default)]
pub struct Responses {
    answer: Option<String>,
    next: u32,
    open: Vec<Open>,
    /// Whether any item arrived.
    any: bool,
    called: bool,
    refused: bool,
}

/// An item that has started and not ended.
#[derive(Debug)]
struct Open {
    /// Its output index.
    at: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the parts that have started, by content index and block.
    Message(Vec<(u32, u32)>),
    Call {
        id: String,
        name: String,
        /// Its block. A call that may wrap several calls has no block until it is complete.
        index: Option<u32>,
        delta_text: bool,
        /// The arguments so far of a possible wrapper.
        held: String,
    },
    Thought {
        index: Option<u32>,
        /// The current part: whether it belongs to the summary, and its index.
        part: Option<(bool, u32)>,
    },
    Other(u32),
}

impl Wire for Responses {
    type Frame = SseFrames;

    fn frame(&mut self, frame: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        if frame.trim_ascii() == "[DONE]" {
            // Some gateways append `[DONE]`; it has no meaning in this API.
            return Ok(());
        }
        let event: Event<'_> = match parse(frame) {
            Ok(event) => event,
            Err(_) if is_foreign(frame) => return Ok(()),
            Err(error) => return Err(error),
        };
        let at = event.output_index.unwrap_or(0);
        match &*event.r#type.0 {
            "response.output_text.delta" => {
                let text = delta_text(event.delta)?;
                self.text(at, event.content_index, text, events);
            }
            "response.refusal.delta" => {
                let text = delta_text(event.delta)?;
                self.refused |= !text.is_empty();
                self.text(at, event.content_index, text, events);
            }
            "response.function_call_arguments.delta" => {
                self.arguments(at, delta_text(event.delta)?, events);
            }
            "response.reasoning_summary_text.delta" => {
                let part = (true, event.summary_index.unwrap_or(0));
                self.thought(at, part, delta_text(event.delta)?, events);
            }
            "response.reasoning_text.delta" => {
                let part = (false, event.content_index.unwrap_or(0));
                self.thought(at, part, delta_text(event.delta)?, events);
            }
            "response.output_item.added" => {
                self.begin(at, event.item.ok_or_else(|| missing("item"))?, events)?;
            }
            "response.output_item.done" => {
                self.end(at, event.item.ok_or_else(|| missing("item"))?, events)?;
            }
            "response.created" | "response.queued" | "response.in_progress" => {
                if let Some(response) = event.response {
                    self.start(&parse(response.get())?, events);
                }
                events.push(ModelEvent::Heartbeat);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                let response = event.response.ok_or_else(|| missing("response"))?;
                let response: Response<'_> = parse(response.get())?;
                let status = event.r#type.0.strip_prefix("response.").unwrap_or_default();
                return self.conclude(&response, status, events);
            }
            "error" => return Err(failed(event.error, frame)),
            "" if event.error.is_some() => return Err(failed(event.error, frame)),
            _ => {}
        }
        Ok(())
    }

    fn is_terminal(frame: &str) -> bool {
        parse::<Typed<'_>>(frame).is_ok_and(|event| {
            matches!(
                &*event.r#type.0,
                "response.completed" | "response.incomplete" | "response.failed" | "error"
            )
        })
    }

    fn document(&mut self, document: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        let response: Response<'_> = parse(document)?;
        let status = match (&*response.status.0, response.output) {
            ("", Some(_)) if response.error.is_none() => "completed",
            ("", _) => {
                return Err(match response.error {
                    Some(_) => failed(response.error, document),
                    None => Error::new(ErrorKind::Protocol, "the document is not an answer"),
                });
            }
            (status, _) => status,
        };
        self.start(&response, events);
        self.conclude(&response, status, events)
    }
}

/// Returns whether this version does not know the event, so that its fields may have another meaning.
fn is_foreign(frame: &str) -> bool {
    const KNOWN: &[&str] = &[
        "created",
        "queued",
        "in_progress",
        "completed",
        "incomplete",
        "failed",
        "output_item.added",
        "output_item.done",
        "output_text.delta",
        "refusal.delta",
        "function_call_arguments.delta",
        "reasoning_summary_text.delta",
        "reasoning_text.delta",
    ];
    parse::<Typed<'_>>(frame).is_ok_and(|event| {
        let name = event.r#type.0.strip_prefix("response.");
        event.r#type.0 != "error" && !name.is_some_and(|name| KNOWN.contains(&name))
    })
}

/// Parses the text of a delta.
fn delta_text(delta: Option<&RawValue>) -> Result<String> {
    let delta: Content = parse(delta.ok_or_else(|| missing("delta"))?.get())?;
    Ok(delta.text)
}

/// Converts the error of an event: a nested object, or the event itself.
fn failed(error: Option<&RawValue>, event: &str) -> Error {
    let error = match error.map(RawValue::get) {
        Some(error) if error != "null" => parse::<ErrorBody>(error),
        _ => parse::<ErrorBody>(event),
    };
    error.map_or_else(|error| error, |error| in_stream(&error))
}

fn missing(field: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("an event has no {field}"))
}

impl Responses {
    fn start(&mut self, response: &Response<'_>, events: &mut Vec<ModelEvent>) {
        if self.answer.is_none() && !response.id.is_empty() {
            let id = response.id.0.to_string();
            self.answer = Some(id.clone());
            let model = response.model.0.to_string();
            events.push(ModelEvent::Start { id, model });
        }
    }

    fn block(&mut self, kind: BlockKind, events: &mut Vec<ModelEvent>) -> u32 {
        let index = self.next;
        self.next += 1;
        events.push(ModelEvent::BlockStart { index, kind });
        index
    }

    fn find(&mut self, at: u32) -> Option<&mut Kind> {
        let open = self.open.iter_mut().rev().find(|open| open.at == at);
        open.map(|open| &mut open.kind)
    }

    fn begin(&mut self, at: u32, item: &RawValue, events: &mut Vec<ModelEvent>) -> Result<()> {
        // On servers that give all items the same index, the next item ends the previous one.
        self.close(at, events);
        self.any = true;
        let typed: Typed<'_> = parse(item.get())?;
        let kind = match &*typed.r#type.0 {
            "message" => Kind::Message(Vec::new()),
            "reasoning" => Kind::Thought {
                index: None,
                part: None,
            },
            "function_call" => {
                self.called = true;
                let item: Output<'_> = parse(item.get())?;
                self.call(&item, events)
            }
            other => Kind::Other(self.block(BlockKind::Other(other.to_owned()), events)),
        };
        self.open.push(Open { at, kind });
        Ok(())
    }

    fn call(&mut self, item: &Output<'_>, events: &mut Vec<ModelEvent>) -> Kind {
        let given = [&item.call_id, &item.id].into_iter();
        let id = match given.map(|id| &id.0).find(|id| !id.is_empty()) {
            Some(id) => id.to_string(),
            None => call_id(self.answer.as_deref().unwrap_or_default(), self.next),
        };
        let name = item.name.0.to_string();
        let index = (!parallel::is_wrapper(&name)).then(|| {
            let (id, name) = (id.clone(), name.clone());
            self.block(BlockKind::ToolCall { id, name }, events)
        });
        Kind::Call {
            id,
            name,
            index,
            delta_text: false,
            held: String::new(),
        }
    }

    fn text(&mut self, at: u32, part: Option<u32>, delta: String, events: &mut Vec<ModelEvent>) {
        let part = part.unwrap_or(0);
        if delta.is_empty() {
            return;
        }
        if self.find(at).is_none() {
            self.any = true;
            let kind = Kind::Message(Vec::new());
            self.open.push(Open { at, kind });
        }
        let next = self.next;
        let Some(Kind::Message(parts)) = self.find(at) else {
            return;
        };
        let index = match parts.iter().find(|(place, _)| *place == part) {
            Some((_, index)) => *index,
            None => {
                parts.push((part, next));
                self.block(BlockKind::Text, events)
            }
        };
        events.push(ModelEvent::Text { index, delta });
    }

    fn arguments(&mut self, at: u32, delta: String, events: &mut Vec<ModelEvent>) {
        let Some(Kind::Call {
            index,
            delta_text,
            held,
            ..
        }) = self.find(at)
        else {
            return;
        };
        if delta.is_empty() {
            return;
        }
        *delta_text = true;
        match *index {
            Some(index) => events.push(ModelEvent::ToolArguments { index, delta }),
            None => held.push_str(&delta),
        }
    }

    fn thought(
        &mut self,
        at: u32,
        part: (bool, u32),
        mut delta: String,
        events: &mut Vec<ModelEvent>,
    ) {
        let next = self.next;
        let Some(Kind::Thought { index, part: last }) = self.find(at) else {
            return;
        };
        if delta.is_empty() {
            return;
        }
        if last.replace(part).is_some_and(|last| last != part) {
            delta.insert_str(0, "\n\n");
        }
        let begins = index.is_none();
        let index = *index.get_or_insert(next);
        if begins {
            self.block(BlockKind::Reasoning, events);
        }
        events.push(ModelEvent::Reasoning { index, delta });
    }

    /// Ends an item. Content that did not arrive in deltas is taken from the complete item.
    fn end(&mut self, at: u32, item: &RawValue, events: &mut Vec<ModelEvent>) -> Result<()> {
        if self.find(at).is_none() {
            self.begin(at, item, events)?;
        }
        match self.find(at) {
            Some(Kind::Message(parts)) => {
                let begun: Vec<u32> = parts.iter().map(|(place, _)| *place).collect();
                let item: Output<'_> = parse(item.get())?;
                for (place, part) in (0..).zip(item.content) {
                    if !begun.contains(&place) {
                        self.refused |= !part.refusal.text.is_empty();
                        self.text(at, Some(place), part.text.text, events);
                        self.text(at, Some(place), part.refusal.text, events);
                    }
                }
            }
            Some(Kind::Call {
                delta_text: false, ..
            }) => {
                let item: Output<'_> = parse(item.get())?;
                self.arguments(at, item.arguments.0, events);
            }
            Some(Kind::Thought { .. }) => self.end_thought(at, item, events)?,
            _ => {}
        }
        self.close(at, events);
        Ok(())
    }

    fn end_thought(
        &mut self,
        at: u32,
        item: &RawValue,
        events: &mut Vec<ModelEvent>,
    ) -> Result<()> {
        let whole: Output<'_> = parse(item.get())?;
        if matches!(self.find(at), Some(Kind::Thought { part: None, .. })) {
            for (summary, parts) in [(true, whole.summary), (false, whole.content)] {
                for (place, part) in (0..).zip(parts) {
                    self.thought(at, (summary, place), part.text.text, events);
                }
            }
        }
        // Reasoning without its encrypted form cannot be sent back.
        if whole.encrypted_content.is_empty() {
            return Ok(());
        }
        let next = self.next;
        let Some(Kind::Thought { index, .. }) = self.find(at) else {
            return Ok(());
        };
        let begins = index.is_none();
        let index = *index.get_or_insert(next);
        if begins {
            self.block(BlockKind::Reasoning, events);
        }
        events.push(ModelEvent::Signature {
            index,
            signature: item.get().to_owned(),
            origin: None,
        });
        Ok(())
    }

    /// Ends the blocks of an item.
    fn close(&mut self, at: u32, events: &mut Vec<ModelEvent>) {
        let Some(found) = self.open.iter().rposition(|open| open.at == at) else {
            return;
        };
        let end = |index| ModelEvent::BlockEnd { index };
        match self.open.remove(found).kind {
            Kind::Message(parts) => events.extend(parts.into_iter().map(|(_, index)| end(index))),
            Kind::Thought { index, .. } => events.extend(index.map(end)),
            Kind::Other(index) => events.push(end(index)),
            Kind::Call {
                index: Some(index),
                delta_text,
                ..
            } => {
                if !delta_text {
                    let delta = "{}".into();
                    events.push(ModelEvent::ToolArguments { index, delta });
                }
                events.push(end(index));
            }
            Kind::Call { id, name, held, .. } => match parallel::unwrap(&held) {
                Some(calls) => {
                    for (number, (name, arguments)) in calls.into_iter().enumerate() {
                        self.whole_call(format!("{id}_{number}"), name, arguments, events);
                    }
                }
                None if held.trim().is_empty() => self.whole_call(id, name, "{}".into(), events),
                None => self.whole_call(id, name, held, events),
            },
        }
    }

    fn whole_call(
        &mut self,
        id: String,
        name: String,
        delta: String,
        events: &mut Vec<ModelEvent>,
    ) {
        let index = self.block(BlockKind::ToolCall { id, name }, events);
        events.push(ModelEvent::ToolArguments { index, delta });
        events.push(ModelEvent::BlockEnd { index });
    }

    /// Processes the complete response, which contains the finish reason.
    fn conclude(
        &mut self,
        response: &Response<'_>,
        status: &str,
        events: &mut Vec<ModelEvent>,
    ) -> Result<()> {
        self.start(response, events);
        // If no item arrived separately, the output contains all of them. Some servers omit the output because they already sent
        // it.
        if let (Some(output), false) = (response.output, self.any) {
            let output: Option<Vec<&RawValue>> = parse(output.get())?;
            for (at, item) in (0..).zip(output.into_iter().flatten()) {
                self.end(at, item, events)?;
            }
        }
        while let Some(Open { at, .. }) = self.open.first() {
            self.close(*at, events);
        }
        events.extend(
            response
                .usage
                .map(|usage| ModelEvent::Usage(usage_of(usage))),
        );
        let finish = match status {
            "completed" if self.called => Finish::ToolCalls,
            "completed" if self.refused => Finish::Refusal,
            "completed" => Finish::Stop,
            "incomplete" => match &*response.incomplete_details.reason.0 {
                // An incomplete answer without a reason was cut off, too.
                "max_output_tokens" | "max_tokens" | "" => Finish::Length,
                "content_filter" => Finish::ContentFilter,
                other => Finish::Other(other.into()),
            },
            "failed" => return Err(failed(response.error, "{}")),
            other => {
                let message = format!("the answer ended with the status {other}");
                return Err(Error::new(ErrorKind::Truncated, message));
            }
        };
        events.push(ModelEvent::Finish(finish));
        Ok(())
    }
}

/// Makes the counts disjoint: in this API the input tokens include the cached ones.
fn usage_of(usage: wire::Usage) -> Usage {
    let details = usage.input_tokens_details;
    let (output, reasoning) = without_reasoning(
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
        usage.total_tokens.checked_sub(usage.input_tokens),
    );
    Usage {
        input: uncached(
            usage.input_tokens,
            details.cached_tokens,
            details.cache_write_tokens,
        ),
        cache_read: details.cached_tokens,
        cache_write_5m: details.cache_write_tokens,
        output,
        reasoning,
        ..Usage::default()
    }
}
