//! Doubles that are broken on purpose: a suite that passes with one of them proves nothing.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    ConversationId, Depth, Employee, Erase, ErasureReceipt, NanoUsd, Result, RoutedEvent, TenantId,
    Timestamp, WorkerId,
    turn::{
        Accepted, Action, Append, AppendOutcome, Charge, Claim, ConversationSummary, Entry, Event,
        Exported, Fed, Journal, Loaded, State, Stored, step,
    },
};

/// What is wrong with a [`BrokenJournal`].
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

/// A journal with a flaw.
#[derive(Debug)]
pub struct BrokenJournal {
    inner: Arc<dyn Journal>,
    flaw: Flaw,
    count: AtomicU64,
    held_back: Mutex<Option<(u64, Append)>>,
}

impl BrokenJournal {
    /// Breaks a journal.
    pub fn new(inner: Arc<dyn Journal>, flaw: Flaw) -> Self {
        Self {
            inner,
            flaw,
            count: AtomicU64::new(0),
            held_back: Mutex::default(),
        }
    }
}

#[async_trait]
impl Journal for BrokenJournal {
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

    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        self.inner.claim(worker, lease).await
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
            AppendOutcome::FenceLost if self.flaw == Flaw::NoFence => Ok(AppendOutcome::Appended),
            outcome => Ok(outcome),
        }
    }

    async fn resolve(&self, tenant: TenantId, key: &str) -> Result<Option<ConversationId>> {
        self.inner.resolve(tenant, key).await
    }

    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.inner.read(tenant, conversation, range).await
    }

    async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.inner.conversations(tenant, after, limit).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        self.inner.feed(tenant, after, limit).await
    }

    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        self.inner.export(tenant).await
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        self.inner.import(tenant, items).await
    }

    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        self.inner.charge(tenant, charge).await
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        self.inner.reserved(tenant, call).await
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        self.inner.erase(tenant, what, depth).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.next_due().await
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
