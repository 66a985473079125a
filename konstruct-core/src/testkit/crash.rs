//! A store that dies at a chosen write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    Error, Result, TenantId,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Claim, ClaimRequest, Claimed, Loaded, Mailbox, Store,
    },
};

/// A write that a [`CrashPoint`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// [`Mailbox::accept`].
    Accept,
    /// [`Mailbox::append`].
    Append,
    /// [`Mailbox::renew`].
    Renew,
    /// [`Mailbox::release`].
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

/// A store that is killed at its n-th write, and answers nothing but errors from then on.
#[derive(Debug)]
pub struct CrashPoint {
    inner: Arc<dyn Store>,
    at: u64,
    moment: Moment,
    counted: Vec<Write>,
    writes: AtomicU64,
    dead: AtomicBool,
}

impl CrashPoint {
    /// Makes a store that dies at its n-th write, from 1, of these kinds.
    pub fn new(inner: Arc<dyn Store>, counted: &[Write], at: u64, moment: Moment) -> Self {
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

    fn inner(&self) -> Result<&dyn Store> {
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
        self.inner()?;
        let last = self.counted.contains(&write)
            && self.writes.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
        if last && self.moment == Moment::Before {
            self.dead.store(true, Ordering::SeqCst);
            self.inner()?;
        }
        let done = work.await;
        if last {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.inner()?;
        done
    }
}

crate::forward_history!(CrashPoint);
crate::forward_ledger!(CrashPoint);
crate::forward_archive!(CrashPoint);

#[async_trait]
impl Mailbox for CrashPoint {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.write(Write::Accept, self.inner.accept(tenant, events))
            .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner()?.claim(request).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner()?.load(claim).await
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

    async fn changed(&self) {
        self.inner.changed().await;
    }
}
