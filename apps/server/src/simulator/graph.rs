//! Simulates WhatsApp: the person's webhooks, and the part of the Graph API that an employee uses.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use konstruct_core::{Clock as _, Result, SystemClock};
use serde_json::{Value, json};

use super::{
    PHONE, PHONE_NUMBER_ID, Simulator,
    deliver::random,
    feed::{Note, Window},
    with_choices,
};
use crate::App;

/// The time between two delivery states on a simulated phone.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn routes(simulator: Simulator) -> Router<Arc<App>> {
    let numbers = simulator.clone();
    Router::new()
        .route(
            "/demo/graph/{version}/{number}",
            get(move |path, headers| number(numbers, path, headers)),
        )
        .route(
            "/demo/graph/{version}/{number}/messages",
            post(move |path, headers, body| messages(simulator, path, headers, body)),
        )
}

/// Returns the number's details to the owner of its token.
async fn number(
    simulator: Simulator,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    if !simulator.authorized(&headers) || number != PHONE_NUMBER_ID {
        let error = json!({ "error": { "message": "(#190)", "code": 190 } });
        return (StatusCode::UNAUTHORIZED, Json(error));
    }
    let number = json!({ "id": number, "display_phone_number": "the demo's number" });
    (StatusCode::OK, Json(number))
}

impl Simulator {
    /// Sends a person's message from their phone.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub(super) async fn say_on_whatsapp(&self, visitor: &str, text: &str) -> Result<()> {
        let id = random("wamid.DEMO")?;
        let phone = format!("{PHONE}{visitor}");
        self.feed.show(
            visitor,
            Note::Said {
                channel: Window::Whatsapp,
                id: id.clone(),
                text: text.into(),
            },
        );
        let payload = webhook(json!({
            "contacts": [{ "profile": { "name": "You" }, "wa_id": phone }],
            "messages": [{
                "from": phone,
                "id": id,
                "timestamp": SystemClock.now().as_secs().to_string(),
                "type": "text",
                "text": { "body": text },
            }],
        }));
        let state = if self.delivery.whatsapp(&payload).await {
            "sent"
        } else {
            "failed"
        };
        self.feed.show(visitor, Note::Tick { id, state });
        Ok(())
    }

    /// Reports the delivery states of the employee's message, one after the other.
    async fn tick(self, visitor: String, id: String, tag: Option<String>) {
        for state in ["sent", "delivered", "read"] {
            tokio::time::sleep(TICK).await;
            let mut status = json!({
                "id": id,
                "status": state,
                "timestamp": SystemClock.now().as_secs().to_string(),
                "recipient_id": format!("{PHONE}{visitor}"),
            });
            if let Some(tag) = &tag {
                status["biz_opaque_callback_data"] = json!(tag);
            }
            self.delivery
                .whatsapp(&webhook(json!({ "statuses": [status] })))
                .await;
            self.feed.show(
                &visitor,
                Note::Tick {
                    id: id.clone(),
                    state,
                },
            );
        }
    }
}

fn webhook(mut value: Value) -> Value {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] =
        json!({ "display_phone_number": "15550000000", "phone_number_id": PHONE_NUMBER_ID });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "200000000000000", "changes": [{ "field": "messages", "value": value }] }],
    })
}

async fn messages(
    simulator: Simulator,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let rejected_reply = |status, code: u32, message: &str| {
        (
            status,
            Json(
                json!({ "error": { "message": message, "type": "OAuthException", "code": code } }),
            ),
        )
    };
    if !simulator.authorized(&headers) {
        return rejected_reply(
            StatusCode::UNAUTHORIZED,
            190,
            "(#190) Invalid OAuth access token",
        );
    }
    if number != PHONE_NUMBER_ID {
        return rejected_reply(StatusCode::BAD_REQUEST, 100, "(#100) Object does not exist");
    }
    if body["status"] == "read" {
        mark_read(&simulator, &body);
        return (StatusCode::OK, Json(json!({ "success": true })));
    }
    let interactive = &body["interactive"];
    let text = body["text"]["body"]
        .as_str()
        .or_else(|| interactive["body"]["text"].as_str());
    let to = body["to"].as_str().unwrap_or_default();
    let (Some(visitor), Some(text)) = (to.strip_prefix(PHONE), text) else {
        return rejected_reply(StatusCode::BAD_REQUEST, 100, "(#100) Invalid parameter");
    };
    let action = &interactive["action"];
    let buttons = action["buttons"].as_array().into_iter().flatten();
    let rows = action["sections"][0]["rows"]
        .as_array()
        .into_iter()
        .flatten();
    let titles = buttons
        .map(|button| &button["reply"]["title"])
        .chain(rows.map(|row| &row["title"]));
    let text = with_choices(text, titles);
    let Ok(id) = random("wamid.DEMO") else {
        return rejected_reply(StatusCode::INTERNAL_SERVER_ERROR, 1, "(#1) API Unknown");
    };
    let answer = Note::Answer {
        channel: Window::Whatsapp,
        id: id.clone(),
        text,
    };
    simulator.feed.show(visitor, answer);
    let tag = body["biz_opaque_callback_data"].as_str().map(str::to_owned);
    tokio::spawn(simulator.clone().tick(visitor.to_owned(), id.clone(), tag));
    let accepted = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": to, "wa_id": to }],
        "messages": [{ "id": id }],
    });
    (StatusCode::OK, Json(accepted))
}

/// Marks a visitor's message as read and shows a typing indicator.
fn mark_read(simulator: &Simulator, body: &Value) {
    let Some(id) = body["message_id"].as_str() else {
        return;
    };
    let Some(visitor) = simulator.feed.visitor_of(id) else {
        return;
    };
    simulator.feed.show(
        &visitor,
        Note::Tick {
            id: id.to_owned(),
            state: "read",
        },
    );
    if body["typing_indicator"].is_object() {
        simulator.feed.show(
            &visitor,
            Note::Typing {
                channel: Window::Whatsapp,
            },
        );
    }
}
