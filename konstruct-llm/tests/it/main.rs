//! The integration tests of konstruct-llm.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod anthropic;
mod backends;
mod cancel;
mod canned;
mod codecs;
mod embedders;
mod extract;
mod guard;
mod ledger;
mod lenient;
mod ollama;
mod pool;
mod property;
mod requests;
mod suite;
mod tape;
mod telemetry;
mod transcribers;

use std::time::Duration;

use konstruct_core::{
    TenantId,
    llm::{CallContext, ModelMessage, ModelRequest, Role, ToolSpec},
};
use serde_json::json;

fn call() -> CallContext {
    CallContext::new(TenantId::new(), "trn_1.m1", Duration::from_secs(20))
}

fn ask(text: &str) -> ModelRequest {
    ModelRequest::default().with(|it| {
        it.system = "Be brief.".into();
        it.messages = vec![ModelMessage::text(Role::User, text)];
        it.max_tokens = 100;
    })
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "A tool.".into(),
        parameters: json!({"type": "object", "properties": {}}),
    }
}
