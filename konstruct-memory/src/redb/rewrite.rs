//! Rewriting the file: what was deleted stands on in its free pages until all that is left was copied into a new one.
//!
//! The copy is made on a thread of its own while the writer goes on; what is written meanwhile is noted and copied again. Only
//! the last few rows are copied while writers wait. Readers that began on the old file go on; it is gone with the last of them.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::redb::{Database, WriteTransaction, backends::InMemoryBackend};
use konstruct_core::{Error, Result};
use tokio::sync::oneshot;

use super::{
    Shared,
    keys::{self, META, Table},
    snapshot::{Rows as _, Snapshot},
    stored,
    writer::Batch,
};

/// How many bytes are copied in a transaction. Whatever else is synced meanwhile waits for the disk to take them.
const PART: usize = 512 << 10;

/// How often what was written meanwhile is copied, and how little of it may be left for the end.
const ROUNDS: usize = 8;
const FEW: usize = 500;

/// Where a file's copy is made.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rewrite");
    name.into()
}

/// Removes what a process left that was killed while it rewrote the file. The file must be open, so that no other rewrites it.
pub(super) fn clean(path: &Path) -> Result<()> {
    match fs::remove_file(beside(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The row of [`META`] that is there while the file is to be rewritten.
const OWED: &[u8] = b"rewrite";

/// Notes that the file is to be rewritten.
pub(super) fn owe(batch: &mut Batch<'_>) {
    batch.put(META, OWED.to_vec(), []);
}

/// Whether a process ended before it had rewritten the file.
pub(super) fn is_owed(shared: &Shared) -> Result<bool> {
    Ok(shared.snapshot()?.get(META, OWED)?.is_some())
}

/// The keys that were written since a copy read them.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: BTreeSet<(Table, Vec<u8>)>,
    /// What the keys begin with that were deleted at once.
    cleared: BTreeSet<(Table, Vec<u8>)>,
}

impl Touched {
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

/// What is written while a copy is under way; `None` while none is.
#[derive(Debug, Default)]
pub(super) struct Noted(Mutex<Option<Touched>>);

impl Noted {
    fn noted(&self) -> MutexGuard<'_, Option<Touched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_noted(&self) -> bool {
        self.noted().is_some()
    }

    /// Adds what a commit has written.
    pub(super) fn note(&self, touched: Option<Touched>) {
        if let (Some(noted), Some(touched)) = (&mut *self.noted(), touched) {
            noted.keys.extend(touched.keys);
            noted.cleared.extend(touched.cleared);
        }
    }

    pub(super) fn stop(&self) {
        *self.noted() = None;
    }

    fn take(&self) -> Touched {
        self.noted()
            .as_mut()
            .map_or_else(Touched::default, std::mem::take)
    }
}

/// A copy of the file that is being made on a thread of its own.
#[derive(Debug)]
pub(super) struct Copying {
    done: oneshot::Receiver<Result<Fresh>>,
}

impl Copying {
    /// Begins with what is committed now. What is committed later is noted, and copied after it.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self> {
        *shared.touched.noted() = Some(Touched::default());
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
        let gone = || Error::internal("the copy of the file was not finished");
        (&mut self.done).await.map_err(|_| gone())?
    }
}

/// A file that holds nothing but what is not deleted.
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
        let fresh = builder.create(beside(path)).map_err(stored)?;
        let kept = fs::metadata(path).map_err(failed)?.permissions();
        fs::set_permissions(beside(path), kept).map_err(failed)?;
        Ok(Self(fresh))
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
                    if table != META || key != OWED {
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

    /// Copies what was written since the last look; returns how much it was.
    fn follow(&self, shared: &Shared) -> Result<usize> {
        // Taken before the snapshot: what is noted is committed, so the snapshot has it.
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
                if *table == META && key == OWED {
                    continue;
                }
                if !matches!(&target, Some((open, _)) if open == table) {
                    // Before the next one is opened.
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

    /// Copies the rest, and becomes the file. Nothing is written meanwhile. `owed` tells whether it is to be rewritten again.
    pub(super) fn replace(self, shared: &Shared, owed: bool) -> Result<()> {
        self.follow(shared)?;
        if owed {
            self.write(|txn| {
                let mut meta = txn.open_table(META.definition()).map_err(stored)?;
                meta.insert(OWED, [].as_slice()).map_err(stored)?;
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

/// Has the new name written, so that a power failure does not bring the old file back.
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

fn failed(error: io::Error) -> Error {
    Error::internal(format!("the file cannot be rewritten: {error}")).with_source(error)
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
    async fn who_began_to_read_before_reads_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Redb::open(folder.path().join("store")).unwrap();
        let faq = NewDocument::new("FAQ", DocumentFormat::Text, "Open.");
        store.put_document(TenantId::new(), faq).await.unwrap();
        let mut before = store.inner.shared.snapshot().unwrap();
        let erased = store.erase(TenantId::new(), Erase::Tenant, Depth::Physical);
        erased.await.unwrap();
        assert!(!before.all(MEMORY, &[]).unwrap().is_empty());
    }

    /// Every row of a file.
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
    async fn what_is_written_during_a_copy_is_in_it() {
        let store = Redb::in_memory().unwrap();
        let (tenant, other) = (TenantId::new(), TenantId::new());
        for id in ["1", "2"] {
            store.accept(tenant, said(id)).await.unwrap();
            store.accept(other, said(id)).await.unwrap();
        }
        let shared = &store.inner.shared;
        let mut copying = Copying::start(shared).unwrap();
        let fresh = copying.done().await.unwrap();
        // Written and deleted after the copy has read everything.
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
    async fn a_rewrite_that_was_begun_is_finished_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Redb::open(&path).unwrap();
        store.accept(TenantId::new(), said("1")).await.unwrap();
        // As a process leaves it that was killed in between.
        let mut txn = {
            let db = store.inner.shared.db.read().unwrap();
            db.begin_write().unwrap()
        };
        txn.set_quick_repair(true);
        let mut batch = Batch::new(&txn);
        owe(&mut batch);
        batch.flush().unwrap();
        drop(batch);
        txn.commit().unwrap();
        drop(store);
        // Dropping the last handle waits until everything is done.
        drop(Redb::open(&path).unwrap());
        let store = Redb::open(&path).unwrap();
        assert!(!is_owed(&store.inner.shared).unwrap());
        assert!(!beside(&path).exists());
    }

    #[tokio::test]
    async fn a_rewrite_leaves_nothing_owed_and_writers_go_on() {
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
        assert!(!is_owed(&store.inner.shared).unwrap());
        assert_eq!(
            rows(&store)
                .iter()
                .filter(|row| row.0 == keys::INBOX)
                .count(),
            20
        );
    }
}
