//! Slack, simulated: the person's events, and the part of the Web API that an employee uses.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, Router, body::Bytes, extract::Path, http::HeaderMap, routing::post};
use konstruct_core::{Clock as _, Result, SystemClock};
use serde_json::{Value, json};

use super::{
    SLACK_BOT, SLACK_TEAM, Simulator,
    deliver::random,
    feed::{Note, Window},
};
use crate::App;

pub(super) fn routes(simulator: Simulator) -> Router<Arc<App>> {
    Router::new().route(
        "/sandbox/slack/api/{method}",
        post({
            let simulator = simulator.clone();
            move |path, headers, body| method(simulator, path, headers, body)
        })
        .get(move |path, headers, body| method(simulator, path, headers, body)),
    )
}

/// Slack's timestamps name messages: seconds and microseconds.
fn timestamp() -> String {
    let micros = SystemClock.now().as_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

impl Simulator {
    /// A person writes in the employee's direct messages.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) async fn say_in_slack(&self, person: &str, text: &str) -> Result<()> {
        let ts = timestamp();
        self.feed.show(
            person,
            Note::Said {
                channel: Window::Slack,
                id: ts.clone(),
                text: text.into(),
            },
        );
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let payload = event(json!({
            "type": "message",
            "channel": format!("D{person}"),
            "channel_type": "im",
            "user": format!("U{person}"),
            "team": SLACK_TEAM,
            "text": escaped,
            "ts": ts,
            "event_ts": ts,
        }))?;
        let state = if self.delivery.slack(&payload).await {
            "sent"
        } else {
            "failed"
        };
        self.feed.show(person, Note::Tick { id: ts, state });
        Ok(())
    }

    /// What the employee posts is an event, too, as it is in Slack.
    async fn echo(self, person: String, message: Value) {
        if let Ok(payload) = event(message) {
            self.delivery.slack(&payload).await;
        }
        for id in self.feed.said(&person, Window::Slack) {
            self.feed.show(&person, Note::Tick { id, state: "read" });
        }
    }
}

fn event(event: Value) -> Result<Value> {
    Ok(json!({
        "type": "event_callback",
        "team_id": SLACK_TEAM,
        "api_app_id": "ASANDBOX",
        "event_id": random("Ev")?,
        "event_time": SystemClock.now().as_secs(),
        "authorizations": [{ "team_id": SLACK_TEAM, "user_id": SLACK_BOT, "is_bot": true }],
        "event": event,
    }))
}

async fn method(
    simulator: Simulator,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let failed = |error: &str| Json(json!({ "ok": false, "error": error }));
    if !simulator.authorized(&headers) {
        return failed("invalid_auth");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match method.as_str() {
        "auth.test" => Json(
            json!({ "ok": true, "team_id": SLACK_TEAM, "team": "Sandbox", "user_id": SLACK_BOT, "bot_id": "BSANDBOX" }),
        ),
        "chat.postMessage" => post_message(simulator, &body),
        "assistant.threads.setStatus" => {
            if let Some(person) = body["channel_id"]
                .as_str()
                .and_then(|channel| channel.strip_prefix('D'))
            {
                simulator.feed.show(
                    person,
                    Note::Typing {
                        channel: Window::Slack,
                    },
                );
            }
            Json(json!({ "ok": true }))
        }
        "conversations.history" | "conversations.replies" => {
            // Whose key it is, the asker compares: other channels' messages do no harm.
            let posted = simulator.feed.posted();
            Json(json!({ "ok": true, "messages": posted, "has_more": false }))
        }
        _ => failed("unknown_method"),
    }
}

fn post_message(simulator: Simulator, body: &Value) -> Json<Value> {
    let channel = body["channel"].as_str().unwrap_or_default();
    let (Some(person), Some(text)) = (channel.strip_prefix('D'), body["text"].as_str()) else {
        return Json(json!({ "ok": false, "error": "channel_not_found" }));
    };
    let ts = timestamp();
    let shown = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    simulator.feed.show(
        person,
        Note::Answer {
            channel: Window::Slack,
            id: ts.clone(),
            text: shown,
        },
    );
    let mut message: HashMap<&str, Value> = HashMap::from([
        ("type", json!("message")),
        ("channel", json!(channel)),
        ("channel_type", json!("im")),
        ("user", json!(SLACK_BOT)),
        ("bot_id", json!("BSANDBOX")),
        ("app_id", json!("ASANDBOX")),
        ("text", json!(text)),
        ("ts", json!(ts)),
        ("event_ts", json!(ts)),
    ]);
    for optional in ["thread_ts", "metadata"] {
        if !body[optional].is_null() {
            message.insert(optional, body[optional].clone());
        }
    }
    let message = json!(message);
    simulator.feed.keep(message.clone());
    tokio::spawn(simulator.clone().echo(person.to_owned(), message.clone()));
    Json(json!({ "ok": true, "channel": channel, "ts": ts, "message": message }))
}
