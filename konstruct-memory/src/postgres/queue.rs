//! Events of one tenant that come in together are taken in together.
//!
//! A tenant's events are taken in by one transaction at a time. So what this process gets meanwhile is gathered for the next.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use konstruct_core::{Error, Result, RoutedEvent, TenantId, turn::Accepted};
use tokio::sync::oneshot;

use super::Inner;

/// The most events of one transaction.
const BATCH: usize = 256;

/// What waits, of the tenants of which something is being taken in.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<HashMap<TenantId, Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    events: Vec<RoutedEvent>,
    answer: oneshot::Sender<Result<Vec<Accepted>>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next calls, as many as fit into a transaction. `None`: nothing waits, and the next call begins anew.
    fn next(&self, tenant: TenantId) -> Option<Vec<Waiting>> {
        let mut queue = self.lock();
        let waiting = queue.get_mut(&tenant)?;
        if waiting.is_empty() {
            queue.remove(&tenant);
            return None;
        }
        let mut events = 0;
        let fits = |one: &Waiting| {
            events += one.events.len();
            events <= BATCH
        };
        let many = waiting.iter().map(fits).take_while(|fits| *fits).count();
        Some(waiting.drain(..many.max(1)).collect())
    }
}

impl Inner {
    pub(super) async fn accept(
        self: &Arc<Self>,
        tenant: TenantId,
        events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { events, answer };
        let first = match self.queue.lock().entry(tenant) {
            Entry::Occupied(mut busy) => {
                busy.get_mut().push(waiting);
                false
            }
            Entry::Vacant(free) => {
                free.insert(vec![waiting]);
                true
            }
        };
        if first {
            // A task of its own: a caller who leaves must not hold the others up.
            tokio::spawn(drain(Arc::clone(self), tenant));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::internal("the events were not taken in")))
    }
}

async fn drain(inner: Arc<Inner>, tenant: TenantId) {
    while let Some(batch) = inner.queue.next(tenant) {
        take_in(&inner, tenant, batch).await;
    }
}

async fn take_in(inner: &Inner, tenant: TenantId, batch: Vec<Waiting>) {
    if batch.len() > 1 {
        let all = batch.iter().flat_map(|one| one.events.iter().cloned());
        if let Ok(mut outcomes) = inner.take_in(tenant, all.collect()).await {
            for one in batch {
                let rest = outcomes.split_off(one.events.len());
                // A caller that is gone does not want to know.
                let _ = one.answer.send(Ok(std::mem::replace(&mut outcomes, rest)));
            }
            return;
        }
    }
    // Alone, so that nobody fails by another's events.
    for one in batch {
        let _ = one.answer.send(inner.take_in(tenant, one.events).await);
    }
}
