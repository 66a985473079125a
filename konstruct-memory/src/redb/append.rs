//! Writing to a log: everything of a step in one transaction.

use konstruct_core::{
    ConversationId, LedgerRow, Result, TenantId,
    turn::{Append, AppendOutcome, Claim, Record, TimerChange},
};

use super::{
    Shared, budget,
    head::{Head, corrupt},
    keys::{self, DELIVERIES, DELIVERIES_OF, DUE, FEED, HEADS, INBOX, LEDGER, LOG, TENANTS},
    snapshot::Rows,
    vault::Vault,
    writer::{Batch, Operation},
};

/// Appends to the log of a claimed conversation.
pub(super) struct AppendTo {
    pub(super) claim: Claim,
    pub(super) expected_len: u64,
    pub(super) append: Append,
    /// The rows of the records, see [`Shared::log_rows`].
    pub(super) rows: Vec<Option<Vec<u8>>>,
}

impl Operation for AppendTo {
    type Answer = AppendOutcome;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<AppendOutcome> {
        let (tenant, conversation) = (self.claim.tenant, self.claim.conversation);
        if !shared.may_append(&self.claim, self.append.consume_to.unwrap_or(0)) {
            return Ok(AppendOutcome::FenceLost);
        }
        let head = shared.head(batch, tenant, conversation)?;
        let Some(mut head) = head.filter(|head| head.len == self.expected_len) else {
            return Ok(AppendOutcome::FenceLost);
        };
        let mut vault = shared.vault_or_new(batch, tenant)?;
        budget::settle(shared, batch, &vault, &self.append.settle)?;
        if let Some(wanted) = &self.append.reserve
            && !budget::reserve(shared, batch, &vault, wanted)?
        {
            batch.discard();
            return Ok(AppendOutcome::OverBudget);
        }
        let mut counts = Counts::of(batch, tenant)?;
        write_records(&mut vault, batch, self, &mut head, &mut counts)?;
        let Self { claim, append, .. } = self;
        write_ledger(&mut vault, batch, &append.ledger, &mut counts)?;
        counts.put(batch, tenant);
        consume(batch, claim, append.consume_to, &mut head)?;
        set_timer(batch, claim, append.timer, &mut head);
        for delivery_key in &append.delivery_keys {
            let hash = vault.delivery_hash(delivery_key);
            let id = conversation.as_bytes();
            batch.put(DELIVERIES, keys::of(tenant, &[&hash]), *id);
            batch.put(DELIVERIES_OF, keys::of(tenant, &[id, &hash]), []);
        }
        head.updated_at = shared.clock.now();
        shared.keep_pending(batch, (tenant, conversation), &mut head);
        let key = keys::conversation(tenant, conversation);
        batch.put(HEADS, key, head.to_bytes());
        batch.leave(vault);
        Ok(AppendOutcome::Appended)
    }

    fn committed(&mut self, shared: &Shared, answer: &AppendOutcome) {
        if *answer == AppendOutcome::Appended && !self.append.records.is_empty() {
            shared.follower.follow(self.claim.tenant);
        }
    }
}

/// How far a tenant's feed and ledger have come.
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

impl Shared {
    /// Writes the rows of records without their cursors, where the caller is and not in the writer: their places are known if the
    /// log is as long as the caller thinks. `None` for a record of a person who has no key yet.
    pub(super) fn log_rows(
        &self,
        claim: &Claim,
        expected_len: u64,
        records: &[Record],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let mut rows = vec![None; records.len()];
        // No log is that long: the writer will say so.
        let end = expected_len.checked_add(records.len() as u64);
        if records.is_empty() || end.is_none() {
            return Ok(rows);
        }
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, claim.tenant)? else {
            return Ok(rows);
        };
        for ((index, record), written) in (expected_len..).zip(records).zip(&mut rows) {
            let key = keys::item(claim.tenant, claim.conversation, index);
            let persons: Vec<_> = record.persons.iter().copied().collect();
            let mut row = vec![0; 8];
            if vault.seal_known(&mut snapshot, &persons, (LOG, &key), record, &mut row)? {
                *written = Some(row);
            }
        }
        Ok(rows)
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
    let first = head.len;
    for (record, row) in records.iter().zip(&mut append.rows) {
        counts.feed += 1;
        let key = keys::item(tenant, conversation, head.len);
        let row = match row.take() {
            Some(mut row) => {
                row.splice(..8, counts.feed.to_be_bytes());
                row
            }
            None => vault.log_row(batch, &key, counts.feed, record)?,
        };
        batch.put(LOG, key, row);
        for person in &record.persons {
            vault.note_words(batch, *person, conversation)?;
        }
        head.len += 1;
    }
    let run = Run {
        conversation,
        first,
        count: head.len - first,
    };
    run.put(batch, tenant, counts.feed);
    head.open = !append.append.checkpoint;
    if append.append.checkpoint {
        head.checkpoint = Some(head.len - 1);
    }
    Ok(())
}

/// Records that were written at once: one row of [`FEED`], under the cursor of the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) conversation: ConversationId,
    /// The index of the first.
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Run {
    pub(super) fn put(self, batch: &mut Batch<'_>, tenant: TenantId, last: u64) {
        let mut row = self.conversation.as_bytes().to_vec();
        row.extend_from_slice(&self.first.to_be_bytes());
        row.extend_from_slice(&self.count.to_be_bytes());
        batch.put(FEED, keys::numbered(tenant, last), row);
    }

    pub(super) fn read(row: &[u8]) -> Result<Self> {
        Ok(Self {
            conversation: keys::id(row, 0)
                .map(ConversationId::from_bytes)
                .ok_or_else(corrupt)?,
            first: keys::number(row, 16).ok_or_else(corrupt)?,
            count: keys::number(row, 24).ok_or_else(corrupt)?,
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

fn set_timer(batch: &mut Batch<'_>, claim: &Claim, change: TimerChange, head: &mut Head) {
    let timer = match change {
        TimerChange::Keep => return,
        TimerChange::Set(when) => Some(when),
        TimerChange::Clear => None,
    };
    let key = |when| keys::due(when, claim.tenant, claim.conversation);
    if let Some(before) = std::mem::replace(&mut head.timer, timer) {
        batch.delete(DUE, key(before));
    }
    if let Some(when) = timer {
        batch.put(DUE, key(when), []);
    }
}
