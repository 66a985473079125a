//! The embedded store: one redb file, one process, one writer.

mod accept;
mod append;
mod arrival;
mod budget;
mod delivery;
mod erase;
mod export;
mod head;
mod import;
mod index;
mod keys;
mod linked;
mod log;
mod precedence;
mod ready;
mod record_cache;
mod recover;
mod rewrite;
mod roles;
mod rows;
mod shares;
mod slices;
mod snapshot;
mod vault;
mod writer;

use std::{
    fmt,
    fs::File,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
};

use ::redb::{Database, backends::InMemoryBackend};
use konstruct_core::{Clock, Embedder, Error, ErrorKind, Result, SystemClock};
use tokio::sync::{Semaphore, watch};

pub use self::recover::FailedWrite;
use self::{
    erase::Erasure,
    index::{Follower, Tables},
    precedence::Precedence,
    ready::Ready,
    recover::Health,
    rewrite::ChangeTracker,
    rows::RowCache,
    slices::Erasing,
    snapshot::{Latest, Rows as _},
    vault::Keys,
    writer::{Batch, Writer},
};
use crate::{KeyRing, memory::MemoryEmbedder};

/// The file format that this build reads and writes.
const FORMAT: u64 = 6;

/// The default size of the cache of the file.
const CACHE: usize = 64 << 20;

/// The default number of tenants whose texts are embedded at the same time.
const LANES: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The embedded store: a [`Store`](konstruct_core::store::Store) and a [`MemoryStore`](konstruct_core::MemoryStore) in one file.
/// A clone is another handle to it.
///
/// # Contract
/// * One process has the file open at a time. Opening it voids every claim.
/// * All writes go through one thread, which commits everything that is queued at once. Readers never wait for it.
/// * A person or a tenant is erased in several transactions, between which events are accepted. The first transaction destroys
///   the keys, so that nothing is readable afterwards. The receipt is returned after the last one. If the process ends in
///   between, the next one finishes. Writes for a tenant wait until its erasure is finished.
/// * Dropping the last handle waits until all queued writes and begun erasures are finished.
/// * Its futures need a tokio runtime.
/// * Dropping the last handle waits until everything queued is written, and every erasure that was begun is finished.
/// * Its futures need a tokio runtime.
///
/// ```
/// use konstruct_core::{TenantId, store::History as _};
/// use konstruct_memory::Redb;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = Redb::in_memory()?;
/// assert!(store.list(TenantId::new(), None, 10).await?.is_empty());
/// # Ok::<(), konstruct_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Redb {
    inner: Arc<Inner>,
}

impl Redb {
    /// Opens a file or creates it, with the system's clock and a key ring that is stored in the file.
    ///
    /// On Unix, a new file has mode 0600: only its owner can read and write it. An existing file keeps its mode.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if another handle or process has it open, [`ErrorKind::Corrupt`] if it is not a file of this store
    /// or has an older format, [`ErrorKind::Unauthorized`] if it was created with a key ring, and errors of the disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Creates a store in memory, which is dropped with its last handle.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn in_memory() -> Result<Self> {
        Self::builder().in_memory()
    }

    /// Returns a builder for the options of a store.
    pub fn builder() -> RedbBuilder {
        RedbBuilder {
            clock: Arc::new(SystemClock),
            key_ring: None,
            embedder: None,
            cache: CACHE,
            lanes: LANES,
            part: writer::PART,
        }
    }

    /// Copies the store to a file that does not exist yet, while it is used. The copy is what the store was at one moment of the
    /// call, without deleted data. It opens with the same key ring, which is not in it if the store was given one.
    ///
    /// An erasure does not reach copies: whoever restores one must repeat the erasures since then.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the file exists, [`ErrorKind::InvalidInput`] if it cannot be written, and those of the store. No
    /// file is left then.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<()> {
        let (shared, path) = (Arc::clone(&self.inner.shared), path.as_ref().to_owned());
        blocking(move || rewrite::Fresh::backup(&shared, &path)).await
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").finish_non_exhaustive()
    }
}

/// Options for opening a store.
#[derive(Clone, Debug)]
pub struct RedbBuilder {
    clock: Arc<dyn Clock>,
    key_ring: Option<KeyRing>,
    embedder: Option<Arc<dyn Embedder>>,
    cache: usize,
    lanes: NonZeroUsize,
    /// The number of rows of a part of an erasure.
    part: usize,
}

impl RedbBuilder {
    /// Uses this clock for leases, timers and months.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Wraps the keys of stored data with this ring, which must be kept elsewhere.
    ///
    /// By default, a ring is created with the file and stored in it. Such a file can be read by anyone who has it, except for
    /// destroyed data. A ring that is given later wraps the keys of new tenants, and those of existing tenants after
    /// [`Redb::rewrap_keys`]. A file that was created with a ring does not open without its keys.
    #[must_use]
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.key_ring = Some(ring);
        self
    }

    /// Searches by meaning too, with vectors of this embedder. Another embedder than before embeds everything again in the
    /// background, while recall continues.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Caches at most this many bytes of the file. Default: 64 MiB.
    #[must_use]
    pub fn cache_size(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Embeds the texts of this many tenants at the same time. Default: 4.
    #[must_use]
    pub fn lanes(mut self, lanes: NonZeroUsize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Opens a file or creates it: see [`Redb::open`].
    ///
    /// # Errors
    /// As [`Redb::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Redb> {
        let (path, cache) = (path.as_ref().to_owned(), self.cache);
        let builder = move || {
            let mut builder = Database::builder();
            builder.set_cache_size(cache);
            builder
        };
        create_private(&path)?;
        let db = builder().create(&path).map_err(stored)?;
        let file = path.clone();
        // A missing file must not be replaced by an empty one.
        let open = move || builder().open(&file).map_err(stored);
        rewrite::clean(&path)?;
        self.start(db, Some(path), Health::new(Box::new(open)))
    }

    /// Creates a store in memory, which is dropped with its last handle.
    ///
    /// # Errors
    /// As [`Redb::in_memory`].
    pub fn in_memory(self) -> Result<Redb> {
        let db = Database::builder()
            .set_cache_size(self.cache)
            .create_with_backend(InMemoryBackend::new())
            .map_err(stored)?;
        let lost = || Err(Error::internal("a store in memory cannot be reopened"));
        self.start(db, None, Health::new(Box::new(lost)))
    }

    fn start(self, db: Database, path: Option<PathBuf>, health: Health) -> Result<Redb> {
        let lanes = self.lanes;
        let (shared, unfinished) = self.share(db, path, health)?;
        let (writer, writing) = Writer::start(Arc::clone(&shared), unfinished)?;
        let mut threads = Follower::start(&shared, &writer, lanes)?;
        threads.push(writing);
        Ok(Redb {
            inner: Arc::new(Inner {
                shared,
                writer: Some(writer),
                threads,
            }),
        })
    }

    /// Creates the state that the threads share, and finds what the last process has left unfinished.
    fn share(
        self,
        db: Database,
        path: Option<PathBuf>,
        health: Health,
    ) -> Result<(Arc<Shared>, Vec<Erasure>)> {
        let (epoch, ring) = prepare(&db, self.key_ring)?;
        let shared = Arc::new(Shared {
            db: RwLock::new(Arc::new(db)),
            latest: Latest::default(),
            health,
            path,
            cache: self.cache,
            part: self.part,
            keys: Keys::new(ring),
            clock: self.clock,
            ready: Mutex::new(Ready::new(epoch)),
            changes: watch::Sender::new(0),
            follower: Follower::default(),
            tables: Tables::default(),
            embedder: MemoryEmbedder::new(self.embedder),
            touched: ChangeTracker::default(),
            erasing: Erasing::default(),
            rows: RowCache::default(),
            precedence: Precedence::default(),
            searching: Semaphore::new(
                std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            ),
        });
        // Before conversations become ready: those that are being erased stay blocked.
        let unfinished = Erasure::unfinished(&shared)?;
        shared.restore()?;
        Ok((shared, unfinished))
    }
}

/// Creates the tables, checks the format and increments the epoch. Returns the epoch and the key ring.
fn prepare(db: &Database, given: Option<KeyRing>) -> Result<(u64, KeyRing)> {
    let mut txn = db.begin_write().map_err(stored)?;
    txn.set_quick_repair(true);
    let mut batch = Batch::new(&txn);
    let number = |row: Option<Vec<u8>>| row.and_then(|bytes| keys::number(&bytes, 0));
    if let Some(format) = number(batch.get(keys::META, b"format")?)
        && format != FORMAT
    {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the file has format {format}; this build reads {FORMAT}"),
        ));
    }
    for table in keys::ALL {
        batch.open(table)?;
    }
    let epoch = number(batch.get(keys::META, b"epoch")?).unwrap_or(0) + 1;
    let ring = vault::find_ring(given, &mut batch)?;
    for (name, value) in [("format", FORMAT), ("epoch", epoch)] {
        batch.put(keys::META, name.into(), value.to_be_bytes());
    }
    batch.flush()?;
    drop(batch);
    txn.commit().map_err(stored)?;
    Ok((epoch, ring))
}

/// The shared part of all handles. Dropping the last one ends the threads.
struct Inner {
    shared: Arc<Shared>,
    writer: Option<Writer>,
    threads: Vec<JoinHandle<()>>,
}

impl Inner {
    fn writer(&self) -> Result<&Writer> {
        self.writer
            .as_ref()
            .ok_or_else(|| Error::internal("the store is closed"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.follower.stop();
        if let Some(writer) = self.writer.take() {
            writer.flush();
        }
        for thread in self.threads.drain(..) {
            // A panic was already reported by its thread.
            let _ = thread.join();
        }
    }
}

/// The state that handles and threads share.
struct Shared {
    /// Replaced when the file is rewritten, and when it is reopened after a failed write.
    db: RwLock<Arc<Database>>,
    latest: Latest,
    health: Health,
    /// The path of the file; `None` in memory.
    path: Option<PathBuf>,
    cache: usize,
    part: usize,
    keys: Keys,
    clock: Arc<dyn Clock>,
    ready: Mutex<Ready>,
    /// Incremented whenever a conversation may have become ready.
    changes: watch::Sender<u64>,
    follower: Follower,
    tables: Tables,
    embedder: MemoryEmbedder,
    /// The keys written while the file is copied.
    touched: ChangeTracker,
    /// The erasures in progress.
    erasing: Erasing,
    rows: RowCache,
    precedence: Precedence,
    /// Limits the number of concurrent long searches.
    searching: Semaphore,
}

impl Shared {
    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a read of many rows on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("a read panicked or was cancelled").with_source(error))?
}

/// Creates an empty file that only its owner can read and write, unless there is a file already.
fn create_private(path: &Path) -> Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let created = options.open(path);
    created.map_err(|error| stored(::redb::Error::Io(error)))?;
    Ok(())
}

/// Converts redb's errors.
fn stored(error: impl Into<::redb::Error>) -> Error {
    let error = error.into();
    let (kind, message) = match &error {
        ::redb::Error::DatabaseAlreadyOpen => (
            ErrorKind::Conflict,
            "the file is already open, here or in another process",
        ),
        ::redb::Error::Corrupted(_) | ::redb::Error::UpgradeRequired(_) => {
            (ErrorKind::Corrupt, "the file cannot be read")
        }
        // After a failed write, an empty database takes the place of the file until it is reopened.
        ::redb::Error::TableDoesNotExist(_) => {
            (ErrorKind::Unavailable, "the store is being reopened")
        }
        _ => (ErrorKind::Internal, "the store failed"),
    };
    Error::new(kind, format!("{message}: {error}")).with_source(error)
}
