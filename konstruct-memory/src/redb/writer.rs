//! The one writer: a thread that takes whatever is queued, applies all of it in one transaction, commits, and answers.
//!
//! No caller waits for a timer: while one batch is written to the disk, the next one gathers. What nobody waits for rides along with the
//! next batch. An operation drafts its writes, and they
//! count only when it has succeeded, so that one which fails writes nothing and the others of its batch are not held up by it.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use ::redb::{ReadableTable as _, WriteTransaction};
use konstruct_core::{Error, Result, TenantId};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    keys::{self, Table},
    rewrite::rewrite,
    snapshot::{Rows, Step},
    stored,
    vault::Vault,
};

/// The most operations of one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 4096;

/// How long what rides along waits for a commit that happens anyway, and how often it looks for one.
const RIDE: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(1);

/// Something that the writer does, whole or not at all.
pub(super) trait Operation: Send + 'static {
    /// What the caller is answered.
    type Answer: Send + 'static;

    /// Drafts the writes. An error drops the draft.
    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Self::Answer>;

    /// Whether it waits for a commit that happens anyway, for a while, instead of causing one.
    fn rides_along(&self, _shared: &Shared) -> bool {
        false
    }

    /// Whether the file is to be rewritten after the commit, so that nothing of what was deleted is left in it.
    fn rewrites(&self) -> bool {
        false
    }

    /// Called before the commit: from then on a reader may see what was drafted.
    fn coming(&mut self, _shared: &Shared, _answer: &Self::Answer) {}

    /// Called instead of [`Operation::committed`] when it was not written after all.
    fn undone(&mut self, _shared: &Shared) {}

    /// Called after the commit and before the caller is answered, in the order in which operations were applied.
    fn committed(&mut self, _shared: &Shared, _answer: &Self::Answer) {}
}

/// The sending end of the writer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread; it ends when the last `Writer` is gone and everything queued is done.
    pub(super) fn start(shared: Arc<Shared>) -> Result<(Self, std::thread::JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(2 * BATCH);
        let thread = std::thread::Builder::new()
            .name("redb-writer".into())
            .spawn(move || run(&shared, queue))
            .map_err(|error| {
                Error::internal("the writer thread did not start").with_source(error)
            })?;
        Ok((Self { jobs }, thread))
    }

    /// Queues an operation and waits for its answer. Dropping the future does not take it back.
    pub(super) async fn submit<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        let (job, answer) = queued(operation);
        self.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Has everything written that rides along.
    pub(super) fn flush(&self) {
        let (job, _) = queued(Flush);
        // A full queue has something else to commit; one that is closed has nothing.
        let _ = self.jobs.try_send(job);
    }
}

fn gone() -> Error {
    Error::internal("the store's writer has ended")
}

type Reply<O> = oneshot::Receiver<Result<<O as Operation>::Answer>>;

fn queued<O: Operation>(operation: O) -> (Box<dyn Job>, Reply<O>) {
    let (reply, answer) = oneshot::channel();
    let job = Queued {
        operation,
        answer: None,
        reply,
    };
    (Box::new(job), answer)
}

/// An operation with its caller, whatever it answers.
trait Job: Send {
    fn rides_along(&self, shared: &Shared) -> bool;
    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared);
    fn coming(&mut self, shared: &Shared);
    fn rewrites(&self) -> bool;
    fn answer(self: Box<Self>, shared: &Shared, written: &Written);
}

/// What became of a batch: whether it was committed, and whether the file was rewritten after it, if that was asked for.
struct Written {
    committed: Result<(), String>,
    rewritten: Result<(), String>,
}

struct Queued<O: Operation> {
    operation: O,
    answer: Option<Result<O::Answer>>,
    reply: oneshot::Sender<Result<O::Answer>>,
}

impl<O: Operation> Job for Queued<O> {
    fn rides_along(&self, shared: &Shared) -> bool {
        self.operation.rides_along(shared)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) {
        // A clock is foreign code: its panic must not end the writer for everybody.
        let answer = catch_unwind(AssertUnwindSafe(|| self.operation.apply(batch, shared)))
            .unwrap_or_else(|_| Err(Error::internal("an operation panicked")));
        if answer.is_err() {
            batch.discard();
        }
        self.answer = Some(answer);
    }

    fn coming(&mut self, shared: &Shared) {
        if let Some(Ok(answer)) = &self.answer {
            self.operation.coming(shared, answer);
        }
    }

    fn rewrites(&self) -> bool {
        self.operation.rewrites() && matches!(self.answer, Some(Ok(_)))
    }

    fn answer(mut self: Box<Self>, shared: &Shared, written: &Written) {
        let rewrites = self.rewrites();
        let answer = match (&written.committed, self.answer.take()) {
            (Ok(()), Some(Ok(answer))) => {
                self.operation.committed(shared, &answer);
                match &written.rewritten {
                    Err(message) if rewrites => Err(Error::internal(message.clone())),
                    _ => Ok(answer),
                }
            }
            (committed, answer) => {
                self.operation.undone(shared);
                Err(match (answer, committed) {
                    (Some(Err(error)), _) => error,
                    (_, Err(message)) => Error::internal(message.clone()),
                    (_, Ok(())) => gone(),
                })
            }
        };
        // A caller that is gone does not want to know.
        let _ = self.reply.send(answer);
    }
}

/// Causes a commit, so that nothing rides along for ever when the store is closed.
struct Flush;

impl Operation for Flush {
    type Answer = ();

    fn apply(&mut self, _: &mut Batch<'_>, _: &Shared) -> Result<()> {
        Ok(())
    }
}

fn run(shared: &Shared, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut jobs = Vec::new();
    while let Some(next) = queue.blocking_recv() {
        jobs.push(next);
        fill(&mut jobs, &mut queue);
        let began = Instant::now();
        while jobs.iter().all(|job| job.rides_along(shared)) && began.elapsed() < RIDE {
            std::thread::sleep(LOOK);
            fill(&mut jobs, &mut queue);
        }
        let committed =
            write(shared, &mut jobs).map_err(|error| format!("the batch was not written: {error}"));
        let rewritten = if committed.is_ok() && jobs.iter().any(|job| job.rewrites()) {
            rewrite(shared).map_err(|error| {
                format!("it is erased, but stands in the file's free pages: {error}")
            })
        } else {
            Ok(())
        };
        let written = Written {
            committed,
            rewritten,
        };
        for job in jobs.drain(..) {
            job.answer(shared, &written);
        }
    }
}

/// Takes what is queued.
fn fill(jobs: &mut Vec<Box<dyn Job>>, queue: &mut mpsc::Receiver<Box<dyn Job>>) {
    while jobs.len() < BATCH
        && let Ok(next) = queue.try_recv()
    {
        jobs.push(next);
    }
}

fn write(shared: &Shared, jobs: &mut [Box<dyn Job>]) -> Result<()> {
    let mut txn = {
        let db = shared.db.read().unwrap_or_else(PoisonError::into_inner);
        db.begin_write().map_err(stored)?
    };
    // Without it, opening a large file after a kill walks all of it.
    txn.set_quick_repair(true);
    let mut batch = Batch::new(&txn);
    for job in &mut *jobs {
        job.apply(&mut batch, shared);
        batch.gather()?;
    }
    batch.flush()?;
    drop(batch);
    for job in jobs {
        job.coming(shared);
    }
    txn.commit().map_err(stored)
}

type OpenTable<'txn> = ::redb::Table<'txn, &'static [u8], &'static [u8]>;

/// What is to stand under the keys of a table: `None` for nothing.
type Changes = HashMap<Table, HashMap<Vec<u8>, Option<Vec<u8>>>>;

/// A write transaction, and the draft of the operation at hand.
///
/// What operations write is gathered here and reaches the tables in the order of the keys, once a batch: rows that many operations
/// write are written once, and neighbours go to the same page.
pub(super) struct Batch<'txn> {
    txn: &'txn WriteTransaction,
    tables: HashMap<Table, OpenTable<'txn>>,
    /// What earlier operations have written, and the tables do not have yet.
    gathered: Changes,
    draft: Changes,
    cleared: Vec<(Table, Vec<u8>)>,
    /// The keys of tenants, from one operation to the next.
    vaults: HashMap<TenantId, Vault>,
}

impl<'txn> Batch<'txn> {
    pub(super) fn new(txn: &'txn WriteTransaction) -> Self {
        Self {
            txn,
            tables: HashMap::new(),
            gathered: HashMap::new(),
            draft: HashMap::new(),
            cleared: Vec::new(),
            vaults: HashMap::new(),
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        let rows = self.draft.entry(table).or_default();
        rows.insert(key, Some(value.into()));
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.draft.entry(table).or_default().insert(key, None);
    }

    /// Deletes every key that begins so, before the other writes of this operation.
    pub(super) fn clear(&mut self, table: Table, prefix: Vec<u8>) {
        self.cleared.push((table, prefix));
    }

    /// Drops what the operation at hand has drafted.
    pub(super) fn discard(&mut self) {
        self.draft.clear();
        self.cleared.clear();
    }

    /// Returns the tenant's keys, if the operation before has [left](Batch::leave) them.
    pub(super) fn take_vault(&mut self, tenant: TenantId) -> Option<Vault> {
        self.vaults.remove(&tenant)
    }

    /// Leaves the tenant's keys to the next operation. One that fails must not, for it may have drafted some of them.
    pub(super) fn leave(&mut self, vault: Vault) {
        self.vaults.insert(vault.tenant(), vault);
    }

    /// Writes everything into the transaction, the draft too. An error here fails the batch.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.gather()?;
        self.write_out()
    }

    /// Ends an operation: its draft is what the next one sees. An error here fails the batch.
    fn gather(&mut self) -> Result<()> {
        if !self.cleared.is_empty() {
            self.write_out()?;
            self.vaults.clear();
        }
        for (table, prefix) in std::mem::take(&mut self.cleared) {
            let end = keys::end(&prefix);
            let range: std::ops::Range<&[u8]> = prefix.as_slice()..end.as_slice();
            self.open(table)?
                .retain_in(range, |_, _| false)
                .map_err(stored)?;
        }
        for (table, rows) in &mut self.draft {
            let gathered = self.gathered.entry(*table).or_default();
            gathered.extend(rows.drain());
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        for (table, rows) in std::mem::take(&mut self.gathered) {
            let mut rows: Vec<_> = rows.into_iter().collect();
            rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let table = self.open(table)?;
            for (key, value) in rows {
                match value {
                    Some(value) => drop(table.insert(&*key, &*value).map_err(stored)?),
                    None => drop(table.remove(&*key).map_err(stored)?),
                }
            }
        }
        Ok(())
    }

    /// Opens a table, and makes it if there is none.
    pub(super) fn open(&mut self, table: Table) -> Result<&mut OpenTable<'txn>> {
        use std::collections::hash_map::Entry;
        Ok(match self.tables.entry(table) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                free.insert(self.txn.open_table(table.definition()).map_err(stored)?)
            }
        })
    }
}

impl Rows for Batch<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        for changes in [&self.draft, &self.gathered] {
            if let Some(value) = changes.get(&table).and_then(|rows| rows.get(key)) {
                return Ok(value.clone());
            }
        }
        let found = self.open(table)?.get(key).map_err(stored)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// Sees what earlier operations wrote, and not the draft of this one.
    fn scan(&mut self, table: Table, from: &[u8], to: &[u8], each: &mut Step<'_>) -> Result<()> {
        self.write_out()?;
        for row in self.open(table)?.range(from..to).map_err(stored)? {
            let (key, value) = row.map_err(stored)?;
            if each(key.value(), value.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
