//! Counts the statements that clients send to a PostgreSQL server, as a proxy that parses the protocol. Depends only on tokio.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
};

/// The counted statements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Statements, without those that control transactions and sessions.
    pub(crate) statements: u64,
    /// Statements that control transactions and sessions.
    pub(crate) control: u64,
    /// Transactions with at least one statement.
    pub(crate) transactions: u64,
    /// The number of executions by statement.
    pub(crate) each: BTreeMap<String, u64>,
}

/// A proxy socket in front of a server's socket. It ends with the runtime.
#[derive(Debug)]
pub(crate) struct Counter {
    counts: Arc<Mutex<Counts>>,
    folder: PathBuf,
}

impl Counter {
    /// Listens in a folder, and forwards to the socket in another. Clients use the folder as their host.
    pub(crate) fn start(folder: &Path, server: &Path) -> io::Result<Self> {
        const SOCKET: &str = ".s.PGSQL.5432";
        let listener = UnixListener::bind(folder.join(SOCKET))?;
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let (all, server) = (Arc::clone(&counts), server.join(SOCKET));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counts, server) = (Arc::clone(&all), server.clone());
                tokio::spawn(async move {
                    // Either side may close the connection at any time.
                    let _ = pass_on(client, &server, &counts).await;
                });
            }
        });
        Ok(Self {
            counts,
            folder: folder.to_owned(),
        })
    }

    /// Returns the folder in which it listens.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns and resets the counts.
    pub(crate) fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the counts without resetting them.
    pub(crate) fn peek(&self) -> Counts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

/// The code of an encryption request.
const ENCRYPTION: u32 = 80_877_103;

async fn pass_on(client: UnixStream, server: &Path, counts: &Mutex<Counts>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(server).await?.into_split();
    let answers =
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    // The first messages have no type: a request for encryption, which is refused here, and the startup message.
    loop {
        let start = body(&mut from_client).await?;
        to_server.write_all(&start).await?;
        if start.get(4..) != Some(&ENCRYPTION.to_be_bytes()) {
            break;
        }
    }
    let mut session = Session::default();
    while let Ok(kind) = from_client.read_u8().await {
        let message = body(&mut from_client).await?;
        session.read(kind, &message[4..], counts);
        to_server.write_u8(kind).await?;
        to_server.write_all(&message).await?;
    }
    answers.abort();
    Ok(())
}

/// Reads a message's length and its body.
async fn body(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let len = from.read_u32().await?;
    let mut message = len.to_be_bytes().to_vec();
    message.resize(len as usize, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// The state of one connection.
#[derive(Default)]
struct Session {
    /// The texts of prepared statements, by name.
    prepared: HashMap<Vec<u8>, String>,
    /// What is bound to each portal.
    bound: HashMap<Vec<u8>, String>,
    /// `Some` if a transaction is open: whether it has had a statement.
    open: Option<bool>,
}

impl Session {
    fn read(&mut self, kind: u8, message: &[u8], counts: &Mutex<Counts>) {
        let mut parts = message.splitn(3, |byte| *byte == 0);
        let mut part = || parts.next().unwrap_or_default().to_vec();
        match kind {
            b'Q' => {
                let text = String::from_utf8_lossy(&part()).into_owned();
                for statement in text.split(';').filter(|part| !part.trim().is_empty()) {
                    self.count(statement, counts);
                }
            }
            b'P' => {
                let name = part();
                let text = String::from_utf8_lossy(&part()).into_owned();
                self.prepared.insert(name, text);
            }
            b'B' => {
                let (portal, name) = (part(), part());
                let text = self.prepared.get(&name).cloned().unwrap_or_default();
                self.bound.insert(portal, text);
            }
            b'E' => {
                let text = self.bound.get(&part()).cloned().unwrap_or_default();
                self.count(&text, counts);
            }
            _ => {}
        }
    }

    fn count(&mut self, statement: &str, counts: &Mutex<Counts>) {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let first = text.split(' ').next().unwrap_or_default().to_lowercase();
        match first.as_str() {
            "begin" | "start" => self.open = Some(false),
            "commit" | "rollback" | "end" if !text.to_lowercase().contains(" to ") => {
                self.open = None;
            }
            "set" | "savepoint" | "release" | "rollback" | "listen" | "discard" => {}
            _ => {
                if self.open != Some(true) {
                    counts.transactions += 1;
                }
                self.open = self.open.map(|_| true);
                counts.statements += 1;
                *counts.each.entry(text).or_default() += 1;
                return;
            }
        }
        counts.control += 1;
    }
}
