//! A Redis server as a child process, on a socket of its own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Failed;

/// A Redis server that stores nothing. Dropping it ends it.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    socket: std::path::PathBuf,
}

impl RedisServer {
    /// Starts a server with its socket in a folder.
    ///
    /// # Errors
    /// `redis-server` is not installed (`.ci/redis start` installs it), or does not start.
    pub fn start(folder: &Path) -> Result<Self, Failed> {
        let mut server = Self {
            child: None,
            socket: folder.join("redis.sock"),
        };
        server.restart()?;
        Ok(server)
    }

    /// Returns the URL.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Kills the server. Its data is lost.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills the server and starts an empty one.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), Failed> {
        self.stop();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}; .ci/redis start installs it"))?;
        self.child = Some(child);
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&self.socket).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("redis-server does not start".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
