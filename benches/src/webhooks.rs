//! Measures how long the webhooks of a tenant take to be acknowledged during other work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use konstruct_core::{
    Clock as _, ConnectionId, SystemClock, TenantId, message::RoutedEvent, store::Store,
    testkit::message,
};

use crate::Failed;

/// The number of concurrent webhooks.
const CALLERS: u64 = 8;
/// A caller's pause after an answer.
const PAUSE: Duration = Duration::from_millis(2);

/// A tenant that receives webhooks steadily.
#[derive(Debug)]
pub struct Webhooks {
    store: Arc<dyn Store>,
    tenant: TenantId,
    connection: ConnectionId,
    sent: Arc<AtomicU64>,
}

impl Webhooks {
    /// Creates a new tenant of this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
            sent: Arc::default(),
        }
    }

    /// Sends webhooks until the work is done. Returns the result of the work, and the time of each webhook.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<(T, Times), Failed> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let (store, stop, sent) = (
                Arc::clone(&self.store),
                Arc::clone(&stop),
                Arc::clone(&self.sent),
            );
            let (tenant, connection) = (self.tenant, self.connection);
            callers.spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let n = sent.fetch_add(1, Ordering::Relaxed);
                    let place = format!("C{}", n % 100);
                    let event = message(&place, &n.to_string(), "hello", SystemClock.now());
                    let began = Instant::now();
                    store
                        .accept(tenant, vec![RoutedEvent { connection, event }])
                        .await?;
                    times.push(began.elapsed());
                    tokio::time::sleep(PAUSE).await;
                }
                Ok::<_, konstruct_core::Error>(times)
            });
        }
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(times) = callers.join_next().await {
            all.extend(times??);
        }
        all.sort_unstable();
        Ok((done, Times(all)))
    }
}

/// The times of webhooks, sorted.
#[derive(Clone, Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Returns the number of webhooks.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns a percentile in milliseconds; 0 if there were none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0
            .get(at.min(self.0.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}
