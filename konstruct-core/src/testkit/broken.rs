//! Doubles that are broken on purpose: a suite that passes with one of them proves nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    Employee, Result, TenantId, Timestamp,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Claim, ClaimRequest, Claimed, Loaded, Mailbox, Store,
    },
    turn::{Action, Entry, Event, State, step},
};

/// What is wrong with a [`BrokenStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A redelivery is a new event.
    NoDedupe,
    /// A worker whose claim is over is told that it still holds it, and that its writes were taken.
    NoFence,
    /// What is to be sent is written down only after it was sent.
    IntentAfter,
}

/// A store with a flaw.
#[derive(Debug)]
pub struct BrokenStore {
    inner: Arc<dyn Store>,
    flaw: Flaw,
    count: AtomicU64,
    held_back: Mutex<Option<(u64, Append)>>,
}

impl BrokenStore {
    /// Breaks a store.
    pub fn new(inner: Arc<dyn Store>, flaw: Flaw) -> Self {
        Self {
            inner,
            flaw,
            count: AtomicU64::new(0),
            held_back: Mutex::default(),
        }
    }
}

crate::forward_history!(BrokenStore);
crate::forward_ledger!(BrokenStore);
crate::forward_archive!(BrokenStore);

impl BrokenStore {
    fn inner(&self) -> Result<&dyn Store> {
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Mailbox for BrokenStore {
    async fn accept(
        &self,
        tenant: TenantId,
        mut events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        if self.flaw == Flaw::NoDedupe {
            for routed in &mut events {
                let count = self.count.fetch_add(1, Ordering::SeqCst);
                routed.event.id = format!("{}#{count}", routed.event.id);
                routed.event.logical_id = String::new();
            }
        }
        self.inner.accept(tenant, events).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner.claim(request).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        Ok(self.inner.renew(claim, lease).await? || self.flaw == Flaw::NoFence)
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.release(claim, seen).await
    }

    async fn append(&self, claim: &Claim, len: u64, append: Append) -> Result<AppendOutcome> {
        let held_back = self
            .held_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((len, append)) = held_back {
            self.inner.append(claim, len, append).await?;
        }
        let sends = append
            .records
            .last()
            .is_some_and(|record| matches!(record.entry, Entry::Action(Action::Send { .. })));
        if self.flaw == Flaw::IntentAfter && sends {
            let mut held_back = self
                .held_back
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *held_back = Some((len, append));
            return Ok(AppendOutcome::Appended);
        }
        match self.inner.append(claim, len, append).await? {
            AppendOutcome::Lost if self.flaw == Flaw::NoFence => Ok(AppendOutcome::Appended),
            outcome => Ok(outcome),
        }
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

/// A step that decides differently each time that it is asked: what a clock or a random number in the state machine would do.
///
/// # Errors
/// Those of [`step`].
pub fn unsteady_step(
    employee: &Employee,
    state: &mut State,
    at: Timestamp,
    event: &Event,
) -> Result<Vec<Action>> {
    static DRIFT: AtomicI64 = AtomicI64::new(1);
    let mut actions = step(employee, state, at, event)?;
    let drift = DRIFT.fetch_add(1, Ordering::Relaxed);
    let late = |time: Timestamp| Timestamp::from_micros(time.as_micros() + drift);
    for action in &mut actions {
        match action {
            Action::Send { give_up_at, .. } => *give_up_at = late(*give_up_at),
            Action::Wait { until, .. } => *until = late(*until),
            Action::CallModel { key, .. } => key.push_str(&format!(".{drift}")),
            _ => {}
        }
    }
    Ok(actions)
}
