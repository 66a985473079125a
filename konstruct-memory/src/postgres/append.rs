//! Appends to a log: all writes of a step in one transaction and one statement.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::{
    PersonId, Result, Timestamp,
    store::{Append, AppendOutcome, Claim, ItemChange, TimerName},
    turn::ItemId,
};
use uuid::Uuid;

use super::{
    Inner,
    budget::{self, Money},
    claim::{micros, signed, uuid},
    error::{corrupt, stored},
    read::delivery,
    tenant::{Mode, TenantTx},
    vault::{Persons, encode_text, item_row, row_in, uuids},
};
use crate::seal::TenantKey;

/// Results of `konstruct.append`.
const APPENDED: i32 = 0;
const LOST: i32 = 1;
const CHANGED: i32 = 2;
const OTHER_KEYS: i32 = 4;
const OTHER_TENANT_KEY: i32 = 5;
/// This plus the number of the sum that has no room.
const OVER_BUDGET: i32 = 10;

/// The most attempts if keys have changed.
const MAX_ATTEMPTS: usize = 3;

impl Inner {
    pub(super) async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let persons = append.records.iter().flat_map(|record| &record.persons);
        let persons: BTreeSet<PersonId> = persons.copied().collect();
        let mut keys = self.vault.kept_of(claim.tenant, &persons);
        for _ in 0..MAX_ATTEMPTS {
            let mut tx = self.db.tenant(claim.tenant, Mode::Write).await?;
            let kept = match self.vault.last(claim.tenant) {
                Some(kept) => Some(kept),
                None => self.vault.key_and_row(&mut tx).await?,
            };
            // A tenant without a key has no claims.
            let Some((wrapped, key)) = kept else {
                return Ok(AppendOutcome::Lost);
            };
            if persons.iter().any(|person| keys.get(*person).is_none()) {
                keys = Persons::default();
                keys.read(&mut tx, &key, &persons).await?;
                self.vault.keep(claim.tenant, keys.iter());
            }
            let bound = SealedAppend::of(&key, &keys, claim, expected_len, &append, &persons)?;
            let outcome = bound
                .write(&mut tx, &wrapped, claim, expected_len, &append)
                .await?;
            match outcome {
                APPENDED => {
                    tx.commit().await?;
                    if !append.records.is_empty() {
                        // The records of a turn are indexed when it ends or waits.
                        if append.checkpoint {
                            self.to_index.notify(claim.tenant);
                        } else {
                            self.to_index.announce(claim.tenant);
                        }
                    }
                    return Ok(AppendOutcome::Appended);
                }
                LOST => return Ok(AppendOutcome::Lost),
                CHANGED => {
                    tx.commit().await?;
                    self.wake.arrived();
                    return Ok(AppendOutcome::Lost);
                }
                over @ OVER_BUDGET.. => {
                    let full = budget::nth(append.reserve.as_ref(), over - OVER_BUDGET)?;
                    return Ok(AppendOutcome::OverBudget(full));
                }
                OTHER_KEYS => {
                    keys = Persons::default();
                    keys.read(&mut tx, &key, &persons).await?;
                    let gone = |person: &&PersonId| keys.get(**person).is_none();
                    let forgotten: Vec<_> = persons.iter().filter(gone).copied().collect();
                    for person in &forgotten {
                        self.vault.forget(claim.tenant, Some(*person));
                    }
                    if !forgotten.is_empty() {
                        return Ok(AppendOutcome::Forgotten(forgotten));
                    }
                    self.vault.keep(claim.tenant, keys.iter());
                }
                OTHER_TENANT_KEY => {
                    if self.vault.key(&mut tx).await?.is_none() {
                        return Ok(AppendOutcome::Lost);
                    }
                    keys = Persons::default();
                }
                _ => return Err(corrupt()),
            }
        }
        Ok(AppendOutcome::Lost)
    }
}

/// A sealed append, as bound by the statement.
#[derive(Debug, Default)]
struct SealedAppend {
    persons: Vec<Uuid>,
    keys: Vec<Option<Uuid>>,
    records: Vec<Vec<u8>>,
    state: Option<String>,
    set_timers: Option<String>,
    clear_timers: Option<Vec<String>>,
    put_items: Vec<String>,
    item_rows: Vec<Vec<u8>>,
    close_items: Vec<String>,
    send_keys: Vec<Uuid>,
    send_indices: Vec<i64>,
    settled_sends: Vec<Uuid>,
    money: Money,
}

impl SealedAppend {
    fn of(
        key: &TenantKey,
        keys: &Persons,
        claim: &Claim,
        expected_len: u64,
        append: &Append,
        persons: &BTreeSet<PersonId>,
    ) -> Result<Self> {
        let conversation = uuid(claim.conversation);
        let id = |person: &PersonId| Some(Uuid::from_bytes(*keys.get(*person)?.id.as_bytes()));
        let mut bound = Self {
            keys: persons.iter().map(id).collect(),
            persons: uuids(&persons.iter().copied().collect::<Vec<_>>()),
            settled_sends: append.settled.iter().map(|of| delivery(key, of)).collect(),
            ..Self::default()
        };
        let known = bound.keys.iter().all(Option::is_some);
        for (n, record) in (0..).zip(&append.records) {
            let index = signed(expected_len).wrapping_add(n);
            // Nothing is written if the key of a person is missing.
            bound.records.push(if known {
                let row = row_in(conversation, index);
                let persons = record.persons.iter().copied();
                keys.seal(key, persons, ("log", &row), record)?
            } else {
                Vec::new()
            });
        }
        bound.state = append.state.as_ref().map(encode_text).transpose()?;
        if !append.timers.is_empty() {
            let last: BTreeMap<&TimerName, Option<Timestamp>> = append
                .timers
                .iter()
                .map(|change| (&change.name, change.at))
                .collect();
            let set = last
                .iter()
                .filter_map(|(name, at)| Some((&name.0, (*at)?.as_micros())));
            bound.set_timers = Some(encode_text(&set.collect::<BTreeMap<_, _>>())?);
            let cleared = last.iter().filter(|(_, at)| at.is_none());
            bound.clear_timers = Some(cleared.map(|(name, _)| name.0.clone()).collect());
        }
        let last: BTreeMap<&ItemId, &ItemChange> = append
            .items
            .iter()
            .map(|change| match change {
                ItemChange::Put(item) => (&item.id, change),
                ItemChange::Close(id) => (id, change),
            })
            .collect();
        for (id, change) in last {
            match change {
                ItemChange::Put(item) => {
                    let row = item_row(conversation, &id.0);
                    let sealed = Persons::default().seal(key, [], ("items", &row), item)?;
                    bound.put_items.push(id.0.clone());
                    bound.item_rows.push(sealed);
                }
                ItemChange::Close(_) => bound.close_items.push(id.0.clone()),
            }
        }
        let mut sends = BTreeMap::new();
        for send in &append.delivery_keys {
            let index = signed(send.index);
            sends.entry(delivery(key, &send.key)).or_insert(index);
        }
        (bound.send_keys, bound.send_indices) = sends.into_iter().unzip();
        bound.money = Money::of(key, append.reserve.as_ref(), &append.settle, &append.ledger)?;
        Ok(bound)
    }

    async fn write(
        self,
        tx: &mut TenantTx,
        wrapped: &[u8],
        claim: &Claim,
        expected_len: u64,
        append: &Append,
    ) -> Result<i32> {
        sqlx::query_scalar(
            "select konstruct.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::jsonb, $16, $17,
                 $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)",
        )
        .bind(tx.id())
        .bind(wrapped)
        .bind(uuid(claim.conversation))
        .bind(claim.fence.cast_signed())
        .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
        .bind(tx.given())
        .bind(signed(expected_len))
        .bind(self.persons)
        .bind(self.keys)
        .bind(self.records)
        .bind(append.checkpoint)
        .bind(append.consume_to.map(signed))
        .bind(append.lease.map(micros))
        .bind(self.state)
        .bind(self.set_timers)
        .bind(self.clear_timers)
        .bind(self.put_items)
        .bind(self.item_rows)
        .bind(self.close_items)
        .bind(self.send_keys)
        .bind(self.send_indices)
        .bind(self.settled_sends)
        .bind(self.money.settled)
        .bind(self.money.costs)
        .bind(self.money.reserved)
        .bind(self.money.amount)
        .bind(self.money.scopes)
        .bind(self.money.names)
        .bind(self.money.periods)
        .bind(self.money.caps)
        .bind(self.money.tokens)
        .bind(self.money.rows)
        .fetch_one(tx.db())
        .await
        .map_err(stored)
    }
}

/// The last numbers of a tenant's feed and ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) feed: i64,
    pub(super) ledger: i64,
}

/// Reserves numbers for records and rows of the ledger, and returns the last numbers before them. Until the end of the
/// transaction, no other transaction can write records or move money of this tenant.
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
