//! Recovers from failed writes. After one, redb refuses everything until the file is reopened, so the writer reopens it.
//!
//! The failed batch was answered with an error, so nothing of it was acknowledged. It may still be in the file if only the last
//! step failed. Pending conversations are therefore made ready again, as at a start.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::redb::{Database, backends::InMemoryBackend};
use konstruct_core::{Error, Result, Timestamp};
use tokio::sync::watch;

use super::{
    Redb, Shared, keys, stored,
    writer::{Batch, Operation},
};

/// How long the writer tries to reopen the file before the store is broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between attempts, and between checks whether the last reader has ended.
const WAIT: Duration = Duration::from_millis(50);

/// Reopens the file.
pub(super) type Open = Box<dyn Fn() -> Result<Database> + Send + Sync>;

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedWrite {
    /// When it failed.
    pub at: Timestamp,
    /// The reason for the operator.
    pub message: String,
}

/// Whether the store can write, and how to reopen it.
pub(super) struct Health {
    open: Open,
    patience: Duration,
    failed: Mutex<Option<FailedWrite>>,
    broken: watch::Sender<Option<String>>,
}

impl Health {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open,
            patience: PATIENCE,
            failed: Mutex::default(),
            broken: watch::Sender::new(None),
        }
    }

    /// Refuses all writes to a broken store: its placeholder database would accept and lose them.
    pub(super) fn check(&self) -> Result<()> {
        match &*self.broken.borrow() {
            Some(message) => Err(broken_store(message)),
            None => Ok(()),
        }
    }

    /// Records the outcome of a batch: the error message if it failed.
    pub(super) fn written(&self, at: Timestamp, failed: Option<String>) {
        let mut last = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *last = failed.map(|message| FailedWrite { at, message });
    }
}

/// Returns whether an error is one after which redb refuses everything.
pub(super) fn is_io(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<::redb::Error>());
    source.is_some_and(|error| {
        matches!(
            error,
            ::redb::Error::Io(_) | ::redb::Error::PreviousIo | ::redb::Error::DatabaseClosed
        )
    })
}

impl Shared {
    /// Reopens the file, for up to [`PATIENCE`]. Meanwhile reads fail and writes wait. If it cannot be opened, the store is
    /// broken.
    pub(super) fn reopen(&self) {
        let began = Instant::now();
        tracing::error!("a write failed; reopening the store");
        let mut tried = self.close_file(began);
        while tried.is_ok() {
            match self.open_again() {
                Ok(()) => {
                    tracing::info!("the store was reopened");
                    return;
                }
                Err(error) if began.elapsed() >= self.health.patience => tried = Err(error),
                Err(error) => {
                    tracing::warn!(%error, "could not reopen the store; retrying");
                    std::thread::sleep(WAIT);
                }
            }
        }
        if let Err(error) = tried {
            tracing::error!(%error, "could not reopen the store; it is broken");
            self.health.broken.send_replace(Some(error.to_string()));
        }
    }

    /// Closes the file. Readers in progress fail and end soon.
    fn close_file(&self, began: Instant) -> Result<()> {
        let empty = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(stored)?;
        let mut old = {
            let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *db, Arc::new(empty))
        };
        self.forget_committed();
        loop {
            match Arc::try_unwrap(old) {
                Ok(db) => {
                    drop(db);
                    return Ok(());
                }
                Err(_) if began.elapsed() >= self.health.patience => {
                    return Err(Error::internal("a reader did not end in time"));
                }
                Err(read) => old = read,
            }
            std::thread::sleep(WAIT);
        }
    }

    fn open_again(&self) -> Result<()> {
        let db = (self.health.open)()?;
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(db);
        self.forget_committed();
        self.restore()?;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Writes a row to test whether the store can write.
struct Probe;

impl Operation for Probe {
    type Output = ();

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        let now = shared.clock.now().as_micros().to_be_bytes();
        batch.put(keys::META, b"probe".to_vec(), now);
        Ok(())
    }
}

/// Write failures.
impl Redb {
    /// Returns the last write if it failed; `None` after the next success.
    pub fn failed_write(&self) -> Option<FailedWrite> {
        let health = &self.inner.shared.health;
        let failed = health.failed.lock();
        failed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a row to test whether the store can write again.
    ///
    /// # Errors
    /// Errors of the disk.
    pub async fn probe(&self) -> Result<()> {
        self.inner.writer()?.submit(Probe).await
    }

    /// Waits until the store is broken: a write failed, and the file could not be reopened. The store is then unusable in this
    /// process. Never returns while the store works.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn broken(&self) -> Error {
        let mut broken = self.inner.shared.health.broken.subscribe();
        // The borrow ends before the future can be moved to another thread.
        let message = broken.wait_for(Option::is_some).await.ok();
        let message = message.and_then(|message| message.clone());
        broken_store(&message.unwrap_or_default())
    }
}

fn broken_store(message: &str) -> Error {
    Error::internal(format!("the store is broken: {message}"))
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        ops::Bound,
        path::{Path, PathBuf},
        sync::atomic::{AtomicU8, Ordering::SeqCst},
    };

    use ::redb::{BackendError, StorageBackend, backends::FileBackend};
    use konstruct_core::{
        ConnectionId, ErrorKind, TenantId,
        id::WorkerId,
        message::RoutedEvent,
        store::{Accepted, ClaimRequest, Mailbox as _},
    };

    use super::*;
    use crate::RowStore as _;

    const WELL: u8 = 0;
    /// Nothing can be written.
    const FULL: u8 = 1;
    /// Everything is written, but the system reports a failure.
    const UNSURE: u8 = 2;
    /// The file cannot even be opened.
    const GONE: u8 = 3;

    /// A file on a disk with injected failures.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        state: Arc<AtomicU8>,
    }

    impl Disk {
        fn open(path: &Path, state: &Arc<AtomicU8>) -> Result<Database> {
            let failed = |error: io::Error| stored(::redb::Error::Io(error));
            if state.load(SeqCst) == GONE {
                return Err(failed(io::ErrorKind::NotFound.into()));
            }
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(failed)?;
            let disk = Self {
                file: FileBackend::new(file).map_err(stored)?,
                state: Arc::clone(state),
            };
            Database::builder()
                .create_with_backend(disk)
                .map_err(stored)
        }

        fn check(&self) -> io::Result<()> {
            match self.state.load(SeqCst) {
                FULL => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check()?;
            self.file.sync_data()?;
            match self.state.compare_exchange(UNSURE, WELL, SeqCst, SeqCst) {
                Ok(_) => Err(io::Error::other("the disk does not say")),
                Err(_) => Ok(()),
            }
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }

        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.unlock_range(start, end)
        }
    }

    /// Opens a store on such a disk, with this patience for reopening.
    fn store(path: PathBuf, state: &Arc<AtomicU8>, patience: Duration) -> Redb {
        let disk = Arc::clone(state);
        let open = move || Disk::open(&path, &disk);
        let db = open().unwrap();
        let health = Health {
            patience,
            ..Health::new(Box::new(open))
        };
        Redb::builder().start(db, None, health).unwrap()
    }

    async fn put(store: &Redb, key: &str) -> Result<()> {
        store.put_row(None, "t", key, key.as_bytes()).await
    }

    async fn there(store: &Redb, key: &str) -> bool {
        store.get_row(None, "t", key).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_store_recovers_when_a_full_disk_has_room_again() {
        let (folder, state) = (tempfile::tempdir().unwrap(), Arc::default());
        let store = store(folder.path().join("store"), &state, PATIENCE);
        put(&store, "before").await.unwrap();
        assert_eq!(store.failed_write(), None);
        for round in 0..3 {
            state.store(FULL, SeqCst);
            let error = put(&store, "meanwhile").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            let failed = store.failed_write().expect("the failure is known");
            assert!(failed.message.contains("the store failed"), "{failed:?}");
            state.store(WELL, SeqCst);
            // It waits until the file is reopened.
            store.probe().await.unwrap();
            assert_eq!(store.failed_write(), None);
            let after = format!("after {round}");
            put(&store, &after).await.unwrap();
            assert!(there(&store, "before").await && there(&store, &after).await);
            assert!(!there(&store, "meanwhile").await);
        }
        drop(store);
        let again = Redb::open(folder.path().join("store")).unwrap();
        assert!(there(&again, "after 2").await && !there(&again, "meanwhile").await);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_reopened_is_broken() {
        let (folder, state) = (tempfile::tempdir().unwrap(), Arc::default());
        let store = store(folder.path().join("store"), &state, Duration::ZERO);
        put(&store, "before").await.unwrap();
        state.store(FULL, SeqCst);
        put(&store, "meanwhile").await.unwrap_err();
        state.store(GONE, SeqCst);
        // The file may have been reopened on the full disk: then this write fails, and the file is not reopened again.
        let _either = put(&store, "meanwhile").await;
        let broken = store.broken().await;
        assert!(broken.message().contains("the store is broken"), "{broken}");
        // Even if the disk recovers: writes to the placeholder would be lost.
        state.store(WELL, SeqCst);
        put(&store, "later").await.unwrap_err();
        assert!(store.failed_write().is_some());
    }

    fn message(id: &str) -> RoutedEvent {
        let event = serde_json::json!({
            "id": id, "logical_id": format!("l-{id}"), "channel": "slack", "account": "T1",
            "conversation": { "id": "D1", "kind": "direct", "thread": null, "external": false },
            "sender": { "kind": "human", "ids": [["slack_user", "U1"]], "name": null },
            "occurred_at": 1_767_225_600_000_000_i64, "redelivery": 0,
            "body": { "type": "unsupported", "kind": "test", "errors": [] },
            "addressed": { "direct": true, "mention": false, "thread": false, "command": false }, "raw": null,
        });
        RoutedEvent {
            connection: ConnectionId::from_bytes([1; 16]),
            event: serde_json::from_value(event).unwrap(),
        }
    }

    #[tokio::test]
    async fn an_event_of_an_unsure_commit_is_stored_once_and_ready() {
        let (folder, state) = (tempfile::tempdir().unwrap(), Arc::default());
        let store = store(folder.path().join("store"), &state, PATIENCE);
        let tenant = TenantId::new();
        put(&store, "before").await.unwrap();
        state.store(UNSURE, SeqCst);
        let accepted = store.accept(tenant, vec![message("1")]).await;
        accepted.expect_err("it is not acknowledged");
        store.probe().await.unwrap();
        // The provider delivers it again.
        let accepted = store.accept(tenant, vec![message("1")]).await.unwrap();
        assert!(
            matches!(accepted[..], [Accepted::Duplicate | Accepted::New { .. }]),
            "{accepted:?}"
        );
        let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(60));
        let claimed = store.claim(request.clone()).await.unwrap();
        assert!(claimed.conversation().is_some(), "it is ready");
        let claimed = store.claim(request).await.unwrap();
        assert!(claimed.conversation().is_none(), "it is stored once");
    }
}
