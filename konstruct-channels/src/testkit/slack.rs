//! A fake Slack: the Web API methods that the channel uses, and the resulting events.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use konstruct_core::{Clock as _, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::{self, ConnectionBreaker, Fault, Plan, Reply};
use crate::{lenient_json::LenientJson as _, slack::wire};

/// A message that the fake Slack accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlackPost {
    /// Its id.
    pub ts: String,
    /// The channel.
    pub channel: String,
    /// The thread, if it is in one.
    pub thread_ts: Option<String>,
    /// Its text, in `mrkdwn`.
    pub text: String,
    /// Its blocks, as they were posted.
    #[serde(default)]
    pub blocks: Vec<Value>,
    /// The key in its metadata.
    pub key: Option<String>,
    /// The only person who sees it, if it is ephemeral.
    #[serde(default)]
    pub visible_to: Option<String>,
    /// Whether it was posted by a `response_url`.
    #[serde(default)]
    pub response: bool,
}

/// A fake Slack: one workspace (`T1`) with one app (`A1`), whose bot is the user `UBOT`.
///
/// Its Web API is at `/api`. Over HTTP, `GET /_fake/posts` lists the accepted messages, and `POST /_fake/plan` with `{"method":
/// "chat.postMessage", "fault": "drop_after"}` plans a fault, so that another process can use it too.
#[derive(Clone, Debug, Default)]
pub struct FakeSlack(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    addr: OnceLock<SocketAddr>,
    plan: Plan,
    posts: Mutex<Vec<SlackPost>>,
    statuses: AtomicU64,
    refusal: Mutex<Option<String>>,
    /// The revoked tokens, in the order of the calls.
    revoked: Mutex<Vec<String>>,
    files: Mutex<HashMap<String, (String, Bytes)>>,
    /// The channels that the bot is not in.
    closed: Mutex<HashSet<String>>,
    hooks: Mutex<Vec<Hook>>,
    last: AtomicU64,
}

/// A `response_url`.
#[derive(Debug)]
struct Hook {
    channel: String,
    user: String,
    /// How many more responses it accepts.
    left: u32,
}

impl FakeSlack {
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
            .route("/api/{method}", post(call))
            .route("/files/{id}", get(file))
            .route("/hooks/{id}", post(hook))
            .route("/_fake/posts", get(posts))
            .route("/_fake/plan", post(plan))
            .with_state(self);
        server::serve(listener, router).await
    }

    fn bound(&self, listener: &TcpListener) -> io::Result<()> {
        let addr = listener.local_addr()?;
        self.0.addr.get_or_init(|| addr);
        Ok(())
    }

    fn origin(&self) -> String {
        let addr = self
            .0
            .addr
            .get()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("http://{addr}")
    }

    /// Returns the base URL of its Web API.
    pub fn url(&self) -> String {
        format!("{}/api", self.origin())
    }

    /// Plans a fault for the next call of a method without a planned fault; `*` is any method.
    pub fn plan(&self, method: &str, fault: Fault) {
        self.0.plan.add(method, fault);
    }

    /// Makes every call fail with an error such as `token_revoked`; `None` restores normal operation.
    pub fn refuse(&self, error: Option<&str>) {
        *lock(&self.0.refusal) = error.map(str::to_owned);
    }

    /// Returns the accepted messages.
    pub fn posts(&self) -> Vec<SlackPost> {
        lock(&self.0.posts).clone()
    }

    /// Returns the tokens that were revoked, in the order of the calls.
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.0.revoked).clone()
    }

    /// Returns the number of status updates.
    pub fn statuses(&self) -> u64 {
        self.0.statuses.load(SeqCst)
    }

    /// Removes the bot from a channel: it can neither post nor read there.
    pub fn leave(&self, channel: &str) {
        lock(&self.0.closed).insert(channel.to_owned());
    }

    /// Returns a new `response_url` of an interaction of a person in a channel. It accepts five responses.
    pub fn response_url(&self, channel: &str, user: &str) -> String {
        let mut hooks = lock(&self.0.hooks);
        hooks.push(Hook {
            channel: channel.to_owned(),
            user: user.to_owned(),
            left: 5,
        });
        format!("{}/hooks/{}", self.origin(), hooks.len())
    }

    /// Expires every `response_url`.
    pub fn expire_responses(&self) {
        let mut hooks = lock(&self.0.hooks);
        hooks.iter_mut().for_each(|hook| hook.left = 0);
    }

    /// Returns Slack's form for a slash command.
    pub fn command(&self, channel: &str, user: &str, command: &str, text: &str) -> Vec<u8> {
        let url = self.response_url(channel, user);
        let trigger = format!("{}.x", self.next_ts());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([
            ("team_id", "T1"),
            ("api_app_id", "A1"),
            ("channel_id", channel),
            ("channel_name", "a-channel"),
            ("user_id", user),
            ("user_name", user),
            ("command", command),
            ("text", text),
            ("is_enterprise_install", "false"),
            ("response_url", &url),
            ("trigger_id", &trigger),
        ]);
        form.finish().into_bytes()
    }

    /// Stores a file and returns its URL.
    pub fn put_file(&self, id: &str, mime: &str, bytes: impl Into<Bytes>) -> String {
        lock(&self.0.files).insert(id.to_owned(), (mime.to_owned(), bytes.into()));
        format!("{}/files/{id}", self.origin())
    }

    /// Returns an event body: a person writes a message. Every event has a new id and time.
    pub fn message(&self, channel: &str, user: &str, text: &str) -> Vec<u8> {
        self.spoken("message", channel, user, text, &self.next_ts())
    }

    /// Returns an event body: a person shares files, as Slack describes them, with a text that may be empty.
    pub fn share(&self, channel: &str, user: &str, text: &str, files: &[Value]) -> Vec<u8> {
        let ts = self.next_ts();
        self.callback(json!({
            "type": "message", "subtype": "file_share", "channel": channel, "user": user, "text": text, "ts": ts,
            "event_ts": ts, "channel_type": channel_type(channel), "upload": false, "display_as_bot": false, "files": files,
        }))
    }

    /// Returns the two event bodies of a message that mentions the bot: its `message` and its `app_mention`.
    pub fn mention(&self, channel: &str, user: &str, text: &str) -> [Vec<u8>; 2] {
        let ts = self.next_ts();
        let text = format!("<@UBOT> {text}");
        ["message", "app_mention"].map(|kind| self.spoken(kind, channel, user, &text, &ts))
    }

    /// Returns Slack's form for a person who presses a button of a message or selects an option of its menu, by the value of
    /// either. `None` if the message has no such element.
    pub fn press(&self, post: &SlackPost, user: &str, value: &str) -> Option<Vec<u8>> {
        let elements = post.blocks.iter().flat_map(|block| block.items("elements"));
        let action = elements.clone().find_map(|element| {
            let chosen = element
                .items("options")
                .iter()
                .find(|option| option.text("value").as_deref() == Some(value));
            let mut action = json!({"type": element["type"], "action_id": element["action_id"],
                "block_id": "b1", "action_ts": self.next_ts()});
            if let Some(option) = chosen {
                action["selected_option"] = option.clone();
            } else if element.text("value").as_deref() == Some(value) {
                action["value"] = element["value"].clone();
                action["text"] = element["text"].clone();
            } else {
                return None;
            }
            Some(action)
        })?;
        let ephemeral = post.visible_to.is_some();
        let mut payload = json!({
            "type": "block_actions", "api_app_id": "A1", "team": {"id": "T1", "domain": "fake"},
            "user": {"id": user, "username": user, "name": user, "team_id": "T1"},
            "trigger_id": format!("{}.x", self.next_ts()), "is_enterprise_install": false, "enterprise": null,
            "container": {"type": "message", "message_ts": post.ts, "channel_id": post.channel,
                "thread_ts": post.thread_ts, "is_ephemeral": ephemeral},
            "channel": {"id": post.channel, "name": "a-channel"},
            "response_url": self.response_url(&post.channel, user),
            "actions": [action],
        });
        // Slack does not repeat an ephemeral message.
        if !ephemeral {
            payload["message"] = json!({"type": "message", "user": "UBOT", "bot_id": "BBOT", "ts": post.ts,
                "text": post.text, "thread_ts": post.thread_ts});
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &payload.to_string());
        Some(form.finish().into_bytes())
    }

    /// Returns the event body with which Slack reports the app's own message.
    pub fn echo(&self, post: &SlackPost) -> Vec<u8> {
        self.callback(json!({
            "type": "message", "channel": post.channel, "user": "UBOT", "bot_id": "BBOT", "app_id": "A1",
            "text": post.text, "ts": post.ts, "event_ts": post.ts, "thread_ts": post.thread_ts,
            "channel_type": channel_type(&post.channel),
            "metadata": metadata(post.key.as_deref()),
        }))
    }

    fn spoken(&self, kind: &str, channel: &str, user: &str, text: &str, ts: &str) -> Vec<u8> {
        self.callback(json!({
            "type": kind, "channel": channel, "user": user, "text": text, "ts": ts, "event_ts": ts,
            "channel_type": channel_type(channel),
        }))
    }

    fn callback(&self, event: Value) -> Vec<u8> {
        let body = json!({
            "type": "event_callback", "team_id": "T1", "api_app_id": "A1",
            "event_id": format!("Ev{}", self.next_ts()), "event_time": SystemClock.now().as_secs(),
            "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": true}],
            "event": event,
        });
        body.to_string().into_bytes()
    }

    /// Returns a new time.
    fn next_ts(&self) -> String {
        let now = SystemClock.now().as_micros().unsigned_abs();
        self.0.last.fetch_max(now, SeqCst);
        let next = self.0.last.fetch_add(1, SeqCst);
        wire::ts(Timestamp::from_micros(
            i64::try_from(next).unwrap_or(i64::MAX),
        ))
    }

    fn method(&self, method: &str, arguments: &Value) -> Value {
        match method {
            "auth.test" => {
                json!({"ok": true, "team": "Fake", "team_id": "T1", "user_id": "UBOT", "bot_id": "BBOT"})
            }
            "chat.postMessage"
            | "chat.postEphemeral"
            | "conversations.history"
            | "conversations.replies"
                if self.is_closed(arguments) =>
            {
                json!({"ok": false, "error": "not_in_channel"})
            }
            "chat.postMessage" => self.post(arguments, None),
            "chat.postEphemeral" => match arguments.text("user") {
                Some(user) => self.post(arguments, Some(user)),
                None => json!({"ok": false, "error": "user_not_found"}),
            },
            "assistant.threads.setStatus" => {
                self.0.statuses.fetch_add(1, SeqCst);
                json!({"ok": true})
            }
            "conversations.replies" => match arguments.text("ts") {
                Some(thread) => self.read(arguments, |post| {
                    post.ts == thread || post.thread_ts.as_deref() == Some(&thread)
                }),
                None => json!({"ok": false, "error": "invalid_arguments"}),
            },
            // As in Slack, replies are only in their thread.
            "conversations.history" => self.read(arguments, |post| post.thread_ts.is_none()),
            _ => json!({"ok": false, "error": "unknown_method"}),
        }
    }

    fn is_closed(&self, arguments: &Value) -> bool {
        let channel = arguments.text("channel").unwrap_or_default();
        lock(&self.0.closed).contains(&channel)
    }

    /// Accepts a response to an interaction, or says why not.
    fn respond(&self, id: &str, arguments: &Value) -> Reply {
        let refused = |error: &str| {
            let answer = json!({"ok": false, "error": error});
            (StatusCode::NOT_FOUND, Json(answer))
        };
        let mut hooks = lock(&self.0.hooks);
        let hook = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
        let Some(hook) = hook.and_then(|at| hooks.get_mut(at)) else {
            return refused("no_service");
        };
        if hook.left == 0 {
            return refused("used_url");
        }
        hook.left -= 1;
        let ephemeral = arguments.text("response_type").as_deref() != Some("in_channel");
        let mut message = arguments.clone();
        message["channel"] = Value::from(hook.channel.clone());
        let user = ephemeral.then(|| hook.user.clone());
        let posted = self.post(&message, user);
        if !posted.flag("ok") {
            return (StatusCode::OK, Json(posted));
        }
        if let Some(post) = lock(&self.0.posts).last_mut() {
            post.response = true;
        }
        (StatusCode::OK, Json(json!({"ok": true})))
    }

    fn post(&self, arguments: &Value, visible_to: Option<String>) -> Value {
        let (Some(channel), Some(text)) = (arguments.text("channel"), arguments.text("text"))
        else {
            return json!({"ok": false, "error": "no_text"});
        };
        if text.chars().count() > 40_000 {
            return json!({"ok": false, "error": "msg_too_long"});
        }
        if !blocks_are_valid(arguments.items("blocks")) {
            return json!({"ok": false, "error": "invalid_blocks"});
        }
        let post = SlackPost {
            ts: self.next_ts(),
            channel,
            thread_ts: arguments.text("thread_ts"),
            text,
            blocks: arguments.items("blocks").to_vec(),
            key: arguments.text("metadata.event_payload.key"),
            visible_to,
            response: false,
        };
        let answer = match post.visible_to {
            Some(_) => json!({"ok": true, "message_ts": post.ts}),
            None => {
                json!({"ok": true, "channel": post.channel, "ts": post.ts, "message": {"text": post.text}})
            }
        };
        lock(&self.0.posts).push(post);
        answer
    }

    /// Lists messages page by page. The cursor is the number of messages listed before.
    fn read(&self, arguments: &Value, belongs: impl Fn(&SlackPost) -> bool) -> Value {
        let number = |path| {
            arguments
                .text(path)
                .and_then(|text| text.parse::<usize>().ok())
        };
        let (skip, limit) = (
            number("cursor").unwrap_or(0),
            number("limit").unwrap_or(100),
        );
        let oldest = arguments.text("oldest").and_then(|ts| wire::timestamp(&ts));
        let posts = self.posts();
        let found: Vec<_> = posts
            .iter()
            .filter(|post| arguments.text("channel").as_ref() == Some(&post.channel))
            // Nobody can list ephemeral messages.
            .filter(|post| post.visible_to.is_none())
            .filter(|post| wire::timestamp(&post.ts) >= oldest && belongs(post))
            .collect();
        let more = found.len() > skip.saturating_add(limit);
        let page = found.into_iter().skip(skip).take(limit).map(|post| {
            let mut message =
                json!({"type": "message", "ts": post.ts, "text": post.text, "user": "UBOT"});
            if arguments.flag("include_all_metadata") {
                message["metadata"] = metadata(post.key.as_deref());
            }
            message
        });
        let cursor = if more {
            (skip + limit).to_string()
        } else {
            String::new()
        };
        json!({"ok": true, "messages": page.collect::<Vec<_>>(), "has_more": more,
            "response_metadata": {"next_cursor": cursor}})
    }
}

async fn call(
    State(fake): State<FakeSlack>,
    ConnectInfo(breaker): ConnectInfo<ConnectionBreaker>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arguments = arguments(&headers, &body);
    let limited = json!({"ok": false, "error": "ratelimited"});
    let accept = || -> Reply {
        let refusal = lock(&fake.0.refusal).clone();
        let token = bearer(&headers).unwrap_or_default();
        let mut revoked = lock(&fake.0.revoked);
        let answer = match refusal {
            Some(error) => json!({"ok": false, "error": error}),
            None if revoked.iter().any(|known| known == token) => {
                json!({"ok": false, "error": "token_revoked"})
            }
            None if !authorized(&headers) => json!({"ok": false, "error": "not_authed"}),
            None if method == "auth.revoke" => {
                revoked.push(token.to_owned());
                json!({"ok": true, "revoked": true})
            }
            None => fake.method(&method, &arguments),
        };
        (StatusCode::OK, Json(answer))
    };
    fake.0
        .plan
        .perform(&method, &breaker, limited, accept)
        .await
}

async fn hook(
    State(fake): State<FakeSlack>,
    ConnectInfo(breaker): ConnectInfo<ConnectionBreaker>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arguments = arguments(&headers, &body);
    let limited = json!({"ok": false, "error": "ratelimited"});
    let accept = || fake.respond(&id, &arguments);
    let plan = &fake.0.plan;
    plan.perform("response_url", &breaker, limited, accept)
        .await
}

fn arguments(headers: &HeaderMap, body: &Bytes) -> Value {
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if json {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    form_urlencoded::parse(body)
        .map(|(key, value)| (key.into_owned(), Value::from(value.into_owned())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn file(
    State(fake): State<FakeSlack>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match lock(&fake.0.files).get(&id) {
        Some((mime, bytes)) if authorized(&headers) => {
            ([(CONTENT_TYPE, mime.clone())], bytes.clone()).into_response()
        }
        // Without a valid token, Slack returns its sign-in page.
        Some(_) => ([(CONTENT_TYPE, "text/html")], "<html>").into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn posts(State(fake): State<FakeSlack>) -> Json<Vec<SlackPost>> {
    Json(fake.posts())
}

async fn plan(State(fake): State<FakeSlack>, Json(planned): Json<Planned>) -> StatusCode {
    fake.plan(&planned.method, planned.fault);
    StatusCode::NO_CONTENT
}

/// A fault planned over HTTP.
#[derive(Deserialize)]
pub(super) struct Planned {
    pub(super) method: String,
    pub(super) fault: Fault,
}

/// Returns whether the request has a token.
pub(super) fn authorized(headers: &HeaderMap) -> bool {
    bearer(headers).is_some()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn metadata(key: Option<&str>) -> Value {
    key.map_or(
        Value::Null,
        |key| json!({"event_type": wire::SEND_EVENT, "event_payload": {"key": key}}),
    )
}

/// Checks blocks against Slack's documented limits.
fn blocks_are_valid(blocks: &[Value]) -> bool {
    let within = |value: &Value, path: &str, max: usize| {
        value
            .text(path)
            .is_some_and(|text| (1..=max).contains(&text.chars().count()))
    };
    let plain = |value: &Value, max| {
        value.text("type").as_deref() == Some("plain_text") && within(value, "text", max)
    };
    let option = |option: &Value| {
        let description = option.at("description");
        plain(option.at("text"), 75)
            && within(option, "value", 150)
            && (description.is_null() || plain(description, 75))
    };
    let element = |element: &Value| {
        within(element, "action_id", 255)
            && match element.text("type").as_deref() {
                Some("button") => plain(element.at("text"), 75) && within(element, "value", 2_000),
                Some("static_select") => {
                    let options = element.items("options");
                    (1..=100).contains(&options.len())
                        && options.iter().all(option)
                        && plain(element.at("placeholder"), 150)
                }
                _ => false,
            }
    };
    let block = |block: &Value| match block.text("type").as_deref() {
        Some("section") => within(block, "text.text", 3_000),
        Some("actions") => {
            let elements = block.items("elements");
            let ids: HashSet<_> = elements.iter().map(|one| one.text("action_id")).collect();
            (1..=25).contains(&elements.len())
                && ids.len() == elements.len()
                && elements.iter().all(element)
        }
        _ => false,
    };
    blocks.len() <= 50 && blocks.iter().all(block)
}

fn channel_type(channel: &str) -> &'static str {
    if channel.starts_with('D') {
        "im"
    } else {
        "channel"
    }
}
