//! The store: the embedded one, or PostgreSQL.

use std::{fs, io, path::Path, sync::Arc};

use async_trait::async_trait;
use konstruct_core::{Embedder, Error, ErrorKind, MemoryStore, Result, Secret, store::Store};
use konstruct_memory::{FailedWrite, KeyRing, Postgres, Redb, RowStore};

use crate::config::{Config, Role, named};

/// The store, in its roles. Cloning is cheap.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stores {
    /// What the server keeps: tenants, employees, connections.
    pub rows: Arc<dyn RowStore>,
    /// Turns, as the engine stores them.
    pub journal: Arc<dyn Store>,
    /// Memory: recall and knowledge.
    pub memory: Arc<dyn MemoryStore>,
    /// How the store is.
    pub health: Arc<dyn StoreHealth>,
    /// Whether other processes use the store too.
    pub shared: bool,
}

/// Reports whether a store works.
#[async_trait]
pub trait StoreHealth: std::fmt::Debug + Send + Sync + 'static {
    /// Reads and writes something.
    ///
    /// # Errors
    /// Those of the store.
    async fn probe(&self) -> Result<()>;

    /// Returns the last write, if it failed.
    fn failed_write(&self) -> Option<FailedWrite> {
        None
    }

    /// Copies the store to a new file while it is used.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a store that has tools of its own, and those of the store.
    async fn backup(&self, _path: &Path) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "the server is on PostgreSQL: run `konstruct-server backup` with DATABASE_OWNER_URL",
        ))
    }

    /// Waits until only a restart of the process can help.
    async fn broken(&self) -> Error {
        std::future::pending().await
    }
}

#[async_trait]
impl StoreHealth for Redb {
    async fn probe(&self) -> Result<()> {
        self.probe().await
    }

    fn failed_write(&self) -> Option<FailedWrite> {
        self.failed_write()
    }

    async fn backup(&self, path: &Path) -> Result<()> {
        self.backup(path).await
    }

    async fn broken(&self) -> Error {
        self.broken().await
    }
}

/// A database that is away comes back without a restart.
#[async_trait]
impl StoreHealth for Postgres {
    async fn probe(&self) -> Result<()> {
        // A standby can be read, but not written.
        self.put_row(None, "health", "probe", b"").await
    }
}

impl Stores {
    pub(crate) fn of(
        store: impl RowStore + Store + MemoryStore + StoreHealth + Clone,
        shared: bool,
    ) -> Self {
        Self {
            rows: Arc::new(store.clone()),
            journal: Arc::new(store.clone()),
            memory: Arc::new(store.clone()),
            health: Arc::new(store),
            shared,
        }
    }

    /// Opens the store that the configuration names: PostgreSQL if a database is configured, else the embedded store.
    ///
    /// # Errors
    /// Those of [`open_store`], and for PostgreSQL [`ErrorKind::InvalidInput`] for a missing or invalid key ring, an unusable URL, a
    /// database that is not migrated, or a role that could bypass row-level security, and those of the database. Each names the
    /// variable and the way out.
    pub async fn open(config: &Config, embedder: Option<Arc<dyn Embedder>>) -> Result<Self> {
        if config.database.url.is_empty() {
            if config.role != Role::All {
                return Err(Error::invalid(
                    "--role",
                    "needs DATABASE_URL: the embedded store belongs to one process, which does everything",
                ));
            }
            let store = open_store(&config.data_dir, &config.master_key, embedder)?;
            return Ok(Self::of(store, false));
        }
        if config.master_key.is_empty() {
            return Err(Error::invalid(
                "KONSTRUCT_MASTER_KEY",
                "is required with DATABASE_URL: `id:base64` with 32 random bytes, such as the output of `openssl rand -base64 32` after `1:`",
            ));
        }
        let database = &config.database;
        let (key, url) = match config.role {
            Role::Worker if !database.worker_url.is_empty() => {
                ("database.worker_url", &database.worker_url)
            }
            _ => ("database.url", &database.url),
        };
        let mut store = Postgres::builder(url.clone())
            .key_ring(parsed_ring(&config.master_key)?)
            .connections(database.connections.get());
        if let Some(embedder) = embedder {
            store = store.embedder(embedder);
        }
        let store = store.connect().await.map_err(|error| {
            let message = format!("{}: {}", named(key), error.message());
            Error::new(error.kind(), message).with_source(error)
        })?;
        Ok(Self::of(store, true))
    }
}

/// Migrates the configured database.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if none is configured, and those of the database.
pub async fn migrate(config: &Config) -> Result<()> {
    let database = &config.database;
    let url = match (database.owner_url.is_empty(), database.url.is_empty()) {
        (false, _) => &database.owner_url,
        (true, false) => &database.url,
        (true, true) => {
            return Err(Error::invalid(
                "DATABASE_OWNER_URL",
                "is required to migrate: the URL of a role that may create roles and extensions; the embedded store needs no migration",
            ));
        }
    };
    Postgres::migrate(url).await.map_err(|error| {
        let message = format!("DATABASE_OWNER_URL: {}", error.message());
        Error::new(error.kind(), message).with_source(error)
    })
}

fn parsed_ring(master_key: &Secret) -> Result<KeyRing> {
    KeyRing::parse(master_key.expose())
        .map_err(|error| Error::invalid("KONSTRUCT_MASTER_KEY", error.message()))
}

/// The name of the store's file in the data directory.
pub(crate) const STORE_FILE: &str = "konstruct.redb";
/// The name of the key ring's file, if no key ring is configured.
const KEY_RING_FILE: &str = "master.key";

/// Opens the store of a data directory, and creates it if it does not exist. With an embedder, semantic search is enabled.
/// Without a master key, a key ring is generated and stored next to it, readable only by its owner.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for an unusable directory or an invalid master key, [`ErrorKind::Unauthorized`] for a key that
/// does not open the store, [`ErrorKind::Conflict`] for a store in use by another process, and those of the store. Each names the
/// variable and the way out.
pub fn open_store(
    data_dir: &Path,
    master_key: &Secret,
    embedder: Option<Arc<dyn Embedder>>,
) -> Result<Redb> {
    let dir = data_dir.display();
    fs::create_dir_all(data_dir).map_err(|error| unusable(data_dir, error))?;
    let ring = if master_key.is_empty() {
        stored_ring(data_dir)?
    } else {
        parsed_ring(master_key)?
    };
    let mut store = Redb::builder().key_ring(ring);
    if let Some(embedder) = embedder {
        store = store.embedder(embedder);
    }
    store.open(data_dir.join(STORE_FILE)).map_err(|error| {
        let (name, key) = (named("data_dir"), named("master_key"));
        let (kind, message) = (error.kind(), error.message());
        let message = match kind {
            ErrorKind::Conflict => format!(
                "{name}: {dir} is used by another process; stop it, or choose another directory"
            ),
            ErrorKind::Unauthorized => format!(
                "{key}: does not open the store in {dir}; set the key that the store was made with, or choose another {name}"
            ),
            ErrorKind::Corrupt => format!(
                "{name}: the store in {dir} cannot be read ({message}); restore it from a backup, or choose another directory"
            ),
            _ => format!(
                "{name}: the store in {dir} cannot be used ({message}); check the disk's free space and the permissions"
            ),
        };
        Error::new(kind, message).with_source(error)
    })
}

/// Returns the error for an unusable data directory.
fn unusable(data_dir: &Path, error: io::Error) -> Error {
    let (name, dir) = (named("data_dir"), data_dir.display());
    let problem =
        format!("{dir} cannot be used ({error}); choose a directory that this user can write");
    Error::new(ErrorKind::InvalidInput, format!("{name}: {problem}")).with_source(error)
}

/// Reads the key ring of a data directory, and creates it if it does not exist.
fn stored_ring(data_dir: &Path) -> Result<KeyRing> {
    let path = data_dir.join(KEY_RING_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => KeyRing::parse(text.trim()).map_err(|error| {
            let (path, problem) = (path.display(), error.message());
            let message = format!("{path}: {problem}; restore the file from a backup");
            Error::new(ErrorKind::InvalidInput, message).with_source(error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ring = KeyRing::generate()?;
            write(&path, ring.to_secret().expose()).map_err(|error| unusable(data_dir, error))?;
            Ok(ring)
        }
        Err(error) => Err(unusable(data_dir, error)),
    }
}

/// Returns the options of files that only their owner may read.
pub(crate) fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes a file that only its owner may read, and syncs it to disk before it returns, because data encrypted with the key must
/// not outlive it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = private().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if cfg!(unix) => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
