//! A Python environment with the compared software, created when first needed.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use crate::Failed;

/// The exact packages that are installed.
const PACKAGES: [&str; 4] = [
    "litellm[proxy]==1.106.2",
    "tensorzero==2026.6.0",
    "openai==2.54.0",
    "anthropic==2.13.0",
];

/// The environment.
#[derive(Debug)]
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// Opens the environment in a folder. Creates it if it does not exist or has other versions.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(folder: &Path) -> Result<Self, Failed> {
        let folder = std::path::absolute(folder)?;
        let (stamp, wanted) = (folder.join("installed"), PACKAGES.join("\n"));
        let python = Self { folder };
        if fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
            return Ok(python);
        }
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&python.folder))?;
        let mut install = python.command();
        install.args(["-m", "pip", "install", "--quiet"]);
        run(install.args(PACKAGES))?;
        fs::write(stamp, wanted)?;
        Ok(python)
    }

    /// Returns a file in the environment's folder, for input and output of its programs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a command of the environment's Python.
    pub fn command(&self) -> Command {
        Command::new(self.folder.join("bin/python"))
    }

    /// Starts a server script, and waits until it prints its address.
    ///
    /// # Errors
    /// It cannot be started, or ends before it serves.
    pub fn serve(&self, script: &str, arguments: &[&str]) -> Result<Server, Failed> {
        let log = self.file("server.log");
        let mut child = self
            .command()
            .args(["-c", script])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let life = child.stdin.take();
        let said = child.stdout.take().ok_or("no output")?;
        let mut server = Server {
            url: String::new(),
            child,
            _life: life,
        };
        for line in BufReader::new(said).lines() {
            if let Some(url) = line?.strip_prefix("serving ") {
                server.url = url.trim_end_matches('/').to_owned();
                return Ok(server);
            }
        }
        Err(format!("a server did not start, see {}", log.display()).into())
    }

    /// Starts LiteLLM's proxy with one worker and without a database, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or is not ready within two minutes.
    pub async fn litellm(&self, config: &str, client: &reqwest::Client) -> Result<Server, Failed> {
        let (file, log) = (self.file("litellm.yaml"), self.file("litellm.log"));
        fs::write(&file, config)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let said = File::create(&log)?;
        let mut command = Command::new(self.folder.join("bin/litellm"));
        command
            .args(["--host", "127.0.0.1", "--num_workers", "1", "--port"])
            .arg(port.to_string())
            .arg("--config")
            .arg(&file)
            // Prices come from the package; nothing is fetched or reported.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_TELEMETRY", "False")
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("DATABASE_URL")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let mut server = Server {
            url: format!("http://127.0.0.1:{port}/v1"),
            child: command.spawn()?,
            _life: None,
        };
        let alive = format!("http://127.0.0.1:{port}/health/liveliness");
        for _ in 0..480 {
            if client
                .get(&alive)
                .send()
                .await
                .is_ok_and(|it| it.status() == 200)
            {
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(format!("LiteLLM did not start, see {}", log.display()).into())
    }
}

/// A server in Python. Dropping it ends the process.
#[derive(Debug)]
pub struct Server {
    url: String,
    child: Child,
    /// A server script ends when this closes, even if this process is killed.
    _life: Option<ChildStdin>,
}

impl Server {
    /// Returns the base URL for OpenAI clients, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} failed: {said}").into());
    }
    Ok(())
}
