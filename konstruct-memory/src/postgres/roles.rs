//! Implements the traits of a store. The other files implement the operations.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use konstruct_core::{
    ChannelKind, ConversationId, Depth, Erase, NanoUsd, PersonId, Result, TenantId,
    memory::ErasureReceipt,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Archive, Charge, Charged, Claim, ClaimRequest, Claimed,
        ConversationCursor, ConversationSummary, Exported, FeedEntry, History, ItemEntry, Ledger,
        LedgerPage, LedgerQuery, Loaded, Mailbox, Stored,
    },
    turn::ItemId,
};

use super::{Postgres, export};
use crate::memory;

#[async_trait]
impl Mailbox for Postgres {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.inner.accept(tenant, events).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner.claim(request).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.inner.renew(claim, lease).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        self.inner.append(claim, expected_len, append).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.release(claim, seen).await
    }

    async fn changed(&self) {
        self.inner.wake.changed().await;
    }
}

#[async_trait]
impl History for Postgres {
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.inner.read(tenant, conversation, range).await
    }

    async fn conversation(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationSummary>> {
        self.inner.conversation(tenant, conversation).await
    }

    async fn person(
        &self,
        tenant: TenantId,
        channel: &ChannelKind,
        address: &str,
    ) -> Result<Option<PersonId>> {
        self.inner.person(tenant, channel, address).await
    }

    async fn conversations_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        self.inner
            .conversations_of(tenant, person, after, limit)
            .await
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.inner.list(tenant, after, limit).await
    }

    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        self.inner.items(tenant, after, limit).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>> {
        self.inner.feed(tenant, after, limit).await
    }
}

#[async_trait]
impl Ledger for Postgres {
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
        self.inner.charge(tenant, charge).await
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        self.inner.reserved(tenant, call).await
    }

    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        self.inner.ledger(tenant, query).await
    }
}

#[async_trait]
impl Archive for Postgres {
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        export::export(Arc::clone(&self.inner), tenant).await
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        self.inner.import(tenant, items).await
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        memory::forget(&*self.inner, tenant, what, depth).await
    }
}
