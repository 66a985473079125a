//! Waiting for news in the log: of this process immediately, of other processes within a second.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::{future::select, pin_mut};
use tokio::sync::watch;

use crate::{Clock, turn::Worker};

/// The delay between two looks, in case another process works on the store.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until the delay between two looks has passed.
pub(super) async fn pause(clock: &dyn Clock) {
    clock.sleep_until(clock.now() + POLL_INTERVAL).await;
}

/// Notices when conversations were processed.
pub(super) struct Changes {
    clock: Arc<dyn Clock>,
    processed: watch::Receiver<u64>,
}

impl Changes {
    pub(super) fn of(worker: &Worker) -> Self {
        let driver = worker.driver();
        Self {
            clock: Arc::clone(&driver.clock),
            processed: driver.processed(),
        }
    }

    /// Counts everything so far as seen. Call it before a look at the store.
    pub(super) fn mark_seen(&mut self) {
        self.processed.mark_unchanged();
    }

    /// Waits until a look at the store may show something new.
    pub(super) async fn next(&mut self) {
        let changed = async {
            // Without a driver in this process, only others change something.
            if self.processed.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        let paused = pause(&*self.clock);
        pin_mut!(changed, paused);
        select(changed, paused).await;
    }

    /// Waits until the delay between two looks has passed.
    pub(super) async fn pause(&self) {
        pause(&*self.clock).await;
    }
}
