//! Budgets: amounts spent and reserved in a calendar month, whose sum never exceeds the cap.

use konstruct_core::{
    Error, NanoUsd, Result, TenantId, Timestamp,
    store::{Charge, Reserve, Settle},
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

/// The amounts spent and reserved in a month.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    pub(super) spent: NanoUsd,
    pub(super) reserved: NanoUsd,
}

impl Budget {
    pub(super) fn read(row: &[u8]) -> Result<Self> {
        let number = |at| keys::number(row, at).map(NanoUsd).ok_or_else(corrupt);
        Ok(Self {
            spent: number(0)?,
            reserved: number(8)?,
        })
    }

    fn of(batch: &mut Batch<'_>, tenant: TenantId, month: u32) -> Result<Self> {
        batch
            .get(BUDGETS, &key(tenant, month))?
            .map_or(Ok(Self::default()), |row| Self::read(&row))
    }

    pub(super) fn put(self, batch: &mut Batch<'_>, tenant: TenantId, month: u32) {
        let row = [self.spent.0.to_be_bytes(), self.reserved.0.to_be_bytes()].concat();
        batch.put(BUDGETS, key(tenant, month), row);
    }
}

fn key(tenant: TenantId, month: u32) -> Vec<u8> {
    keys::of(tenant, &[&month.to_be_bytes()])
}

/// Releases the reservations of finished calls, and books their cost in the month of the reservation.
pub(super) fn settle(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &Vault,
    settled: &[Settle],
) -> Result<()> {
    let tenant = vault.tenant();
    for Settle { call, cost } in settled {
        let reservation = reservation_key(vault, call);
        let (month, amount) = match batch.get(RESERVED, &reservation)? {
            Some(row) => read_reservation(&row)?,
            None => (month_of(shared.clock.now()), NanoUsd(0)),
        };
        let mut budget = Budget::of(batch, tenant, month)?;
        budget.reserved = budget.reserved.saturating_sub(amount);
        budget.spent = budget.spent.saturating_add(*cost);
        budget.put(batch, tenant, month);
        batch.delete(RESERVED, reservation);
    }
    Ok(())
}

/// Reserves money in this month. Returns whether it fits. An existing reservation is left unchanged.
pub(super) fn reserve(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &Vault,
    wanted: &Reserve,
) -> Result<bool> {
    let tenant = vault.tenant();
    let reservation = reservation_key(vault, &wanted.call);
    if batch.get(RESERVED, &reservation)?.is_some() {
        return Ok(true);
    }
    let month = month_of(shared.clock.now());
    let mut budget = Budget::of(batch, tenant, month)?;
    let total = [budget.spent, budget.reserved, wanted.amount]
        .iter()
        .try_fold(0, |sum: u64, amount| sum.checked_add(amount.0));
    // An overflow exceeds any cap, and is refused without a cap too.
    let Some(total) = total else {
        return Ok(false);
    };
    if wanted.cap.is_some_and(|cap| total > cap.0) {
        return Ok(false);
    }
    budget.reserved = budget.reserved.saturating_add(wanted.amount);
    budget.put(batch, tenant, month);
    let mut row = month.to_be_bytes().to_vec();
    row.extend_from_slice(&wanted.amount.0.to_be_bytes());
    batch.put(RESERVED, reservation, row);
    Ok(true)
}

/// Returns the reservation of a call.
pub(super) fn reserved(rows: &mut dyn Rows, vault: &Vault, call: &str) -> Result<Option<NanoUsd>> {
    rows.get(RESERVED, &reservation_key(vault, call))?
        .map(|row| Ok(read_reservation(row.as_ref())?.1))
        .transpose()
}

/// Returns the amounts spent and reserved in a month such as `2026-11`.
pub(super) fn of_month(
    rows: &mut dyn Rows,
    tenant: TenantId,
    month: &str,
) -> Result<(NanoUsd, NanoUsd)> {
    let month = month_of_name(month)?;
    let row = rows.get(BUDGETS, &key(tenant, month))?;
    let budget = row.map_or(Ok(Budget::default()), |row| Budget::read(&row))?;
    Ok((budget.spent, budget.reserved))
}

/// Charges for a call outside a conversation.
pub(super) struct ChargeOf {
    pub(super) tenant: TenantId,
    pub(super) charge: Charge,
}

impl Operation for ChargeOf {
    type Output = bool;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<bool> {
        let mut vault = shared.vault_or_new(batch, self.tenant)?;
        settle(shared, batch, &vault, &self.charge.settle)?;
        let mut fits = true;
        if let Some(wanted) = &self.charge.reserve
            && !reserve(shared, batch, &vault, wanted)?
        {
            fits = false;
        }
        let mut counts = Counts::of(batch, self.tenant)?;
        write_ledger(&mut vault, batch, &self.charge.ledger, &mut counts)?;
        counts.put(batch, self.tenant);
        batch.leave(vault);
        Ok(fits)
    }
}

fn reservation_key(vault: &Vault, call: &str) -> Vec<u8> {
    vault.named("call", call.as_bytes())
}

fn read_reservation(row: &[u8]) -> Result<(u32, NanoUsd)> {
    let month = row.get(..4).and_then(|bytes| bytes.try_into().ok());
    Ok((
        u32::from_be_bytes(month.ok_or_else(corrupt)?),
        NanoUsd(keys::number(row, 4).ok_or_else(corrupt)?),
    ))
}

/// Returns the calendar month in UTC: 12 times the year, plus the month counted from 0.
pub(super) fn month_of(time: Timestamp) -> u32 {
    // Days to a civil date, in eras of 400 years that begin in March (Howard Hinnant,
    // `chrono-Compatible Low-Level Date Algorithms`).
    let days = time.as_secs().div_euclid(86_400) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let months = (days.div_euclid(146_097) * 400 + year_of_era) * 12 + from_march + 2;
    u32::try_from(months).unwrap_or(0)
}

/// Formats a month as `2026-11`.
pub(super) fn month_name(month: u32) -> String {
    format!("{:04}-{:02}", month / 12, month % 12 + 1)
}

/// Parses a month in that format.
pub(super) fn month_of_name(name: &str) -> Result<u32> {
    let wrong = || Error::invalid("month", "expected a year and a month, such as `2026-11`");
    let (year, month) = name.split_once('-').ok_or_else(wrong)?;
    let year: u32 = year.parse().map_err(|_| wrong())?;
    let month: u32 = month.parse().map_err(|_| wrong())?;
    if year > 9999 || !(1..=12).contains(&month) {
        return Err(wrong());
    }
    Ok(year * 12 + month - 1)
}

/// Reads the month of a budget's key.
pub(super) fn month_of_key(key: &[u8]) -> Result<u32> {
    let month = key.get(16..20).and_then(|bytes| bytes.try_into().ok());
    Ok(u32::from_be_bytes(month.ok_or_else(corrupt)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_at_midnight_utc() {
        for (secs, month) in [
            (0, "1970-01"),
            (951_782_400, "2000-02"), // the 29th
            (951_868_800, "2000-03"),
            (1_767_225_599, "2025-12"),
            (1_767_225_600, "2026-01"),
            (1_793_491_199, "2026-10"),
            (1_793_491_200, "2026-11"),
        ] {
            assert_eq!(
                month_name(month_of(Timestamp::from_secs(secs))),
                month,
                "{secs}"
            );
        }
    }
}
