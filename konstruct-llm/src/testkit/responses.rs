//! Encodes a reply in the frames of OpenAI's Responses.

use serde_json::{Value, json};

use super::{
    Reply,
    frames::{calls, halves},
};

/// Returns the whole answer as one document.
pub(super) fn document(model: &str, number: usize, reply: &Reply) -> Value {
    let output = items(number, reply);
    response(model, number, reply, ("completed", &output))
}

/// Returns the events, `response.completed` last.
pub(super) fn frames(model: &str, number: usize, reply: &Reply) -> Vec<String> {
    let begun = response(model, number, reply, ("in_progress", &[]));
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
    ];
    let items = items(number, reply);
    for (at, item) in items.iter().enumerate() {
        let mut begun = item.clone();
        begun["status"] = json!("in_progress");
        let id = &item["id"];
        let place = |kind: &str, more: Value| {
            let mut event = json!({"type": kind, "item_id": id, "output_index": at});
            if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
                event.extend(more);
            }
            event
        };
        let added = |begun: Value| json!({"type": "response.output_item.added", "output_index": at, "item": begun});
        if item["type"] == "message" {
            let part = |text: &str| json!({"content_index": 0, "part": {"type": "output_text", "text": text, "annotations": []}});
            begun["content"] = json!([]);
            events.push(added(begun));
            events.push(place("response.content_part.added", part("")));
            for word in reply.text.split_inclusive(' ') {
                let delta = json!({"content_index": 0, "delta": word, "logprobs": []});
                events.push(place("response.output_text.delta", delta));
            }
            let whole = json!({"content_index": 0, "text": reply.text, "logprobs": []});
            events.push(place("response.output_text.done", whole));
            events.push(place("response.content_part.done", part(&reply.text)));
        } else {
            begun["arguments"] = json!("");
            events.push(added(begun));
            let arguments = item["arguments"].as_str().unwrap_or_default();
            for part in halves(arguments) {
                let delta = json!({"delta": part});
                events.push(place("response.function_call_arguments.delta", delta));
            }
            let whole = json!({"name": item["name"], "arguments": arguments});
            events.push(place("response.function_call_arguments.done", whole));
        }
        events.push(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
    }
    let whole = response(model, number, reply, ("completed", &items));
    events.push(json!({"type": "response.completed", "response": whole}));
    let numbered = events.into_iter().enumerate().map(|(at, mut event)| {
        event["sequence_number"] = json!(at);
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    });
    numbered.collect()
}

fn items(number: usize, reply: &Reply) -> Vec<Value> {
    let mut items = Vec::new();
    if !reply.text.is_empty() {
        items.push(json!({
            "type": "message", "id": format!("msg_{number}"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}],
        }));
    }
    items.extend(calls(number, reply).map(|(id, name, arguments)| {
        json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name, "arguments": arguments,
            "status": "completed"})
    }));
    items
}

fn response(
    model: &str,
    number: usize,
    reply: &Reply,
    (status, output): (&str, &[Value]),
) -> Value {
    let (input, out) = reply.usage;
    let usage = json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + out,
    });
    json!({
        "id": format!("resp_{number}"), "object": "response", "created_at": 0, "status": status, "model": model,
        "output": output, "usage": if status == "completed" { usage } else { Value::Null },
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
        "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [], "store": false,
    })
}
