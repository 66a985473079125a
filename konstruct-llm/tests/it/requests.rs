//! The request bodies: a conversation with tools and thoughts, in each provider's format.

use konstruct_core::{
    LlmBackend, Secret,
    llm::{LlmBackendExt as _, ModelMessage, ModelRequest, Part, Passage, Role, ToolCall},
};
use konstruct_llm::{
    Anthropic, Ollama, OpenAi,
    testkit::{FakeProvider, Recorded},
};
use serde_json::{Value, json};

use crate::{ask, call, tool};

fn conversation() -> ModelRequest {
    let message = |role, parts| ModelMessage { role, parts };
    let text = |text: &str| Part::Text { text: text.into() };
    let tool_call = |id: &str, arguments: &str| {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "look_up".into(),
            arguments: arguments.into(),
        })
    };
    let result = |id: &str, content: &str, error| Part::ToolResult {
        id: id.into(),
        name: "look_up".into(),
        content: content.into(),
        error,
    };
    let thought = |text: &str, signature: Option<&str>| Part::Reasoning {
        text: text.into(),
        signature: signature.map(str::to_owned),
        origin: None,
    };
    ask("").with(|it| {
        it.passages = vec![Passage {
            source: "FAQ".into(),
            title: "Hours".into(),
            text: "Open.".into(),
            confidence: 0.5,
        }];
        it.messages = vec![
            message(Role::User, vec![text("one")]),
            message(Role::User, vec![text("two"), text(" ")]),
            message(
                Role::Assistant,
                vec![
                    thought("signed", Some("sig")),
                    thought("", Some("redacted:data")),
                    thought("unsigned", None),
                    text("Looking."),
                    tool_call("call.1", r#"{"id":7}"#),
                    tool_call("call_2", "{broken"),
                ],
            ),
            message(Role::Tool, vec![result("call.1", "found", false)]),
            message(Role::Tool, vec![result("call_2", "bad arguments", true)]),
            message(Role::User, vec![text("three")]),
        ];
        it.tools = vec![tool("look_up")];
        it.temperature = Some(0.5);
    })
}

async fn sent(
    request: ModelRequest,
    backend: impl FnOnce(&str) -> Box<dyn LlmBackend>,
) -> Recorded {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    backend(server.url())
        .complete(request, &call())
        .await
        .unwrap();
    fake.requests().remove(0)
}

fn system() -> String {
    conversation().system
}

/// The last message, followed by the passages.
fn three() -> String {
    let told = conversation().told();
    match told.messages.last().map(|last| &*last.parts) {
        Some([Part::Text { text }]) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn openai() {
    let recorded = sent(conversation(), |url| {
        Box::new(OpenAi::new(Secret::new("k"), "gpt-4.1").base_url(url))
    })
    .await;
    assert_eq!(recorded.path, "/chat/completions");
    assert_eq!(recorded.header("authorization"), Some("Bearer k"));
    assert_eq!(recorded.header("idempotency-key"), Some("trn_1.m1"));
    let function = |arguments: &str| json!({"name": "look_up", "arguments": arguments});
    assert_eq!(
        recorded.body,
        json!({
            "model": "gpt-4.1", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 100, "temperature": 0.5,
            "messages": [
                {"role": "system", "content": system()},
                {"role": "user", "content": "one"},
                {"role": "user", "content": "two "},
                {"role": "assistant", "content": "Looking.", "tool_calls": [
                    {"id": "call.1", "type": "function", "function": function(r#"{"id":7}"#)},
                    {"id": "call_2", "type": "function", "function": function("{broken")},
                ]},
                {"role": "tool", "tool_call_id": "call.1", "content": "found"},
                {"role": "tool", "tool_call_id": "call_2", "content": "bad arguments"},
                {"role": "user", "content": three()},
            ],
            "tools": [{"type": "function", "function": {"name": "look_up", "description": "A tool.",
                "parameters": {"type": "object", "properties": {}}}}],
        })
    );
}

#[tokio::test]
async fn openai_uses_the_right_name_of_the_limit() {
    for (model, newer) in [
        ("gpt-4.1-mini", false),
        ("llama-3", false),
        ("gpt-5-mini", true),
        ("openai/gpt-6-sol", true),
        ("o3", true),
    ] {
        let mut request = ask("Hi");
        request.temperature = Some(0.0);
        let body = sent(request, |url| {
            Box::new(OpenAi::new(Secret::new(""), model).base_url(url))
        })
        .await
        .body;
        assert_eq!(body["max_tokens"] == 100, !newer, "{model}");
        assert_eq!(body["max_completion_tokens"] == 100, newer, "{model}");
        assert_eq!(body["temperature"].is_null(), newer, "{model}");
    }
}

#[tokio::test]
async fn anthropic() {
    let recorded = sent(conversation(), |url| {
        Box::new(Anthropic::new(Secret::new("k"), "m").base_url(url))
    })
    .await;
    assert_eq!(recorded.path, "/v1/messages");
    assert_eq!(recorded.header("x-api-key"), Some("k"));
    assert_eq!(recorded.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(
        recorded.body,
        json!({
            "model": "m", "max_tokens": 100, "stream": true, "temperature": 0.5, "system": system(),
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "signed", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "data"},
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "call_1", "name": "look_up", "input": {"id": 7}},
                    {"type": "tool_use", "id": "call_2", "name": "look_up", "input": {"invalid_json": "{broken"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "found", "is_error": false},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "bad arguments", "is_error": true},
                    {"type": "text", "text": three()},
                ]},
            ],
            "tools": [{"name": "look_up", "description": "A tool.",
                "input_schema": {"type": "object", "properties": {}}}],
        })
    );
}

#[tokio::test]
async fn anthropic_begins_with_the_user() {
    let mut request = ask("Hi");
    request
        .messages
        .insert(0, ModelMessage::text(Role::Assistant, "Earlier."));
    let body = sent(request, |url| {
        Box::new(Anthropic::new(Secret::new("k"), "m").base_url(url))
    })
    .await
    .body;
    let roles: Vec<&Value> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
}

#[tokio::test]
async fn ollama() {
    let recorded = sent(conversation(), |url| {
        Box::new(Ollama::new("m").base_url(url))
    })
    .await;
    assert_eq!(recorded.path, "/api/chat");
    assert_eq!(
        recorded.body,
        json!({
            "model": "m", "stream": true, "truncate": false,
            "options": {"num_predict": 100, "num_ctx": 8192, "temperature": 0.5},
            "messages": [
                {"role": "system", "content": system()},
                {"role": "user", "content": "one"},
                {"role": "user", "content": "two "},
                {"role": "assistant", "content": "Looking.", "tool_calls": [
                    {"id": "call.1", "function": {"name": "look_up", "arguments": {"id": 7}}},
                    {"id": "call_2", "function": {"name": "look_up", "arguments": {"invalid_json": "{broken"}}},
                ]},
                {"role": "tool", "tool_name": "look_up", "tool_call_id": "call.1", "content": "found"},
                {"role": "tool", "tool_name": "look_up", "tool_call_id": "call_2", "content": "bad arguments"},
                {"role": "user", "content": three()},
            ],
            "tools": [{"type": "function", "function": {"name": "look_up", "description": "A tool.",
                "parameters": {"type": "object", "properties": {}}}}],
        })
    );
}
