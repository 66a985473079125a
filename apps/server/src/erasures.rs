//! What was erased, in a file outside the store, so that a store restored from an older backup erases it again before it serves.
//!
//! The file names ids and no words. Its first line is its own id, each other line an erasure. The store keeps, under the id of the
//! file, the numbers of the erasures that it has carried out: what it does not have, it is older than.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use konstruct_core::{
    Clock as _, Depth, Erase, Error, ErrorKind, MemoryStore, Result, SystemClock, TenantId,
    Timestamp, id::WorkerId, memory::ErasureReceipt, store::Store, turn::attachment_erasures,
};
use konstruct_memory::RowStore;
use serde::{Deserialize, Serialize};

use crate::{
    config::named,
    directory::{ServerDirectory, rows_of},
    store::private,
};

const FILE: &str = "erasures.log";
const TABLE: &str = "erasures";

/// An erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Erased {
    at: Timestamp,
    tenant: TenantId,
    what: Erase,
    depth: Depth,
}

/// The file, which processes of one data directory share.
#[derive(Debug)]
pub(crate) struct ErasureLog {
    rows: Arc<dyn RowStore>,
    path: PathBuf,
    id: String,
}

impl ErasureLog {
    /// Opens the file of a data directory, and creates it if it does not exist. Returns it with the erasures that the store has not
    /// carried out, each with its number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a file that cannot be used, and those of the store.
    pub(crate) async fn open(
        rows: &Arc<dyn RowStore>,
        data_dir: &Path,
    ) -> Result<(Self, Vec<(usize, Erased)>)> {
        let path = data_dir.join(FILE);
        let (id, erased) = read(data_dir, &path).map_err(|error| unusable(&path, &error))?;
        let log = Self {
            rows: Arc::clone(rows),
            path,
            id,
        };
        let done = rows_of(&**rows, None, TABLE, &format!("{}/", log.id)).await?;
        let done: HashSet<String> = done.into_iter().map(|(key, _)| key).collect();
        let all = (1..).zip(erased);
        let missed = all.filter(|(number, _)| !done.contains(&log.key(*number)));
        let missed = missed.collect();
        Ok((log, missed))
    }

    /// Writes an erasure down, and carries it out.
    ///
    /// # Errors
    /// Those of the file, with which nothing is erased; those of the erasure; and those of the store.
    pub(crate) async fn run<T>(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        erase: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let erased = Erased {
            at: SystemClock.now(),
            tenant,
            what,
            depth,
        };
        let number = append(&self.path, &erased).map_err(|error| unusable(&self.path, &error))?;
        let erased = erase.await;
        self.end(number).await?;
        erased
    }

    /// Notes that an erasure was carried out.
    ///
    /// # Errors
    /// Those of the store.
    async fn end(&self, number: usize) -> Result<()> {
        self.rows.put_row(None, TABLE, &self.key(number), b"").await
    }

    /// Carries out what a store that was restored from an older backup has not erased.
    ///
    /// # Errors
    /// Those of the erasures and of the store.
    pub(crate) async fn repeat(
        &self,
        missed: Vec<(usize, Erased)>,
        directory: &ServerDirectory,
        journal: &dyn Store,
        memory: &dyn MemoryStore,
    ) -> Result<()> {
        if !missed.is_empty() {
            tracing::warn!(
                erasures = missed.len(),
                "the store is older than the last erasures, which are carried out again"
            );
        }
        for (number, erased) in missed {
            let tenant = erased.tenant;
            match erased.what {
                Erase::Tenant => match directory.remove_tenant(tenant).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    done => done?,
                },
                what => drop(erase(journal, memory, tenant, what, erased.depth).await?),
            }
            self.end(number).await?;
        }
        Ok(())
    }

    fn key(&self, number: usize) -> String {
        format!("{}/{number}", self.id)
    }
}

/// Erases a message, a conversation or a person, with the attachments that belong to it.
pub(crate) async fn erase(
    journal: &dyn Store,
    memory: &dyn MemoryStore,
    tenant: TenantId,
    what: Erase,
    depth: Depth,
) -> Result<ErasureReceipt> {
    let mut attachments = 0;
    for own in attachment_erasures(journal, tenant, what).await? {
        attachments += memory.forget(tenant, own, depth).await?.records;
    }
    let mut receipt = memory.forget(tenant, what, depth).await?;
    receipt.records += attachments;
    Ok(receipt)
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let (name, path) = (named("data_dir"), path.display());
    let problem =
        format!("{path} cannot be used ({error}); what is erased must be written there first");
    Error::invalid(&name, problem)
}

/// Adds a line to the file. Returns its number; that of the first line, which is the id, is 0.
fn append(path: &Path, line: &impl Serialize) -> io::Result<usize> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = open(path)?;
    let number = whole_lines(&mut file)?.len();
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(number)
}

/// Opens the file, and locks it against other processes until it is closed.
fn open(path: &Path) -> io::Result<fs::File> {
    let mut options = private();
    let file = options.read(true).append(true).create(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Reads the lines of the file. Removes half a line, whose process died before it began to erase.
fn whole_lines(file: &mut fs::File) -> io::Result<Vec<String>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(whole as u64)?;
    }
    Ok(text[..whole].lines().map(str::to_owned).collect())
}

/// Reads the file; returns its id and its erasures.
fn read(data_dir: &Path, path: &Path) -> io::Result<(String, Vec<Erased>)> {
    fs::create_dir_all(data_dir)?;
    let mut file = open(path)?;
    let lines = whole_lines(&mut file)?;
    let Some((id, erased)) = lines.split_first() else {
        let id = WorkerId::new().to_string();
        let line = serde_json::to_string(&id)? + "\n";
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        return Ok((id, Vec::new()));
    };
    let erased = erased
        .iter()
        .map(|line| serde_json::from_str(line).map_err(io::Error::from));
    Ok((
        serde_json::from_str(id)?,
        erased.collect::<io::Result<_>>()?,
    ))
}

#[cfg(test)]
mod tests {
    use konstruct_memory::Redb;

    use super::*;

    async fn run(log: &ErasureLog, tenant: TenantId) {
        let nothing = async { Ok(()) };
        let done = log.run(tenant, Erase::Tenant, Depth::Logical, nothing);
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_store_is_told_what_it_has_not_erased() {
        let folder = tempfile::tempdir().unwrap();
        let new = || Arc::new(Redb::in_memory().unwrap()) as Arc<dyn RowStore>;
        let (store, older) = (new(), new());
        let open = async |store: &Arc<dyn RowStore>| {
            let (log, missed) = ErasureLog::open(store, folder.path()).await.unwrap();
            let missed: Vec<TenantId> = missed.into_iter().map(|(_, it)| it.tenant).collect();
            (log, missed)
        };
        let tenants: Vec<TenantId> = (0..4).map(|_| TenantId::new()).collect();
        // Two processes share the file and the store.
        let ((one, _), (two, _)) = (open(&store).await, open(&store).await);
        for (log, tenant) in [&one, &two, &two, &one].into_iter().zip(&tenants) {
            run(log, *tenant).await;
        }
        assert_eq!(open(&store).await.1, []);
        assert_eq!(open(&older).await.1, tenants);

        // A process died while it wrote a line, and another one while it erased.
        let path = folder.path().join(FILE);
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"at\":1")
            .unwrap();
        let late = TenantId::new();
        let died = std::future::pending::<Result<()>>();
        let running = one.run(late, Erase::Tenant, Depth::Logical, died);
        assert!(futures_util::FutureExt::now_or_never(running).is_none());
        let (log, missed) = open(&store).await;
        assert_eq!(missed, [late]);
        log.end(5).await.unwrap();
        assert_eq!(open(&store).await.1, []);
    }
}
