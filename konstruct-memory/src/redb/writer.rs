//! The one writer: a thread that takes whatever is queued, applies all of it in one transaction, commits, and answers.
//!
//! While one batch is written to the disk, the next one gathers. What nobody waits for rides along with the next batch, and while many
//! conversations are worked on, a small batch waits a moment for their next operations. An operation drafts its writes, and they count
//! only when it has succeeded, so that one which fails writes nothing and the others of its batch are not held up by it.

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
    rewrite::{self, Copying, Fresh, Touched},
    slices::Erasing,
    snapshot::{Rows, Step},
    stored,
    vault::Vault,
};

/// The most operations of one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 4096;

/// How long what rides along waits for a commit that happens anyway, and how often it looks for one.
const RIDE: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(1);

/// While at least so many conversations are worked on, a small batch waits a moment for the next operations: they come anyway, and
/// a commit of many costs little more than one of few. The more are worked on, the longer each of them waits for the others anyway.
const SIBLINGS: usize = 32;
const MOMENT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(4)..=Duration::from_millis(16);
/// A batch of so many operations does not wait.
const ENOUGH: usize = 256;

fn moment(working: usize) -> Duration {
    let siblings = u32::try_from(working / SIBLINGS).unwrap_or(u32::MAX);
    Duration::from_millis(1)
        .saturating_mul(siblings)
        .clamp(*MOMENT.start(), *MOMENT.end())
}

/// Something that the writer does, whole or not at all.
pub(super) trait Operation: Send + 'static {
    /// What the caller is answered.
    type Answer: Send + 'static;

    /// Drafts the writes. An error drops the draft.
    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Self::Answer>;

    /// Whether it comes before everything that is not: what waits for it is acknowledged to somebody outside.
    fn comes_first(&self) -> bool {
        false
    }

    /// Whether it waits for a commit that happens anyway, for a while, instead of causing one.
    fn rides_along(&self, _shared: &Shared) -> bool {
        false
    }

    /// Whether the file is to be rewritten after the commit, so that nothing of what was deleted is left in it.
    fn rewrites(&self) -> bool {
        false
    }

    /// Whether it is of a tenant that is being erased: it waits until that is done, for nothing of it may be erased too.
    fn waits(&self, _erasing: &Erasing) -> bool {
        false
    }

    /// Whether it goes on after this commit: it is applied again in a later transaction, and answered after the last one.
    fn goes_on(&self) -> bool {
        false
    }

    /// Called after each commit after which it goes on.
    fn in_between(&mut self, _shared: &Shared) {}

    /// Called when a part of it was not written: whether that part is tried again. Otherwise it is answered with the error.
    fn tries_again(&mut self) -> bool {
        false
    }

    /// Called when parts of it that were written may be lost: it goes on from its second part.
    fn starts_over(&mut self) {}

    /// Called before the commit: from then on a reader may see what was drafted.
    fn coming(&mut self, _shared: &Shared, _answer: &Self::Answer) {}

    /// Called instead of [`Operation::committed`] when it was not written after all.
    fn undone(&mut self, _shared: &Shared) {}

    /// Called after the commit and before the caller is answered, in the order in which operations were applied.
    fn committed(&mut self, _shared: &Shared, _answer: &Self::Answer) {}
}

/// How many operations that do not come first share a transaction with those that do.
const BESIDE: usize = 64;

/// How many rows an operation that goes on writes in a transaction.
pub(super) const PART: usize = 48;

/// Its parts are written while nothing comes first, or after so long, so that it ends however much comes in.
const PART_WAITS: Duration = Duration::from_millis(20);

/// How long the next part waits after one while there is something that comes first.
const PART_RESTS: Duration = Duration::from_millis(2);

/// Parts that nobody waits for need not be on the disk before the next one: so many are synced at once. If they are lost, they are
/// written again.
const SYNCED_AT_ONCE: u32 = 4;

/// How long the next part of an operation waits after one that could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// The sending end of the writer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    first: mpsc::Sender<Box<dyn Job>>,
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread, with the erasures that the last process has not finished; it ends when the last `Writer` is gone and
    /// everything queued is done.
    pub(super) fn start(
        shared: Arc<Shared>,
        unfinished: Vec<Erasure>,
    ) -> Result<(Self, std::thread::JoinHandle<()>)> {
        let (writer, queues) = Self::queues();
        let failed = |error| Error::internal("the writer thread did not start").with_source(error);
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

    /// A writer, and what its loop is fed from.
    pub(super) fn queues() -> (Self, Queues) {
        let (first, firsts) = mpsc::channel(2 * BATCH);
        let (jobs, others) = mpsc::channel(2 * BATCH);
        let queues = Queues {
            first: firsts,
            others,
        };
        (Self { first, jobs }, queues)
    }

    /// Queues an operation and waits for its answer. Dropping the future does not take it back.
    pub(super) async fn submit<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        let queue = if operation.comes_first() {
            &self.first
        } else {
            &self.jobs
        };
        let (job, answer) = queued(operation);
        queue.send(job).await.map_err(|_| gone())?;
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
    fn committed(&mut self, shared: &Shared);
    fn comes_first(&self) -> bool;
    fn rewrites(&self) -> bool;
    fn waits(&self, shared: &Shared) -> bool;
    /// Whether it was applied last with an error.
    fn has_failed(&self) -> bool;
    fn goes_on(&self) -> bool;
    fn in_between(&mut self, shared: &Shared);
    fn tries_again(&mut self) -> bool;
    fn starts_over(&mut self);
    /// Answers: whether the batch was committed, and whether the file was rewritten after it, if that was asked for.
    fn answer(
        self: Box<Self>,
        shared: &Shared,
        committed: &Result<(), String>,
        rewritten: &Result<(), String>,
    );
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

    fn committed(&mut self, shared: &Shared) {
        if let Some(Ok(answer)) = &self.answer {
            self.operation.committed(shared, answer);
        }
    }

    fn comes_first(&self) -> bool {
        self.operation.comes_first()
    }

    fn rewrites(&self) -> bool {
        self.operation.rewrites() && !self.has_failed()
    }

    fn waits(&self, shared: &Shared) -> bool {
        self.operation.waits(&shared.erasing)
    }

    fn has_failed(&self) -> bool {
        matches!(self.answer, Some(Err(_)))
    }

    fn goes_on(&self) -> bool {
        self.operation.goes_on() && !self.has_failed()
    }

    fn in_between(&mut self, shared: &Shared) {
        self.operation.in_between(shared);
    }

    fn tries_again(&mut self) -> bool {
        let again = self.operation.tries_again();
        if again && let Some(Err(error)) = &self.answer {
            tracing::error!(%error, "a part of an erasure was not written; it is tried again");
        }
        again
    }

    fn starts_over(&mut self) {
        self.operation.starts_over();
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

/// What waits for the writer.
pub(super) struct Queues {
    /// What comes first.
    first: mpsc::Receiver<Box<dyn Job>>,
    others: mpsc::Receiver<Box<dyn Job>>,
}

impl Queues {
    /// Waits for an operation, those first that come first; `None` when nobody can queue any more and nothing is left.
    async fn next(&mut self) -> Option<Box<dyn Job>> {
        tokio::select! {
            biased;
            Some(job) = self.first.recv() => Some(job),
            Some(job) = self.others.recv() => Some(job),
            else => None,
        }
    }

    /// Takes what is queued. Beside operations that come first, few others hold them up.
    fn fill(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let before = jobs.len();
        while jobs.len() < BATCH
            && let Ok(next) = self.first.try_recv()
        {
            jobs.push(next);
        }
        let most = if jobs.len() > before || jobs.iter().any(|job| job.comes_first()) {
            BATCH.min(jobs.len() + BESIDE)
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
    /// The copy that is under way, and who waits for it.
    copying: Option<(Copying, Vec<Box<dyn Job>>)>,
    /// Who waits for the next one: what they erased was committed after the one under way had begun.
    waiting: Vec<Box<dyn Job>>,
    /// What is done in parts, one of them in each transaction.
    going: VecDeque<Box<dyn Job>>,
    /// What waits until its tenant is erased.
    parked: Vec<Box<dyn Job>>,
    /// When a part is tried again that could not be written.
    again: Option<Instant>,
    /// When the last part was written, and how many there were since the last sync.
    part_at: Instant,
    unsynced: u32,
    /// When something came first lately.
    first_at: Option<Instant>,
    /// The maps of the last batch, empty.
    spare: Changes,
}

/// What the writer does next.
enum Next {
    Job(Box<dyn Job>),
    /// The next part of what is done in parts, or what was parked.
    GoOn,
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
            going: VecDeque::new(),
            parked: Vec::new(),
            again: None,
            part_at: Instant::now(),
            unsynced: 0,
            first_at: None,
            spare: Changes::default(),
        };
        own.resume(unfinished);
        own
    }

    /// Goes on with erasures that nobody waits for any more.
    fn resume(&mut self, unfinished: Vec<Erasure>) {
        for erasure in unfinished {
            let (job, _) = queued(EraseWith::unfinished(erasure));
            self.going.push_back(job);
        }
    }

    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        match rewrite::is_owed(self.shared) {
            // It is copied once that is done.
            Ok(true) if self.going.iter().any(|job| job.rewrites()) => {}
            Ok(true) => self.copy(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "whether the file is to be rewritten is unknown"),
        }
        while runtime.block_on(self.step()) {}
        self.again = None;
        // What cannot be written now is left to the next process.
        while self.again.is_none() && self.may_go_on() {
            self.batch(Vec::new());
        }
        // Whoever asked for it does not wait any more, but it was promised.
        while let Some((copying, _)) = &mut self.copying {
            let fresh = runtime.block_on(copying.done());
            self.copied(fresh);
        }
    }

    /// Waits for something to do, and does it: a batch, mostly. Returns whether there may be more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn step(&mut self) -> bool {
        match self.next().await {
            Next::Job(job) => self.batch(vec![job]),
            Next::GoOn => self.batch(Vec::new()),
            Next::Copied(fresh) => self.copied(fresh),
            Next::End => return false,
        }
        true
    }

    async fn next(&mut self) -> Next {
        let may_go_on = self.may_go_on();
        let is_busy = self.first_at.is_some_and(|at| at.elapsed() < PART_WAITS);
        let again = self.again.or(is_busy.then(|| self.part_at + PART_RESTS));
        let copying = &mut self.copying;
        let copied = async {
            match copying {
                Some((copying, _)) => copying.done().await,
                None => std::future::pending().await,
            }
        };
        let go_on = async {
            match again {
                _ if !may_go_on => std::future::pending().await,
                Some(again) => tokio::time::sleep_until(again.into()).await,
                None => {}
            }
        };
        tokio::select! {
            biased;
            fresh = copied => Next::Copied(fresh),
            job = self.queues.next() => job.map_or(Next::End, Next::Job),
            () = go_on => Next::GoOn,
        }
    }

    /// Whether there is something to do that is not queued.
    fn may_go_on(&self) -> bool {
        let shared = self.shared;
        !self.going.is_empty() || self.parked.iter().any(|job| !job.waits(shared))
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let shared = self.shared;
        jobs.extend(self.parked.extract_if(.., |job| !job.waits(shared)));
        self.queues.fill(&mut jobs);
        let began = Instant::now();
        while self.going.is_empty()
            && jobs.iter().all(|job| job.rides_along(shared))
            && began.elapsed() < RIDE
        {
            std::thread::sleep(LOOK);
            self.queues.fill(&mut jobs);
        }
        let idle = self.going.is_empty();
        let may_wait = |many| {
            let working = shared.working();
            let few = many < ENOUGH && began.elapsed() < moment(working);
            idle && few && !shared.precedence.is_needed() && working >= SIBLINGS
        };
        while may_wait(jobs.len()) {
            std::thread::sleep(LOOK);
            self.queues.fill(&mut jobs);
        }
        let only_part = jobs.is_empty();
        let comes_first = jobs.iter().any(|job| job.comes_first());
        if comes_first {
            self.first_at = Some(began);
        }
        let may_have_part = !comes_first || began.duration_since(self.part_at) >= PART_WAITS;
        if may_have_part && self.again.is_none_or(|again| again <= began) {
            self.again = None;
            self.part_at = began;
            jobs.extend(self.going.pop_front());
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
            if done && job.goes_on() {
                self.going.push_back(job);
            } else if !done && job.tries_again() {
                self.going.push_front(job);
                self.again = Some(Instant::now() + AGAIN);
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
            self.start_over();
            // One that was not committed may be in the file all the same.
            match Erasure::unfinished(shared) {
                Ok(unfinished) => self.resume(unfinished),
                Err(error) => tracing::error!(%error, "which erasures are unfinished is unknown"),
            }
        }
    }

    /// Writes a batch. Leaves what waits for the end of an erasure in `parked`. What only goes on may be synced later.
    fn write(&mut self, jobs: &mut Vec<Box<dyn Job>>, may_sync_later: bool) -> Result<Synced> {
        let shared = self.shared;
        shared.health.check()?;
        let mut txn = {
            let db = shared.db.read().unwrap_or_else(PoisonError::into_inner);
            db.begin_write().map_err(stored)?
        };
        // Without it, opening a large file after a kill walks all of it.
        txn.set_quick_repair(true);
        let mut batch = Batch::new(&txn);
        batch.gathered = std::mem::take(&mut self.spare);
        batch.touched = shared.touched.is_noted().then(Touched::default);
        batch.part = shared.part;
        let mut at = 0;
        while let Some(job) = jobs.get_mut(at) {
            // An erasure may have begun in this batch.
            if job.waits(shared) {
                self.parked.push(jobs.remove(at));
                continue;
            }
            job.apply(&mut batch, shared);
            if job.rewrites() {
                // Should the process end before it is rewritten, the next one does it.
                rewrite::owe(&mut batch);
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
            job.coming(shared);
        }
        let synced = if may_sync_later && jobs.iter().all(|job| job.goes_on()) {
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
        // One that failed may be in the file all the same.
        shared.touched.note(touched);
        committed?;
        // From now on nobody reads what was erased: those who wait for the file only wait for its free pages.
        for job in jobs {
            if job.goes_on() {
                job.in_between(shared);
            } else if job.rewrites() {
                job.committed(shared);
            }
        }
        Ok(synced)
    }

    /// Has what is done in parts begin again: some of what was written may be lost.
    pub(super) fn start_over(&mut self) {
        for job in &mut self.going {
            job.starts_over();
        }
    }

    /// Begins to copy the file for those who wait.
    fn copy(&mut self) {
        let jobs = std::mem::take(&mut self.waiting);
        match Copying::start(self.shared) {
            Ok(copying) => self.copying = Some((copying, jobs)),
            Err(error) => self.rewritten(jobs, Err(error)),
        }
    }

    /// Replaces the file by its copy, and begins the next one if it was asked for meanwhile.
    fn copied(&mut self, fresh: Result<Fresh>) {
        let jobs = self.copying.take().map(|(_, jobs)| jobs);
        let waits = !self.waiting.is_empty();
        let owed = waits || self.going.iter().any(|job| job.rewrites());
        let replaced = fresh.and_then(|fresh| fresh.replace(self.shared, owed));
        self.rewritten(jobs.unwrap_or_default(), replaced);
        if waits {
            self.copy();
        }
    }

    fn rewritten(&self, jobs: Vec<Box<dyn Job>>, result: Result<()>) {
        self.shared.touched.stop();
        let rewritten = result.map_err(|error| {
            tracing::error!(%error, "the file was not rewritten");
            format!("it is erased, but stands in the file's free pages: {error}")
        });
        for job in jobs {
            job.answer(self.shared, &Ok(()), &rewritten);
        }
    }
}

/// Whether what was committed is on the disk.
#[derive(Clone, Copy)]
enum Synced {
    Now,
    /// With the next commit that is.
    Later,
}

type OpenTable<'txn> = ::redb::Table<'txn, &'static [u8], &'static [u8]>;

/// For how many rows of a table a batch leaves room to the next one.
const SPARED: usize = 16 << 10;

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
    /// What is written, for a copy of the file that is under way.
    touched: Option<Touched>,
    /// How many rows an operation that is done in parts may write.
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
