//! A fake Graph API: sending, reading and media of WhatsApp, and the resulting webhooks.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use konstruct_core::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::{
    server::{self, ConnectionBreaker, Fault, Plan, Reply},
    slack::{Planned, authorized, lock},
};
use crate::lenient_json::LenientJson as _;

/// The id of the business account.
const ACCOUNT: &str = "102290129340398";

/// A message that the fake Graph API accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GraphPost {
    /// Its id.
    pub id: String,
    /// The id of the sending number.
    pub number: String,
    /// The recipient: a number, or a business-scoped user id.
    pub to: String,
    /// `individual` or `group`.
    #[serde(default)]
    pub recipient_type: String,
    /// Its text.
    pub text: String,
    /// Its buttons or its list, as they were sent.
    #[serde(default)]
    pub interactive: Value,
    /// The quoted message.
    pub reply_to: Option<String>,
    /// The key of the send.
    pub key: Option<String>,
}

/// A fake Graph API for any version and any number. All numbers belong to one business account, to which the app is subscribed.
///
/// Over HTTP, `GET /_fake/posts` lists the accepted messages, and `POST /_fake/plan` with `{"method": "messages", "fault":
/// "drop_after"}` plans a fault, so that another process can use it too. The methods are `messages`, `read` and
/// `subscribed_apps`.
#[derive(Clone, Debug, Default)]
pub struct FakeGraph(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    addr: OnceLock<SocketAddr>,
    plan: Plan,
    posts: Mutex<Vec<GraphPost>>,
    reads: Mutex<Vec<String>>,
    refusal: Mutex<Option<u32>>,
    media: Mutex<HashMap<String, (String, Bytes)>>,
    /// The numbers of the business account.
    numbers: Mutex<Vec<String>>,
    /// The business accounts from which the app was unsubscribed, in the order of the calls.
    unsubscribed: Mutex<Vec<String>>,
    last: AtomicU64,
}

impl FakeGraph {
    /// Starts it on a free local port, in a separate task.
    ///
    /// # Errors
    /// If no port is available.
    pub async fn start() -> io::Result<Self> {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        fake.bound(&listener)?;
        tokio::spawn(fake.clone().serve(listener));
        Ok(fake)
    }

    /// Serves it until the task ends.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.bound(&listener)?;
        let router = Router::new()
            .route("/{version}/{number}/messages", post(messages))
            .route("/{version}/{node}", get(node))
            .route("/{version}/{account}/phone_numbers", get(phone_numbers))
            .route("/{version}/{account}/subscribed_apps", delete(unsubscribe))
            .route("/_fake/posts", get(posts))
            .route("/_fake/plan", post(plan))
            .route("/_fake/media/{id}", get(media))
            .with_state(self);
        server::serve(listener, router).await
    }

    fn bound(&self, listener: &TcpListener) -> io::Result<()> {
        let addr = listener.local_addr()?;
        self.0.addr.get_or_init(|| addr);
        Ok(())
    }

    /// Returns its base URL, without a version.
    pub fn url(&self) -> String {
        let addr = self
            .0
            .addr
            .get()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("http://{addr}")
    }

    /// Plans a fault for the next call of `messages`, `read` or `subscribed_apps` without a planned fault; `*` is any
    /// of them.
    pub fn plan(&self, method: &str, fault: Fault) {
        self.0.plan.add(method, fault);
    }

    /// Makes every call fail with this error code; `None` restores normal operation.
    pub fn refuse(&self, code: Option<u32>) {
        *lock(&self.0.refusal) = code;
    }

    /// Returns the accepted messages.
    pub fn posts(&self) -> Vec<GraphPost> {
        lock(&self.0.posts).clone()
    }

    /// Returns the ids of the messages that were marked as read.
    pub fn reads(&self) -> Vec<String> {
        lock(&self.0.reads).clone()
    }

    /// Sets the numbers that its business account lists.
    pub fn set_numbers(&self, numbers: &[&str]) {
        *lock(&self.0.numbers) = numbers.iter().map(|number| (*number).to_owned()).collect();
    }

    /// Returns the business accounts from which the app was unsubscribed, in the order of the calls.
    pub fn unsubscribed(&self) -> Vec<String> {
        lock(&self.0.unsubscribed).clone()
    }

    /// Stores a file.
    pub fn put_media(&self, id: &str, mime: &str, bytes: impl Into<Bytes>) {
        lock(&self.0.media).insert(id.to_owned(), (mime.to_owned(), bytes.into()));
    }

    /// Returns a webhook body: a customer sends a message to a number. Every message has a new id.
    pub fn message(&self, number: &str, from: &str, text: &str) -> Vec<u8> {
        self.sent(number, from, "text", &json!({"body": text}))
    }

    /// Returns a webhook body: a customer sends a message of a type (`image`, `audio`, `document`, ...) with its content.
    pub fn sent(&self, number: &str, from: &str, kind: &str, content: &Value) -> Vec<u8> {
        let message = json!({
            "from": from, "id": self.next_id(), "timestamp": now(), "type": kind, kind: content,
        });
        let contacts = json!([{"profile": {"name": "Customer"}, "wa_id": from}]);
        envelope(number, json!({"contacts": contacts, "messages": [message]}))
    }

    /// Returns a webhook body: the customer presses a button or selects a row of a message, by its id. `None` if the message has
    /// no such element.
    pub fn press(&self, post: &GraphPost, id: &str) -> Option<Vec<u8>> {
        let buttons = post.interactive.items("action.buttons").iter();
        let buttons = buttons.map(|button| ("button_reply", button.at("reply")));
        let sections = post.interactive.items("action.sections").iter();
        let rows = sections.flat_map(|section| section.items("rows"));
        let rows = rows.map(|row| ("list_reply", row));
        let (kind, picked) = buttons
            .chain(rows)
            .find(|(_, option)| option.text("id").as_deref() == Some(id))?;
        let message = json!({
            "from": post.to, "id": self.next_id(), "timestamp": now(), "type": "interactive",
            "context": {"from": "15550783881", "id": post.id},
            "interactive": {"type": kind, kind: picked},
        });
        let contacts = json!([{"profile": {"name": "Customer"}, "wa_id": post.to}]);
        let value = json!({"contacts": contacts, "messages": [message]});
        Some(envelope(&post.number, value))
    }

    /// Returns a webhook body: a message status (`sent`, `delivered`, `read`, `failed`).
    pub fn status(&self, post: &GraphPost, status: &str) -> Vec<u8> {
        let mut status = json!({
            "id": post.id, "status": status, "timestamp": now(), "recipient_id": post.to,
        });
        if let Some(key) = &post.key {
            status["biz_opaque_callback_data"] = key.as_str().into();
        }
        envelope(&post.number, json!({"statuses": [status]}))
    }

    fn next_id(&self) -> String {
        let number = self.0.last.fetch_add(1, SeqCst);
        format!("wamid.FAKE{:x}.{number}", SystemClock.now().as_micros())
    }

    fn accept(&self, number: String, body: &Value) -> Reply {
        let Some(to) = body.first(&["to", "recipient"]) else {
            return refused(StatusCode::BAD_REQUEST, 131_008);
        };
        if !is_valid(body) {
            return refused(StatusCode::BAD_REQUEST, 131_009);
        }
        let post = GraphPost {
            id: self.next_id(),
            number,
            text: body
                .first(&["text.body", "interactive.body.text"])
                .unwrap_or_default(),
            interactive: body.at("interactive").clone(),
            reply_to: body.text("context.message_id"),
            key: body.text("biz_opaque_callback_data"),
            recipient_type: body.text("recipient_type").unwrap_or_default(),
            to,
        };
        let answer = json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": post.to, "wa_id": post.to}],
            "messages": [{"id": post.id}],
        });
        lock(&self.0.posts).push(post);
        (StatusCode::OK, Json(answer))
    }
}

/// Checks a message against Meta's documented limits.
fn is_valid(body: &Value) -> bool {
    let within = |value: &Value, path: &str, max: usize| {
        value
            .text(path)
            .is_some_and(|text| (1..=max).contains(&text.chars().count()))
    };
    let distinct = |values: &[Value], path: &str| {
        let seen: HashSet<_> = values.iter().map(|value| value.text(path)).collect();
        seen.len() == values.len()
    };
    let interactive = body.at("interactive");
    match (
        body.text("type").as_deref(),
        interactive.text("type").as_deref(),
    ) {
        (Some("text"), None) => within(body, "text.body", 4_096),
        (Some("interactive"), Some("button")) => {
            let buttons = interactive.items("action.buttons");
            let button = |button: &Value| {
                within(button, "reply.id", 256) && within(button, "reply.title", 20)
            };
            within(interactive, "body.text", 1_024)
                && (1..=3).contains(&buttons.len())
                && buttons.iter().all(button)
                && distinct(buttons, "reply.id")
                && distinct(buttons, "reply.title")
        }
        (Some("interactive"), Some("list")) => {
            let rows: Vec<Value> = interactive
                .items("action.sections")
                .iter()
                .flat_map(|section| section.items("rows").to_vec())
                .collect();
            let row = |row: &Value| {
                within(row, "id", 200)
                    && within(row, "title", 24)
                    && (row.at("description").is_null() || within(row, "description", 72))
            };
            within(interactive, "body.text", 1_024)
                && within(interactive, "action.button", 20)
                && (1..=10).contains(&rows.len())
                && rows.iter().all(row)
                && distinct(&rows, "id")
        }
        _ => false,
    }
}

fn now() -> String {
    SystemClock.now().as_secs().to_string()
}

fn envelope(number: &str, mut value: Value) -> Vec<u8> {
    value["messaging_product"] = "whatsapp".into();
    value["metadata"] = json!({"display_phone_number": "15550783881", "phone_number_id": number});
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": ACCOUNT, "changes": [{"field": "messages", "value": value}]}],
    });
    body.to_string().into_bytes()
}

fn refused(status: StatusCode, code: u32) -> Reply {
    let error = json!({"message": format!("(#{code})"), "type": "OAuthException", "code": code, "fbtrace_id": "A"});
    (status, Json(json!({ "error": error })))
}

async fn messages(
    State(fake): State<FakeGraph>,
    ConnectInfo(breaker): ConnectInfo<ConnectionBreaker>,
    Path((_, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (_, Json(limited)) = refused(StatusCode::TOO_MANY_REQUESTS, 130_429);
    let read = json.text("status").as_deref() == Some("read");
    let method = if read { "read" } else { "messages" };
    let refusal = *lock(&fake.0.refusal);
    let accept = || match json.text("message_id") {
        _ if refusal.is_some() => refused(StatusCode::BAD_REQUEST, refusal.unwrap_or(1)),
        _ if !authorized(&headers) => refused(StatusCode::UNAUTHORIZED, 190),
        Some(message) if read => {
            lock(&fake.0.reads).push(message);
            (StatusCode::OK, Json(json!({"success": true})))
        }
        _ => fake.accept(number, &json),
    };
    fake.0.plan.perform(method, &breaker, limited, accept).await
}

/// Returns a file, or a number.
async fn node(
    State(fake): State<FakeGraph>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(code) = *lock(&fake.0.refusal) {
        return refused(StatusCode::BAD_REQUEST, code).into_response();
    }
    if !authorized(&headers) {
        return refused(StatusCode::UNAUTHORIZED, 190).into_response();
    }
    let answer = match lock(&fake.0.media).get(&id) {
        Some((mime, bytes)) => json!({
            "messaging_product": "whatsapp", "id": id, "mime_type": mime, "file_size": bytes.len(),
            "sha256": STANDARD.encode(Sha256::digest(bytes)),
            "url": format!("{}/_fake/media/{id}", fake.url()),
        }),
        None => {
            let entities = json!([
                {"entity_type": "PHONE_NUMBER", "id": id, "can_send_message": "AVAILABLE"},
                {"entity_type": "WABA", "id": ACCOUNT, "can_send_message": "AVAILABLE"},
            ]);
            json!({"id": id, "display_phone_number": "+1 555-078-3881", "verified_name": "Fake",
                "health_status": {"can_send_message": "AVAILABLE", "entities": entities}})
        }
    };
    Json(answer).into_response()
}

async fn phone_numbers(State(fake): State<FakeGraph>, headers: HeaderMap) -> Response {
    if let Some(code) = *lock(&fake.0.refusal) {
        return refused(StatusCode::BAD_REQUEST, code).into_response();
    }
    if !authorized(&headers) {
        return refused(StatusCode::UNAUTHORIZED, 190).into_response();
    }
    let numbers = lock(&fake.0.numbers);
    let numbers: Vec<Value> = numbers.iter().map(|id| json!({ "id": id })).collect();
    Json(json!({ "data": numbers })).into_response()
}

async fn unsubscribe(
    State(fake): State<FakeGraph>,
    ConnectInfo(breaker): ConnectInfo<ConnectionBreaker>,
    Path((_, account)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let (_, Json(limited)) = refused(StatusCode::TOO_MANY_REQUESTS, 130_429);
    let refusal = *lock(&fake.0.refusal);
    let accept = || {
        let mut unsubscribed = lock(&fake.0.unsubscribed);
        match refusal {
            Some(code) => refused(StatusCode::BAD_REQUEST, code),
            None if !authorized(&headers) => refused(StatusCode::UNAUTHORIZED, 190),
            None if account != ACCOUNT || unsubscribed.contains(&account) => {
                refused(StatusCode::NOT_FOUND, 803)
            }
            None => {
                unsubscribed.push(account);
                (StatusCode::OK, Json(json!({"success": true})))
            }
        }
    };
    let plan = &fake.0.plan;
    plan.perform("subscribed_apps", &breaker, limited, accept)
        .await
}

async fn media(
    State(fake): State<FakeGraph>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match lock(&fake.0.media).get(&id) {
        Some((mime, bytes)) if authorized(&headers) => {
            ([(CONTENT_TYPE, mime.clone())], bytes.clone()).into_response()
        }
        Some(_) => StatusCode::UNAUTHORIZED.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn posts(State(fake): State<FakeGraph>) -> Json<Vec<GraphPost>> {
    Json(fake.posts())
}

async fn plan(State(fake): State<FakeGraph>, Json(planned): Json<Planned>) -> StatusCode {
    fake.plan(&planned.method, planned.fault);
    StatusCode::NO_CONTENT
}
