//! How long webhooks of a tenant take to be acknowledged while something else goes on.

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

/// How many webhooks are under way at a time.
const CALLERS: u64 = 8;
/// How long a caller waits after an answer.
const PAUSE: Duration = Duration::from_millis(2);

/// A tenant that receives webhooks steadily.
#[derive(Debug)]
pub struct Webhooks {
    journal: Arc<dyn Store>,
    tenant: TenantId,
    connection: ConnectionId,
    sent: Arc<AtomicU64>,
}

impl Webhooks {
    /// A new tenant of this store.
    pub fn new(journal: Arc<dyn Store>) -> Self {
        Self {
            journal,
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
            sent: Arc::default(),
        }
    }

    /// Sends webhooks until the work is done. Returns what the work returned, and how long each webhook took.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<(T, Times), Failed> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let (journal, stop, sent) = (
                Arc::clone(&self.journal),
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
                    journal
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

/// How long webhooks took, the shortest first.
#[derive(Clone, Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What so many of a hundred did not exceed, in milliseconds; 0 if there were none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0
            .get(at.min(self.0.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}
