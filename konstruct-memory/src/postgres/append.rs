//! Writing to a log: everything of a step in one transaction.
//!
//! Locks are taken in one order by all: keys of persons, the mailbox, the tenant's counters. So nobody waits in a circle.

use std::collections::BTreeSet;

use konstruct_core::{
    LedgerRow, PersonId, Result, Timestamp,
    turn::{Append, AppendOutcome, Claim, TimerChange},
};
use uuid::Uuid;

use super::{
    Inner, budget,
    claim::{signed, uuid},
    error::stored,
    read::delivery,
    tenant::{Mode, TenantTx},
    time::time,
    vault::{Persons, row_in, uuids},
};
use crate::seal::TenantKey;

impl Inner {
    pub(super) async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let mut tx = self.db.tenant(claim.tenant, Mode::Write).await?;
        let persons = append.records.iter().flat_map(|record| &record.persons);
        let persons: BTreeSet<PersonId> = persons.copied().collect();
        // Without a key nothing was ever claimed here.
        let Some((key, mut keys)) = self.vault.keys(&mut tx, &persons).await? else {
            return Ok(AppendOutcome::FenceLost);
        };
        keys.make_missing(&mut tx, &key, &persons).await?;
        let Some(now) = advance(&mut tx, claim, expected_len, &append).await? else {
            // A snapshot that was read before is not undone: the claim ends if what it would consume was changed.
            if self.end_stale(tx, claim, append.consume_to).await? {
                self.wake.arrived();
            }
            return Ok(AppendOutcome::FenceLost);
        };
        let many = (append.records.len(), append.ledger.len());
        let moves = append.reserve.is_some() || !append.settle.is_empty();
        let mut cursor = 0;
        if many != (0, 0) || moves {
            let counts = count(&mut tx, many).await?;
            cursor = counts.feed;
            if !budget::account(&mut tx, &key, now, append.reserve.as_ref(), &append.settle).await?
            {
                return Ok(AppendOutcome::OverBudget);
            }
            write_ledger(&mut tx, &key, counts.ledger, &append.ledger).await?;
        }
        let to = Log {
            conversation: uuid(claim.conversation),
            index: signed(expected_len),
            cursor,
        };
        write(&mut tx, (&key, &keys), to, &append, &persons).await?;
        tx.commit().await?;
        if !append.records.is_empty() {
            self.fed.grew(claim.tenant);
        }
        Ok(AppendOutcome::Appended)
    }

    /// Ends a claim that would consume an event as it was before it was changed. Returns whether there was one.
    async fn end_stale(
        &self,
        mut tx: TenantTx,
        claim: &Claim,
        consume_to: Option<u64>,
    ) -> Result<bool> {
        let Some(to) = consume_to else {
            return Ok(false);
        };
        let ended = sqlx::query(
            "update konstruct.mailboxes set lease_until = null, worker = null, changed = null, ready_at = t.now
             from (select coalesce($5, konstruct.now_us()) as now) t
             where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now
                 and changed <= $6",
        )
        .bind(tx.id())
        .bind(uuid(claim.conversation))
        .bind(claim.fence.cast_signed())
        .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
        .bind(tx.given())
        .bind(signed(to))
        .execute(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(ended.rows_affected() > 0)
    }
}

/// Moves the conversation's counters on, if the claim is valid and the log has the expected length. Returns the time.
async fn advance(
    tx: &mut TenantTx,
    claim: &Claim,
    expected_len: u64,
    append: &Append,
) -> Result<Option<Timestamp>> {
    let (keep, timer) = match append.timer {
        TimerChange::Keep => (true, None),
        TimerChange::Set(when) => (false, Some(when.as_micros())),
        TimerChange::Clear => (false, None),
    };
    let Ok(expected_len) = i64::try_from(expected_len) else {
        return Ok(None);
    };
    let now: Option<i64> = sqlx::query_scalar(
        "update konstruct.mailboxes set
             len = len + $7,
             checkpoint = case when $8 and len + $7 > 0 then len + $7 - 1 else checkpoint end,
             open = case when $7 > 0 then not $8 else open end,
             consumed = greatest(consumed, least($9, last)),
             timer = case when $10 then timer else $11 end,
             updated_at = t.now
         from (select coalesce($5, konstruct.now_us()) as now) t
         where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now
             and len = $6 and (changed is null or changed > $9)
         returning t.now",
    )
    .bind(tx.id())
    .bind(uuid(claim.conversation))
    .bind(claim.fence.cast_signed())
    .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
    .bind(tx.given())
    .bind(expected_len)
    .bind(signed(append.records.len() as u64))
    .bind(append.checkpoint)
    .bind(signed(append.consume_to.unwrap_or(0)))
    .bind(keep)
    .bind(timer)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    Ok(now.map(time))
}

/// How far a tenant's feed and ledger had come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) feed: i64,
    pub(super) ledger: i64,
}

/// Counts records and rows of the ledger, and returns how many there were before. From here on, nobody else writes records or
/// moves money of this tenant until the end of the transaction.
pub(super) async fn count(tx: &mut TenantTx, (records, ledger): (usize, usize)) -> Result<Counts> {
    let (feed, ledger): (i64, i64) = sqlx::query_as(
        "insert into konstruct.counters as c (tenant, feed, ledger) values ($1, $2, $3)
         on conflict (tenant) do update set feed = c.feed + excluded.feed, ledger = c.ledger + excluded.ledger
         returning feed - $2, ledger - $3",
    )
    .bind(tx.id())
    .bind(signed(records as u64))
    .bind(signed(ledger as u64))
    .fetch_one(tx.db())
    .await
    .map_err(stored)?;
    Ok(Counts { feed, ledger })
}

/// Where records go: a conversation's log from an index on, and the feed after a cursor.
#[derive(Clone, Copy, Debug)]
struct Log {
    conversation: Uuid,
    index: i64,
    cursor: i64,
}

/// Writes records and delivery keys, notes whose words there are, and takes off what is consumed.
async fn write(
    tx: &mut TenantTx,
    (key, keys): (&TenantKey, &Persons),
    to: Log,
    append: &Append,
    persons: &BTreeSet<PersonId>,
) -> Result<()> {
    let nothing = append.records.is_empty() && append.delivery_keys.is_empty();
    if nothing && append.consume_to.is_none() {
        return Ok(());
    }
    let sealed = (to.index..)
        .zip(&append.records)
        .map(|(index, record)| {
            let row = row_in(to.conversation, index);
            let persons = record.persons.iter().copied();
            keys.seal(key, persons, ("log", &row), record)
        })
        .collect::<Result<Vec<_>>>()?;
    let deliveries: BTreeSet<_> = append
        .delivery_keys
        .iter()
        .map(|delivery_key| delivery(key, delivery_key))
        .collect();
    let persons: Vec<_> = persons.iter().copied().collect();
    sqlx::query(
        "with spoken as (
             insert into konstruct.spoken (tenant, person, conversation)
             select $1, person, $2 from unnest($6::uuid[]) p(person) on conflict do nothing
         ), consumed as (
             delete from konstruct.inbox where tenant = $1 and conversation = $2 and seq <= $7
         ), deliveries as (
             insert into konstruct.deliveries (tenant, key, conversation)
             select $1, key, $2 from unnest($8::uuid[]) k(key)
             on conflict (tenant, key) do update set conversation = excluded.conversation
         )
         insert into konstruct.log (tenant, conversation, index, cursor, sealed)
         select $1, $2, $3 + n - 1, $4 + n, sealed from unnest($5::bytea[]) with ordinality r(sealed, n)",
    )
    .bind(tx.id())
    .bind(to.conversation)
    .bind(to.index)
    .bind(to.cursor)
    .bind(sealed)
    .bind(uuids(&persons))
    .bind(append.consume_to.map(signed))
    .bind(deliveries.into_iter().collect::<Vec<_>>())
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Writes rows of the ledger after a number. They hold no one's words.
pub(super) async fn write_ledger(
    tx: &mut TenantTx,
    key: &TenantKey,
    after: i64,
    ledger: &[LedgerRow],
) -> Result<()> {
    if ledger.is_empty() {
        return Ok(());
    }
    let sealed = (after + 1..)
        .zip(ledger)
        .map(|(number, row)| {
            Persons::default().seal(key, [], ("ledger", &number.to_be_bytes()), row)
        })
        .collect::<Result<Vec<_>>>()?;
    sqlx::query(
        "insert into konstruct.ledger (tenant, number, sealed)
         select $1, $2 + n, sealed from unnest($3::bytea[]) with ordinality r(sealed, n)",
    )
    .bind(tx.id())
    .bind(after)
    .bind(sealed)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Notes that words of persons may stand in a conversation.
pub(super) async fn mention(
    tx: &mut TenantTx,
    conversation: Uuid,
    persons: &BTreeSet<PersonId>,
) -> Result<()> {
    if persons.is_empty() {
        return Ok(());
    }
    let persons: Vec<_> = persons.iter().copied().collect();
    sqlx::query(
        "insert into konstruct.spoken (tenant, person, conversation)
         select $1, person, $2 from unnest($3::uuid[]) p(person) on conflict do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(uuids(&persons))
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}
