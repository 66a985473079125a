//! The threads that keep the index up with the feed, and vectors up with the index.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use konstruct_core::{Error, Result, TenantId};
use tokio::{runtime::Handle, sync::Notify};

use super::{
    super::{
        Shared,
        keys::{self, TENANTS},
        snapshot::Rows as _,
        writer::Writer,
    },
    Desk,
};
use crate::memory::{Turns, embed, keep_up};

/// How long a thread sleeps that waits for nothing in particular.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the threads are to do: one indexes words, the other has texts embedded, which may take long or fail for hours.
#[derive(Debug, Default)]
pub(in crate::redb) struct Follower {
    words: Line,
    vectors: Line,
}

/// The tenants of a thread.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    wake: Condvar,
    stopped: Notify,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    stopped: bool,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Words,
    Vectors,
}

impl Follower {
    /// Starts the threads; [`Follower::stop`] ends them.
    pub(in crate::redb) fn start(
        shared: &Arc<Shared>,
        writer: &Writer,
    ) -> Result<Vec<JoinHandle<()>>> {
        let tasks = [(Task::Words, "redb-words"), (Task::Vectors, "redb-vectors")];
        let started = tasks.into_iter().map(|(task, name)| {
            let desk = Desk {
                shared: Arc::clone(shared),
                writer: writer.clone(),
            };
            // An embedder may need the runtime that the store was opened in.
            let runtime = Handle::try_current();
            let work = move || match runtime {
                Ok(runtime) => run(&desk, task, |work| runtime.block_on(work)),
                Err(_) => match own_runtime() {
                    Ok(runtime) => run(&desk, task, |work| runtime.block_on(work)),
                    Err(error) => tracing::warn!(%error, "the index follows nothing"),
                },
            };
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn(work).map_err(|error| {
                Error::internal("the follower thread did not start").with_source(error)
            })
        });
        started.collect()
    }

    /// Notes that a tenant's feed has grown.
    pub(in crate::redb) fn follow(&self, tenant: TenantId) {
        self.words.add(tenant);
    }

    pub(in crate::redb) fn stop(&self) {
        self.words.stop();
        self.vectors.stop();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.words.state().stopped
    }

    fn line(&self, task: Task) -> &Line {
        match task {
            Task::Words => &self.words,
            Task::Vectors => &self.vectors,
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tenant: TenantId) {
        self.state().turns.add(tenant);
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.state().stopped = true;
        self.wake.notify_one();
        self.stopped.notify_one();
    }

    /// Waits for a tenant's turn; `None` when stopped.
    fn next(&self) -> Option<TenantId> {
        let mut state = self.state();
        while !state.stopped {
            let now = Instant::now();
            if let Some(next) = state.turns.next(now) {
                return Some(next);
            }
            let due = state.turns.due().unwrap_or(now + IDLE);
            let wait = due.saturating_duration_since(now);
            let waited = self.wake.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}

fn own_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

type Work<'a> = std::pin::Pin<Box<dyn Future<Output = Option<Result<()>>> + 'a>>;

fn run(desk: &Desk, task: Task, block_on: impl Fn(Work<'_>) -> Option<Result<()>>) {
    let follower = &desk.shared.follower;
    if matches!(task, Task::Words)
        && let Err(error) = desk.shared.find_behind()
    {
        tracing::warn!(%error, "the index does not know what it has missed");
    }
    let line = follower.line(task);
    while let Some(tenant) = line.next() {
        let work = async {
            let done = async {
                desk.shared.precedence.give_way().await;
                match task {
                    Task::Words => keep_up(desk, tenant).await,
                    Task::Vectors => embed(desk, tenant).await,
                }
            };
            tokio::select! {
                biased;
                () = line.stopped.notified() => None,
                done = done => Some(done),
            }
        };
        match block_on(Box::pin(work)) {
            None => return,
            Some(Ok(())) => {
                line.state().turns.done(tenant);
                if matches!(task, Task::Words) {
                    follower.vectors.add(tenant);
                }
            }
            Some(Err(error)) => {
                let wait = line.state().turns.failed(tenant, Instant::now());
                tracing::warn!(%tenant, %error, ?wait, "the index fell behind");
            }
        }
    }
}

impl Shared {
    /// Notes the tenants whose index may have been left behind by the end of the last process.
    fn find_behind(&self) -> Result<()> {
        let tenants = self.snapshot()?.all(TENANTS, &[])?;
        for (key, _) in tenants {
            if let Some(tenant) = keys::id(&key, 0) {
                self.follower.follow(TenantId::from_bytes(tenant));
            }
        }
        Ok(())
    }
}
