//! The test environment: the fake vendors, a fake provider, and the server that uses them.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::Duration,
};

use konstruct_admin_api::{Client, Conversation};
use konstruct_channels::{
    WebhookRequest,
    testkit::{FakeGraph, FakeSlack, deliver, signed_slack, signed_whatsapp},
};
use konstruct_core::{Clock as _, Secret, SystemClock, http};
use konstruct_llm::testkit::{FakeProvider, FakeServer};
use konstruct_memory::{KeyRing, Redb};
use konstruct_server::BUSINESS_TENANT;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::database::{self, on_postgres};

/// The id of the WhatsApp number.
pub(crate) const NUMBER: &str = "106540352242922";
/// A customer's number.
pub(crate) const CUSTOMER: &str = "15550001111";
/// The operator's token.
pub(crate) const TOKEN: &str = "the operator of a test";

/// The secret of both vendors' signatures.
pub(crate) fn secret() -> Secret {
    Secret::new("a secret of the vendors")
}

/// The API of the fake provider that the server uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    OpenAi,
    Anthropic,
    Ollama,
}

/// The store of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Embedded,
    Postgres,
}

/// The fake vendors, a fake provider, and a directory for the server's data.
pub(crate) struct Office {
    pub(crate) slack: FakeSlack,
    pub(crate) graph: FakeGraph,
    pub(crate) model: FakeProvider,
    model_server: FakeServer,
    /// The configured embedder.
    pub(crate) embedder: &'static str,
    /// More settings, as they are written in a file.
    pub(crate) settings: String,
    /// The store of its servers, if it is not the one that the tests run on.
    store: Option<Store>,
    data: TempDir,
}

impl Office {
    /// Opens an office whose model answers `Re: ` followed by the question.
    pub(crate) async fn open() -> Self {
        Self::with(FakeProvider::default()).await
    }

    /// Opens an office with a custom model.
    pub(crate) async fn with(model: FakeProvider) -> Self {
        Self {
            slack: FakeSlack::start().await.unwrap(),
            graph: FakeGraph::start().await.unwrap(),
            model_server: model.spawn().await.unwrap(),
            model,
            embedder: "static",
            settings: String::new(),
            store: None,
            data: TempDir::new().unwrap(),
        }
    }

    /// Opens an office whose servers use the embedded store, whatever the other tests use.
    pub(crate) async fn embedded() -> Self {
        Self {
            store: Some(Store::Embedded),
            ..Self::open().await
        }
    }

    /// Opens an office whose servers share a database.
    pub(crate) async fn shared() -> Self {
        Self {
            store: Some(Store::Postgres),
            ..Self::open().await
        }
    }

    /// Starts the server on this office's data; it uses OpenAI's API.
    pub(crate) async fn start(&self) -> Server {
        self.start_with(Wire::OpenAi).await
    }

    /// Starts the server, and waits until it prints its address.
    pub(crate) async fn start_with(&self, wire: Wire) -> Server {
        let server = launch(self.command(wire)).await;
        server.vendors_have_confirmed().await;
        server
    }

    /// Returns the command that starts the server with this office's vendors.
    pub(crate) fn command(&self, wire: Wire) -> Command {
        let data = self.data.path().join("data");
        let mut command = match self.store {
            None => command(data),
            Some(Store::Embedded) => embedded_command(data),
            Some(Store::Postgres) => {
                let database = database::of(&data);
                let mut command = embedded_command(data);
                command.envs(database);
                command
            }
        };
        // The fakes of tenants' own providers and websites are local.
        let file = self.data.path().join("config.toml");
        let websites = "[websites]\nallowed_hosts = [\"127.0.0.1\"]\ndelay_millis = 0\ncrawls = 2";
        let settings = format!(
            "allowed_hosts = [\"127.0.0.1\"]\n{websites}\n{}",
            self.settings
        );
        std::fs::write(&file, settings).unwrap();
        command
            .arg("--config")
            .arg(file)
            .env("KONSTRUCT_DEMO", "false")
            .env("KONSTRUCT_EMBEDDER", self.embedder)
            .env("SLACK_SIGNING_SECRET", secret().expose())
            .env("SLACK_BOT_TOKEN", "xoxb-fake")
            .env("SLACK_API_URL", self.slack.url())
            .env("WHATSAPP_APP_SECRET", secret().expose())
            .env("WHATSAPP_VERIFY_TOKEN", "verify")
            .env("WHATSAPP_PHONE_NUMBER_ID", NUMBER)
            .env("WHATSAPP_ACCESS_TOKEN", "EAAG-fake")
            .env("GRAPH_API_URL", self.graph.url());
        let model = self.model_server.url();
        match wire {
            Wire::OpenAi => command
                .env("KONSTRUCT_MODEL", "openai/fake")
                .env("OPENAI_API_KEY", "sk-fake")
                .env("OPENAI_BASE_URL", format!("{model}/v1")),
            Wire::Anthropic => command
                .env("KONSTRUCT_MODEL", "anthropic/fake")
                .env("ANTHROPIC_API_KEY", "sk-ant-fake")
                .env("ANTHROPIC_BASE_URL", model),
            Wire::Ollama => command
                .env("KONSTRUCT_MODEL", "ollama/fake")
                .env("OLLAMA_HOST", model),
        };
        command
    }

    /// Returns the server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Opens the store of a server that has exited.
    pub(crate) fn store(&self) -> Redb {
        let data = self.data.path().join("data");
        let ring = std::fs::read_to_string(data.join("master.key")).unwrap();
        let ring = KeyRing::parse(ring.trim()).unwrap();
        let store = Redb::builder().key_ring(ring);
        store.open(data.join("konstruct.redb")).unwrap()
    }

    /// Returns the number of messages that the vendors accepted.
    pub(crate) fn accepted_count(&self) -> usize {
        self.slack.posts().len() + self.graph.posts().len()
    }

    /// Waits until the vendors have accepted this many messages.
    pub(crate) async fn wait_for_accepted(&self, count: usize) {
        eventually(async || self.accepted_count() >= count).await;
    }
}

/// Starts a server, and waits until it has printed its address and setup.
pub(crate) async fn launch(mut command: Command) -> Server {
    let metrics = free_port();
    command.env("KONSTRUCT_METRICS_LISTEN", format!("127.0.0.1:{metrics}"));
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut url, mut printed) = (String::new(), String::new());
    // The line about billing is the last one.
    while !printed.contains("Billing: ") {
        let line = lines.next_line().await.unwrap();
        let line = line.expect("the server ended before it listened");
        if let Some(listens) = line.strip_prefix("Konstruct listens on ") {
            url = listens.to_owned();
        }
        printed += &line;
        printed += "\n";
    }
    // Its remaining output is read, so that it never blocks on a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Server {
        child,
        url,
        metrics: format!("http://127.0.0.1:{metrics}"),
        printed,
    }
}

/// Returns the command of a server with only its own addresses in the environment, and its database if the tests run on PostgreSQL.
pub(crate) fn command(data: PathBuf) -> Command {
    let database = on_postgres().then(|| database::of(&data));
    let mut command = embedded_command(data);
    command.envs(database.into_iter().flatten());
    command
}

/// Returns the command of a server on the embedded store.
pub(crate) fn embedded_command(data: PathBuf) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_konstruct-server"));
    command
        .env_clear()
        .env("KONSTRUCT_LISTEN", "127.0.0.1:0")
        .env("KONSTRUCT_METRICS_LISTEN", "127.0.0.1:0")
        .env("KONSTRUCT_DATA_DIR", data)
        .env("KONSTRUCT_OPERATOR_TOKEN", TOKEN)
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Returns a port below the range of outgoing connections; each test process starts at a different one.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 10_000).unwrap();
    std::iter::repeat_with(|| 10_000 + (begin + NEXT.fetch_add(7, Relaxed)) % 20_000)
        .take(1_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A running server. It is killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) metrics: String,
    /// Its output at the start.
    pub(crate) printed: String,
}

impl Server {
    /// Creates a client of its admin API.
    pub(crate) fn admin(&self) -> Client {
        Client::new(&self.url, Secret::new(TOKEN)).unwrap()
    }

    /// Reads something of the business through the admin API, as the operator. Returns the status and the body.
    pub(crate) async fn read(&self, path: &str) -> (u16, String) {
        let url = format!("{}/api/v1/tenants/{BUSINESS_TENANT}{path}", self.url);
        let request = http().get(url).unwrap().bearer(&Secret::new(TOKEN));
        text(request.send().await.unwrap()).await
    }

    /// Delivers a customer's first message, and waits for the answer. Returns the conversation.
    pub(crate) async fn greeted(&self, office: &Office) -> Conversation {
        let message = office.graph.message(NUMBER, CUSTOMER, "hello");
        assert_eq!(self.whatsapp(&message).await, 200);
        office.wait_for_accepted(1).await;
        let [conversation] = self.wait_until_processed(1).await.try_into().unwrap();
        conversation
    }

    /// Delivers a Slack body. Returns the status.
    pub(crate) async fn slack(&self, body: &[u8]) -> u16 {
        let request = signed_slack(&secret(), SystemClock.now(), body);
        self.deliver("slack/events", &request).await
    }

    /// Delivers a Meta body. Returns the status.
    pub(crate) async fn whatsapp(&self, body: &[u8]) -> u16 {
        self.deliver("whatsapp", &signed_whatsapp(&secret(), body))
            .await
    }

    /// Delivers a request to one of the webhooks. Returns the status.
    pub(crate) async fn deliver(&self, webhook: &str, request: &WebhookRequest) -> u16 {
        let url = format!("{}/webhooks/{webhook}", self.url);
        deliver(&url, request).await.unwrap()
    }

    /// Returns the value of a metric, with its labels as they are printed.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = get(&format!("{}/metrics", self.metrics)).await.1;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Waits until the business's conversations are processed, and returns them with their turns.
    pub(crate) async fn wait_until_processed(&self, conversations: usize) -> Vec<Conversation> {
        let admin = self.admin();
        let mut all = Vec::new();
        eventually(async || {
            let listed = admin
                .conversations(BUSINESS_TENANT, None)
                .await
                .unwrap()
                .items;
            let idle = listed.iter().all(|one| one.waiting == 0 && one.records > 0);
            all.clear();
            for one in &listed {
                // A conversation whose first event was just accepted has no log yet.
                if let Ok(found) = admin.conversation(BUSINESS_TENANT, one.id).await {
                    all.push(found);
                }
            }
            let mut turns = all.iter().flat_map(|conversation| &conversation.turns);
            idle && all.len() == conversations && turns.all(|turn| turn.outcome != "open")
        })
        .await;
        all
    }

    /// Waits until both vendors have confirmed the configured connections.
    pub(crate) async fn vendors_have_confirmed(&self) {
        let admin = self.admin();
        eventually(async || {
            let connections = admin.connections(BUSINESS_TENANT).await.unwrap().items;
            connections.len() == 2
        })
        .await;
    }

    /// Limits the size of its files; `None` removes the limit.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Limits the number of its open files; `None` removes the limit.
    pub(crate) fn limit_descriptors(&self, most: Option<u64>) {
        let pid = Some(self.pid());
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: most.or(maximum),
            maximum,
        };
        prlimit(pid, Resource::Nofile, limit).unwrap();
    }

    /// Returns the number of its open files.
    pub(crate) fn open_descriptors(&self) -> usize {
        let files = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(files).unwrap().count()
    }

    /// Returns the most memory that it has used, in MB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.unwrap().split_whitespace().next().unwrap();
        kilobytes.parse::<u64>().unwrap() >> 10
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("it runs").cast_signed();
        Pid::from_raw(id).unwrap()
    }

    /// Waits until it exits.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        ended.expect("it ends").unwrap()
    }

    /// Kills it at once.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM and waits until it exits.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("it ends").unwrap()
    }
}

/// Polls a condition until it is true. Use it only if there is no event to wait for.
///
/// # Panics
/// If it is not true within a minute: a lease of a killed process ends after half of it.
pub(crate) async fn eventually(mut so: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..3_000 {
        ticks.tick().await;
        if so().await {
            return;
        }
    }
    panic!("the condition did not become true in time");
}

/// Creates a client for local servers.
pub(crate) fn http() -> http::Client {
    http::Client::builder().direct().build()
}

/// Gets a URL without a token. Returns the status and the body.
pub(crate) async fn get(url: &str) -> (u16, String) {
    text(http().get(url).unwrap().send().await.unwrap()).await
}

/// Returns the status and the body of an answer.
async fn text(answer: http::Response) -> (u16, String) {
    let status = answer.status();
    let body = answer.body(16 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
