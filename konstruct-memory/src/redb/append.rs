//! Writing to a log: everything of a step in one transaction.

use konstruct_core::{
    LedgerRow, Result, TenantId,
    turn::{Append, AppendOutcome, Claim, TimerChange},
};

use super::{
    Shared, budget,
    head::{Head, corrupt, encode},
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
}

impl Operation for AppendTo {
    type Answer = AppendOutcome;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<AppendOutcome> {
        let Self { claim, append, .. } = self;
        let (tenant, conversation) = (claim.tenant, claim.conversation);
        if !shared.may_append(claim, append.consume_to.unwrap_or(0)) {
            return Ok(AppendOutcome::FenceLost);
        }
        let head = shared.head(batch, tenant, conversation)?;
        let Some(mut head) = head.filter(|head| head.len == self.expected_len) else {
            return Ok(AppendOutcome::FenceLost);
        };
        let mut vault = shared.vault_or_new(batch, tenant)?;
        budget::settle(shared, batch, &vault, &append.settle)?;
        if let Some(wanted) = &append.reserve
            && !budget::reserve(shared, batch, &vault, wanted)?
        {
            batch.discard();
            return Ok(AppendOutcome::OverBudget);
        }
        let mut counts = Counts::of(batch, tenant)?;
        write_records(&mut vault, batch, claim, append, &mut head, &mut counts)?;
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
        batch.put(
            HEADS,
            keys::conversation(tenant, conversation),
            encode(&head)?,
        );
        Ok(AppendOutcome::Appended)
    }

    fn committed(&mut self, shared: &Shared, answer: &AppendOutcome) {
        if *answer == AppendOutcome::Appended && !self.append.records.is_empty() {
            shared.indexer.follow(self.claim.tenant);
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

fn write_records(
    vault: &mut Vault,
    batch: &mut Batch<'_>,
    claim: &Claim,
    append: &Append,
    head: &mut Head,
    counts: &mut Counts,
) -> Result<()> {
    let (tenant, conversation) = (claim.tenant, claim.conversation);
    for record in &append.records {
        counts.feed += 1;
        let key = keys::item(tenant, conversation, head.len);
        let row = vault.log_row(batch, &key, counts.feed, record)?;
        batch.put(LOG, key, row);
        for person in &record.persons {
            vault.note_words(batch, *person, conversation)?;
        }
        let place = [conversation.as_bytes().as_slice(), &head.len.to_be_bytes()].concat();
        batch.put(FEED, keys::numbered(tenant, counts.feed), place);
        head.len += 1;
    }
    if !append.records.is_empty() {
        head.open = !append.checkpoint;
        if append.checkpoint {
            head.checkpoint = Some(head.len - 1);
        }
    }
    Ok(())
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
