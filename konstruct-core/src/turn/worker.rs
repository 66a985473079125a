//! Workers: claim what is ready, drive it, wait for more.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};
use tokio::task::{JoinError, JoinSet};

use super::{Driver, Worked};
use crate::{Result, WorkerId};

/// How long to wait after the journal failed to claim.
const REST: Duration = Duration::from_secs(1);
/// The shortest wait between two looks at the journal, where the store's clock is behind this one.
const MOMENT: Duration = Duration::from_millis(50);

/// Works conversations, as many at a time as it is told to.
#[derive(Clone, Debug)]
pub struct Worker {
    driver: Driver,
    id: WorkerId,
    concurrency: NonZeroUsize,
    drain: Duration,
}

impl Worker {
    /// Makes a worker of 64 conversations at a time that drains for ten seconds.
    pub fn new(driver: Driver) -> Self {
        let concurrency = NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN);
        Self {
            driver,
            id: WorkerId::new(),
            concurrency,
            drain: Duration::from_secs(10),
        }
    }

    /// Says how many conversations are worked at a time.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Says how long open turns may go on after the shutdown. What is open then is taken up by the next start.
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Works until `shutdown` is ready, then lets open turns finish or park.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash: nothing is lost.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        // The flag is this run's own: other workers of the same driver go on.
        let draining = Arc::new(AtomicBool::new(false));
        self.driver.draining = Arc::clone(&draining);
        let clock = Arc::clone(&self.driver.clock);
        let mut working = JoinSet::new();
        pin_mut!(shutdown);
        loop {
            while let Some(ended) = working.try_join_next() {
                log(ended);
            }
            let free = working.len() < self.concurrency.get();
            if let Some(claim) = if free { self.claim().await } else { None } {
                let driver = self.driver.clone();
                working.spawn(async move { driver.work(claim).await });
                if (&mut shutdown).now_or_never().is_some() {
                    break;
                }
                continue;
            }
            let idle = async {
                if free {
                    self.wake().await;
                } else {
                    working.join_next().await.into_iter().for_each(log);
                }
            };
            pin_mut!(idle);
            if let Either::Left(_) = select(&mut shutdown, idle).await {
                break;
            }
        }
        draining.store(true, Ordering::Relaxed);
        let late = clock.sleep_until(clock.now() + self.drain);
        let drained = async {
            while let Some(ended) = working.join_next().await {
                log(ended);
            }
        };
        pin_mut!(late, drained);
        // What is still open is aborted with the set.
        select(drained, late).await;
    }

    /// Waits until something may be ready: an event, a release, a timer, or the end of a lease whose worker died.
    async fn wake(&self) {
        let clock = &self.driver.clock;
        let due = self.driver.journal.next_due().await.ok().flatten();
        let now = clock.now();
        let latest = now + self.driver.lease.max(MOMENT);
        let look = due.map_or(latest, |due| due.clamp(now + MOMENT, latest));
        let (timer, woken) = (clock.sleep_until(look), self.driver.journal.changed());
        pin_mut!(timer, woken);
        select(timer, woken).await;
    }

    async fn claim(&self) -> Option<super::Claim> {
        match self.driver.journal.claim(self.id, self.driver.lease).await {
            Ok(claim) => claim,
            Err(error) => {
                tracing::error!(%error, "the journal gives no work");
                self.driver
                    .clock
                    .sleep_until(self.driver.clock.now() + REST)
                    .await;
                None
            }
        }
    }

    /// Works whatever is ready, one conversation after the other, until nothing is. For tests and for jobs.
    ///
    /// # Errors
    /// Those of the journal's claims; failures of a turn are left to its rest.
    pub async fn run_until_idle(&self) -> Result<()> {
        while let Some(claim) = self
            .driver
            .journal
            .claim(self.id, self.driver.lease)
            .await?
        {
            // The driver has logged it, and the conversation comes up again after its rest.
            let _ = self.driver.work(claim).await;
        }
        Ok(())
    }
}

/// The driver has logged its own failures; a panic is nobody's but ours.
fn log(ended: Result<Result<Worked>, JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a turn panicked: it is taken up again when its lease ends");
    }
}
