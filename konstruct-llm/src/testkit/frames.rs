//! Encodes a reply in the frames of each wire format.

use serde_json::{Value, json};

use super::{Reply, responses};

/// The wire format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Responses,
    Anthropic,
    Ollama,
}

impl Dialect {
    /// The content type of its streams.
    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Ollama => "application/x-ndjson",
            _ => "text/event-stream",
        }
    }

    /// Returns the frames of a reply, the terminal one last. `number` distinguishes the calls of one server.
    pub(super) fn frames(self, model: &str, number: usize, reply: &Reply) -> Vec<String> {
        match self {
            Self::OpenAi => openai(model, number, reply),
            Self::Responses => responses::frames(model, number, reply),
            Self::Anthropic => anthropic(model, number, reply),
            Self::Ollama => ollama(model, reply),
        }
    }

    /// Returns the whole answer as one document for a request without streaming.
    pub(super) fn document(self, model: &str, number: usize, reply: &Reply) -> Value {
        let (input, output) = reply.usage;
        match self {
            Self::OpenAi => {
                let calls: Vec<Value> = calls(number, reply)
                    .map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
                    .collect();
                let reason = if calls.is_empty() {
                    "stop"
                } else {
                    "tool_calls"
                };
                json!({"id": format!("chatcmpl-{number}"), "object": "chat.completion", "created": 0, "model": model,
                    "choices": [{"index": 0, "finish_reason": reason,
                        "message": {"role": "assistant", "content": reply.text, "tool_calls": calls}}],
                    "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}})
            }
            Self::Responses => responses::document(model, number, reply),
            Self::Anthropic => {
                let mut content = vec![json!({"type": "text", "text": reply.text})];
                content.extend(calls(number, reply).map(|(id, name, arguments)| {
                    json!({"type": "tool_use", "id": id, "name": name, "input": object(arguments)})
                }));
                let reason = if reply.calls.is_empty() {
                    "end_turn"
                } else {
                    "tool_use"
                };
                json!({"type": "message", "id": format!("msg_{number}"), "role": "assistant", "model": model,
                    "content": content, "stop_reason": reason, "usage": {"input_tokens": input, "output_tokens": output}})
            }
            Self::Ollama => {
                json!({"model": model, "created_at": "2026-01-01T00:00:00Z", "done": true, "done_reason": "stop",
                "message": {"role": "assistant", "content": reply.text, "tool_calls": ollama_calls(reply)},
                "prompt_eval_count": input, "eval_count": output})
            }
        }
    }

    /// Encodes the same events in the strangest framing that the format allows, split into single bytes.
    pub(super) fn oddly(self, frames: &[String]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for frame in frames {
            let text = match self {
                Self::Ollama => format!("\r\n{}\r\n", frame.trim_end()),
                _ => {
                    let frame = frame.trim_end().replace("data: ", "data:");
                    format!(
                        ": keep-alive\r\n\r\n{}\r\n\r\n",
                        frame.replace('\n', "\r\n")
                    )
                }
            };
            bytes.extend_from_slice(text.as_bytes());
        }
        // The last event lacks its terminator.
        while bytes.ends_with(b"\r\n") {
            bytes.truncate(bytes.len() - 2);
        }
        bytes.into_iter().map(|byte| vec![byte]).collect()
    }

    /// Returns a frame that is not JSON.
    pub(super) fn malformed(self) -> String {
        self.frame("{\"choices\": [{]")
    }

    /// Returns the provider's own error event.
    pub(super) fn error(self) -> String {
        let named = |json: &str| format!("event: error\n{}", self.frame(json));
        match self {
            Self::OpenAi => self.frame(
                r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
            ),
            Self::Responses => named(
                r#"{"type":"error","code":"server_error","message":"The server had an error","param":null,"sequence_number":0}"#,
            ),
            Self::Anthropic => named(
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            ),
            Self::Ollama => {
                self.frame(r#"{"error":"an error was encountered while running the model"}"#)
            }
        }
    }

    fn frame(self, json: &str) -> String {
        match self {
            Self::Ollama => format!("{json}\n"),
            _ => format!("data: {json}\n\n"),
        }
    }
}

pub(super) fn calls(number: usize, reply: &Reply) -> impl Iterator<Item = (String, &str, &str)> {
    let calls = reply.calls.iter().enumerate();
    calls.map(move |(at, (name, arguments))| {
        (
            format!("call_{number}_{at}"),
            name.as_str(),
            arguments.as_str(),
        )
    })
}

fn object(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| json!({}))
}

fn ollama_calls(reply: &Reply) -> Vec<Value> {
    let calls = reply.calls.iter();
    calls
        .map(
            |(name, arguments)| json!({"function": {"name": name, "arguments": object(arguments)}}),
        )
        .collect()
}

/// Splits a text in two at a character boundary, as streams split arguments anywhere.
pub(super) fn halves(text: &str) -> [&str; 2] {
    let middle = (0..=text.len() / 2)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let (head, tail) = text.split_at(middle.unwrap_or(0));
    [head, tail]
}

fn openai(model: &str, number: usize, reply: &Reply) -> Vec<String> {
    let (input, output) = reply.usage;
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": format!("chatcmpl-{number}"), "object": "chat.completion.chunk",
            "created": 0, "model": model, "choices": choices, "usage": usage});
        Dialect::OpenAi.frame(&chunk.to_string())
    };
    let delta = |delta: Value, reason: Value| {
        chunk(
            json!([{"index": 0, "delta": delta, "finish_reason": reason}]),
            Value::Null,
        )
    };
    let mut frames = vec![delta(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    for word in reply.text.split_inclusive(' ') {
        frames.push(delta(json!({"content": word}), Value::Null));
    }
    for (at, (id, name, arguments)) in calls(number, reply).enumerate() {
        let begin = json!({"index": at, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
        frames.push(delta(json!({"tool_calls": [begin]}), Value::Null));
        for part in halves(arguments) {
            let more = json!({"index": at, "function": {"arguments": part}});
            frames.push(delta(json!({"tool_calls": [more]}), Value::Null));
        }
    }
    let reason = if reply.calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    frames.push(delta(json!({}), json!(reason)));
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    frames.push(chunk(json!([]), usage));
    frames.push("data: [DONE]\n\n".into());
    frames
}

fn anthropic(model: &str, number: usize, reply: &Reply) -> Vec<String> {
    let (input, output) = reply.usage;
    let event = |value: Value| {
        let name = value["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {value}\n\n")
    };
    let mut frames = vec![event(
        json!({"type": "message_start", "message": {"id": format!("msg_{number}"),
        "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": null,
        "usage": {"input_tokens": input, "output_tokens": 1}}}),
    )];
    let mut index = 0;
    let mut block = |begin: Value, deltas: Vec<Value>| {
        frames.push(event(
            json!({"type": "content_block_start", "index": index, "content_block": begin}),
        ));
        for delta in deltas {
            frames.push(event(
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ));
        }
        frames.push(event(json!({"type": "content_block_stop", "index": index})));
        index += 1;
    };
    if !reply.text.is_empty() {
        let words = reply.text.split_inclusive(' ');
        let deltas = words.map(|word| json!({"type": "text_delta", "text": word}));
        block(json!({"type": "text", "text": ""}), deltas.collect());
    }
    for (id, name, arguments) in calls(number, reply) {
        let parts =
            halves(arguments).map(|part| json!({"type": "input_json_delta", "partial_json": part}));
        block(
            json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            parts.to_vec(),
        );
    }
    let reason = if reply.calls.is_empty() {
        "end_turn"
    } else {
        "tool_use"
    };
    frames.push(event(
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": output}}),
    ));
    frames.push(event(json!({"type": "message_stop"})));
    frames
}

fn ollama(model: &str, reply: &Reply) -> Vec<String> {
    let (input, output) = reply.usage;
    let line = |message: Value| {
        let line = json!({"model": model, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": false});
        Dialect::Ollama.frame(&line.to_string())
    };
    let mut frames: Vec<String> = Vec::new();
    for word in reply.text.split_inclusive(' ') {
        frames.push(line(json!({"role": "assistant", "content": word})));
    }
    for call in ollama_calls(reply) {
        frames.push(line(
            json!({"role": "assistant", "content": "", "tool_calls": [call]}),
        ));
    }
    let last = json!({"model": model, "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": "stop", "prompt_eval_count": input, "eval_count": output});
    frames.push(Dialect::Ollama.frame(&last.to_string()));
    frames
}
