//! Requests and answers in the format of the conventions. Recorded only if the operator enables it.

use konstruct_core::llm::{ModelMessage, ModelRequest, Part, Role};
use serde_json::{Value, json};

/// Serializes the messages of a request.
pub(super) fn input(request: &ModelRequest) -> String {
    let told = request.clone().told();
    let messages: Vec<Value> = told.messages.iter().map(message).collect();
    Value::from(messages).to_string()
}

/// Serializes the system text of a request.
pub(super) fn system(request: &ModelRequest) -> String {
    json!([{ "type": "text", "content": request.system }]).to_string()
}

/// Serializes an answer.
pub(super) fn output(parts: &[Part], finish: &str) -> String {
    let parts: Vec<Value> = parts.iter().map(part).collect();
    json!([{ "role": "assistant", "parts": parts, "finish_reason": finish }]).to_string()
}

fn message(message: &ModelMessage) -> Value {
    let role = match message.role {
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        _ => "user",
    };
    let parts: Vec<Value> = message.parts.iter().map(part).collect();
    json!({ "role": role, "parts": parts })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text { text } => json!({ "type": "text", "content": text }),
        Part::Reasoning { text, .. } => json!({ "type": "reasoning", "content": text }),
        Part::ToolCall(call) => json!({
            "type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments,
        }),
        Part::ToolResult { id, content, .. } => {
            json!({ "type": "tool_call_response", "id": id, "response": content })
        }
        Part::Image(media) | Part::Audio(media) => {
            json!({ "type": "blob", "mime_type": media.media_type, "size": media.data.len() })
        }
        _ => json!({ "type": "other" }),
    }
}
