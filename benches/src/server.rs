//! The built server as a child process: start, kill, query.

use std::{
    collections::HashMap,
    env, fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use konstruct_admin_api::{
    Client, Connection, EmployeeSettings, NewConnection, NewTenant, Page, Question,
};
use konstruct_core::{Secret, TenantId};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, Command};

use crate::{Failed, dice::Dice, sender};

/// The operator's token of every server that a benchmark starts.
pub const TOKEN: &str = "the operator of a bench";

/// The interval of polling.
pub const POLL: Duration = Duration::from_millis(5);

/// Returns the path of the server's binary: the given one, or the one next to this program, which is built if it does not exist.
///
/// # Errors
/// It cannot be built.
pub fn binary(given: Option<PathBuf>) -> Result<PathBuf, Failed> {
    if let Some(path) = given {
        return Ok(path);
    }
    let beside = env::current_exe()?.with_file_name("konstruct-server");
    if beside.exists() {
        return Ok(beside);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build.args(["build", "-p", "konstruct-server"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if build.status()?.success() && beside.exists() {
        Ok(beside)
    } else {
        Err("konstruct-server cannot be built; name it with --server".into())
    }
}

/// The options of a server: always the same addresses and the same data.
#[derive(Debug)]
pub struct Setup {
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    data: PathBuf,
    log: PathBuf,
    listen: u16,
    metrics: u16,
    /// The limit of open files.
    descriptors: Option<u32>,
}

impl Setup {
    /// Chooses addresses for a server with its data and log in `dir`.
    ///
    /// # Errors
    /// No ports are free.
    pub fn new(binary: PathBuf, dir: &Path) -> Result<Self, Failed> {
        // Below the range of ephemeral ports, so that no connection takes them between two starts.
        let mut dice = Dice::new(u64::from(std::process::id()));
        let mut port = || {
            let mut ports = std::iter::repeat_with(|| 20_000 + dice.below(10_000));
            ports
                .by_ref()
                .take(1_000)
                .filter_map(|port| u16::try_from(port).ok())
                .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
                .ok_or("no free port")
        };
        Ok(Self {
            binary,
            arguments: Vec::new(),
            environment: Vec::new(),
            data: dir.join("data"),
            log: dir.join("server.log"),
            listen: port()?,
            metrics: port()?,
            descriptors: None,
        })
    }

    /// Sets its arguments.
    pub fn arguments(&mut self, arguments: impl IntoIterator<Item = String>) {
        self.arguments = arguments.into_iter().collect();
    }

    /// Sets a variable of its environment.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Gives it a configuration file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn settings(&mut self, text: &str) -> Result<(), Failed> {
        let path = self.log.with_file_name("config.toml");
        fs::write(&path, text)?;
        self.arguments(["--config".to_owned(), path.display().to_string()]);
        Ok(())
    }

    /// Limits its open files, as `ulimit -n` does.
    pub fn limit_descriptors(&mut self, most: u32) {
        self.descriptors = Some(most);
    }

    /// Returns the path of its store.
    pub fn store(&self) -> PathBuf {
        self.data.join("konstruct.redb")
    }

    /// Returns the path of its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    /// Creates a client of its admin API.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn admin(&self) -> Result<Client, Failed> {
        Ok(Client::new(self.url(), Secret::new(TOKEN))?)
    }

    /// Lists the open questions: the key and the kind of each.
    ///
    /// # Errors
    /// The server does not answer with a page of questions.
    pub async fn questions(&self, tenant: TenantId) -> Result<HashMap<String, String>, Failed> {
        let (client, mut after) = (sender::client()?, String::new());
        let mut found = HashMap::new();
        loop {
            let url = format!("{}/api/v1/tenants/{tenant}/questions", self.url());
            let query = [("limit", "200"), ("after", &after)];
            let request = client.get(url).query(&query).bearer_auth(TOKEN);
            let page: Page<Question> = request.send().await?.error_for_status()?.json().await?;
            let questions = page.items.into_iter();
            found.extend(questions.map(|question| (question.key, question.kind)));
            match page.next {
                Some(next) => after = next,
                None => return Ok(found),
            }
        }
    }

    /// Starts the server.
    ///
    /// # Errors
    /// The program does not exist.
    pub fn start(&self) -> Result<Server, Failed> {
        fs::create_dir_all(&self.data)?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = match self.descriptors {
            None => Command::new(&self.binary),
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(limited).arg(&self.binary);
                shell
            }
        };
        let child = command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("KONSTRUCT_LISTEN", format!("127.0.0.1:{}", self.listen))
            .env(
                "KONSTRUCT_METRICS_LISTEN",
                format!("127.0.0.1:{}", self.metrics),
            )
            .env("KONSTRUCT_DATA_DIR", &self.data)
            .env("KONSTRUCT_OPERATOR_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        Ok(Server {
            child,
            metrics: format!("http://127.0.0.1:{}/metrics", self.metrics),
            health: format!("{}/healthz", self.url()),
            started: Instant::now(),
        })
    }
}

/// Adds a tenant with an employee and a WhatsApp number. Returns the connection of the number.
///
/// # Errors
/// The server refuses it.
pub async fn add_shop(
    admin: &Client,
    nth: usize,
    number: &str,
    settings: &EmployeeSettings,
) -> Result<Connection, Failed> {
    let name = format!("Shop {nth}");
    let tenant = admin.add_tenant(&NewTenant { name }).await?.id;
    admin.hire(tenant, settings).await?;
    let connection = NewConnection {
        channel: "whatsapp".into(),
        account: number.into(),
        name: String::new(),
        token: "EAAG-fake".into(),
    };
    Ok(admin.connect(tenant, &connection).await?)
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    metrics: String,
    health: String,
    started: Instant,
}

impl Server {
    /// Kills it like the system would, without flushing anything.
    ///
    /// # Errors
    /// It had already ended.
    pub async fn kill(mut self) -> Result<(), Failed> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the server had already ended: {status}").into());
        }
        self.child.kill().await?;
        Ok(())
    }

    /// Sends SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// It does not end successfully.
    pub async fn terminate(mut self) -> Result<(), Failed> {
        let id = self.child.id().ok_or("the server had already ended")?;
        let pid = Pid::from_raw(id.cast_signed()).ok_or("no process")?;
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await??;
        if ended.success() {
            Ok(())
        } else {
            Err(format!("after SIGTERM the server ended with {ended}").into())
        }
    }

    /// Returns whether it has ended by itself.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn has_ended(&mut self) -> Result<bool, Failed> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Returns the process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Limits the size of its files, so that writes fail as on a full disk; `None` removes the limit.
    ///
    /// # Errors
    /// It has ended.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<(), Failed> {
        let id = self.child.id().ok_or("the server has ended")?;
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Pid::from_raw(id.cast_signed()), Resource::Fsize, limit)
            .map_err(io::Error::from)?;
        Ok(())
    }

    /// Waits until it listens. Returns the time since its start.
    ///
    /// # Errors
    /// It ends, or does not listen within a minute.
    pub async fn listening(&mut self) -> Result<Duration, Failed> {
        let client = sender::client()?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended with {status}").into());
            }
            if client.get(&self.health).send().await.is_ok() {
                return Ok(self.started.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
        Err("the server does not listen".into())
    }

    /// Reads from its metrics the time from its start to the first claim; `None` before that.
    pub async fn first_claim(&self, client: &reqwest::Client) -> Option<Duration> {
        let text = client.get(&self.metrics).send().await.ok()?.text().await;
        let value = text.ok()?.lines().find_map(|line| {
            let value = line.strip_prefix("konstruct_first_claim_seconds ")?;
            value.trim().parse::<f64>().ok()
        })?;
        Some(Duration::from_secs_f64(value))
    }
}
