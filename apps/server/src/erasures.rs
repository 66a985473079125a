//! What was erased, in a file outside the store, so that a store restored from an older backup erases it again before it serves.
//!
//! The file names ids and no words. Its first line is its own id, each other line an erasure. The store keeps, under the id of the
//! file, the number of erasures that it has carried out: if the file has more, the store is older than they are.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use konstruct_core::{
    Clock as _, Depth, Erase, Error, Result, SystemClock, TenantId, Timestamp, id::WorkerId,
};
use konstruct_memory::RowStore;
use serde::{Deserialize, Serialize};

use crate::config::named;

const FILE: &str = "erasures.log";
const TABLE: &str = "erasures";

/// An erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Erased {
    at: Timestamp,
    pub(crate) tenant: TenantId,
    pub(crate) what: Erase,
    pub(crate) depth: Depth,
}

/// The file.
#[derive(Debug)]
pub(crate) struct ErasureLog {
    rows: Arc<dyn RowStore>,
    path: PathBuf,
    id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of erasures in the file.
    count: u64,
    /// The numbers of those that are being carried out, from 1.
    running: BTreeSet<u64>,
}

impl State {
    /// Returns the number of erasures from the beginning of the file that are all carried out.
    fn done(&self) -> u64 {
        self.running.first().map_or(self.count, |first| first - 1)
    }
}

impl ErasureLog {
    /// Opens the file of a data directory, and creates it if it does not exist. Returns it with the erasures that the store has not
    /// carried out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a file that cannot be used, and those of the store.
    pub(crate) async fn open(
        rows: &Arc<dyn RowStore>,
        data_dir: &Path,
    ) -> Result<(Self, Vec<Erased>)> {
        let path = data_dir.join(FILE);
        let (id, erased) = read(data_dir, &path).map_err(|error| unusable(&path, &error))?;
        let done = rows.get_row(None, TABLE, &id).await?;
        let done = done.and_then(|done| serde_json::from_slice::<u64>(&done).ok());
        let done = usize::try_from(done.unwrap_or(0)).unwrap_or(usize::MAX);
        let log = Self {
            rows: Arc::clone(rows),
            path,
            id,
            state: Mutex::new(State {
                count: erased.len() as u64,
                running: (done as u64 + 1..=erased.len() as u64).collect(),
            }),
        };
        Ok((log, erased.into_iter().skip(done).collect()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let number = self.append(Erased {
            at: SystemClock.now(),
            tenant,
            what,
            depth,
        })?;
        let erased = erase.await;
        self.end(number).await?;
        erased
    }

    /// Notes that the erasures which the store had not carried out are carried out now.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn caught_up(&self) -> Result<()> {
        self.state().running.clear();
        self.keep_count().await
    }

    async fn end(&self, number: u64) -> Result<()> {
        self.state().running.remove(&number);
        self.keep_count().await
    }

    async fn keep_count(&self) -> Result<()> {
        let done = self.state().done();
        let row = done.to_string().into_bytes();
        self.rows.put_row(None, TABLE, &self.id, &row).await
    }

    fn append(&self, erased: Erased) -> Result<u64> {
        let mut state = self.state();
        append(&self.path, &erased).map_err(|error| unusable(&self.path, &error))?;
        state.count += 1;
        let number = state.count;
        state.running.insert(number);
        Ok(number)
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let (name, path) = (named("data_dir"), path.display());
    let problem =
        format!("{path} cannot be used ({error}); what is erased must be written there first");
    Error::invalid(&name, problem)
}

fn append(path: &Path, line: &impl Serialize) -> io::Result<()> {
    use io::Write as _;
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Reads the file; returns its id and its erasures.
fn read(data_dir: &Path, path: &Path) -> io::Result<(String, Vec<Erased>)> {
    fs::create_dir_all(data_dir)?;
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    // A process that died while it wrote a line has not begun to erase.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(whole as u64)?;
    }
    let mut lines = text[..whole].lines();
    let Some(id) = lines.next() else {
        let id = WorkerId::new().to_string();
        append(path, &id)?;
        return Ok((id, Vec::new()));
    };
    let erased = lines.map(|line| serde_json::from_str(line).map_err(io::Error::from));
    Ok((
        serde_json::from_str(id)?,
        erased.collect::<io::Result<_>>()?,
    ))
}
