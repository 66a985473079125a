//! A journal that dies at a chosen write.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    ConversationId, Depth, Erase, ErasureReceipt, Error, NanoUsd, Result, RoutedEvent, TenantId,
    Timestamp, WorkerId,
    turn::{
        Accepted, Append, AppendOutcome, Charge, Claim, ConversationSummary, Exported, Fed,
        Journal, Loaded, Stored,
    },
};

/// A write that a [`CrashPoint`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// [`Journal::accept`].
    Accept,
    /// [`Journal::append`].
    Append,
    /// [`Journal::renew`].
    Renew,
    /// [`Journal::release`].
    Release,
}

/// Whether the process ends before its last write took effect, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before: nothing was written.
    Before,
    /// After: it was written, and nobody was told.
    After,
}

/// A journal that is killed at its n-th write, and answers nothing but errors from then on.
#[derive(Debug)]
pub struct CrashPoint {
    inner: Arc<dyn Journal>,
    at: u64,
    moment: Moment,
    counted: Vec<Write>,
    writes: AtomicU64,
    dead: AtomicBool,
}

impl CrashPoint {
    /// Makes a journal that dies at its n-th write, from 1, of these kinds.
    pub fn new(inner: Arc<dyn Journal>, counted: &[Write], at: u64, moment: Moment) -> Self {
        Self {
            inner,
            at,
            moment,
            counted: counted.to_vec(),
            writes: AtomicU64::new(0),
            dead: AtomicBool::new(false),
        }
    }

    /// Returns whether it has died.
    pub fn died(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn alive(&self) -> Result<&dyn Journal> {
        if self.died() {
            return Err(Error::internal("the process has ended"));
        }
        Ok(&*self.inner)
    }

    async fn write<T: Send>(
        &self,
        write: Write,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.alive()?;
        let last = self.counted.contains(&write)
            && self.writes.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
        if last && self.moment == Moment::Before {
            self.dead.store(true, Ordering::SeqCst);
            self.alive()?;
        }
        let done = work.await;
        if last {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.alive()?;
        done
    }
}

#[async_trait]
impl Journal for CrashPoint {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.write(Write::Accept, self.inner.accept(tenant, events))
            .await
    }

    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        self.alive()?.claim(worker, lease).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.alive()?.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.write(Write::Renew, self.inner.renew(claim, lease))
            .await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.write(Write::Release, self.inner.release(claim, seen))
            .await
    }

    async fn append(&self, claim: &Claim, len: u64, append: Append) -> Result<AppendOutcome> {
        self.write(Write::Append, self.inner.append(claim, len, append))
            .await
    }

    async fn resolve(&self, tenant: TenantId, key: &str) -> Result<Option<ConversationId>> {
        self.alive()?.resolve(tenant, key).await
    }

    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.alive()?.read(tenant, conversation, range).await
    }

    async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.alive()?.conversations(tenant, after, limit).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        self.alive()?.feed(tenant, after, limit).await
    }

    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        self.alive()?.export(tenant).await
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        self.alive()?.import(tenant, items).await
    }

    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        self.alive()?.charge(tenant, charge).await
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        self.alive()?.reserved(tenant, call).await
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        self.alive()?.erase(tenant, what, depth).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.alive()?.next_due().await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}
