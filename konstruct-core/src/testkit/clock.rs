//! A virtual clock that only tests advance.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Clock, Timestamp};

/// A clock that only [`VirtualClock::advance`] moves. Clones share the time.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<watch::Sender<Timestamp>>);

impl VirtualClock {
    /// Creates a clock that shows a time.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    /// Advances the clock and wakes everything that sleeps until then.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }

    /// Advances the clock to a time. It never moves backwards.
    pub fn advance_to(&self, when: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(when));
    }
}

impl Default for VirtualClock {
    /// Creates a clock that shows 1 January 2026.
    fn default() -> Self {
        Self::new(Timestamp::from_secs(1_767_225_600))
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, when: Timestamp) {
        let mut time = self.0.subscribe();
        // The sender lives as long as `self` does.
        let _ = time.wait_for(|now| *now >= when).await;
    }
}
