//! Which tenants there is something to do for: their feeds have grown, or what is indexed has no vector yet.

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

use super::{shelf::UnitKey, turns::Turns};

/// The tenants of a task.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    turns: Mutex<Turns>,
    /// Those whose feeds have grown in a turn that is still under way.
    growing: Mutex<HashSet<TenantId>>,
    /// How far the work on tenants is that takes several turns.
    places: Mutex<HashMap<TenantId, Place>>,
    grew: Notify,
    ended: AtomicBool,
}

/// How far the work on a tenant is.
#[derive(Debug, Default)]
struct Place {
    /// What was done last.
    after: Option<UnitKey>,
    /// Whether something was added since it began, which may come before that.
    grew: bool,
}

impl Fed {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<TenantId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after what the work on a tenant continues.
    pub(crate) fn place(&self, tenant: TenantId) -> Option<UnitKey> {
        self.places().entry(tenant).or_default().after
    }

    /// Ends a tenant's turn before all is done. It has another one when all others that wait had theirs.
    pub(crate) fn interrupt(&self, tenant: TenantId, after: Option<UnitKey>) {
        if let Some(place) = self.places().get_mut(&tenant) {
            place.after = after;
        }
        self.turns().add(tenant);
        self.end_turn(tenant);
    }

    /// Ends a tenant's turn, with all done that was there when its work began.
    pub(crate) fn done(&self, tenant: TenantId) {
        let place = self.places().remove(&tenant);
        if place.is_some_and(|place| place.grew) {
            self.turns().add(tenant);
        }
        self.end_turn(tenant);
    }

    fn end_turn(&self, tenant: TenantId) {
        self.turns().done(tenant);
        self.wake();
    }

    /// Ends a tenant's turn with a failure. Returns how long the tenant waits.
    pub(crate) fn failed(&self, tenant: TenantId) -> Duration {
        self.places().remove(&tenant);
        let wait = self.turns().failed(tenant, Instant::now());
        self.wake();
        wait
    }

    /// Wakes one that waits, if there is something to do.
    fn wake(&self) {
        if self.turns().has_next() {
            self.grew.notify_one();
        }
    }

    /// Notes that there is something to do for a tenant.
    pub(crate) fn grew(&self, tenant: TenantId) {
        self.growing().remove(&tenant);
        if let Some(place) = self.places().get_mut(&tenant) {
            place.grew = true;
        }
        self.turns().add(tenant);
        self.grew.notify_one();
    }

    fn growing(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a tenant's turn for so long; `None` if there is none by then, or the store is gone.
    pub(crate) async fn next(&self, patience: Duration) -> Option<TenantId> {
        let until = Instant::now() + patience;
        while !self.ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            let (next, due) = {
                let mut turns = self.turns();
                (turns.next(now), turns.due())
            };
            if next.is_some() {
                // Two that were added at once may have woken one.
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

/// What a store needs whose tenants are served by several processes, and whose lanes end by themselves.
#[cfg(feature = "postgres")]
impl Fed {
    /// Has the next tenant be the one after this.
    pub(crate) fn begin_after(&self, tenant: TenantId) {
        self.turns().begin_after(tenant);
    }

    /// Begins the turn of a tenant that was found otherwise. Returns whether it may.
    pub(crate) fn begin(&self, tenant: TenantId) -> bool {
        self.turns().begin(tenant)
    }

    /// Notes that there will be something to do for a tenant.
    pub(crate) fn will_grow(&self, tenant: TenantId) {
        self.growing().insert(tenant);
    }

    /// Notes that there is something to do for a tenant, if there was to be.
    pub(crate) fn grew_meanwhile(&self, tenant: TenantId) {
        if self.growing().remove(&tenant) {
            self.grew(tenant);
        }
    }

    /// Wakes all that wait, because the store is gone: each wakes the next.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.grew.notify_one();
    }
}
