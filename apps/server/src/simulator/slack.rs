//! Simulates Slack: the person's events, and the part of the Web API that an employee uses.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, Router, body::Bytes, extract::Path, http::HeaderMap, routing::post};
use konstruct_core::{Clock as _, Result, SystemClock};
use serde_json::{Value, json};

use super::{
    CHANNEL, SLACK_BOT, SLACK_TEAM, Simulator, USER,
    deliver::random,
    feed::{Note, Window},
    with_choices,
};
use crate::App;

pub(super) fn routes(simulator: Simulator) -> Router<Arc<App>> {
    Router::new().route(
        "/demo/slack/api/{method}",
        post({
            let simulator = simulator.clone();
            move |path, headers, body| method(simulator, path, headers, body)
        })
        .get(move |path, headers, body| method(simulator, path, headers, body)),
    )
}

/// Returns a Slack timestamp in seconds and microseconds, which identifies a message.
fn timestamp() -> String {
    let micros = SystemClock.now().as_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

impl Simulator {
    /// Sends a person's message to the employee's direct messages.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub(super) async fn say_in_slack(&self, visitor: &str, text: &str) -> Result<()> {
        let ts = timestamp();
        self.feed.show(
            visitor,
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
            "channel": format!("{CHANNEL}{visitor}"),
            "channel_type": "im",
            "user": format!("{USER}{visitor}"),
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
        self.feed.show(visitor, Note::Tick { id: ts, state });
        Ok(())
    }

    /// Sends the event of a message that the employee posted, as Slack does.
    async fn echo(self, visitor: String, message: Value) {
        if let Ok(payload) = event(message) {
            self.delivery.slack(&payload).await;
        }
        for id in self.feed.said(&visitor, Window::Slack) {
            self.feed.show(&visitor, Note::Tick { id, state: "read" });
        }
    }
}

fn event(event: Value) -> Result<Value> {
    Ok(json!({
        "type": "event_callback",
        "team_id": SLACK_TEAM,
        "api_app_id": "ADEMO",
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
    let form = body.clone();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match method.as_str() {
        "auth.test" => Json(
            json!({ "ok": true, "team_id": SLACK_TEAM, "team": "Demo", "user_id": SLACK_BOT, "bot_id": "BDEMO" }),
        ),
        "chat.postMessage" => post_message(simulator, &body),
        "assistant.threads.setStatus" => {
            if let Some(visitor) = visitor(&body["channel_id"]) {
                simulator.feed.show(
                    visitor,
                    Note::Typing {
                        channel: Window::Slack,
                    },
                );
            }
            Json(json!({ "ok": true }))
        }
        "conversations.history" | "conversations.replies" => {
            let posted = simulator.feed.posted(&visitor_of_form(&form));
            Json(json!({ "ok": true, "messages": posted, "has_more": false }))
        }
        _ => failed("unknown_method"),
    }
}

/// Returns the visitor of a channel.
fn visitor(channel: &Value) -> Option<&str> {
    channel.as_str()?.strip_prefix(CHANNEL)
}

/// Returns the visitor of a form's channel; methods that read use forms.
fn visitor_of_form(form: &[u8]) -> String {
    form_urlencoded::parse(form)
        .find(|(name, _)| name == "channel")
        .and_then(|(_, channel)| Some(channel.strip_prefix(CHANNEL)?.to_owned()))
        .unwrap_or_default()
}

fn post_message(simulator: Simulator, body: &Value) -> Json<Value> {
    let (Some(visitor), Some(text)) = (visitor(&body["channel"]), body["text"].as_str()) else {
        return Json(json!({ "ok": false, "error": "channel_not_found" }));
    };
    let ts = timestamp();
    let shown = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let channel = &body["channel"];
    let blocks = body["blocks"].as_array().into_iter().flatten();
    let elements = blocks.flat_map(|block| block["elements"].as_array().into_iter().flatten());
    let labels = elements.flat_map(|element| {
        let options = element["options"].as_array().into_iter().flatten();
        options.chain([element]).map(|one| &one["text"]["text"])
    });
    let shown = with_choices(&shown, labels);
    simulator.feed.show(
        visitor,
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
        ("bot_id", json!("BDEMO")),
        ("app_id", json!("ADEMO")),
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
    simulator.feed.keep(visitor, message.clone());
    tokio::spawn(simulator.clone().echo(visitor.to_owned(), message.clone()));
    Json(json!({ "ok": true, "channel": channel, "ts": ts, "message": message }))
}
