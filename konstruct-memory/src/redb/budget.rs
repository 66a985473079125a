//! Budgets: what is spent and reserved in calendar periods, which never exceeds the caps.

use std::time::Duration;

use konstruct_core::{
    NanoUsd, Result, TenantId, Timestamp,
    limit::{BudgetKey, BudgetSum, Period, Sum},
    store::{
        Charge, Charged, Reserve, Settle,
        rules::{self, Budgeted},
    },
};

use super::{
    Shared,
    append::{Counts, write_ledger},
    head::corrupt,
    keys::{self, BUDGETS, RESERVED},
    slices::Erasing,
    snapshot::Rows,
    vault::Vault,
    writer::{Batch, Operation},
};

/// The length of a sum's key after the tenant: whether it is pruned, the end of its period, and the hash of its name.
const KEY: usize = 1 + 8 + 16;
/// How long the sum of an ended period is kept at least.
const KEPT: Duration = Duration::from_secs(3_600);
/// How long it is kept at most, even if a call that reserved money in it was never settled.
const KEPT_AT_MOST: Duration = Duration::from_secs(40 * 86_400);
/// The number of old sums that a reservation looks at.
const PRUNED: usize = 64;

/// Returns the key of a sum. The tenant's months are never pruned.
fn key(vault: &Vault, budget: BudgetKey, until: Timestamp) -> Vec<u8> {
    let hash = vault.key.hash("budget", budget.to_string().as_bytes());
    let kind = u8::from(budget != BudgetKey::MONTH);
    let until = until.as_micros().max(0).cast_unsigned().to_be_bytes();
    keys::of(vault.tenant(), &[&[kind], &until, &hash])
}

fn read(rows: &mut dyn Rows, vault: &mut Vault, key: &[u8]) -> Result<Option<BudgetSum>> {
    match rows.get(BUDGETS, key)? {
        Some(row) => vault.open(rows, (BUDGETS, key), &row),
        None => Ok(None),
    }
}

/// Writes a sum.
pub(super) fn put(batch: &mut Batch<'_>, vault: &mut Vault, sum: &BudgetSum) -> Result<()> {
    let key = key(vault, sum.budget, sum.until);
    let row = vault.seal(batch, &[], (BUDGETS, &key), sum)?;
    batch.put(BUDGETS, key, row);
    Ok(())
}

/// Releases the reservations of finished calls, and books their cost in the periods of the reservation.
pub(super) fn settle(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    settled: &[Settle],
) -> Result<()> {
    let until = Period::Month.end(shared.clock.now());
    for Settle { call, cost } in settled {
        let reservation = reservation_key(vault, call);
        let (amount, sums) = match batch.get(RESERVED, &reservation)? {
            Some(row) => read_reservation(vault.tenant(), &row)?,
            None => (NanoUsd(0), vec![key(vault, BudgetKey::MONTH, until)]),
        };
        for key in sums {
            let month = key.get(16) == Some(&0);
            let empty = month.then_some(BudgetSum {
                budget: BudgetKey::MONTH,
                until,
                sum: Sum::default(),
            });
            if let Some(mut sum) = read(batch, vault, &key)?.or(empty) {
                sum.sum.settle(amount, *cost);
                put(batch, vault, &sum)?;
            }
        }
        batch.delete(RESERVED, reservation);
    }
    Ok(())
}

/// Reserves money in the current periods, if it fits under all caps. An existing reservation is left unchanged. A sum that refuses
/// is only marked if `marks`.
pub(super) fn reserve(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    wanted: &Reserve,
    marks: bool,
) -> Result<Charged> {
    let reservation = reservation_key(vault, &wanted.call);
    if batch.get(RESERVED, &reservation)?.is_some() {
        return Ok(Charged::Granted);
    }
    let now = shared.clock.now();
    prune(batch, vault, now)?;
    let mut sums = rules::budgeted(&wanted.caps, now, |budget, until| {
        let known = read(batch, vault, &key(vault, budget, until))?;
        Ok(known.map(|known| known.sum))
    })?;
    let granted = rules::reserve(wanted.amount, &mut sums);
    if granted.is_ok() || marks {
        for Budgeted {
            budget, until, sum, ..
        } in sums.iter().copied()
        {
            put(batch, vault, &BudgetSum { budget, until, sum })?;
        }
    }
    if let Err(budget) = granted {
        return Ok(Charged::OverBudget(budget));
    }
    let mut row = wanted.amount.0.to_be_bytes().to_vec();
    for it in &sums {
        row.extend_from_slice(
            key(vault, it.budget, it.until)
                .get(16..)
                .ok_or_else(corrupt)?,
        );
    }
    batch.put(RESERVED, reservation, row);
    Ok(Charged::Granted)
}

/// Removes the first sums of ended periods in which nothing is reserved.
fn prune(batch: &mut Batch<'_>, vault: &mut Vault, now: Timestamp) -> Result<()> {
    let tenant = vault.tenant();
    let to = |age| {
        let until = (now - age).as_micros().max(0).cast_unsigned();
        keys::of(tenant, &[&[1], &until.to_be_bytes()])
    };
    let (from, very_old) = (keys::of(tenant, &[&[1]]), to(KEPT_AT_MOST));
    for (key, row) in batch.page(BUDGETS, &from, &to(KEPT), PRUNED)? {
        let sum: Option<BudgetSum> = vault.open(batch, (BUDGETS, &key), &row)?;
        if sum.is_none_or(|it| it.sum.reserved == NanoUsd(0)) || key < very_old {
            batch.delete(BUDGETS, key);
        }
    }
    Ok(())
}

/// Returns the reservation of a call.
pub(super) fn reserved(rows: &mut dyn Rows, vault: &Vault, call: &str) -> Result<Option<NanoUsd>> {
    rows.get(RESERVED, &reservation_key(vault, call))?
        .map(|row| Ok(read_reservation(vault.tenant(), &row)?.0))
        .transpose()
}

/// Returns the sum of a month such as `2026-11`.
pub(super) fn of_month(rows: &mut dyn Rows, vault: &mut Vault, month: &str) -> Result<Sum> {
    let key = key(vault, BudgetKey::MONTH, rules::month_end(month)?);
    Ok(read(rows, vault, &key)?
        .map(|it| it.sum)
        .unwrap_or_default())
}

/// Returns all sums, or those of periods that end after a time.
pub(super) fn sums(
    rows: &mut dyn Rows,
    vault: &mut Vault,
    after: Option<Timestamp>,
) -> Result<Vec<BudgetSum>> {
    let mut sums = Vec::new();
    for kind in [0, 1] {
        let prefix = keys::of(vault.tenant(), &[&[kind]]);
        let from = match after {
            Some(after) => {
                let after = after.as_micros().max(0).cast_unsigned().saturating_add(1);
                [&*prefix, &after.to_be_bytes()].concat()
            }
            None => prefix.clone(),
        };
        for (key, row) in rows.page(BUDGETS, &from, &keys::end(&prefix), usize::MAX)? {
            sums.extend(vault.open::<BudgetSum>(rows, (BUDGETS, &key), &row)?);
        }
    }
    Ok(sums)
}

/// Charges for a call outside a conversation.
pub(super) struct ChargeOf {
    pub(super) tenant: TenantId,
    pub(super) charge: Charge,
}

impl Operation for ChargeOf {
    type Output = Charged;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Charged> {
        let mut vault = shared.vault_or_new(batch, self.tenant)?;
        settle(shared, batch, &mut vault, &self.charge.settle)?;
        let charged = match &self.charge.reserve {
            Some(wanted) => reserve(shared, batch, &mut vault, wanted, true)?,
            None => Charged::Granted,
        };
        let mut counts = Counts::of(batch, self.tenant)?;
        write_ledger(&mut vault, batch, &self.charge.ledger, &mut counts)?;
        counts.put(batch, self.tenant);
        batch.leave(vault);
        Ok(charged)
    }
}

fn reservation_key(vault: &Vault, call: &str) -> Vec<u8> {
    vault.named("call", call.as_bytes())
}

/// Returns the amount of a reservation, and the keys of the sums that it counts against.
fn read_reservation(tenant: TenantId, row: &[u8]) -> Result<(NanoUsd, Vec<Vec<u8>>)> {
    let amount = NanoUsd(keys::number(row, 0).ok_or_else(corrupt)?);
    let sums = row.get(8..).ok_or_else(corrupt)?.chunks(KEY);
    Ok((amount, sums.map(|key| keys::of(tenant, &[key])).collect()))
}
