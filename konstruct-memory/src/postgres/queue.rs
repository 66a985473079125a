//! Batches events of the same tenant.
//!
//! One transaction at a time accepts a tenant's events. Events that arrive in this process meanwhile are collected for the next
//! one. The queue is bounded: while the database is unreachable, further events are refused.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use konstruct_core::{Error, ErrorKind, Result, TenantId, message::RoutedEvent, store::Accepted};
use tokio::sync::oneshot;

use super::Inner;

/// The most events of a transaction.
const BATCH: usize = 256;
/// The most waiting events of a tenant, and of all tenants. A single call may have more.
const WAITING: usize = 2_048;
const WAITING_IN_ALL: usize = 16_384;

/// The waiting calls, by tenant. A tenant has an entry while its events are being accepted.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Tenants>);

#[derive(Debug, Default)]
struct Tenants {
    waiting: HashMap<TenantId, Vec<Waiting>>,
    /// The number of waiting events of all tenants.
    events: usize,
}

#[derive(Debug)]
struct Waiting {
    events: Vec<RoutedEvent>,
    answer: oneshot::Sender<Result<Vec<Accepted>>>,
}

type Answer = oneshot::Receiver<Result<Vec<Accepted>>>;

fn count(waiting: &[Waiting]) -> usize {
    waiting.iter().map(|one| one.events.len()).sum()
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call. Returns its answer, and whether the caller must start a task for the tenant.
    fn push(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<(Answer, bool)> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.lock();
        let waits = queue.waiting.get(&tenant).map_or(0, |own| count(own));
        let many = events.len();
        if waits > 0 && waits + many > WAITING
            || queue.events > 0 && queue.events + many > WAITING_IN_ALL
        {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "too many events wait to be accepted: the database is unreachable or too slow",
            ));
        }
        queue.events += many;
        let waiting = Waiting { events, answer };
        let first = match queue.waiting.entry(tenant) {
            Entry::Occupied(mut busy) => {
                busy.get_mut().push(waiting);
                false
            }
            Entry::Vacant(free) => {
                free.insert(vec![waiting]);
                true
            }
        };
        Ok((answered, first))
    }

    /// Takes the next calls, as many as fit into a transaction. `None` if nothing waits: the next call then starts a new task.
    fn next(&self, tenant: TenantId) -> Option<Vec<Waiting>> {
        let mut queue = self.lock();
        let waiting = queue.waiting.get_mut(&tenant)?;
        if waiting.is_empty() {
            queue.waiting.remove(&tenant);
            return None;
        }
        let mut events = 0;
        let fits = |one: &Waiting| {
            events += one.events.len();
            events <= BATCH
        };
        let many = waiting.iter().map(fits).take_while(|fits| *fits).count();
        let next: Vec<_> = waiting.drain(..many.max(1)).collect();
        queue.events -= count(&next);
        Some(next)
    }

    /// Refuses a tenant's waiting calls because its task has ended.
    fn abandon(&self, tenant: TenantId) {
        let mut queue = self.lock();
        if let Some(waiting) = queue.waiting.remove(&tenant) {
            queue.events -= count(&waiting);
        }
    }
}

/// The task of a tenant. When it ends for any reason, its waiting calls are refused, and the next call starts another one.
struct Task<'a> {
    queue: &'a Queue,
    tenant: TenantId,
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(tenant = %self.tenant, "the task that accepts events panicked");
        }
        self.queue.abandon(self.tenant);
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
        let (answer, first) = self.queue.push(tenant, events)?;
        if first {
            // A separate task, so that a caller who cancels does not delay others.
            tokio::spawn(drain(Arc::clone(self), tenant));
        }
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the events were not accepted: the task that accepts them has ended",
            ))
        })
    }
}

async fn drain(inner: Arc<Inner>, tenant: TenantId) {
    let task = Task {
        queue: &inner.queue,
        tenant,
    };
    while let Some(batch) = task.queue.next(tenant) {
        accept(&inner, tenant, batch).await;
    }
    // Calls that arrived since then have started another task.
    std::mem::forget(task);
}

async fn accept(inner: &Inner, tenant: TenantId, batch: Vec<Waiting>) {
    if batch.len() > 1 {
        let all = batch.iter().flat_map(|one| one.events.iter().cloned());
        match inner.accept_all(tenant, all.collect()).await {
            Ok(mut outcomes) => {
                for one in batch {
                    let rest = outcomes.split_off(one.events.len());
                    // The caller may be gone.
                    let _ = one.answer.send(Ok(std::mem::replace(&mut outcomes, rest)));
                }
                return;
            }
            // The database is unreachable. If each call were tried by itself, the last would wait too long.
            Err(error) if error.is_transient() => {
                for one in batch {
                    let again = Error::new(error.kind(), error.to_string());
                    let _ = one.answer.send(Err(again));
                }
                return;
            }
            Err(_) => {}
        }
    }
    // Each by itself, so that none fails because of another's events.
    for one in batch {
        let _ = one.answer.send(inner.accept_all(tenant, one.events).await);
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::{ConnectionId, Inbound};

    use super::*;

    fn events(many: usize) -> Vec<RoutedEvent> {
        let event = || RoutedEvent {
            connection: ConnectionId::new(),
            event: Inbound::message("C1", "hello"),
        };
        (0..many).map(|_| event()).collect()
    }

    #[test]
    fn a_full_queue_refuses() {
        let (queue, tenant) = (Queue::default(), TenantId::new());
        let (_answer, first) = queue.push(tenant, events(WAITING)).unwrap();
        assert!(first);
        let refused = queue.push(tenant, events(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        // Others are accepted until too many wait in total.
        let mut kept = Vec::new();
        for _ in 1..WAITING_IN_ALL / WAITING {
            kept.push(queue.push(TenantId::new(), events(WAITING)).unwrap());
        }
        let refused = queue.push(TenantId::new(), events(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        // Taking calls makes room.
        assert_eq!(queue.next(tenant).map(|next| next.len()), Some(1));
        assert!(queue.push(tenant, events(1)).is_ok());
    }

    #[tokio::test]
    async fn calls_of_a_dead_task_are_refused() {
        let (queue, tenant) = (Arc::new(Queue::default()), TenantId::new());
        let (answer, _) = queue.push(tenant, events(1)).unwrap();
        let (late, first) = queue.push(tenant, events(1)).unwrap();
        assert!(!first);
        let own = Arc::clone(&queue);
        let task = tokio::spawn(async move {
            let _task = Task {
                queue: &own,
                tenant,
            };
            let _batch = own.next(tenant);
            panic!("as a test");
        });
        assert!(task.await.is_err());
        assert!(answer.await.is_err() && late.await.is_err());
        let (_, first) = queue.push(tenant, events(1)).unwrap();
        assert!(first, "a new task is started");
        assert_eq!(queue.lock().events, 1);
    }
}
