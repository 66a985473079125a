//! A clock that stands still until a test moves it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Clock, Timestamp};

/// A clock that moves only by [`VirtualClock::advance`]. Clones show the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<watch::Sender<Timestamp>>);

impl VirtualClock {
    /// Makes a clock that stands at this time.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    /// Moves the clock; whoever sleeps until then wakes up.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }

    /// Moves the clock to a time; it never goes back.
    pub fn advance_to(&self, when: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(when));
    }
}

impl Default for VirtualClock {
    /// Stands at the first of January 2026.
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
