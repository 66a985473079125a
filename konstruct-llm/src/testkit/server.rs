//! The server of a fake provider.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
    serve::ListenerExt as _,
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Fault, Reply, frames::Dialect, speech, vectors};

/// A request that a fake provider received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// The path.
    pub path: String,
    /// The headers, with lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body's JSON; null if it is not JSON.
    pub body: Value,
}

impl Recorded {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Script = dyn Fn(&str) -> Reply + Send + Sync;

/// A provider that answers from a script. Clones share it.
#[derive(Clone)]
pub struct FakeProvider {
    script: Arc<Script>,
    next: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Recorded>>>,
    models: Arc<Vec<String>>,
}

impl fmt::Debug for FakeProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeProvider").finish_non_exhaustive()
    }
}

impl Default for FakeProvider {
    /// Answers with `Re: ` followed by the user's text.
    fn default() -> Self {
        Self::new(|asked| Reply::text(format!("Re: {asked}")))
    }
}

impl FakeProvider {
    /// Creates a provider that computes each reply from the user's last text.
    pub fn new(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            next: Arc::default(),
            requests: Arc::default(),
            models: Arc::new(vec!["fake".into()]),
        }
    }

    /// Sets the models listed by `GET [/v1]/models` and `GET /api/tags`; the default is `fake`.
    #[must_use]
    pub fn models(mut self, models: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.models = Arc::new(models.into_iter().map(Into::into).collect());
        self
    }

    /// Queues a reply that takes precedence over the script; several are used in order.
    pub fn next(&self, reply: Reply) {
        lock(&self.next).push_back(reply);
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.requests).clone()
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let routes = Router::new()
            .route("/chat/completions", post(openai))
            .route("/v1/chat/completions", post(openai))
            .route("/responses", post(responses))
            .route("/v1/responses", post(responses))
            .route("/models", get(models))
            .route("/v1/models", get(models))
            .route("/v1/messages", post(anthropic))
            .route("/api/chat", post(ollama))
            .route("/embeddings", post(openai_embed))
            .route("/v1/embeddings", post(openai_embed))
            .route("/api/embed", post(ollama_embed))
            .route("/audio/transcriptions", post(transcribe))
            .route("/v1/audio/transcriptions", post(transcribe))
            .route("/inference", post(transcribe))
            .route("/api/tags", get(tags))
            .layer(DefaultBodyLimit::disable())
            .with_state(self);
        // Without it a stream of small frames waits for acknowledgements.
        let listener = listener.tap_io(|stream| {
            let _best_effort = stream.set_nodelay(true);
        });
        axum::serve(listener, routes).await
    }

    /// Serves on a free port until the [`FakeServer`] is dropped.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn spawn(&self) -> io::Result<FakeServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(self.clone().serve(listener));
        Ok(FakeServer { url, task })
    }

    fn answer(
        &self,
        dialect: Dialect,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> (Reply, Value, usize) {
        let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let form = kind.filter(|kind| kind.starts_with("multipart/form-data"));
        let body: Value = match form {
            Some(kind) => speech::form(kind, body),
            None => serde_json::from_slice(body).unwrap_or_default(),
        };
        let number = {
            let mut requests = lock(&self.requests);
            requests.push(Recorded {
                path: uri.path().into(),
                headers: headers
                    .iter()
                    .map(|(name, value)| {
                        (
                            name.to_string(),
                            String::from_utf8_lossy(value.as_bytes()).into_owned(),
                        )
                    })
                    .collect(),
                body: body.clone(),
            });
            requests.len()
        };
        let next = lock(&self.next).pop_front();
        let asked = match body["file"]["text"].as_str() {
            Some(spoken) => spoken.to_owned(),
            None => last_user_text(dialect, &body),
        };
        let reply = next.unwrap_or_else(|| (self.script)(&asked));
        tracing::debug!(?dialect, number, "the fake provider responds");
        (reply, body, number)
    }
}

/// A running fake provider. Dropping it stops the server.
#[derive(Debug)]
pub struct FakeServer {
    url: String,
    task: JoinHandle<io::Result<()>>,
}

impl FakeServer {
    /// Returns the base URL, without a trailing slash. Clients of OpenAI may append `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn openai(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&fake, Dialect::OpenAi, &uri, &headers, &body).await
}

async fn responses(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&fake, Dialect::Responses, &uri, &headers, &body).await
}

async fn anthropic(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&fake, Dialect::Anthropic, &uri, &headers, &body).await
}

async fn ollama(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&fake, Dialect::Ollama, &uri, &headers, &body).await
}

async fn openai_embed(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    embed(&fake, Dialect::OpenAi, &uri, &headers, &body).await
}

async fn ollama_embed(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    embed(&fake, Dialect::Ollama, &uri, &headers, &body).await
}

async fn transcribe(
    State(fake): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (reply, form, _) = fake.answer(Dialect::OpenAi, &uri, &headers, &body);
    whole(Dialect::OpenAi, reply, |reply| {
        speech::document(&form, reply)
    })
    .await
}

async fn embed(
    fake: &FakeProvider,
    dialect: Dialect,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let (reply, body, _) = fake.answer(dialect, uri, headers, body);
    whole(dialect, reply, |reply| {
        vectors::document(dialect, &body, reply)
    })
    .await
}

/// Responds with one document, in two pieces between which a fault happens.
async fn whole(dialect: Dialect, reply: Reply, document: impl FnOnce(&Reply) -> Value) -> Response {
    tokio::time::sleep(reply.delay).await;
    match &reply.fault {
        Some(Fault::Status {
            status,
            headers,
            body,
        }) => return refusal(*status, headers, body),
        Some(Fault::Drop) => std::panic::resume_unwind(Box::new("the connection breaks")),
        Some(Fault::Silent) => std::future::pending().await,
        _ => {}
    }
    let document = document(&reply).to_string();
    let fault = match reply.fault {
        // For embeddings this fault only removes vectors.
        Some(Fault::End(_)) => None,
        fault => fault,
    };
    let half = document.len() / 2;
    let (head, tail) = document.as_bytes().split_at(half);
    let frames = vec![head.to_vec(), tail.to_vec()];
    let mut response = Response::new(stream_of(dialect, frames, fault));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

async fn models(State(fake): State<FakeProvider>, headers: HeaderMap) -> Json<Value> {
    let names = fake.models.iter();
    if headers.contains_key("anthropic-version") {
        let models: Vec<Value> = names
            .map(|name| json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "active"}))
            .collect();
        let ends = (fake.models.first(), fake.models.last());
        return Json(
            json!({"data": models, "has_more": false, "first_id": ends.0, "last_id": ends.1}),
        );
    }
    let models: Vec<Value> = names
        .map(|name| json!({"id": name, "object": "model", "created": 0, "owned_by": "fake"}))
        .collect();
    Json(json!({"object": "list", "data": models}))
}

async fn tags(State(fake): State<FakeProvider>) -> Json<Value> {
    let models: Vec<Value> = fake
        .models
        .iter()
        .map(|name| json!({"name": name, "model": name}))
        .collect();
    Json(json!({ "models": models }))
}

async fn respond(
    fake: &FakeProvider,
    dialect: Dialect,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let (reply, body, number) = fake.answer(dialect, uri, headers, body);
    tokio::time::sleep(reply.delay).await;
    if let Some(Fault::Status {
        status,
        headers,
        body,
    }) = &reply.fault
    {
        return refusal(*status, headers, body);
    }
    match &reply.fault {
        // Breaks the connection as a panic does, but without its message.
        Some(Fault::Drop) => std::panic::resume_unwind(Box::new("the connection breaks")),
        Some(Fault::Silent) => std::future::pending().await,
        _ => {}
    }
    let model = body["model"].as_str().unwrap_or("fake");
    // Ollama streams by default; the others only on request.
    if !body["stream"]
        .as_bool()
        .unwrap_or(dialect == Dialect::Ollama)
    {
        return Json(dialect.document(model, number, &reply)).into_response();
    }
    let frames = dialect.frames(model, number, &reply);
    let frames = if reply.odd {
        dialect.oddly(&frames)
    } else {
        frames.into_iter().map(String::into_bytes).collect()
    };
    let mut response = Response::new(stream_of(dialect, frames, reply.fault));
    let media = HeaderValue::from_static(dialect.media());
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

fn refusal(status: u16, headers: &[(String, String)], body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Builds the body: each frame is a separate chunk, followed by the fault.
fn stream_of(dialect: Dialect, mut frames: Vec<Vec<u8>>, fault: Option<Fault>) -> Body {
    let broken = || stream::once(async { Err(io::Error::other("cut")) });
    let (at, last) = match fault {
        Some(Fault::End(at) | Fault::Cut(at) | Fault::Stall(at)) => (at, None),
        Some(Fault::Malformed(at)) => (at, Some(dialect.malformed())),
        Some(Fault::Error(at)) => (at, Some(dialect.error())),
        Some(Fault::Status { .. } | Fault::Drop | Fault::Silent) | None => (usize::MAX, None),
    };
    frames.truncate(at);
    frames.extend(last.map(String::into_bytes));
    let sent = stream::iter(frames.into_iter().map(Ok::<_, io::Error>));
    match fault {
        Some(Fault::Cut(_)) => Body::from_stream(sent.chain(broken())),
        Some(Fault::Stall(_)) => Body::from_stream(sent.chain(stream::pending())),
        _ => Body::from_stream(sent),
    }
}

/// Returns the user's last text in any wire format.
fn last_user_text(dialect: Dialect, body: &Value) -> String {
    let messages = match dialect {
        Dialect::Responses => &body["input"],
        _ => &body["messages"],
    };
    if let (Dialect::Responses, Some(text)) = (dialect, messages.as_str()) {
        return text.to_owned();
    }
    let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
    let texts = messages
        .iter()
        .rev()
        .filter(|message| message["role"] == "user")
        .filter_map(|message| match &message["content"] {
            Value::String(text) => Some(text.clone()),
            Value::Array(blocks) => blocks
                .iter()
                .rev()
                .find_map(|block| block["text"].as_str())
                .map(str::to_owned),
            _ => None,
        });
    let text = texts.into_iter().next().unwrap_or_default();
    // The person's text, without the context appended to it.
    match text.rsplit_once("\n\n<context>") {
        Some((said, _)) => said.to_owned(),
        None => text,
    }
}
