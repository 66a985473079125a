//! A queue of tenants with pending work: feeds to index, or units to embed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use konstruct_core::TenantId;
use tokio::{sync::Notify, time::timeout};

use super::{backend::UnitKey, round_robin::RoundRobin};

/// The tenants that have pending work of one kind.
#[derive(Debug, Default)]
pub(crate) struct TenantQueue {
    turns: Mutex<RoundRobin>,
    /// Tenants whose feeds grow in a turn that has not ended yet.
    announced: Mutex<HashSet<TenantId>>,
    /// The progress of work that takes several turns.
    progress: Mutex<HashMap<TenantId, Progress>>,
    grew: Notify,
    closed: AtomicBool,
}

/// The progress of the work on a tenant.
#[derive(Debug, Default)]
struct Progress {
    /// The last unit that is done.
    after: Option<UnitKey>,
    /// Whether more was added since the work began, possibly at a lower key.
    grew: bool,
}

impl TenantQueue {
    fn turns(&self) -> MutexGuard<'_, RoundRobin> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<TenantId, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the unit after which the work on a tenant continues.
    pub(crate) fn resume_after(&self, tenant: TenantId) -> Option<UnitKey> {
        self.progress().entry(tenant).or_default().after
    }

    /// Ends a tenant's turn with work left. The tenant is queued again behind all others.
    pub(crate) fn requeue(&self, tenant: TenantId, after: Option<UnitKey>) {
        if let Some(progress) = self.progress().get_mut(&tenant) {
            progress.after = after;
        }
        self.turns().add(tenant);
        self.end_turn(tenant);
    }

    /// Ends a tenant's turn when all work that was pending at its start is done.
    pub(crate) fn done(&self, tenant: TenantId) {
        let progress = self.progress().remove(&tenant);
        if progress.is_some_and(|progress| progress.grew) {
            self.turns().add(tenant);
        }
        self.end_turn(tenant);
    }

    fn end_turn(&self, tenant: TenantId) {
        self.turns().done(tenant);
        self.wake();
    }

    /// Ends a tenant's turn with a failure. Returns the delay until the next attempt.
    pub(crate) fn failed(&self, tenant: TenantId) -> Duration {
        self.progress().remove(&tenant);
        let wait = self.turns().failed(tenant, Instant::now());
        self.wake();
        wait
    }

    /// Wakes a waiting task if a tenant is ready.
    fn wake(&self) {
        if self.turns().has_next() {
            self.grew.notify_one();
        }
    }

    /// Queues a tenant.
    pub(crate) fn notify(&self, tenant: TenantId) {
        self.announced().remove(&tenant);
        if let Some(progress) = self.progress().get_mut(&tenant) {
            progress.grew = true;
        }
        self.turns().add(tenant);
        self.grew.notify_one();
    }

    fn announced(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next tenant, for at most `patience`. `None` after that time, or if the queue is closed.
    pub(crate) async fn next(&self, patience: Duration) -> Option<TenantId> {
        let until = Instant::now() + patience;
        while !self.closed.load(Ordering::Relaxed) {
            let now = Instant::now();
            let (next, due) = {
                let mut turns = self.turns();
                (turns.next(now), turns.due())
            };
            if next.is_some() {
                // Two tenants added at once may have woken only one task.
                self.wake();
            }
            if next.is_some() || now >= until {
                return next;
            }
            let wait = due.map_or(until, |due| due.min(until));
            let _ = timeout(wait.saturating_duration_since(now), self.grew.notified()).await;
        }
        self.grew.notify_one();
        None
    }
}

/// For a store whose tenants are served by several processes, and whose lanes end by themselves.
#[cfg(feature = "postgres")]
impl TenantQueue {
    /// Makes the queue continue with the tenant after this one.
    pub(crate) fn begin_after(&self, tenant: TenantId) {
        self.turns().begin_after(tenant);
    }

    /// Begins the turn of a tenant that was found in another way. Returns `false` if its turn is already in progress.
    pub(crate) fn begin(&self, tenant: TenantId) -> bool {
        self.turns().begin(tenant)
    }

    /// Announces that a tenant will be queued when its turn of a conversation ends.
    pub(crate) fn announce(&self, tenant: TenantId) {
        self.announced().insert(tenant);
    }

    /// Queues a tenant if it was announced.
    pub(crate) fn notify_if_announced(&self, tenant: TenantId) {
        if self.announced().remove(&tenant) {
            self.notify(tenant);
        }
    }

    /// Closes the queue because the store is gone. Each woken task wakes the next.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.grew.notify_one();
    }
}
