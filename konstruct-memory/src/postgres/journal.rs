//! The journal's operations, each handed to the file that does it.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use konstruct_core::{
    ConversationId, Depth, Erase, ErasureReceipt, NanoUsd, Result, RoutedEvent, TenantId,
    Timestamp, WorkerId,
    turn::{
        Accepted, Append, AppendOutcome, Charge, Claim, ConversationSummary, Exported, Fed,
        Journal, Loaded, Stored,
    },
};

use super::{Postgres, export};
use crate::memory;

#[async_trait]
impl Journal for Postgres {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.inner.accept(tenant, events).await
    }

    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        self.inner.claim(worker, lease).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.inner.renew(claim, lease).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.release(claim, seen).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        self.inner.append(claim, expected_len, append).await
    }

    async fn resolve(
        &self,
        tenant: TenantId,
        delivery_key: &str,
    ) -> Result<Option<ConversationId>> {
        self.inner.resolve(tenant, delivery_key).await
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
        export::export(Arc::clone(&self.inner), tenant).await
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
        memory::forget(&*self.inner, tenant, what, depth).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.next_due().await
    }

    async fn changed(&self) {
        self.inner.wake.changed().await;
    }
}
