//! Workers: claim what is ready, drive it, wait for more.

use std::{collections::HashMap, future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};
use tokio::task::{Id, JoinError, JoinSet};

use super::{Driver, DriverStats, Worked};
use crate::{
    Result, TenantId, Timestamp,
    id::WorkerId,
    learn::Lessons,
    store::{Claim, ClaimRequest, Claimed},
};

/// How long to wait after the store failed to claim.
const REST: Duration = Duration::from_secs(1);
/// The shortest wait between two looks at the store, where the store's clock is behind this one.
const MOMENT: Duration = Duration::from_millis(50);
/// A conversation that waits for a model or a vendor is a task of a few kilobytes: many may wait at a time.
const CONCURRENCY: usize = 1024;

/// Works on conversations, a limited number at a time.
///
/// A tenant may hold another slot only while more slots are free than it holds already. So one tenant whose model is slow fills at
/// most half of the slots, two of them a third each, and there is always room for a tenant that holds none.
#[derive(Clone, Debug)]
pub struct Worker {
    driver: Driver,
    id: WorkerId,
    concurrency: NonZeroUsize,
    drain: Duration,
}

impl Worker {
    /// Makes a worker of 1,024 conversations at a time that drains for ten seconds.
    pub fn new(driver: Driver) -> Self {
        let concurrency = NonZeroUsize::new(CONCURRENCY).unwrap_or(NonZeroUsize::MIN);
        Self {
            driver,
            id: WorkerId::new(),
            concurrency,
            drain: Duration::from_secs(10),
        }
    }

    /// Sets how many conversations are worked on at a time.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets how long open turns may continue after the shutdown. What is open then is resumed by the next start.
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Returns the counts of what the worker and its clones did.
    pub fn stats(&self) -> &Arc<DriverStats> {
        self.driver.stats()
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Reports processed conversations to a learner, as [`Driver::with_lessons`] does.
    #[must_use]
    pub fn with_lessons(mut self, lessons: Lessons) -> Self {
        self.driver = self.driver.with_lessons(lessons);
        self
    }

    /// Works until `shutdown` is ready, then lets open turns finish or park.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash: nothing is lost.
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
        // What is still open is aborted with the set.
        select(drained, late).await;
    }

    /// Works until `done` is ready, and returns its output at once. Conversations that are being worked on then are finished in the
    /// background.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash: nothing is lost.
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
                // A slot that becomes free may be one that a skipped tenant waits for.
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

    /// Waits until something may be ready: an event, a release, a timer, or the end of a lease whose worker died.
    async fn wake(&self, next_due: Option<Timestamp>) {
        let clock = &self.driver.clock;
        let now = clock.now();
        let latest = now + self.driver.lease.max(MOMENT);
        let look = next_due.map_or(latest, |due| due.clamp(now + MOMENT, latest));
        let (timer, woken) = (clock.sleep_until(look), self.driver.store.changed());
        pin_mut!(timer, woken);
        select(timer, woken).await;
    }

    /// Asks for a conversation; `None` when no slot is free or the store failed.
    async fn claim(&self, slots: &Slots) -> Option<Claimed> {
        if slots.free() == 0 {
            return None;
        }
        let request = ClaimRequest {
            skip: slots.at_their_share(),
            ..ClaimRequest::new(self.id, self.driver.lease)
        };
        match self.driver.store.claim(request).await {
            Ok(claimed) => Some(claimed),
            Err(error) => {
                tracing::error!(%error, "no conversation could be claimed");
                let clock = &self.driver.clock;
                clock.sleep_until(clock.now() + REST).await;
                None
            }
        }
    }

    /// Works on whatever is ready, one conversation after the other, until nothing is. For tests and for jobs.
    ///
    /// # Errors
    /// Those of the store's claims; failures of a turn are left to its rest.
    pub async fn run_until_idle(&self) -> Result<()> {
        loop {
            let request = ClaimRequest::new(self.id, self.driver.lease);
            let Some(claim) = self.driver.store.claim(request).await?.conversation() else {
                return Ok(());
            };
            // The driver has logged the failure, and the conversation is ready again after its rest.
            let _ = self.driver.work(claim).await;
        }
    }
}

/// The conversations that are worked on, and whose they are.
struct Slots {
    size: usize,
    working: JoinSet<Result<Worked>>,
    tenant_of: HashMap<Id, TenantId>,
    held: HashMap<TenantId, usize>,
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

    /// Returns the tenants that hold as many slots as are free, or more.
    fn at_their_share(&self) -> Vec<TenantId> {
        let free = self.free();
        // Alone with every other slot free, nobody is at their share.
        let full = self.held.iter().filter(|(_, held)| **held >= free);
        full.map(|(tenant, _)| *tenant).collect()
    }

    fn work(&mut self, driver: Driver, claim: Claim) {
        let tenant = claim.tenant;
        let task = self.working.spawn(async move { driver.work(claim).await });
        self.tenant_of.insert(task.id(), tenant);
        *self.held.entry(tenant).or_default() += 1;
    }

    /// Waits until a conversation is done with.
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

    fn end(&mut self, ended: Result<(Id, Result<Worked>), JoinError>) {
        let id = match ended {
            // The driver has logged its own failures.
            Ok((id, _)) => id,
            Err(error) => {
                tracing::error!(%error, "a turn panicked: it is resumed when its lease ends");
                error.id()
            }
        };
        if let Some(tenant) = self.tenant_of.remove(&id)
            && let Some(held) = self.held.get_mut(&tenant)
        {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&tenant);
            }
        }
    }
}
