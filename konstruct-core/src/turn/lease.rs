//! The lease of a claim, renewed in the background while a turn runs.

use std::{
    future::Future,
    sync::atomic::{AtomicI64, Ordering},
};

use futures_util::{
    future::{Either, select},
    pin_mut,
};

use super::Driver;
use crate::{Timestamp, store::Claim};

/// A claim and the time at which its lease was last renewed.
pub(super) struct Lease<'a> {
    driver: &'a Driver,
    claim: &'a Claim,
    renewed: AtomicI64,
}

impl<'a> Lease<'a> {
    /// Creates the lease of a new claim.
    pub(super) fn new(driver: &'a Driver, claim: &'a Claim) -> Self {
        let renewed = AtomicI64::new(driver.clock.now().as_micros());
        Self {
            driver,
            claim,
            renewed,
        }
    }

    pub(super) fn claim(&self) -> &'a Claim {
        self.claim
    }

    /// Notes that a write that began at this time extended the lease.
    pub(super) fn renewed(&self, at: Timestamp) {
        self.renewed.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// Runs a future while renewing the lease; `None` if the lease was lost.
    pub(super) async fn keep_while<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        pin_mut!(work);
        let (clock, length) = (&self.driver.clock, self.driver.lease);
        loop {
            let renewed = Timestamp::from_micros(self.renewed.load(Ordering::Relaxed));
            let tick = clock.sleep_until(renewed + length / 3);
            match select(work.as_mut(), tick).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right(((), _)) => {
                    let now = clock.now();
                    match self.driver.store.renew(self.claim, length).await {
                        Ok(true) => {}
                        Ok(false) => return None,
                        // The work may have cost money already, so it continues; the next write shows whether the lease is still
                        // held.
                        Err(error) => tracing::warn!(%error, "could not renew the lease"),
                    }
                    // After a failure too, the next attempt follows after a third of the lease.
                    self.renewed(now);
                }
            }
        }
    }
}
