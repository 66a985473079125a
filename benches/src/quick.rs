//! A model, a vendor and a sender with minimal cost, so that only the server is measured.
//!
//! HTTP/1.1 over plain TCP with persistent connections. Bodies have a length; nothing else is supported.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use konstruct_channels::testkit::signed_whatsapp;
use konstruct_core::{Clock as _, Secret, SystemClock};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{office::SECRET, server::Setup};

/// The model's answer: a stream of two pieces and their usage.
const ANSWER: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","model":"fake","choices":[{"index":0,"delta":{"role":"assistant","content":"Yes, "},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","model":"fake","choices":[{"index":0,"delta":{"content":"we are open until six today, and we repair bicycles too."},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","model":"fake","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","model":"fake","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120}}"#,
    "\n\ndata: [DONE]\n\n"
);

/// An OpenAI-compatible model and a Graph API at one address, which answer immediately.
#[derive(Clone, Debug)]
pub struct Quick(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    addr: SocketAddr,
    sends: AtomicU64,
    calls: AtomicU64,
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
    recorded: Mutex<Option<Vec<Sent>>>,
    /// The business numbers whose vendor never answers.
    hanging: Mutex<HashSet<String>>,
}

/// A message that the vendor accepted.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// The customer's number.
    pub to: String,
    /// The text.
    pub text: String,
}

impl Quick {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let quick = Self(Arc::new(Inner {
            addr: listener.local_addr()?,
            sends: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            waiting: Mutex::default(),
            recorded: Mutex::default(),
            hanging: Mutex::default(),
        }));
        let serving = quick.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Ok(quick)
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.addr)
    }

    /// Configures a server to use it, without the demo. Webhooks are signed with [`SECRET`].
    pub fn connect(&self, setup: &mut Setup) {
        let variables = [
            ("KONSTRUCT_DEMO", "off"),
            ("KONSTRUCT_MODEL", "openai/fake"),
            ("OPENAI_API_KEY", "sk-fake"),
            ("OPENAI_BASE_URL", &format!("{}/v1", self.url())),
            ("WHATSAPP_APP_SECRET", SECRET),
            ("GRAPH_API_URL", &self.url()),
        ];
        for (name, value) in variables {
            setup.set(name, value);
        }
    }

    /// Returns the numbers of accepted messages and of model calls.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.sends.load(Relaxed), self.0.calls.load(Relaxed))
    }

    /// Returns a receiver that resolves when the next message is sent to a number.
    pub fn sent_to(&self, number: &str) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.waiting().insert(number.to_owned(), tell);
        told
    }

    /// Records the messages that are sent from now on.
    pub fn record(&self) {
        *self.recorded() = Some(Vec::new());
    }

    /// Returns the recorded messages so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.recorded().clone().unwrap_or_default()
    }

    /// Lets the vendor accept requests for a business number from now on, and never answer them.
    pub fn hang(&self, number: &str) {
        self.hanging().insert(number.to_owned());
    }

    fn hangs(&self, message: &Message) -> bool {
        let hanging = self.hanging();
        let mut parts = message.start.split(['/', ' ', '?']);
        !hanging.is_empty() && parts.any(|part| hanging.contains(part))
    }

    fn hanging(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0
            .hanging
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self) -> MutexGuard<'_, Option<Vec<Sent>>> {
        self.0
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, stream: TcpStream) {
        // A malformed request ends the connection.
        let mut connection = Connection::new(stream);
        while let Ok(Some(message)) = connection.receive().await {
            if self.hangs(&message) {
                // Until the server gives up.
                let _ = connection.receive().await;
                return;
            }
            let (kind, body) = self.answer(&message);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            if connection
                .send(&[head.as_bytes(), body.as_bytes()])
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn answer(&self, message: &Message) -> (&'static str, String) {
        const JSON: &str = "application/json";
        let mut path = message.start.split(' ');
        let (method, path) = (path.next().unwrap_or(""), path.next().unwrap_or(""));
        if path.ends_with("/chat/completions") {
            self.0.calls.fetch_add(1, Relaxed);
            return ("text/event-stream", ANSWER.to_owned());
        }
        if method == "GET" {
            let id = path.split('?').next().unwrap_or("").rsplit('/').next();
            let number = json!({"id": id, "display_phone_number": "+1 555-078-3881", "verified_name": "Fake"});
            return (JSON, number.to_string());
        }
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        if body["status"] == "read" {
            return (JSON, r#"{"success":true}"#.into());
        }
        let to = body["to"].as_str().unwrap_or("");
        let nth = self.0.sends.fetch_add(1, Relaxed);
        if let Some(recorded) = &mut *self.recorded() {
            recorded.push(Sent {
                at: Instant::now(),
                to: to.to_owned(),
                text: body["text"]["body"].as_str().unwrap_or("").to_owned(),
            });
        }
        if let Some(tell) = self.waiting().remove(to) {
            // Nobody waits after the last turn.
            let _ = tell.send(());
        }
        let sent = json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": to, "wa_id": to}],
            "messages": [{"id": format!("wamid.Q{nth:016}")}],
        });
        (JSON, sent.to_string())
    }
}

/// A connection to the server on which WhatsApp webhooks are delivered one after another.
#[derive(Debug)]
pub struct Deliverer {
    connection: Connection,
    host: String,
    secret: Secret,
}

impl Deliverer {
    /// Connects to a server, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// It does not listen.
    pub async fn connect(url: &str, secret: Secret) -> io::Result<Self> {
        let host = url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await?;
        Ok(Self {
            connection: Connection::new(stream),
            host,
            secret,
        })
    }

    /// Delivers a body, and returns the status of the answer.
    ///
    /// # Errors
    /// The connection ends.
    pub async fn deliver(&mut self, body: &[u8]) -> io::Result<u16> {
        let request = signed_whatsapp(&self.secret, body);
        let mut head = format!(
            "POST /webhooks/whatsapp HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.host,
            body.len()
        );
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.connection.send(&[head.as_bytes(), body]).await?;
        let answer = self.connection.receive().await?;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = answer
            .start
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Returns the webhook for a customer's message to a business number.
pub fn webhook(number: &str, from: &str, id: &str, text: &str) -> Vec<u8> {
    let message = json!({
        "from": from, "id": id, "timestamp": SystemClock.now().as_secs().to_string(), "type": "text",
        "text": {"body": text},
    });
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": number},
            "contacts": [{"profile": {"name": "Customer"}, "wa_id": from}],
            "messages": [message],
        }}]}],
    });
    body.to_string().into_bytes()
}

/// A request or a response: its first line and its body.
struct Message {
    start: String,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // Otherwise, a small message waits for the acknowledgement of the previous one.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            read: Vec::new(),
        }
    }

    async fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.stream.write_all(&parts.concat()).await
    }

    /// Reads one message; `None` at the end.
    async fn receive(&mut self) -> io::Result<Option<Message>> {
        let head = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        };
        let text = String::from_utf8_lossy(&self.read[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or("").to_owned();
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let wanted = name.eq_ignore_ascii_case("content-length");
            wanted.then(|| value.trim().parse::<usize>().ok())?
        });
        let end = head + 4 + length.unwrap_or(0);
        while self.read.len() < end {
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.read[head + 4..end].to_vec();
        self.read.drain(..end);
        Ok(Some(Message { start, body }))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.read).await
    }
}
