//! Workers claim ready conversations, process them and wait for more.

use std::{
    collections::HashMap,
    future::Future,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};
use tokio::task::{Id, JoinError, JoinSet};

use super::{Driver, DriverStats, WorkOutcome};
use crate::{
    Result, TenantId, Timestamp,
    id::WorkerId,
    learn::LearnQueue,
    store::{Claim, ClaimRequest, Claimed, Share},
};

/// The delay after a failed claim.
const CLAIM_BACKOFF: Duration = Duration::from_secs(1);
/// The shortest delay between two claims, in case the store's clock is behind this one.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// A conversation that waits for a model or a provider is a task of a few kilobytes, so many can wait at a time.
const CONCURRENCY: usize = 1024;

/// Processes conversations, a limited number at a time.
///
/// A tenant may take another slot only while more slots are free than it already holds, or than it holds for each unit of the
/// weight of its [`Share`]. One tenant with a slow model can therefore fill at most half of the slots, two such tenants a third
/// each, and there is always a slot for a tenant that holds none. What exceeds a share waits in the store.
#[derive(Clone, Debug)]
pub struct Worker {
    driver: Driver,
    id: WorkerId,
    concurrency: NonZeroUsize,
    drain: Duration,
    share: Share,
}

impl Worker {
    /// Creates a worker with 1,024 slots that drains for ten seconds after the shutdown.
    pub fn new(driver: Driver) -> Self {
        let concurrency = NonZeroUsize::new(CONCURRENCY).unwrap_or(NonZeroUsize::MIN);
        Self {
            driver,
            id: WorkerId::new(),
            concurrency,
            drain: Duration::from_secs(10),
            share: Share::default(),
        }
    }

    /// Sets how many conversations are processed at a time.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets how long open turns may continue after the shutdown. Turns that are still open after that are resumed at the next
    /// start.
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets the share of each tenant for which the store has no other. Workers of one store should agree on it.
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// Returns the counters of this worker and its clones.
    pub fn stats(&self) -> &Arc<DriverStats> {
        self.driver.stats()
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Adds processed conversations to a learner's queue, like [`Driver::with_learn_queue`].
    #[must_use]
    pub fn with_learn_queue(mut self, learn_queue: LearnQueue) -> Self {
        self.driver = self.driver.with_learn_queue(learn_queue);
        self
    }

    /// Processes conversations until `shutdown` completes, then lets open turns finish or wait in the store.
    ///
    /// # Cancel safety
    /// Dropping the future has the effect of a crash: nothing is lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let clock = Arc::clone(&self.driver.clock);
        let mut slots = Slots::new(self.concurrency.get());
        self.work_until(&mut slots, shutdown).await;
        let late = clock.sleep_until(clock.now() + self.drain);
        let drained = async {
            while slots.held() > 0 {
                slots.freed().await;
            }
        };
        pin_mut!(late, drained);
        // Tasks that are still running are aborted when the set is dropped.
        select(drained, late).await;
    }

    /// Processes conversations until `done` completes, and returns its output immediately. Conversations that are in progress
    /// then are finished in the background.
    ///
    /// # Cancel safety
    /// Dropping the future has the effect of a crash: nothing is lost.
    pub async fn run_until<T>(&self, done: impl Future<Output = T>) -> T {
        let mut slots = Slots::new(self.concurrency.get());
        let output = self.work_until(&mut slots, done).await;
        slots.working.detach_all();
        output
    }

    async fn work_until<T>(&self, slots: &mut Slots, done: impl Future<Output = T>) -> T {
        pin_mut!(done);
        loop {
            slots.reap();
            let next_due = match self.claim(slots).await {
                Some(Claimed::Conversation(claim)) => {
                    slots.work(self.driver.clone(), claim);
                    if let Some(output) = done.as_mut().now_or_never() {
                        return output;
                    }
                    continue;
                }
                Some(Claimed::Nothing { next_due }) => next_due,
                None => None,
            };
            let idle = async {
                if slots.free() == 0 {
                    return slots.freed().await;
                }
                let woken = self.wake(next_due);
                if slots.held() == 0 {
                    return woken.await;
                }
                // A free slot may be the one that a skipped tenant waits for.
                let freed = slots.freed();
                pin_mut!(woken, freed);
                select(woken, freed).await;
            };
            pin_mut!(idle);
            if let Either::Left((output, _)) = select(done.as_mut(), idle).await {
                return output;
            }
        }
    }

    /// Waits until a conversation may be ready: after an event, a release, a timer, or the end of a dead worker's lease.
    async fn wake(&self, next_due: Option<Timestamp>) {
        let clock = &self.driver.clock;
        let now = clock.now();
        let latest = now + self.driver.lease.max(SHORTEST_WAIT);
        let look = next_due.map_or(latest, |due| due.clamp(now + SHORTEST_WAIT, latest));
        let (timer, woken) = (clock.sleep_until(look), self.driver.store.changed());
        pin_mut!(timer, woken);
        select(timer, woken).await;
    }

    /// Claims a conversation; `None` if no slot is free or the store failed.
    async fn claim(&self, slots: &Slots) -> Option<Claimed> {
        if slots.free() == 0 {
            return None;
        }
        let request = ClaimRequest {
            skip: slots.at_their_share(),
            share: self.share,
            ..ClaimRequest::new(self.id, self.driver.lease)
        };
        match self.driver.store.claim(request).await {
            Ok(claimed) => Some(claimed),
            Err(error) => {
                tracing::error!(%error, "could not claim a conversation");
                let clock = &self.driver.clock;
                clock.sleep_until(clock.now() + CLAIM_BACKOFF).await;
                None
            }
        }
    }

    /// Processes ready conversations one after the other until none is ready. For tests and batch jobs.
    ///
    /// # Errors
    /// Those of the store when claiming. A failed turn is retried later and is not reported here.
    pub async fn run_until_idle(&self) -> Result<()> {
        loop {
            let request = ClaimRequest {
                share: self.share,
                ..ClaimRequest::new(self.id, self.driver.lease)
            };
            let Some(claim) = self.driver.store.claim(request).await?.conversation() else {
                return Ok(());
            };
            // The driver has logged the error, and schedules the conversation again.
            let _ = self.driver.work(claim).await;
        }
    }
}

/// The conversations in progress and their tenants.
struct Slots {
    size: usize,
    working: JoinSet<Result<WorkOutcome>>,
    tenant_of: HashMap<Id, TenantId>,
    held: HashMap<TenantId, Held>,
}

/// The slots of a tenant.
struct Held {
    slots: usize,
    weight: NonZeroU32,
}

impl Slots {
    fn new(size: usize) -> Self {
        Self {
            size,
            working: JoinSet::new(),
            tenant_of: HashMap::new(),
            held: HashMap::new(),
        }
    }

    fn held(&self) -> usize {
        self.working.len()
    }

    fn free(&self) -> usize {
        self.size.saturating_sub(self.held())
    }

    /// Returns the tenants that hold at least as many slots as are free, for each unit of their weights.
    fn at_their_share(&self) -> Vec<TenantId> {
        // A tenant that holds one slot while all others are free is not at its share.
        let full = self.held.iter().filter(|(_, held)| {
            let weight = usize::try_from(held.weight.get()).unwrap_or(usize::MAX);
            held.slots >= self.free().saturating_mul(weight)
        });
        full.map(|(tenant, _)| *tenant).collect()
    }

    fn work(&mut self, driver: Driver, claim: Claim) {
        let (tenant, weight) = (claim.tenant, claim.weight);
        let task = self.working.spawn(async move { driver.work(claim).await });
        self.tenant_of.insert(task.id(), tenant);
        let held = self.held.entry(tenant);
        let held = held.or_insert(Held { slots: 0, weight });
        held.slots += 1;
        held.weight = weight;
    }

    /// Waits until a conversation in progress ends.
    async fn freed(&mut self) {
        if let Some(ended) = self.working.join_next_with_id().await {
            self.end(ended);
        }
    }

    fn reap(&mut self) {
        while let Some(ended) = self.working.try_join_next_with_id() {
            self.end(ended);
        }
    }

    fn end(&mut self, ended: Result<(Id, Result<WorkOutcome>), JoinError>) {
        let id = match ended {
            // The driver has already logged its errors.
            Ok((id, _)) => id,
            Err(error) => {
                tracing::error!(%error, "a turn panicked; it is resumed when its lease ends");
                error.id()
            }
        };
        if let Some(tenant) = self.tenant_of.remove(&id)
            && let Some(held) = self.held.get_mut(&tenant)
        {
            held.slots -= 1;
            if held.slots == 0 {
                self.held.remove(&tenant);
            }
        }
    }
}
