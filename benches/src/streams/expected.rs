//! The content of a recording, parsed as plain JSON without the codecs.

use konstruct_core::{llm::Finish, money::Usage};
use serde_json::Value;

use super::Wire;

/// The expected result of decoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// The provider's finish reason, if it gave one.
    pub reason: Option<String>,
    /// Whether it called a tool of ours, on a wire whose reason need not show it.
    pub called: bool,
    /// Whether it refused.
    pub refused: bool,
    /// Tokens: all input, the cached part of it, all output, the reasoning part of it.
    pub usage: Option<[u64; 4]>,
    /// Why it must be an error.
    pub error: Option<String>,
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

impl Expected {
    /// Parses the data of a stream's events.
    pub fn of_stream(wire: Wire, data: &[String]) -> Self {
        let mut expected = Self::default();
        let mut snapshot = Value::Null;
        for (at, data) in data.iter().enumerate() {
            if data == "[DONE]" {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Value>(data) else {
                expected.error = Some(format!("event {at} is not JSON"));
                return expected;
            };
            match wire {
                Wire::Chat => expected.chat(&event, "delta"),
                Wire::Responses => expected.responses(&event),
                Wire::Messages => expected.messages(&event, &mut snapshot),
                Wire::Ollama => expected.ollama(&event),
            }
            if expected.error.is_some() {
                return expected;
            }
        }
        if expected.reason.is_none() && wire == Wire::Chat && expected.called {
            // Some servers omit the reason.
            expected.reason = Some("tool_calls".into());
        }
        if expected.reason.is_none() {
            expected.error = Some("it has no finish reason".into());
        }
        expected
    }

    /// Parses an answer in one document.
    pub fn of_document(wire: Wire, document: &Value) -> Self {
        let mut expected = Self::default();
        match wire {
            Wire::Chat => expected.chat(document, "message"),
            Wire::Responses => expected.response(document),
            Wire::Messages => {
                expected.reason = document["stop_reason"].as_str().map(str::to_owned);
                expected.tokens(&document["usage"]);
                if document["type"] == "error" {
                    expected.error = Some(document["error"].to_string());
                }
            }
            Wire::Ollama => expected.ollama(document),
        }
        if wire != Wire::Messages && document["error"].is_object() {
            expected.error = Some(document["error"].to_string());
        }
        if expected.error.is_none() && expected.reason.is_none() {
            expected.error = Some("it has no finish reason".into());
        }
        expected
    }

    fn chat(&mut self, event: &Value, part: &str) {
        if !event["error"].is_null() {
            self.error = Some(event["error"].to_string());
        }
        for choice in event["choices"].as_array().into_iter().flatten() {
            if number(&choice["index"]) != 0 {
                continue;
            }
            let said = &choice[part];
            self.called |= said["tool_calls"]
                .as_array()
                .is_some_and(|calls| !calls.is_empty());
            self.refused |= said["refusal"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.reason = Some(reason.to_owned());
            }
        }
        let usage = &event["usage"];
        if usage.is_object() {
            self.usage = Some([
                number(&usage["prompt_tokens"]),
                number(&usage["prompt_tokens_details"]["cached_tokens"])
                    .max(number(&usage["prompt_cache_hit_tokens"])),
                number(&usage["completion_tokens"]),
                number(&usage["completion_tokens_details"]["reasoning_tokens"]),
            ]);
        }
    }

    fn responses(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "error" | "response.failed" => self.error = Some(event.to_string()),
            "response.output_item.done" => self.item(&event["item"]),
            "response.refusal.delta" => self.refused = true,
            "response.completed" | "response.incomplete" => self.response(&event["response"]),
            _ => {}
        }
    }

    fn item(&mut self, item: &Value) {
        self.called |= item["type"] == "function_call";
        for part in item["content"].as_array().into_iter().flatten() {
            self.refused |= part["type"] == "refusal";
        }
    }

    fn response(&mut self, response: &Value) {
        for item in response["output"].as_array().into_iter().flatten() {
            self.item(item);
        }
        let incomplete = response["incomplete_details"]["reason"].as_str();
        let status = response["status"].as_str();
        self.reason = incomplete.or(status).map(str::to_owned);
        if status == Some("failed") {
            self.error = Some(response["error"].to_string());
        }
        let usage = &response["usage"];
        if usage.is_object() {
            self.usage = Some([
                number(&usage["input_tokens"]),
                number(&usage["input_tokens_details"]["cached_tokens"]),
                number(&usage["output_tokens"]),
                number(&usage["output_tokens_details"]["reasoning_tokens"]),
            ]);
        }
    }

    fn messages(&mut self, event: &Value, snapshot: &mut Value) {
        match event["type"].as_str().unwrap_or_default() {
            "error" => self.error = Some(event["error"].to_string()),
            "message_start" => {
                let message = &event["message"];
                if !snapshot["id"].is_null() && snapshot["id"] != message["id"] {
                    // The answer begins again.
                    *self = Self::default();
                    *snapshot = Value::Null;
                }
                if snapshot.is_null() {
                    *snapshot = serde_json::json!({ "id": message["id"], "usage": {} });
                }
                merge(&mut snapshot["usage"], &message["usage"]);
                // A message from elsewhere arrives complete.
                self.reason = message["stop_reason"].as_str().map(str::to_owned);
            }
            "message_delta" => {
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.reason = Some(reason.to_owned());
                }
                merge(&mut snapshot["usage"], &event["usage"]);
            }
            _ => {}
        }
        self.tokens(&snapshot["usage"]);
    }

    fn tokens(&mut self, usage: &Value) {
        if usage.as_object().is_some_and(|usage| !usage.is_empty()) {
            let read = number(&usage["cache_read_input_tokens"]);
            let written = number(&usage["cache_creation_input_tokens"]);
            self.usage = Some([
                number(&usage["input_tokens"]) + read + written,
                read,
                number(&usage["output_tokens"]),
                number(&usage["output_tokens_details"]["thinking_tokens"]),
            ]);
        }
    }

    fn ollama(&mut self, line: &Value) {
        if !line["error"].is_null() {
            self.error = Some(line["error"].to_string());
        }
        let calls = line["message"]["tool_calls"].as_array();
        self.called |= calls.is_some_and(|calls| !calls.is_empty());
        if line["done"] == true {
            let reason = line["done_reason"].as_str();
            self.reason = reason
                .filter(|reason| !reason.is_empty())
                .map(str::to_owned);
            let tokens = [
                number(&line["prompt_eval_count"]),
                number(&line["eval_count"]),
            ];
            self.usage = Some([tokens[0], 0, tokens[1], 0]);
        }
    }

    /// Describes the differences of a finish and its usage from the recording.
    pub fn differs(&self, finish: &Finish, usage: Option<&Usage>) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(format!("finishes, though {error}"));
        }
        let reason = self.reason.as_deref().unwrap_or_default();
        let allowed = match finish {
            Finish::ToolCalls => self.called || reason == "tool_use",
            Finish::Refusal => self.refused || reason == "refusal",
            Finish::Length => matches!(
                reason,
                "length" | "max_tokens" | "max_output_tokens" | "model_length" | "incomplete"
            ),
            Finish::ContentFilter => reason == "content_filter",
            Finish::Pause => reason == "pause_turn",
            Finish::StopSequence => reason == "stop_sequence",
            Finish::ContextWindow => reason == "model_context_window_exceeded",
            Finish::Stop => {
                !self.called
                    && matches!(reason, "stop" | "end_turn" | "completed" | "stop_sequence")
            }
            Finish::Other(other) => other == reason,
            _ => false,
        };
        if !allowed {
            return Some(format!("finishes as {finish:?}, recorded as {reason:?}"));
        }
        let found = usage.map(|usage| {
            [
                usage.all_input(),
                usage.cache_read,
                usage.all_output(),
                usage.reasoning,
            ]
        });
        (found.unwrap_or_default() != self.usage.unwrap_or_default())
            .then(|| format!("reports {found:?}, recorded are {:?}", self.usage))
    }
}

/// Merges a later snapshot; missing fields stay.
fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        if !value.is_null() {
            into[key] = value.clone();
        }
    }
}
