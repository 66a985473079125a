//! The thread that keeps the index up with the feed, and vectors up with the index.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
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
use crate::memory::keep_up;

/// How long a tenant waits that could not be followed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the thread is to do.
#[derive(Debug, Default)]
pub(in crate::redb) struct Follower {
    state: Mutex<State>,
    wake: Condvar,
    stopped: Notify,
}

#[derive(Debug, Default)]
struct State {
    behind: BTreeSet<TenantId>,
    stopped: bool,
}

impl Follower {
    /// Starts the thread; [`Follower::stop`] ends it.
    pub(in crate::redb) fn start(shared: Arc<Shared>, writer: Writer) -> Result<JoinHandle<()>> {
        // An embedder may need the runtime that the store was opened in.
        let runtime = Handle::try_current();
        std::thread::Builder::new()
            .name("redb-follower".into())
            .spawn(move || {
                let desk = Desk { shared, writer };
                match runtime {
                    Ok(runtime) => run(&desk, |work| runtime.block_on(work)),
                    Err(_) => match own_runtime() {
                        Ok(runtime) => run(&desk, |work| runtime.block_on(work)),
                        Err(error) => tracing::warn!(%error, "the index follows nothing"),
                    },
                }
            })
            .map_err(|error| {
                Error::internal("the follower thread did not start").with_source(error)
            })
    }

    /// Notes that a tenant's feed has grown.
    pub(in crate::redb) fn follow(&self, tenant: TenantId) {
        self.state().behind.insert(tenant);
        self.wake.notify_one();
    }

    pub(in crate::redb) fn stop(&self) {
        self.state().stopped = true;
        self.wake.notify_one();
        self.stopped.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a tenant that is behind, the next one after the last; `None` when stopped.
    fn next(&self, last: TenantId) -> Option<TenantId> {
        let mut state = self
            .wake
            .wait_while(self.state(), |state| {
                state.behind.is_empty() && !state.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let next = state
            .behind
            .range(last..)
            .find(|tenant| **tenant != last)
            .or(state.behind.first())
            .copied()?;
        state.behind.remove(&next);
        Some(next)
    }

    /// Waits a while after a failure, or until stopped.
    fn pause(&self) {
        let _ = self
            .wake
            .wait_timeout_while(self.state(), PAUSE, |state| !state.stopped);
    }
}

fn own_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

type Work<'a> = std::pin::Pin<Box<dyn Future<Output = Option<Result<()>>> + 'a>>;

fn run(desk: &Desk, block_on: impl Fn(Work<'_>) -> Option<Result<()>>) {
    let follower = &desk.shared.follower;
    if let Err(error) = desk.shared.find_behind() {
        tracing::warn!(%error, "the index does not know what it has missed");
    }
    let mut last = TenantId::from_bytes([0; 16]);
    while let Some(tenant) = follower.next(last) {
        last = tenant;
        let work = async {
            tokio::select! {
                biased;
                () = follower.stopped.notified() => None,
                done = keep_up(desk, tenant) => Some(done),
            }
        };
        match block_on(Box::pin(work)) {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%tenant, %error, "the index fell behind");
                follower.follow(tenant);
                follower.pause();
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
