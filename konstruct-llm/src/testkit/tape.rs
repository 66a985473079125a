//! Records and replays exchanges with a provider: a local server that forwards requests and records the responses, and one that
//! replays them without a network.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
    serve::ListenerExt as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::stream;
use konstruct_core::http::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// The recorded response headers. Request headers are not recorded, because they contain the key.
const RECORDED_HEADERS: &[&str] = &[
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
];

/// One request and its response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Exchange {
    method: String,
    path: String,
    request: Value,
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(flatten)]
    body: Payload,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Body(String),
    Base64(String),
}

impl Payload {
    fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Body(text),
            Err(other) => Self::Base64(STANDARD.encode(other.into_bytes())),
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Body(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).map_err(io::Error::other),
        }
    }
}

/// A local server that replaces a provider, by recording it or by replaying. Dropping it stops the server.
///
/// A tape is a file with one JSON exchange per line. It contains no request headers, so no key, but the full text of requests and
/// responses.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use konstruct_llm::testkit::Tape;
///
/// let tape = Tape::record("https://api.anthropic.com", "tests/tapes/greeting.jsonl").await?;
/// println!("point a backend at {}, once", tape.url());
///
/// let tape = Tape::replay("tests/tapes/greeting.jsonl").await?;
/// println!("and from then on at {}", tape.url());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Tape {
    url: String,
    task: JoinHandle<io::Result<()>>,
}

impl Tape {
    /// Forwards requests to a provider, and appends each exchange to a file when it is complete.
    ///
    /// # Errors
    /// Those of binding, of the HTTP client and of the file.
    pub async fn record(upstream: impl Into<String>, file: impl AsRef<Path>) -> io::Result<Self> {
        let recorder = Recorder {
            client: Client::builder().build(),
            upstream: upstream.into().trim_end_matches('/').to_owned(),
            file: Arc::new(Mutex::new(file.as_ref().to_owned())),
        };
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file.as_ref())?;
        Self::serve(Router::new().fallback(pass_on).with_state(recorder)).await
    }

    /// Responds from a file: with the first exchange of the same path and body that was not replayed yet, or else with the last
    /// one. Other requests get 404.
    ///
    /// # Errors
    /// Those of binding and of the file.
    pub async fn replay(file: impl AsRef<Path>) -> io::Result<Self> {
        let text = fs::read_to_string(file.as_ref())?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let exchanges: Result<Vec<Exchange>, _> = lines.map(serde_json::from_str).collect();
        let player = Player(Arc::new(Mutex::new(
            exchanges?.into_iter().map(|it| (it, false)).collect(),
        )));
        Self::serve(Router::new().fallback(play).with_state(player)).await
    }

    async fn serve(routes: Router) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            let _best_effort = stream.set_nodelay(true);
        });
        let task = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, task })
    }

    /// Returns the base URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
struct Recorder {
    client: Client,
    upstream: String,
    file: Arc<Mutex<PathBuf>>,
}

async fn pass_on(
    State(recorder): State<Recorder>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    for own in ["host", "content-length", "connection", "accept-encoding"] {
        headers.remove(own);
    }
    let url = format!("{}{uri}", recorder.upstream);
    let asked = body.clone();
    let answer = async {
        let request = recorder.client.request(method.clone(), url)?;
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| match value.to_str() {
                Ok(value) => request.header(name.as_str(), value),
                Err(_) => request,
            });
        request.body(body).send().await
    };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let status = answer.status();
    let kept: Vec<(String, String)> = RECORDED_HEADERS
        .iter()
        .filter_map(|name| {
            let value = answer.header(name)?;
            Some(((*name).to_owned(), value.to_owned()))
        })
        .collect();
    let exchange = Exchange {
        method: method.to_string(),
        path: uri.to_string(),
        request: serde_json::from_slice(&asked).unwrap_or_default(),
        status,
        headers: kept.clone(),
        body: Payload::Body(String::new()),
    };
    let file = Arc::clone(&recorder.file);
    let rest = (answer, Vec::new(), Some(exchange));
    let body = stream::unfold(rest, move |(mut answer, mut all, exchange)| {
        let file = Arc::clone(&file);
        async move {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    all.extend_from_slice(&chunk);
                    Some((Ok(chunk), (answer, all, exchange)))
                }
                Err(error) => Some((Err(io::Error::other(error)), (answer, all, None))),
                Ok(None) => {
                    let mut exchange = exchange?;
                    exchange.body = Payload::of(all);
                    keep(&lock(&file), &exchange)
                        .err()
                        .map(|error| (Err(error), (answer, Vec::new(), None)))
                }
            }
        }
    });
    answered(status, &kept, Body::from_stream(body))
}

fn keep(file: &Path, exchange: &Exchange) -> io::Result<()> {
    let mut line = serde_json::to_string(exchange)?;
    line.push('\n');
    let mut file = fs::OpenOptions::new().append(true).open(file)?;
    io::Write::write_all(&mut file, line.as_bytes())
}

#[derive(Clone, Debug)]
struct Player(Arc<Mutex<Vec<(Exchange, bool)>>>);

async fn play(State(player): State<Player>, method: Method, uri: Uri, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut tape = lock(&player.0);
    let same = |exchange: &Exchange| {
        exchange.method == method.as_str()
            && exchange.path == uri.to_string()
            && exchange.request == asked
    };
    let fresh = tape.iter().position(|(it, played)| !played && same(it));
    let Some(at) = fresh.or_else(|| tape.iter().rposition(|(it, _)| same(it))) else {
        let told = format!("{method} {uri} with this body is not on the tape");
        return (StatusCode::NOT_FOUND, told).into_response();
    };
    let (exchange, played) = &mut tape[at];
    *played = true;
    match exchange.body.bytes() {
        Ok(body) => answered(exchange.status, &exchange.headers, Body::from(body)),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn answered(status: u16, headers: &[(String, String)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
