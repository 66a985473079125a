//! Implements the traits of a store. The other files implement the operations.

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use konstruct_core::{
    ChannelKind, ConversationId, Depth, Erase, NanoUsd, PersonId, Result, TenantId,
    memory::ErasureReceipt,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Archive, Charge, Charged, Claim, ClaimRequest, Claimed,
        ConversationCursor, ConversationSummary, Exported, FeedEntry, History, ItemEntry, Ledger,
        LedgerPage, LedgerQuery, Loaded, Mailbox, Stored, rules,
    },
    turn::ItemId,
};

use super::{
    Redb, Shared,
    accept::Accept,
    append::{AppendTo, RecordBatch},
    blocking,
    budget::{self, ChargeOf},
    export,
    head::{Head, corrupt},
    import::Import,
    keys::{self, FEED, HEADS, ITEM_LIST, ITEMS, LEDGER, LOG, WORDS},
    log::Filter,
    snapshot::Rows,
    vault::Vault,
};

/// Logs up to this length are read on the caller's thread, longer ones on a blocking thread.
const SHORT: u64 = 256;

#[async_trait]
impl Mailbox for Redb {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        let _accepting = self.inner.shared.precedence.accept();
        let accept = Accept {
            tenant,
            arrivals: self.inner.shared.arrivals(tenant, &events)?,
            events,
            upgraded: Vec::new(),
            ready: BTreeSet::new(),
        };
        self.inner.writer()?.submit(accept).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner.shared.precedence.give_way().await;
        self.inner.shared.claim(&request)
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.shared.precedence.give_way().await;
        self.inner.shared.load(claim)
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        Ok(self.inner.shared.renew(claim, lease))
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let shared = &self.inner.shared;
        shared.precedence.give_way().await;
        let append = AppendTo {
            claim: claim.clone(),
            expected_len,
            records: shared.prepare(claim, expected_len, &append.records)?,
            written: None,
            append,
        };
        self.inner.writer()?.submit(append).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.shared.release(claim, seen)
    }

    async fn changed(&self) {
        self.inner.shared.wait_for_change().await;
    }
}

#[async_trait]
impl History for Redb {
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read_log((tenant, conversation), range, Vault::history)
            .await
    }

    async fn read_said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read_log((tenant, conversation), range, Vault::said)
            .await
    }

    async fn conversation(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationSummary>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        let Some(head) = shared.head(&mut snapshot, tenant, conversation)? else {
            return Ok(None);
        };
        let vault = shared.vault(&mut snapshot, tenant)?;
        vault
            .map(|mut vault| vault.summary(&mut snapshot, conversation, &head))
            .transpose()
    }

    async fn person(
        &self,
        tenant: TenantId,
        channel: &ChannelKind,
        address: &str,
    ) -> Result<Option<PersonId>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        let Some(vault) = shared.vault(&mut snapshot, tenant)? else {
            return Ok(None);
        };
        let address = vault.key.person(channel.as_str(), address);
        let person = vault.person(&mut snapshot, address)?;
        let known = vault.has_key(&mut snapshot, person)?;
        Ok(known.then_some(person))
    }

    async fn conversations_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let own = keys::of(tenant, &[person.as_bytes()]);
            let from = match after {
                // The next possible key is longer by one byte.
                Some(after) => [&own[..], after.as_bytes(), &[0]].concat(),
                None => own.clone(),
            };
            let mut snapshot = shared.snapshot()?;
            let found = snapshot.page(WORDS, &from, &keys::end(&own), limit)?;
            let found = found.iter().map(|(key, _)| {
                let id = keys::id(key, own.len()).ok_or_else(corrupt)?;
                Ok(ConversationId::from_bytes(id))
            });
            found.collect()
        })
        .await
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.list(tenant, after, limit)).await
    }

    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.items(tenant, after, limit)).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.feed(&mut shared.snapshot()?, tenant, after, limit)).await
    }
}

/// Reads a range of a log.
type ReadLog = fn(&mut Vault, &mut dyn Rows, ConversationId, Range<u64>) -> Result<Vec<Stored>>;

impl Redb {
    async fn read_log(
        &self,
        (tenant, conversation): (TenantId, ConversationId),
        range: Range<u64>,
        read: ReadLog,
    ) -> Result<Vec<Stored>> {
        let shared = Arc::clone(&self.inner.shared);
        shared.precedence.give_way().await;
        let mut snapshot = shared.snapshot()?;
        let head = shared.head(&mut snapshot, tenant, conversation)?;
        let range = range.start..range.end.min(head.map_or(0, |head| head.len));
        let Some(mut vault) = shared.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        if range.end.saturating_sub(range.start) <= SHORT {
            return read(&mut vault, &mut snapshot, conversation, range);
        }
        blocking(move || read(&mut vault, &mut snapshot, conversation, range)).await
    }
}

#[async_trait]
impl Ledger for Redb {
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
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

    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.ledger(tenant, &query)).await
    }
}

#[async_trait]
impl Archive for Redb {
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

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        self.forget(tenant, what, depth).await
    }
}

impl Shared {
    /// Lists conversations by activity. Reads the counters of all conversations, but opens only the content of the listed ones.
    fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        snapshot.scan_prefix(HEADS, tenant.as_bytes(), &mut |key, row| {
            let id = ConversationId::from_bytes(keys::id(key, 16).ok_or_else(corrupt)?);
            let head = Head::read(row)?;
            let cursor = ConversationCursor {
                updated_at: head.updated_at,
                id,
            };
            if after.is_none_or(|after| cursor < after) {
                all.push((cursor, head));
            }
            Ok(())
        })?;
        all.sort_unstable_by_key(|(cursor, _)| std::cmp::Reverse(*cursor));
        all.truncate(limit);
        all.iter()
            .map(|(cursor, head)| vault.summary(&mut snapshot, cursor.id, head))
            .collect()
    }

    fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        let mut from = keys::of(tenant, &[]);
        if let Some(after) = after {
            // The next possible key is longer by one byte.
            from = keys::of(tenant, &[after.0.as_bytes(), &[0]]);
        }
        let end = keys::end(tenant.as_bytes());
        let mut items = Vec::new();
        for (key, conversation) in snapshot.page(ITEM_LIST, &from, &end, limit)? {
            let conversation = keys::id(&conversation, 0).ok_or_else(corrupt)?;
            let at = keys::of(tenant, &[&conversation, &key[16..]]);
            let row = snapshot.get(ITEMS, &at)?.ok_or_else(corrupt)?;
            if let Some(item) = vault.open(&mut snapshot, (ITEMS, &at), &row)? {
                items.push(ItemEntry {
                    conversation: ConversationId::from_bytes(conversation),
                    item,
                });
            }
        }
        Ok(items)
    }

    fn ledger(&self, tenant: TenantId, query: &LedgerQuery) -> Result<LedgerPage> {
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(LedgerPage::default());
        };
        let month = budget::of_month(&mut snapshot, &mut vault, &query.month)?;
        let budgets = match query.budgets {
            0 => Vec::new(),
            limit => {
                let current = Some(self.clock.now());
                rules::ranked(budget::sums(&mut snapshot, &mut vault, current)?, limit)
            }
        };
        let from = keys::numbered(tenant, query.after.saturating_add(1));
        let end = keys::end(tenant.as_bytes());
        let mut rows = Vec::new();
        for (key, sealed) in snapshot.page(LEDGER, &from, &end, query.limit)? {
            let number = keys::number(&key, 16).ok_or_else(corrupt)?;
            if let Some(row) = vault.open(&mut snapshot, (LEDGER, &key), &sealed)? {
                rows.push((number, row));
            }
        }
        Ok(LedgerPage::new(month.spent, month.reserved, rows).with_budgets(budgets))
    }

    /// Reads a tenant's records in the order in which they were written.
    pub(super) fn feed(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<FeedEntry>> {
        let Some(mut vault) = self.vault(rows, tenant)? else {
            return Ok(Vec::new());
        };
        let from = keys::numbered(tenant, after.saturating_add(1));
        let mut fed = Vec::new();
        let mut records = Vec::new();
        for (key, row) in rows.page(FEED, &from, &keys::end(tenant.as_bytes()), limit)? {
            let cursor = keys::number(&key, 16).ok_or_else(corrupt)?;
            let RecordBatch { conversation, last } = RecordBatch::read(&row)?;
            let at = keys::item(tenant, conversation, last);
            let row = rows.get(LOG, &at)?.ok_or_else(corrupt)?;
            // The row's cursor is that of its last record; the records before it have consecutive cursors.
            let range = (last + 1).saturating_sub(cursor.saturating_sub(after))..last + 1;
            vault.read_row(rows, (&at, &row), (&range, Filter::All), &mut records)?;
            for stored in records.drain(..) {
                fed.push(FeedEntry {
                    cursor: cursor - (last - stored.index),
                    conversation,
                    stored,
                });
            }
            if fed.len() >= limit {
                break;
            }
        }
        fed.truncate(limit);
        Ok(fed)
    }
}

impl Vault {
    /// Reads a range of a log with the delivery states of its messages.
    fn history(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let mut log = self.log(rows, conversation, (range, Filter::All))?;
        self.deliveries(rows, conversation, &mut log)?;
        Ok(log)
    }

    /// Reads the messages in a range of a log.
    fn said(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.log(rows, conversation, (range, Filter::Messages))
    }
}
