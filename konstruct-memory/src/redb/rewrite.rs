//! Rewrites the file. Deleted data remains in free pages until the live data has been copied to a new file.
//!
//! A separate thread makes the copy while the writer continues. Keys written meanwhile are recorded and copied again. Writers
//! wait only while the last few rows are copied. Readers of the old file continue, and it is removed with the last of them.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::redb::{Database, WriteTransaction, backends::InMemoryBackend};
use konstruct_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::{
    Shared, create_private,
    keys::{self, META, Table},
    snapshot::{Rows as _, Snapshot},
    stored,
    writer::Batch,
};

/// The bytes copied in a transaction. Other syncs meanwhile wait until the disk has written them.
const PART: usize = 512 << 10;

/// The most rounds of copying recent writes, and the number of rows that may be left for the end.
const ROUNDS: usize = 8;
const FEW: usize = 500;

/// Returns the path of the copy.
fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".rewrite")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes the copy of a process that was killed during a rewrite. The file must be open, so that no other process rewrites it.
pub(super) fn clean(path: &Path) -> Result<()> {
    match fs::remove_file(beside(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The row of [`META`] that exists while a rewrite is pending.
const PENDING_REWRITE: &[u8] = b"rewrite";

/// Records that the file must be rewritten.
pub(super) fn mark_pending(batch: &mut Batch<'_>) {
    batch.put(META, PENDING_REWRITE.to_vec(), []);
}

/// Returns whether a rewrite is pending since the last process.
pub(super) fn is_pending(shared: &Shared) -> Result<bool> {
    Ok(shared.snapshot()?.get(META, PENDING_REWRITE)?.is_some())
}

/// The keys written since a copy read them.
#[derive(Debug, Default)]
pub(super) struct ChangedKeys {
    keys: BTreeSet<(Table, Vec<u8>)>,
    /// The prefixes whose keys were deleted.
    cleared: BTreeSet<(Table, Vec<u8>)>,
}

impl ChangedKeys {
    pub(super) fn put<'a>(&mut self, table: Table, keys: impl Iterator<Item = &'a Vec<u8>>) {
        self.keys.extend(keys.map(|key| (table, key.clone())));
    }

    pub(super) fn clear(&mut self, table: Table, prefix: &[u8]) {
        self.cleared.insert((table, prefix.to_vec()));
    }

    fn len(&self) -> usize {
        self.keys.len() + self.cleared.len()
    }
}

/// Tracks the keys written during a copy; `None` without a copy.
#[derive(Debug, Default)]
pub(super) struct ChangeTracker(Mutex<Option<ChangedKeys>>);

impl ChangeTracker {
    fn active(&self) -> MutexGuard<'_, Option<ChangedKeys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_active(&self) -> bool {
        self.active().is_some()
    }

    /// Adds the keys of a commit.
    pub(super) fn note(&self, touched: Option<ChangedKeys>) {
        if let (Some(noted), Some(touched)) = (&mut *self.active(), touched) {
            noted.keys.extend(touched.keys);
            noted.cleared.extend(touched.cleared);
        }
    }

    pub(super) fn stop(&self) {
        *self.active() = None;
    }

    fn take(&self) -> ChangedKeys {
        self.active()
            .as_mut()
            .map_or_else(ChangedKeys::default, std::mem::take)
    }
}

/// A copy of the file in progress on its own thread.
#[derive(Debug)]
pub(super) struct Copying {
    done: oneshot::Receiver<Result<Fresh>>,
}

impl Copying {
    /// Starts to copy what is committed now. Later commits are tracked and copied afterwards.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self> {
        *shared.touched.active() = Some(ChangedKeys::default());
        let mut snapshot = shared.snapshot()?;
        let (tell, done) = oneshot::channel();
        let shared = Arc::clone(shared);
        let work = move || {
            let fresh = Fresh::create(&shared).and_then(|fresh| {
                for table in keys::ALL {
                    fresh.copy(&mut snapshot, table)?;
                }
                drop(snapshot);
                fresh.catch_up(&shared)?;
                Ok(fresh)
            });
            // The writer waits for it, or has ended with the process.
            let _ = tell.send(fresh);
        };
        let thread = std::thread::Builder::new().name("redb-rewrite".into());
        let spawned = thread.spawn(work);
        spawned.map_err(failed)?;
        Ok(Self { done })
    }

    /// Waits for the copy.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn done(&mut self) -> Result<Fresh> {
        let gone = || Error::internal("the file was not copied completely");
        (&mut self.done).await.map_err(|_| gone())?
    }
}

/// A file without deleted data.
#[derive(Debug)]
pub(super) struct Fresh(Database);

impl Fresh {
    fn create(shared: &Shared) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(shared.cache);
        let Some(path) = &shared.path else {
            let memory = builder.create_with_backend(InMemoryBackend::new());
            return memory.map(Self).map_err(stored);
        };
        clean(path)?;
        // Private until it has the permissions of the other file.
        create_private(&beside(path))?;
        let fresh = builder.create(beside(path)).map_err(stored)?;
        let kept = fs::metadata(path).map_err(failed)?.permissions();
        fs::set_permissions(beside(path), kept).map_err(failed)?;
        Ok(Self(fresh))
    }

    /// Copies what is committed now to a file that does not exist yet.
    pub(super) fn backup(shared: &Shared, path: &Path) -> Result<()> {
        let taken = fs::File::create_new(path);
        taken.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::new(
                ErrorKind::Conflict,
                format!("{} exists already; name a new file", path.display()),
            ),
            _ => no_backup(path, error),
        })?;
        let part = with_suffix(path, ".part");
        let copied = Self::back_up(shared, &part)
            .and_then(|()| fs::rename(&part, path).map_err(|error| no_backup(path, error)))
            .and_then(|()| sync_folder(path));
        if copied.is_err() {
            // Half a copy is of no use. If it cannot be removed, the first error says more.
            let _ = (fs::remove_file(&part), fs::remove_file(path));
        }
        copied
    }

    fn back_up(shared: &Shared, part: &Path) -> Result<()> {
        // A part of an earlier process.
        let _ = fs::remove_file(part);
        create_private(part)?;
        let fresh = Database::builder().create(part).map_err(stored)?;
        let (fresh, mut snapshot) = (Self(fresh), shared.snapshot()?);
        keys::ALL
            .into_iter()
            .try_for_each(|table| fresh.copy(&mut snapshot, table))
    }

    /// Copies a table, a part at a time.
    fn copy(&self, from: &mut Snapshot, table: Table) -> Result<()> {
        let mut start = Vec::new();
        // No key is longer.
        let end = vec![u8::MAX; 1024];
        loop {
            let mut part = Vec::new();
            let mut size = 0;
            from.scan(table, &start, &end, &mut |key, value| {
                size += key.len() + value.len();
                part.push((key.to_vec(), value.to_vec()));
                Ok(if size > PART {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
            self.write(|txn| {
                let mut target = txn.open_table(table.definition()).map_err(stored)?;
                for (key, value) in &part {
                    if table != META || key != PENDING_REWRITE {
                        target.insert(&**key, &**value).map_err(stored)?;
                    }
                }
                Ok(())
            })?;
            match part.pop() {
                Some((last, _)) if size > PART => {
                    start = last;
                    start.push(0);
                }
                _ => return Ok(()),
            }
        }
    }

    fn write(&self, write: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut txn = self.0.begin_write().map_err(stored)?;
        txn.set_quick_repair(true);
        write(&txn)?;
        txn.commit().map_err(stored)
    }

    /// Copies what was written meanwhile, until little is left.
    fn catch_up(&self, shared: &Shared) -> Result<()> {
        for _ in 0..ROUNDS {
            if self.follow(shared)? < FEW {
                break;
            }
        }
        Ok(())
    }

    /// Copies what was written since the last round. Returns the number of keys.
    fn follow(&self, shared: &Shared) -> Result<usize> {
        // Before the snapshot: the tracked keys are committed, so the snapshot contains them.
        let touched = shared.touched.take();
        let mut snapshot = shared.snapshot()?;
        self.write(|txn| {
            for (table, prefix) in &touched.cleared {
                let end = keys::end(prefix);
                let range = prefix.as_slice()..end.as_slice();
                let mut target = txn.open_table(table.definition()).map_err(stored)?;
                target.retain_in(range, |_, _| false).map_err(stored)?;
                for (key, value) in snapshot.all(*table, prefix)? {
                    target.insert(&*key, &*value).map_err(stored)?;
                }
            }
            let mut target = None;
            for (table, key) in &touched.keys {
                if *table == META && key == PENDING_REWRITE {
                    continue;
                }
                if !matches!(&target, Some((open, _)) if open == table) {
                    // Closed before the next one is opened.
                    drop(target.take());
                    let open = txn.open_table(table.definition()).map_err(stored)?;
                    target = Some((*table, open));
                }
                if let Some((_, target)) = &mut target {
                    match snapshot.get(*table, key)? {
                        Some(value) => drop(target.insert(&**key, &*value).map_err(stored)?),
                        None => drop(target.remove(&**key).map_err(stored)?),
                    }
                }
            }
            Ok(())
        })?;
        Ok(touched.len())
    }

    /// Copies the rest and replaces the file. Nothing may be written meanwhile. `pending` tells whether another rewrite is
    /// pending.
    pub(super) fn replace(self, shared: &Shared, pending: bool) -> Result<()> {
        self.follow(shared)?;
        if pending {
            self.write(|txn| {
                let mut meta = txn.open_table(META.definition()).map_err(stored)?;
                meta.insert(PENDING_REWRITE, [].as_slice())
                    .map_err(stored)?;
                Ok(())
            })?;
        }
        let mut db = shared.db.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &shared.path {
            fs::rename(beside(path), path).map_err(failed)?;
            sync_folder(path)?;
        }
        let old = std::mem::replace(&mut *db, Arc::new(self.0));
        drop(db);
        shared.forget_committed();
        drop(old);
        Ok(())
    }
}

/// Syncs the folder, so that a power failure does not restore the old file.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        let folder = fs::File::open(folder).map_err(failed)?;
        folder.sync_all().map_err(failed)?;
    }
    Ok(())
}

fn no_backup(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    Error::new(
        ErrorKind::InvalidInput,
        format!("{path} cannot be written: {error}"),
    )
    .with_source(error)
}

fn failed(error: io::Error) -> Error {
    Error::internal(format!("could not rewrite the file: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use konstruct_core::{
        Clock as _, ConnectionId, Depth, DocumentFormat, Erase, NewDocument, SystemClock, TenantId,
        memory::KnowledgeStore as _,
        message::RoutedEvent,
        store::{Archive as _, Mailbox as _},
        testkit::message,
    };

    use super::{
        super::{Redb, keys::MEMORY},
        *,
    };

    fn said(id: &str) -> Vec<RoutedEvent> {
        let event = message(&format!("place{id}"), id, "hello", SystemClock.now());
        let connection = ConnectionId::from_bytes([1; 16]);
        vec![RoutedEvent { connection, event }]
    }

    #[tokio::test]
    async fn a_reader_of_the_old_file_continues() {
        let folder = tempfile::tempdir().unwrap();
        let store = Redb::open(folder.path().join("store")).unwrap();
        let faq = NewDocument::new("FAQ", DocumentFormat::Text, "Open.");
        store.put_document(TenantId::new(), faq).await.unwrap();
        let mut before = store.inner.shared.snapshot().unwrap();
        let erased = store.erase(TenantId::new(), Erase::Tenant, Depth::Physical);
        erased.await.unwrap();
        assert!(!before.all(MEMORY, &[]).unwrap().is_empty());
    }

    /// Returns every row of a file.
    fn rows(store: &Redb) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let mut snapshot = store.inner.shared.snapshot().unwrap();
        let all = keys::ALL.iter().flat_map(|table| {
            let rows = snapshot.all(*table, &[]).unwrap().into_iter();
            rows.map(|(key, value)| (*table, key, value))
                .collect::<Vec<_>>()
        });
        all.collect()
    }

    #[tokio::test]
    async fn writes_during_a_copy_are_in_it() {
        let store = Redb::in_memory().unwrap();
        let (tenant, other) = (TenantId::new(), TenantId::new());
        for id in ["1", "2"] {
            store.accept(tenant, said(id)).await.unwrap();
            store.accept(other, said(id)).await.unwrap();
        }
        let shared = &store.inner.shared;
        let mut copying = Copying::start(shared).unwrap();
        let fresh = copying.done().await.unwrap();
        // Written and deleted after everything was copied.
        store.accept(tenant, said("3")).await.unwrap();
        store
            .erase(other, Erase::Tenant, Depth::Logical)
            .await
            .unwrap();
        let before = rows(&store);
        fresh.replace(shared, false).unwrap();
        assert!(before == rows(&store), "the copy is another");
    }

    #[tokio::test]
    async fn an_unfinished_rewrite_is_finished_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Redb::open(&path).unwrap();
        store.accept(TenantId::new(), said("1")).await.unwrap();
        // As left behind by a killed process.
        let mut txn = {
            let db = store.inner.shared.db.read().unwrap();
            db.begin_write().unwrap()
        };
        txn.set_quick_repair(true);
        let mut batch = Batch::new(&txn);
        mark_pending(&mut batch);
        batch.flush().unwrap();
        drop(batch);
        txn.commit().unwrap();
        drop(store);
        // Dropping the last handle waits until everything is done.
        drop(Redb::open(&path).unwrap());
        let store = Redb::open(&path).unwrap();
        assert!(!is_pending(&store.inner.shared).unwrap());
        assert!(!beside(&path).exists());
    }

    #[tokio::test]
    async fn a_rewrite_leaves_nothing_pending_and_writers_continue() {
        let folder = tempfile::tempdir().unwrap();
        let store = Redb::open(folder.path().join("store")).unwrap();
        let tenant = TenantId::new();
        store.accept(tenant, said("0")).await.unwrap();
        let erasing = store.erase(TenantId::new(), Erase::Tenant, Depth::Physical);
        let again = store.erase(TenantId::new(), Erase::Tenant, Depth::Physical);
        let accepting = async {
            for n in 1..20 {
                store.accept(tenant, said(&n.to_string())).await.unwrap();
            }
        };
        let (first, second, ()) = tokio::join!(erasing, again, accepting);
        first.unwrap();
        second.unwrap();
        assert!(!is_pending(&store.inner.shared).unwrap());
        assert_eq!(
            rows(&store)
                .iter()
                .filter(|row| row.0 == keys::INBOX)
                .count(),
            20
        );
    }
}
