//! Appends to a log: all writes of a step in one transaction.

use std::collections::BTreeSet;

use konstruct_core::{
    ConversationId, PersonId, Result, TenantId,
    money::LedgerRow,
    store::{Append, AppendOutcome, Charged, Claim, ItemChange, TimerChange, rules},
};

use super::{
    Shared, budget,
    head::{Head, corrupt},
    keys::{self, DUE, FEED, HEADS, INBOX, ITEM_LIST, ITEMS, LEDGER, LOG, TENANTS},
    log::{PreparedRecords, Written},
    slices::Erasing,
    snapshot::Rows,
    vault::Vault,
    writer::{Batch, Operation},
};

/// Appends to the log of a claimed conversation.
pub(super) struct AppendTo {
    pub(super) claim: Claim,
    pub(super) expected_len: u64,
    pub(super) append: Append,
    pub(super) records: PreparedRecords,
    /// The row of the records.
    pub(super) written: Option<Written>,
}

impl Operation for AppendTo {
    type Output = AppendOutcome;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.claim.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<AppendOutcome> {
        let (tenant, conversation) = (self.claim.tenant, self.claim.conversation);
        if !shared.may_append(&self.claim, self.append.consume_to.unwrap_or(0)) {
            return Ok(AppendOutcome::Lost);
        }
        let head = shared.head(batch, tenant, conversation)?;
        let fits = |head: &Head| self.append.records.is_empty() || head.len == self.expected_len;
        let Some(mut head) = head.filter(fits) else {
            return Ok(AppendOutcome::Lost);
        };
        let mut vault = shared.vault_or_new(batch, tenant)?;
        let forgotten = self.records.forgotten(batch, &mut vault)?;
        if !forgotten.is_empty() {
            batch.leave(vault);
            return Ok(AppendOutcome::Forgotten(forgotten));
        }
        budget::settle(shared, batch, &mut vault, &self.append.settle)?;
        if let Some(wanted) = &self.append.reserve
            && let Charged::OverBudget(full) =
                budget::reserve(shared, batch, &mut vault, wanted, false)?
        {
            batch.discard();
            return Ok(AppendOutcome::OverBudget(full));
        }
        let mut counts = Counts::of(batch, tenant)?;
        write_records(&mut vault, batch, self, &mut head, &mut counts)?;
        let Self { claim, append, .. } = self;
        write_ledger(&mut vault, batch, &append.ledger, &mut counts)?;
        if !append.records.is_empty() || !append.ledger.is_empty() {
            counts.put(batch, tenant);
        }
        consume(batch, claim, append.consume_to, &mut head)?;
        if let Some(state) = append.state.take() {
            head.state = state;
        }
        change_items(&mut vault, batch, claim, &append.items, &mut head)?;
        set_timers(batch, claim, &append.timers, &mut head);
        for send in &append.delivery_keys {
            vault.register(batch, conversation, send)?;
        }
        for key in &append.settled {
            if let Some(mut sent) = vault.sent(batch, key)? {
                sent.settled = true;
                vault.put_sent(batch, key, sent);
            }
        }
        head.updated_at = shared.clock.now();
        shared.keep_pending(batch, (tenant, conversation), &mut head);
        let key = keys::conversation(tenant, conversation);
        batch.put(HEADS, key, head.to_bytes());
        batch.leave(vault);
        Ok(AppendOutcome::Appended)
    }

    fn committed(&mut self, shared: &Shared, answer: &AppendOutcome) {
        if *answer != AppendOutcome::Appended {
            return;
        }
        if let Some(lease) = self.append.lease {
            shared.renew(&self.claim, lease);
        }
        if let Some(written) = self.written.take() {
            let records = std::mem::take(&mut self.append.records);
            shared.keys.keep_records(written, records);
            shared.follower.follow(self.claim.tenant);
        }
    }
}

/// The last numbers of a tenant's feed and ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) feed: u64,
    ledger: u64,
}

impl Counts {
    pub(super) fn read(row: &[u8]) -> Result<Self> {
        Ok(Self {
            feed: keys::number(row, 0).ok_or_else(corrupt)?,
            ledger: keys::number(row, 8).ok_or_else(corrupt)?,
        })
    }

    pub(super) fn of(rows: &mut dyn Rows, tenant: TenantId) -> Result<Self> {
        rows.get(TENANTS, tenant.as_bytes())?
            .map_or(Ok(Self::default()), |row| Self::read(&row))
    }

    pub(super) fn put(self, batch: &mut Batch<'_>, tenant: TenantId) {
        let row = [self.feed.to_be_bytes(), self.ledger.to_be_bytes()].concat();
        batch.put(TENANTS, tenant.as_bytes().to_vec(), row);
    }
}

fn write_records(
    vault: &mut Vault,
    batch: &mut Batch<'_>,
    append: &mut AppendTo,
    head: &mut Head,
    counts: &mut Counts,
) -> Result<()> {
    let (tenant, conversation) = (append.claim.tenant, append.claim.conversation);
    let records = &append.append.records;
    if records.is_empty() {
        return Ok(());
    }
    counts.feed += records.len() as u64;
    head.len += records.len() as u64;
    let last = head.len - 1;
    let key = keys::item(tenant, conversation, last);
    let prepared = std::mem::take(&mut append.records);
    let (row, written) = prepared.write(vault, batch, (&key, counts.feed), records)?;
    append.written = Some(written);
    batch.put(LOG, key, row);
    let persons: BTreeSet<&PersonId> = records.iter().flat_map(|record| &record.persons).collect();
    for person in persons {
        vault.note_words(batch, *person, conversation)?;
    }
    let run = RecordBatch { conversation, last };
    run.put(batch, tenant, counts.feed);
    head.open = !append.append.checkpoint;
    if append.append.checkpoint {
        head.checkpoint = Some(head.len - 1);
    }
    Ok(())
}

/// Records written together: the entry of [`FEED`] under the cursor of the last record, which refers to a row of [`LOG`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordBatch {
    pub(super) conversation: ConversationId,
    /// The index of the last record.
    pub(super) last: u64,
}

impl RecordBatch {
    pub(super) fn put(self, batch: &mut Batch<'_>, tenant: TenantId, cursor: u64) {
        let mut row = self.conversation.as_bytes().to_vec();
        row.extend_from_slice(&self.last.to_be_bytes());
        batch.put(FEED, keys::numbered(tenant, cursor), row);
    }

    pub(super) fn read(row: &[u8]) -> Result<Self> {
        Ok(Self {
            conversation: keys::id(row, 0)
                .map(ConversationId::from_bytes)
                .ok_or_else(corrupt)?,
            last: keys::number(row, 16).ok_or_else(corrupt)?,
        })
    }
}

pub(super) fn write_ledger(
    vault: &mut Vault,
    batch: &mut Batch<'_>,
    ledger: &[LedgerRow],
    counts: &mut Counts,
) -> Result<()> {
    for row in ledger {
        counts.ledger += 1;
        let key = keys::numbered(vault.tenant(), counts.ledger);
        let sealed = vault.seal(batch, &[], (LEDGER, &key), row)?;
        batch.put(LEDGER, key, sealed);
    }
    Ok(())
}

fn consume(batch: &mut Batch<'_>, claim: &Claim, to: Option<u64>, head: &mut Head) -> Result<()> {
    let to = to.unwrap_or(0).min(head.last);
    for seq in head.consumed + 1..=to {
        let key = keys::item(claim.tenant, claim.conversation, seq);
        if head.gone > 0 && batch.get(INBOX, &key)?.is_none() {
            head.gone -= 1;
        }
        batch.delete(INBOX, key);
    }
    head.consumed = head.consumed.max(to);
    Ok(())
}

/// Opens and closes items.
pub(super) fn change_items(
    vault: &mut Vault,
    batch: &mut Batch<'_>,
    claim: &Claim,
    changes: &[ItemChange],
    head: &mut Head,
) -> Result<()> {
    let (tenant, conversation) = (claim.tenant, claim.conversation);
    let own = |id: &str| keys::of(tenant, &[conversation.as_bytes(), id.as_bytes()]);
    let listed = |id: &str| keys::of(tenant, &[id.as_bytes()]);
    for change in changes {
        match change {
            ItemChange::Put(item) => {
                let key = own(&item.id.0);
                head.items += u64::from(batch.get(ITEMS, &key)?.is_none());
                let row = vault.seal(batch, &[], (ITEMS, &key), item)?;
                batch.put(ITEMS, key, row);
                batch.put(ITEM_LIST, listed(&item.id.0), *conversation.as_bytes());
            }
            ItemChange::Close(id) => {
                let key = own(&id.0);
                head.items -= u64::from(batch.get(ITEMS, &key)?.is_some());
                batch.delete(ITEMS, key);
                batch.delete(ITEM_LIST, listed(&id.0));
            }
        }
    }
    Ok(())
}

pub(super) fn set_timers(
    batch: &mut Batch<'_>,
    claim: &Claim,
    changes: &[TimerChange],
    head: &mut Head,
) {
    let before = head.first_due();
    rules::set_timers(&mut head.timers, changes);
    let after = head.first_due();
    if before == after {
        return;
    }
    let key = |when| keys::due(when, claim.tenant, claim.conversation);
    if let Some(before) = before {
        batch.delete(DUE, key(before));
    }
    if let Some(when) = after {
        batch.put(DUE, key(when), []);
    }
}
