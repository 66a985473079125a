//! Which tenants there is something to do for: their feeds have grown, or what is indexed has no vector yet.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use konstruct_core::TenantId;
use tokio::{sync::Notify, time::timeout};

use crate::memory::Turns;

/// The tenants of a task.
#[derive(Debug, Default)]
pub(super) struct Fed {
    turns: Mutex<Turns>,
    /// Those whose feeds have grown in a turn that is still under way.
    growing: Mutex<HashSet<TenantId>>,
    grew: Notify,
    ended: AtomicBool,
}

impl Fed {
    pub(super) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that there is something to do for a tenant.
    pub(super) fn grew(&self, tenant: TenantId) {
        self.growing().remove(&tenant);
        self.turns().add(tenant);
        self.grew.notify_one();
    }

    /// Notes that there will be something to do for a tenant.
    pub(super) fn will_grow(&self, tenant: TenantId) {
        self.growing().insert(tenant);
    }

    /// Notes that there is something to do for a tenant, if there was to be.
    pub(super) fn grew_meanwhile(&self, tenant: TenantId) {
        if self.growing().remove(&tenant) {
            self.grew(tenant);
        }
    }

    fn growing(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits, because the store is gone.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.grew.notify_one();
    }

    /// Waits for a tenant's turn for so long; `None` if there is none by then, or the store is gone.
    pub(super) async fn next(&self, patience: Duration) -> Option<TenantId> {
        let until = Instant::now() + patience;
        while !self.ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            let (next, due) = {
                let mut turns = self.turns();
                (turns.next(now), turns.due())
            };
            if next.is_some() || now >= until {
                return next;
            }
            let wait = due.map_or(until, |due| due.min(until));
            let _ = timeout(wait.saturating_duration_since(now), self.grew.notified()).await;
        }
        None
    }
}
