//! The journal's operations, each handed to the file that does it.

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

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

use super::{
    Redb, Shared,
    accept::Accept,
    append::{AppendTo, Run},
    blocking,
    budget::{self, ChargeOf},
    export,
    head::{Head, corrupt},
    import::Import,
    keys::{self, FEED, HEADS, LOG},
    snapshot::Rows,
};

/// Logs that are not longer than this are read where the caller is; a longer one blocks a thread of its own.
const SHORT: u64 = 256;

#[async_trait]
impl Journal for Redb {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        let accept = Accept {
            tenant,
            arrivals: self.inner.shared.arrivals(tenant, &events)?,
            events,
            upgraded: Vec::new(),
        };
        self.inner.writer()?.submit(accept).await
    }

    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        self.inner.shared.claim(worker, lease)
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.shared.load(claim)
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        Ok(self.inner.shared.renew(claim, lease))
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.shared.release(claim, seen)
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let shared = &self.inner.shared;
        let append = AppendTo {
            claim: claim.clone(),
            expected_len,
            rows: shared.log_rows(claim, expected_len, &append.records)?,
            append,
        };
        self.inner.writer()?.submit(append).await
    }

    async fn resolve(
        &self,
        tenant: TenantId,
        delivery_key: &str,
    ) -> Result<Option<ConversationId>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        match shared.vault(&mut snapshot, tenant)? {
            Some(vault) => vault.registered(&mut snapshot, delivery_key),
            None => Ok(None),
        }
    }

    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let shared = Arc::clone(&self.inner.shared);
        let mut snapshot = shared.snapshot()?;
        let head = shared.head(&mut snapshot, tenant, conversation)?;
        let range = range.start..range.end.min(head.map_or(0, |head| head.len));
        let Some(mut vault) = shared.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        if range.end.saturating_sub(range.start) <= SHORT {
            return vault.log(&mut snapshot, conversation, range);
        }
        blocking(move || vault.log(&mut snapshot, conversation, range)).await
    }

    async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.conversations(tenant, after, limit)).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.feed(&mut shared.snapshot()?, tenant, after, limit)).await
    }

    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        export::export(Arc::clone(&self.inner), tenant)
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        let import = Import {
            tenant,
            items,
            ready: BTreeSet::new(),
        };
        self.inner.writer()?.submit(import).await
    }

    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        let charge = ChargeOf { tenant, charge };
        self.inner.writer()?.submit(charge).await
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        match shared.vault(&mut snapshot, tenant)? {
            Some(vault) => budget::reserved(&mut snapshot, &vault, call),
            None => Ok(None),
        }
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        self.forget(tenant, what, depth).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.shared.next_due()
    }

    async fn changed(&self) {
        self.inner.shared.wait_for_change().await;
    }
}

impl Shared {
    fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        let mut from = keys::of(tenant, &[]);
        if let Some(after) = after {
            // The least key after this one has one byte more.
            from = keys::of(tenant, &[after.as_bytes(), &[0]]);
        }
        let end = keys::end(tenant.as_bytes());
        snapshot
            .page(HEADS, &from, &end, limit)?
            .iter()
            .map(|(key, row)| {
                let id = keys::id(key, 16).ok_or_else(corrupt)?;
                vault.summary(
                    &mut snapshot,
                    ConversationId::from_bytes(id),
                    &Head::read(row)?,
                )
            })
            .collect()
    }

    /// Reads a tenant's records in the order in which they were written.
    pub(super) fn feed(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Fed>> {
        let Some(mut vault) = self.vault(rows, tenant)? else {
            return Ok(Vec::new());
        };
        let from = keys::numbered(tenant, after.saturating_add(1));
        let mut fed = Vec::new();
        for (key, row) in rows.page(FEED, &from, &keys::end(tenant.as_bytes()), limit)? {
            let last = keys::number(&key, 16).ok_or_else(corrupt)?;
            let Run {
                conversation,
                first,
                count,
            } = Run::read(&row)?;
            for (cursor, index) in (last + 1 - count..=last).zip(first..) {
                if cursor <= after || fed.len() >= limit {
                    continue;
                }
                let at = keys::item(tenant, conversation, index);
                let row = rows.get(LOG, &at)?.ok_or_else(corrupt)?;
                fed.push(Fed {
                    cursor,
                    conversation,
                    stored: vault.log_record(rows, &at, &row)?,
                });
            }
        }
        Ok(fed)
    }
}
