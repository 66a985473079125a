//! Converts wire events, or a whole response document, into [`ModelEvent`]s.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{BlockKind, Finish, ModelEvent},
    money::Usage,
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    client::in_stream,
    wire::{self, AnyEvent, Delta, DeltaKind, Document, Event, EventKind, Start},
};
use crate::{
    codec::{Wire, call_id, parse},
    lenient::without_reasoning,
    sse::SseFrames,
};

/// Prefix of a signature that holds the data of a `redacted_thinking` block, which must be sent back unchanged.
pub(super) const REDACTED: &str = "redacted:";

/// Decodes a stream of Messages events. The terminal event is `message_stop`.
///
/// A gateway that retries internally may splice a second `message_start` into a stream. Before any text was yielded, that is a
/// [`ModelEvent::Restart`]; after text it is [`ErrorKind::Truncated`], because the yielded answer never ended.
#[derive(Debug, Default)]
pub struct Messages {
    answer: Option<String>,
    open: Vec<Open>,
    /// The index of the next block, if the wire has none.
    next: u32,
    said: bool,
    usage: wire::Usage,
    reason: Option<String>,
}

/// A block that has started and not ended.
#[derive(Debug)]
struct Open {
    index: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thinking,
    /// With the input from the block's start, which is used when no delta follows.
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
            // Some gateways append `[DONE]`; it has no meaning in this API.
            return Ok(());
        }
        let event: Event = match parse(frame) {
            Ok(event) => event,
            Err(_) if is_foreign(frame) => return Ok(()),
            Err(error) => return Err(error),
        };
        match event.r#type {
            EventKind::MessageStart => {
                let start = event.message.ok_or_else(|| missing("message"))?;
                return self.start(start, events);
            }
            EventKind::ContentBlockStart => {
                let block = event
                    .content_block
                    .ok_or_else(|| missing("content_block"))?;
                let index = event.index.unwrap_or(self.next);
                return self.begin(index, &block, events);
            }
            EventKind::ContentBlockDelta => {
                let delta = event.delta.ok_or_else(|| missing("delta"))?;
                let index = self.index(event.index);
                return self.delta(index, delta, events);
            }
            EventKind::ContentBlockStop => {
                let at = self.at(self.index(event.index))?;
                self.end(at, events);
            }
            EventKind::MessageDelta => {
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                let told = self.reason.take().filter(|reason| !reason.is_empty());
                self.reason = reason
                    .filter(|reason| !reason.is_empty() || told.is_none())
                    .or(told);
                self.usage(event.usage, events);
            }
            EventKind::MessageStop => {
                while !self.open.is_empty() {
                    self.end(0, events);
                }
                events.push(ModelEvent::Finish(self.finish()?));
            }
            EventKind::Ping => events.push(ModelEvent::Heartbeat),
            EventKind::Error => return Err(in_stream(&event.error.unwrap_or_default())),
            EventKind::Unknown => {}
        }
        Ok(())
    }

    /// The answer is complete once it has a `stop_reason` and every block has ended; some gateways omit `message_stop`.
    fn end(&mut self, events: &mut Vec<ModelEvent>) -> Result<()> {
        if self.reason.is_some() && self.open.is_empty() {
            events.push(ModelEvent::Finish(self.finish()?));
        }
        Ok(())
    }

    fn document(&mut self, body: &str, events: &mut Vec<ModelEvent>) -> Result<()> {
        let document: Document = parse(body)?;
        if let Some(error) = document.error {
            return Err(in_stream(&error));
        }
        let message = document.message;
        match document.r#type.as_deref() {
            Some("message") => {}
            None if message.stop_reason.is_some() || !message.content.is_empty() => {}
            _ => {
                let problem = "the document is not an answer";
                return Err(Error::new(ErrorKind::Protocol, problem));
            }
        }
        self.start(message, events)?;
        events.push(ModelEvent::Finish(self.finish()?));
        Ok(())
    }

    fn is_terminal(frame: &str) -> bool {
        parse::<Event>(frame).is_ok_and(|event| event.r#type == EventKind::MessageStop)
    }
}

/// Returns whether this version does not know the event, so that its fields may have another meaning.
fn is_foreign(frame: &str) -> bool {
    parse::<AnyEvent>(frame).is_ok_and(|event| {
        let delta = DeltaKind::deserialize(&event.delta["type"]);
        event.r#type == EventKind::Unknown || delta.is_ok_and(|kind| kind == DeltaKind::Unknown)
    })
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
                    "a second answer started in the middle of the first",
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
        for (index, block) in (0..).zip(&message.content) {
            self.begin(index, block, events)?;
            self.end(0, events);
        }
        // At the start of a stream, an empty reason only means that there is none yet.
        let whole = !message.content.is_empty();
        let reason = message.stop_reason;
        self.reason = reason.filter(|reason| whole || !reason.is_empty());
        Ok(())
    }

    /// Begins a block. In a document, the block's whole content is already present.
    fn begin(&mut self, index: u32, block: &Value, events: &mut Vec<ModelEvent>) -> Result<()> {
        if self.at(index).is_ok() {
            return Err(protocol("a block starts twice, index", index));
        }
        let text = |name: &str| block[name].as_str().filter(|text| !text.is_empty());
        let (kind, shown) = match text("type") {
            Some("text") => (Kind::Text, BlockKind::Text),
            Some("thinking" | "redacted_thinking") => (Kind::Thinking, BlockKind::Reasoning),
            Some("tool_use") => {
                let input = match &block["input"] {
                    Value::Null => None,
                    Value::Object(object) if object.is_empty() => None,
                    input => Some(input.clone()),
                };
                let answer = self.answer.as_deref().unwrap_or_default();
                let id = text("id").map_or_else(|| call_id(answer, index), str::to_owned);
                let name = text("name").unwrap_or_default().to_owned();
                let began = false;
                (
                    Kind::Tool { input, began },
                    BlockKind::ToolCall { id, name },
                )
            }
            Some(other) => (Kind::Other, BlockKind::Other(other.to_owned())),
            None => return Err(protocol("a block has no type, index", index)),
        };
        events.push(ModelEvent::BlockStart { index, kind: shown });
        match &kind {
            Kind::Text => {
                let delta = text("text").map(str::to_owned);
                self.said |= delta.is_some();
                events.extend(delta.map(|delta| ModelEvent::Text { index, delta }));
            }
            Kind::Thinking => {
                events.extend(text("thinking").map(|delta| ModelEvent::Reasoning {
                    index,
                    delta: delta.to_owned(),
                }));
                let redacted = text("data").map(|data| format!("{REDACTED}{data}"));
                let signed = redacted.or_else(|| text("signature").map(str::to_owned));
                events.extend(signed.map(|it| signature(index, it)));
            }
            _ => {}
        }
        self.next = self.next.max(index.saturating_add(1));
        self.open.push(Open { index, kind });
        Ok(())
    }

    fn delta(&mut self, index: u32, delta: Delta, events: &mut Vec<ModelEvent>) -> Result<()> {
        let at = self.at(index)?;
        let Some(said) = delta.r#type else {
            return Err(protocol("a delta has no type, index", index));
        };
        let full = |delta: Option<String>| delta.filter(|delta| !delta.is_empty());
        let event = match (&mut self.open[at].kind, said) {
            // Deltas added by later API versions, and blocks that are not read here.
            (Kind::Other, _) | (_, DeltaKind::Unknown) => None,
            (Kind::Text, DeltaKind::TextDelta) => {
                let text = full(delta.text);
                self.said |= text.is_some();
                text.map(|delta| ModelEvent::Text { index, delta })
            }
            (Kind::Thinking, DeltaKind::ThinkingDelta) => {
                full(delta.thinking).map(|delta| ModelEvent::Reasoning { index, delta })
            }
            (Kind::Thinking, DeltaKind::SignatureDelta) => {
                full(delta.signature).map(|it| signature(index, it))
            }
            (Kind::Tool { began, .. }, DeltaKind::InputJsonDelta) => {
                let json = full(delta.partial_json);
                *began |= json.is_some();
                json.map(|delta| ModelEvent::ToolArguments { index, delta })
            }
            _ => {
                return Err(protocol(
                    "a delta does not match its block's type, index",
                    index,
                ));
            }
        };
        events.extend(event);
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

    /// Returns the index of an event, or of the last open block if it is missing.
    fn index(&self, index: Option<u32>) -> u32 {
        index.unwrap_or_else(|| self.open.last().map_or(0, |open| open.index))
    }

    fn at(&self, index: u32) -> Result<usize> {
        self.open
            .iter()
            .position(|open| open.index == index)
            .ok_or_else(|| protocol("an event refers to a block that is not open, index", index))
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
            // A gateway that does not know the reason leaves it empty.
            "end_turn" | "" => Finish::Stop,
            "stop_sequence" => Finish::StopSequence,
            "max_tokens" => Finish::Length,
            "tool_use" => Finish::ToolCalls,
            "pause_turn" => Finish::Pause,
            "refusal" => Finish::Refusal,
            "model_context_window_exceeded" => Finish::ContextWindow,
            _ => Finish::Other(reason),
        })
    }
}

fn signature(index: u32, signature: String) -> ModelEvent {
    ModelEvent::Signature {
        index,
        signature,
        origin: None,
    }
}

/// Converts the last usage snapshot. The total of the cache writes arrives later than its split, so tokens missing from the split
/// count as five-minute writes.
fn usage_of(usage: wire::Usage) -> Usage {
    let split = usage.cache_creation.unwrap_or_default();
    let hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
    let five = split.ephemeral_5m_input_tokens.unwrap_or(0);
    let written = usage.cache_creation_input_tokens.unwrap_or(0);
    let thinking = usage
        .output_tokens_details
        .and_then(|details| details.thinking_tokens)
        .unwrap_or(0);
    let (output, reasoning) = without_reasoning(usage.output_tokens.unwrap_or(0), thinking, None);
    Usage {
        input: usage.input_tokens.unwrap_or(0),
        cache_read: usage.cache_read_input_tokens.unwrap_or(0),
        cache_write_5m: five.max(written.saturating_sub(hour)),
        cache_write_1h: hour,
        output,
        reasoning,
    }
}

fn missing(field: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("an event has no {field}"))
}

fn protocol(what: &str, index: u32) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what}: {index}"))
}
