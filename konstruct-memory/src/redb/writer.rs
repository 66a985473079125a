//! The writer: one thread that applies all queued operations in one transaction, commits it, and answers the callers.
//!
//! While one batch is written to the disk, the next one gathers. Lazy operations wait for the next batch. While many
//! conversations are claimed, a small batch waits shortly for their next operations. An operation drafts its writes, which count
//! only if it succeeds: a failed operation writes nothing and does not affect the others of its batch.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use ::redb::{Durability, ReadableTable as _, WriteTransaction};
use foldhash::{HashMap, HashMapExt as _};
use konstruct_core::{Error, Result, TenantId};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    erase::Erasure,
    index::EraseWith,
    keys::{self, Table},
    recover::is_io,
    rewrite::{self, ChangedKeys, Copying, Fresh},
    slices::Erasing,
    snapshot::{Rows, Step},
    stored,
    vault::Vault,
};

/// The most operations of a transaction. It bounds how long the first waits for the last.
const BATCH: usize = 4096;

/// How long a lazy operation waits for another commit, and how often the queue is checked meanwhile.
const LAZY_WAIT: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(1);

/// While at least this many conversations are claimed, a small batch waits shortly for their next operations: they are about to
/// come, and a large commit costs little more than a small one. The more are claimed, the longer it waits.
const BUSY: usize = 32;
const GATHER: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(4)..=Duration::from_millis(16);
/// A batch of this many operations does not wait.
const FULL: usize = 256;

fn gather_time(working: usize) -> Duration {
    let siblings = u32::try_from(working / BUSY).unwrap_or(u32::MAX);
    Duration::from_millis(1)
        .saturating_mul(siblings)
        .clamp(*GATHER.start(), *GATHER.end())
}

/// An atomic operation of the writer.
pub(super) trait Operation: Send + 'static {
    /// The result for the caller.
    type Output: Send + 'static;

    /// Drafts the writes. An error drops the draft.
    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Self::Output>;

    /// Returns whether it precedes operations without priority, because somebody outside waits for an acknowledgement.
    fn has_priority(&self) -> bool {
        false
    }

    /// Returns whether it may wait a while for another commit instead of causing one.
    fn is_lazy(&self, _shared: &Shared) -> bool {
        false
    }

    /// Returns whether the file must be rewritten after the commit, so that deleted data is physically gone.
    fn rewrites(&self) -> bool {
        false
    }

    /// Returns whether it must wait because its tenant is being erased. Otherwise its writes would be erased too.
    fn must_wait(&self, _erasing: &Erasing) -> bool {
        false
    }

    /// Returns whether more parts follow this commit. It is then applied again in later transactions, and answered after the last
    /// one.
    fn has_more(&self) -> bool {
        false
    }

    /// Called after each commit that is not its last.
    fn after_part(&mut self, _shared: &Shared) {}

    /// Called when a part was not written. Returns whether the part is retried; otherwise the caller gets the error.
    fn retries(&mut self) -> bool {
        false
    }

    /// Called when written parts may be lost. It restarts from its second part.
    fn restart(&mut self) {}

    /// Called before the commit: from then on a reader may see the writes.
    fn before_commit(&mut self, _shared: &Shared, _answer: &Self::Output) {}

    /// Called instead of [`Operation::committed`] when it was not written.
    fn aborted(&mut self, _shared: &Shared) {}

    /// Called after the commit and before the caller is answered, in the order of application.
    fn committed(&mut self, _shared: &Shared, _answer: &Self::Output) {}
}

/// The most operations without priority in a transaction with priority operations.
const BESIDE_PRIORITY: usize = 64;

/// The number of rows that an operation with several parts writes in a transaction.
pub(super) const PART: usize = 48;

/// Parts are written while there is no priority operation, or after this time, so that they finish under load.
const PART_DELAY: Duration = Duration::from_millis(20);

/// The pause between parts while there are priority operations.
const PART_PAUSE: Duration = Duration::from_millis(2);

/// Parts without a waiting caller need not be synced one by one: this many are synced at once. Lost parts are written again.
const SYNCED_AT_ONCE: u32 = 4;

/// The delay before a failed part is retried.
const RETRY: Duration = Duration::from_secs(1);

/// A handle to the writer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    priority: mpsc::Sender<Box<dyn Job>>,
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread, with the erasures that the last process has not finished. It ends when the last `Writer` is dropped and
    /// everything queued is done.
    pub(super) fn start(
        shared: Arc<Shared>,
        unfinished: Vec<Erasure>,
    ) -> Result<(Self, std::thread::JoinHandle<()>)> {
        let (writer, queues) = Self::queues();
        let failed =
            |error| Error::internal("could not start the writer thread").with_source(error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("redb-writer".into())
            .spawn(move || Loop::new(&shared, queues, unfinished).run(&runtime))
            .map_err(failed)?;
        Ok((writer, thread))
    }

    /// Creates a writer, and the queues of its loop.
    pub(super) fn queues() -> (Self, Queues) {
        let (first, firsts) = mpsc::channel(2 * BATCH);
        let (jobs, others) = mpsc::channel(2 * BATCH);
        let queues = Queues {
            priority: firsts,
            others,
        };
        (
            Self {
                priority: first,
                jobs,
            },
            queues,
        )
    }

    /// Queues an operation and waits for its result. Dropping the future does not cancel it.
    pub(super) async fn submit<O: Operation>(&self, operation: O) -> Result<O::Output> {
        let queue = if operation.has_priority() {
            &self.priority
        } else {
            &self.jobs
        };
        let (job, answer) = queued(operation);
        queue.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Commits all lazy operations.
    pub(super) fn flush(&self) {
        let (job, _) = queued(Flush);
        // A full queue causes a commit anyway; a closed one has nothing to commit.
        let _ = self.jobs.try_send(job);
    }
}

fn gone() -> Error {
    Error::internal("the store is closed")
}

type Reply<O> = oneshot::Receiver<Result<<O as Operation>::Output>>;

fn queued<O: Operation>(operation: O) -> (Box<dyn Job>, Reply<O>) {
    let (reply, answer) = oneshot::channel();
    let job = Queued {
        operation,
        answer: None,
        reply,
    };
    (Box::new(job), answer)
}

/// A type-erased operation with its caller.
trait Job: Send {
    fn is_lazy(&self, shared: &Shared) -> bool;
    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared);
    fn before_commit(&mut self, shared: &Shared);
    fn committed(&mut self, shared: &Shared);
    fn has_priority(&self) -> bool;
    fn rewrites(&self) -> bool;
    fn must_wait(&self, shared: &Shared) -> bool;
    /// Returns whether its last application failed.
    fn has_failed(&self) -> bool;
    fn has_more(&self) -> bool;
    fn after_part(&mut self, shared: &Shared);
    fn retries(&mut self) -> bool;
    fn restart(&mut self);
    /// Answers the caller, given whether the batch was committed, and whether the file was rewritten if requested.
    fn answer(
        self: Box<Self>,
        shared: &Shared,
        committed: &Result<(), String>,
        rewritten: &Result<(), String>,
    );
}

struct Queued<O: Operation> {
    operation: O,
    answer: Option<Result<O::Output>>,
    reply: oneshot::Sender<Result<O::Output>>,
}

impl<O: Operation> Job for Queued<O> {
    fn is_lazy(&self, shared: &Shared) -> bool {
        self.operation.is_lazy(shared)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) {
        // A clock is foreign code: its panic must not end the writer.
        let answer = catch_unwind(AssertUnwindSafe(|| self.operation.apply(batch, shared)))
            .unwrap_or_else(|_| Err(Error::internal("an operation panicked")));
        if answer.is_err() {
            batch.discard();
        }
        self.answer = Some(answer);
    }

    fn before_commit(&mut self, shared: &Shared) {
        if let Some(Ok(answer)) = &self.answer {
            self.operation.before_commit(shared, answer);
        }
    }

    fn committed(&mut self, shared: &Shared) {
        if let Some(Ok(answer)) = &self.answer {
            self.operation.committed(shared, answer);
        }
    }

    fn has_priority(&self) -> bool {
        self.operation.has_priority()
    }

    fn rewrites(&self) -> bool {
        self.operation.rewrites() && !self.has_failed()
    }

    fn must_wait(&self, shared: &Shared) -> bool {
        self.operation.must_wait(&shared.erasing)
    }

    fn has_failed(&self) -> bool {
        matches!(self.answer, Some(Err(_)))
    }

    fn has_more(&self) -> bool {
        self.operation.has_more() && !self.has_failed()
    }

    fn after_part(&mut self, shared: &Shared) {
        self.operation.after_part(shared);
    }

    fn retries(&mut self) -> bool {
        let again = self.operation.retries();
        if again && let Some(Err(error)) = &self.answer {
            tracing::error!(%error, "could not write a part of an erasure; it will be retried");
        }
        again
    }

    fn restart(&mut self) {
        self.operation.restart();
    }

    fn answer(
        mut self: Box<Self>,
        shared: &Shared,
        committed: &Result<(), String>,
        rewritten: &Result<(), String>,
    ) {
        let rewrites = self.rewrites();
        let answer = match (committed, self.answer.take()) {
            (Ok(()), Some(Ok(answer))) => {
                if !rewrites {
                    self.operation.committed(shared, &answer);
                }
                match rewritten {
                    Err(message) if rewrites => Err(Error::internal(message.clone())),
                    _ => Ok(answer),
                }
            }
            (committed, answer) => {
                self.operation.aborted(shared);
                Err(match (answer, committed) {
                    (Some(Err(error)), _) => error,
                    (_, Err(message)) => Error::internal(message.clone()),
                    (_, Ok(())) => gone(),
                })
            }
        };
        // The caller may be gone.
        let _ = self.reply.send(answer);
    }
}

/// Causes a commit, so that lazy operations are written when the store is closed.
struct Flush;

impl Operation for Flush {
    type Output = ();

    fn apply(&mut self, _: &mut Batch<'_>, _: &Shared) -> Result<()> {
        Ok(())
    }
}

/// The queues of the writer.
pub(super) struct Queues {
    /// Operations with priority.
    priority: mpsc::Receiver<Box<dyn Job>>,
    others: mpsc::Receiver<Box<dyn Job>>,
}

impl Queues {
    /// Waits for an operation, priority first; `None` when all senders are dropped and the queues are empty.
    async fn next(&mut self) -> Option<Box<dyn Job>> {
        tokio::select! {
            biased;
            Some(job) = self.priority.recv() => Some(job),
            Some(job) = self.others.recv() => Some(job),
            else => None,
        }
    }

    /// Takes the queued operations. Few others are taken together with priority operations.
    fn fill(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let before = jobs.len();
        while jobs.len() < BATCH
            && let Ok(next) = self.priority.try_recv()
        {
            jobs.push(next);
        }
        let most = if jobs.len() > before || jobs.iter().any(|job| job.has_priority()) {
            BATCH.min(jobs.len() + BESIDE_PRIORITY)
        } else {
            BATCH
        };
        while jobs.len() < most
            && let Ok(next) = self.others.try_recv()
        {
            jobs.push(next);
        }
    }
}

/// The writer's thread.
pub(super) struct Loop<'a> {
    shared: &'a Arc<Shared>,
    queues: Queues,
    /// The copy in progress, and the operations that wait for it.
    copying: Option<(Copying, Vec<Box<dyn Job>>)>,
    /// Operations that wait for the next copy, because they were committed after the current one began.
    waiting: Vec<Box<dyn Job>>,
    /// Operations with more parts; one part is written in each transaction.
    partial: VecDeque<Box<dyn Job>>,
    /// Operations that wait until their tenant is erased.
    parked: Vec<Box<dyn Job>>,
    /// When a failed part is retried.
    retry_at: Option<Instant>,
    /// When the last part was written, and the number of unsynced parts.
    part_at: Instant,
    unsynced: u32,
    /// When a priority operation was last seen.
    priority_at: Option<Instant>,
    /// The empty maps of the last batch.
    spare: Changes,
}

/// The next action of the writer.
enum Next {
    Job(Box<dyn Job>),
    /// The next part of an operation, or parked operations.
    Continue,
    /// The copy has caught up, or failed.
    Copied(Result<Fresh>),
    End,
}

impl<'a> Loop<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, queues: Queues, unfinished: Vec<Erasure>) -> Self {
        let mut own = Self {
            shared,
            queues,
            copying: None,
            waiting: Vec::new(),
            partial: VecDeque::new(),
            parked: Vec::new(),
            retry_at: None,
            part_at: Instant::now(),
            unsynced: 0,
            priority_at: None,
            spare: Changes::default(),
        };
        own.resume(unfinished);
        own
    }

    /// Resumes erasures that no caller waits for.
    fn resume(&mut self, unfinished: Vec<Erasure>) {
        for erasure in unfinished {
            let (job, _) = queued(EraseWith::unfinished(erasure));
            self.partial.push_back(job);
        }
    }

    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        match rewrite::is_pending(self.shared) {
            // It is copied after these are done.
            Ok(true) if self.partial.iter().any(|job| job.rewrites()) => {}
            Ok(true) => self.copy(),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "could not read whether a rewrite of the file is pending")
            }
        }
        while runtime.block_on(self.step()) {}
        self.retry_at = None;
        // The next process continues parts that cannot be written now.
        while self.retry_at.is_none() && self.can_continue() {
            self.batch(Vec::new());
        }
        // No caller waits any more, but the rewrite was promised.
        while let Some((copying, _)) = &mut self.copying {
            let fresh = runtime.block_on(copying.done());
            self.copied(fresh);
        }
    }

    /// Waits for the next action, usually a batch, and executes it. Returns whether there may be more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn step(&mut self) -> bool {
        match self.next().await {
            Next::Job(job) => self.batch(vec![job]),
            Next::Continue => self.batch(Vec::new()),
            Next::Copied(fresh) => self.copied(fresh),
            Next::End => return false,
        }
        true
    }

    async fn next(&mut self) -> Next {
        let can_continue = self.can_continue();
        let is_busy = self.priority_at.is_some_and(|at| at.elapsed() < PART_DELAY);
        let again = self.retry_at.or(is_busy.then(|| self.part_at + PART_PAUSE));
        let copying = &mut self.copying;
        let copied = async {
            match copying {
                Some((copying, _)) => copying.done().await,
                None => std::future::pending().await,
            }
        };
        let go_on = async {
            match again {
                _ if !can_continue => std::future::pending().await,
                Some(again) => tokio::time::sleep_until(again.into()).await,
                None => {}
            }
        };
        tokio::select! {
            biased;
            fresh = copied => Next::Copied(fresh),
            job = self.queues.next() => job.map_or(Next::End, Next::Job),
            () = go_on => Next::Continue,
        }
    }

    /// Returns whether there is work that is not in the queues.
    fn can_continue(&self) -> bool {
        let shared = self.shared;
        !self.partial.is_empty() || self.parked.iter().any(|job| !job.must_wait(shared))
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let shared = self.shared;
        jobs.extend(self.parked.extract_if(.., |job| !job.must_wait(shared)));
        self.queues.fill(&mut jobs);
        let began = Instant::now();
        while self.partial.is_empty()
            && jobs.iter().all(|job| job.is_lazy(shared))
            && began.elapsed() < LAZY_WAIT
        {
            std::thread::sleep(POLL);
            self.queues.fill(&mut jobs);
        }
        let idle = self.partial.is_empty();
        let may_wait = |many| {
            let working = shared.working();
            let few = many < FULL && began.elapsed() < gather_time(working);
            idle && few && !shared.precedence.is_needed() && working >= BUSY
        };
        while may_wait(jobs.len()) {
            std::thread::sleep(POLL);
            self.queues.fill(&mut jobs);
        }
        let only_part = jobs.is_empty();
        let comes_first = jobs.iter().any(|job| job.has_priority());
        if comes_first {
            self.priority_at = Some(began);
        }
        let may_have_part = !comes_first || began.duration_since(self.part_at) >= PART_DELAY;
        if may_have_part && self.retry_at.is_none_or(|again| again <= began) {
            self.retry_at = None;
            self.part_at = began;
            jobs.extend(self.partial.pop_front());
        }
        let may_sync_later = only_part && self.unsynced < SYNCED_AT_ONCE;
        let written = self.write(&mut jobs, may_sync_later);
        self.unsynced = match &written {
            Ok(Synced::Later) => self.unsynced + 1,
            _ => 0,
        };
        let failed = written.as_ref().err().map(ToString::to_string);
        let reopens = written.as_ref().is_err_and(is_io);
        let committed = written.map(drop);
        let committed = committed.map_err(|error| format!("the batch was not written: {error}"));
        shared.health.written(shared.clock.now(), failed);
        for mut job in jobs {
            let done = committed.is_ok() && !job.has_failed();
            if done && job.has_more() {
                self.partial.push_back(job);
            } else if !done && job.retries() {
                self.partial.push_front(job);
                self.retry_at = Some(Instant::now() + RETRY);
            } else if done && job.rewrites() {
                self.waiting.push(job);
            } else {
                job.answer(shared, &committed, &Ok(()));
            }
        }
        if self.copying.is_none() && !self.waiting.is_empty() {
            self.copy();
        }
        if reopens {
            shared.reopen();
            self.restart();
            // A commit that failed may still be in the file.
            match Erasure::unfinished(shared) {
                Ok(unfinished) => self.resume(unfinished),
                Err(error) => tracing::error!(%error, "could not read the unfinished erasures"),
            }
        }
    }

    /// Writes a batch. Moves operations that must wait for an erasure to `parked`. A batch of only a part may be synced later.
    fn write(&mut self, jobs: &mut Vec<Box<dyn Job>>, may_sync_later: bool) -> Result<Synced> {
        let shared = self.shared;
        shared.health.check()?;
        let mut txn = {
            let db = shared.db.read().unwrap_or_else(PoisonError::into_inner);
            db.begin_write().map_err(stored)?
        };
        // Otherwise opening a large file after a crash would scan all of it.
        txn.set_quick_repair(true);
        let mut batch = Batch::new(&txn);
        batch.gathered = std::mem::take(&mut self.spare);
        batch.touched = shared.touched.is_active().then(ChangedKeys::default);
        batch.part = shared.part;
        let mut at = 0;
        while let Some(job) = jobs.get_mut(at) {
            // An erasure may have begun in this batch.
            if job.must_wait(shared) {
                self.parked.push(jobs.remove(at));
                continue;
            }
            job.apply(&mut batch, shared);
            if job.rewrites() {
                // If the process ends before the rewrite, the next one does it.
                rewrite::mark_pending(&mut batch);
            }
            batch.gather()?;
            at += 1;
        }
        batch.flush()?;
        let touched = batch.touched.take();
        self.spare = std::mem::take(&mut batch.gathered);
        self.spare.retain(|_, rows| rows.capacity() <= SPARED);
        drop(batch);
        for job in &mut *jobs {
            job.before_commit(shared);
        }
        let synced = if may_sync_later && jobs.iter().all(|job| job.has_more()) {
            txn.set_durability(Durability::None).map_err(stored)?;
            Synced::Later
        } else {
            Synced::Now
        };
        let committed = txn.commit().map_err(stored);
        match committed {
            Ok(()) => shared.show_committed(),
            Err(_) => shared.forget_committed(),
        }
        // A commit that failed may still be in the file.
        shared.touched.note(touched);
        committed?;
        // From now on, erased data cannot be read. Callers that wait for a rewrite wait only for the free pages.
        for job in jobs {
            if job.has_more() {
                job.after_part(shared);
            } else if job.rewrites() {
                job.committed(shared);
            }
        }
        Ok(synced)
    }

    /// Restarts operations with several parts, because written parts may be lost.
    pub(super) fn restart(&mut self) {
        for job in &mut self.partial {
            job.restart();
        }
    }

    /// Starts a copy of the file for the waiting operations.
    fn copy(&mut self) {
        let jobs = std::mem::take(&mut self.waiting);
        match Copying::start(self.shared) {
            Ok(copying) => self.copying = Some((copying, jobs)),
            Err(error) => self.rewritten(jobs, Err(error)),
        }
    }

    /// Replaces the file by its copy, and starts the next copy if it was requested meanwhile.
    fn copied(&mut self, fresh: Result<Fresh>) {
        let jobs = self.copying.take().map(|(_, jobs)| jobs);
        let waits = !self.waiting.is_empty();
        let pending = waits || self.partial.iter().any(|job| job.rewrites());
        let replaced = fresh.and_then(|fresh| fresh.replace(self.shared, pending));
        self.rewritten(jobs.unwrap_or_default(), replaced);
        if waits {
            self.copy();
        }
    }

    fn rewritten(&self, jobs: Vec<Box<dyn Job>>, result: Result<()>) {
        self.shared.touched.stop();
        let rewritten = result.map_err(|error| {
            tracing::error!(%error, "could not rewrite the file");
            format!("erased, but not yet removed from the file's free pages: {error}")
        });
        for job in jobs {
            job.answer(self.shared, &Ok(()), &rewritten);
        }
    }
}

/// Whether a commit is on the disk.
#[derive(Clone, Copy)]
enum Synced {
    Now,
    /// With the next synced commit.
    Later,
}

type OpenTable<'txn> = ::redb::Table<'txn, &'static [u8], &'static [u8]>;

/// The most rows of a table whose map is kept for the next batch.
const SPARED: usize = 16 << 10;

/// The new values of a table's keys: `None` deletes.
type Changes = HashMap<Table, HashMap<Vec<u8>, Option<Vec<u8>>>>;

/// A write transaction, and the draft of the current operation.
///
/// Writes are collected and reach the tables in key order, once for each batch: rows that several operations write are written
/// once, and neighbouring rows go to the same page.
pub(super) struct Batch<'txn> {
    txn: &'txn WriteTransaction,
    tables: HashMap<Table, OpenTable<'txn>>,
    /// Writes of earlier operations that are not in the tables yet.
    gathered: Changes,
    draft: Changes,
    cleared: Vec<(Table, Vec<u8>)>,
    /// The tenants' keys, passed from one operation to the next.
    vaults: HashMap<TenantId, Vault>,
    /// The written keys for a copy in progress.
    touched: Option<ChangedKeys>,
    /// The most rows that a part of an operation may write.
    pub(super) part: usize,
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
            touched: None,
            part: usize::MAX,
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        let rows = self.draft.entry(table).or_default();
        rows.insert(key, Some(value.into()));
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.draft.entry(table).or_default().insert(key, None);
    }

    /// Deletes every key with a prefix, before the other writes of this operation.
    pub(super) fn clear(&mut self, table: Table, prefix: Vec<u8>) {
        self.cleared.push((table, prefix));
    }

    /// Drops the draft of the current operation.
    pub(super) fn discard(&mut self) {
        self.draft.clear();
        self.cleared.clear();
    }

    /// Returns the tenant's keys, if the previous operation [left](Batch::leave) them.
    pub(super) fn take_vault(&mut self, tenant: TenantId) -> Option<Vault> {
        self.vaults.remove(&tenant)
    }

    /// Leaves the tenant's keys to the next operation. A failed operation must not, because it may have drafted some of them.
    pub(super) fn leave(&mut self, vault: Vault) {
        self.vaults.insert(vault.tenant(), vault);
    }

    /// Writes everything into the transaction, including the draft. An error here fails the batch.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.gather()?;
        self.write_out()
    }

    /// Ends an operation: the next one sees its writes. An error here fails the batch.
    fn gather(&mut self) -> Result<()> {
        if !self.cleared.is_empty() {
            self.write_out()?;
            self.vaults.clear();
        }
        for (table, prefix) in std::mem::take(&mut self.cleared) {
            if let Some(touched) = &mut self.touched {
                touched.clear(table, &prefix);
            }
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
        let mut gathered = std::mem::take(&mut self.gathered);
        for (table, rows) in gathered.iter_mut().filter(|(_, rows)| !rows.is_empty()) {
            if let Some(touched) = &mut self.touched {
                touched.put(*table, rows.keys());
            }
            let mut rows: Vec<_> = rows.drain().collect();
            rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let table = self.open(*table)?;
            for (key, value) in rows {
                match value {
                    Some(value) => drop(table.insert(&*key, &*value).map_err(stored)?),
                    None => drop(table.remove(&*key).map_err(stored)?),
                }
            }
        }
        self.gathered = gathered;
        Ok(())
    }

    /// Opens a table, and creates it if it does not exist.
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

    /// Sees the writes of earlier operations, but not the draft of the current one.
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
