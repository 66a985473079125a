//! What goes wrong around the processes of a cluster: a PostgreSQL server that crashes, and connections that are cut.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
};

use konstruct_core::Secret;
use rustix::process::geteuid;
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use crate::{Failed, store::SERVER};

/// The file of a PostgreSQL server's socket, in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A PostgreSQL server of its own, whose commits survive the end of its processes. Dropping it ends it.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    data: PathBuf,
}

impl PostgresServer {
    /// Starts a server in a folder, with the programs of the server of `KONSTRUCT_TEST_DATABASE_URL`.
    ///
    /// # Errors
    /// None is configured, or the new one does not start.
    pub async fn start(folder: &Path) -> Result<Self, Failed> {
        let url = std::env::var(SERVER).map_err(|_| {
            format!("{SERVER} is not set: start a server with  eval \"$(.ci/postgres start)\"")
        })?;
        let mut connection = PgConnection::connect_with(&PgConnectOptions::from_str(&url)?).await?;
        let programs: String =
            sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'")
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        let data = folder.join("postgres");
        fs::create_dir_all(&data)?;
        // The server refuses to run as root, and its user must reach the folder.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        if geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(&data))?;
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        let server = Self {
            programs: programs.into(),
            data,
        };
        let options = [
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ];
        run(server.program("initdb").args(options))?;
        server.restart()?;
        Ok(server)
    }

    /// Returns the folder of its socket.
    pub fn folder(&self) -> &Path {
        &self.data
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&self) -> Result<(), Failed> {
        let settings = format!(
            "-k '{}' -c listen_addresses='' -c max_connections=200 -c fsync=off -c shared_buffers=128MB",
            self.data.display()
        );
        let log = self.data.join("log");
        run(self
            .program("pg_ctl")
            .args(["-w", "-l"])
            .arg(log)
            .arg("-o")
            .arg(settings)
            .arg("start"))
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&self) -> Result<(), Failed> {
        run(self.program("pg_ctl").args(["-m", "immediate", "stop"]))
    }

    /// Returns the command of one of its programs, for its data.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(&self.data).current_dir("/");
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.stop();
    }
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let name = command.get_program().to_owned();
    // `pg_ctl start` would keep a pipe open for as long as the server runs.
    let status = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", OsStr::display(&name)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} ended with {status}").into())
    }
}

/// Returns the URL of a database of a server, for a role.
#[must_use]
pub fn url(folder: &Path, database: &str, role: &str) -> Secret {
    let folder = folder.display();
    Secret::new(format!("postgres:///{database}?host={folder}&user={role}"))
}

/// A socket in front of a server's, whose connections can be cut.
#[derive(Debug)]
pub struct Proxy {
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Proxy {
    /// Listens for a PostgreSQL server in a folder.
    ///
    /// # Errors
    /// The socket exists.
    pub fn postgres(folder: &Path, server: &Path) -> io::Result<Self> {
        Self::start(&folder.join(SOCKET), server.join(SOCKET))
    }

    /// Listens at a path, and forwards each connection to a server's socket.
    ///
    /// # Errors
    /// The socket exists.
    pub fn start(path: &Path, server: PathBuf) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                while all.try_join_next().is_some() {}
                all.spawn(async move {
                    if let Ok(mut server) = UnixStream::connect(&server).await {
                        // Either side may close the connection at any time.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Ok(Self { connections })
    }

    /// Cuts all connections. Returns how many there were.
    pub fn cut(&self) -> usize {
        let mut all = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let open = all.len();
        all.abort_all();
        open
    }
}
