//! Rewriting the file: what was deleted stands on in its free pages until all that is left was copied into a new one.
//!
//! The writer does it between two batches. Readers go on, those that began before on the old file, which is gone with the last of
//! them; writers wait.

use std::{
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use ::redb::{Database, ReadTransaction, ReadableDatabase as _, backends::InMemoryBackend};
use konstruct_core::{Error, Result};

use super::{
    Shared,
    keys::{self, Table},
    stored,
};

/// How many bytes are copied in a transaction.
const PART: usize = 32 << 20;

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

/// Replaces the file by a copy of what it holds.
pub(super) fn rewrite(shared: &Shared) -> Result<()> {
    let read = {
        let db = shared.db.read().unwrap_or_else(PoisonError::into_inner);
        db.begin_read().map_err(stored)?
    };
    let mut builder = Database::builder();
    builder.set_cache_size(shared.cache);
    let fresh = match &shared.path {
        Some(path) => {
            clean(path)?;
            let fresh = builder.create(beside(path)).map_err(stored)?;
            let kept = fs::metadata(path).map_err(failed)?.permissions();
            fs::set_permissions(beside(path), kept).map_err(failed)?;
            fresh
        }
        None => builder
            .create_with_backend(InMemoryBackend::new())
            .map_err(stored)?,
    };
    for table in keys::ALL {
        copy(&read, &fresh, table)?;
    }
    drop(read);
    let mut db = shared.db.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &shared.path {
        fs::rename(beside(path), path).map_err(failed)?;
        sync_folder(path)?;
    }
    let old = std::mem::replace(&mut *db, Arc::new(fresh));
    drop(db);
    drop(old);
    Ok(())
}

fn copy(from: &ReadTransaction, to: &Database, table: Table) -> Result<()> {
    let source = from.open_table(table.definition()).map_err(stored)?;
    let mut last: Option<Vec<u8>> = None;
    loop {
        let mut txn = to.begin_write().map_err(stored)?;
        txn.set_quick_repair(true);
        let mut copied = 0;
        {
            let mut target = txn.open_table(table.definition()).map_err(stored)?;
            let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = (start, Bound::<&[u8]>::Unbounded);
            for row in source.range::<&[u8]>(range).map_err(stored)? {
                let (key, value) = row.map_err(stored)?;
                target.insert(key.value(), value.value()).map_err(stored)?;
                copied += key.value().len() + value.value().len();
                if copied > PART {
                    last = Some(key.value().to_vec());
                    break;
                }
            }
        }
        txn.commit().map_err(stored)?;
        if copied <= PART {
            return Ok(());
        }
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
    use konstruct_core::{DocumentFormat, KnowledgeStore as _, NewDocument, TenantId};

    use super::{
        super::{Redb, keys::MEMORY, snapshot::Rows as _},
        *,
    };

    #[tokio::test]
    async fn who_began_to_read_before_reads_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Redb::open(folder.path().join("store")).unwrap();
        let faq = NewDocument::new("FAQ", DocumentFormat::Text, "Open.");
        store.put_document(TenantId::new(), faq).await.unwrap();
        let shared = &store.inner.shared;
        let mut before = shared.snapshot().unwrap();
        rewrite(shared).unwrap();
        assert!(!before.all(MEMORY, &[]).unwrap().is_empty());
    }
}
