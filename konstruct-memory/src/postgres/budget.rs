//! Budgets: what is spent and set aside in a calendar month, so that the two together never pass the cap.
//!
//! Whoever moves money has counted before ([`count`]), and so is alone in it.

use konstruct_core::{
    NanoUsd, Result, TenantId, Timestamp,
    turn::{Charge, Reserve, Settle},
};
use uuid::Uuid;

use super::{
    Inner,
    append::{count, write_ledger},
    claim::signed,
    error::stored,
    tenant::{Mode, TenantTx},
    time::time,
};
use crate::seal::TenantKey;

impl Inner {
    pub(super) async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let counts = count(&mut tx, (0, charge.ledger.len())).await?;
        let now: i64 = sqlx::query_scalar("select coalesce($1, konstruct.now_us())")
            .bind(tx.given())
            .fetch_one(tx.db())
            .await
            .map_err(stored)?;
        if !account(
            &mut tx,
            &key,
            time(now),
            charge.reserve.as_ref(),
            &charge.settle,
        )
        .await?
        {
            return Ok(false);
        }
        write_ledger(&mut tx, &key, counts.ledger, &charge.ledger).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn reserved(&self, tenant: TenantId, of: &str) -> Result<Option<NanoUsd>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(None);
        };
        let amount: Option<i64> = sqlx::query_scalar(
            "select amount from konstruct.reservations where tenant = $1 and call = $2",
        )
        .bind(tx.id())
        .bind(call(&key, of))
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(amount.map(|amount| NanoUsd(amount.cast_unsigned())))
    }
}

/// Settles what is over, then sets aside what is wanted. Returns whether it fits.
pub(super) async fn account(
    tx: &mut TenantTx,
    key: &TenantKey,
    now: Timestamp,
    wanted: Option<&Reserve>,
    settled: &[Settle],
) -> Result<bool> {
    // RFC 3339 begins with it.
    let month: String = now.to_string().chars().take(7).collect();
    for settle in settled {
        self::settle(tx, key, &month, settle).await?;
    }
    match wanted {
        Some(wanted) => reserve(tx, key, &month, wanted).await,
        None => Ok(true),
    }
}

/// Frees what was set aside for a call that is over, and spends what it cost in the month of the reservation.
async fn settle(tx: &mut TenantTx, key: &TenantKey, month: &str, settle: &Settle) -> Result<()> {
    let freed: Option<(String, i64)> = sqlx::query_as(
        "delete from konstruct.reservations where tenant = $1 and call = $2 returning month, amount",
    )
    .bind(tx.id())
    .bind(call(key, &settle.call))
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let (month, amount) = freed.unwrap_or_else(|| (month.to_owned(), 0));
    let (spent, reserved) = budget(tx, &month).await?;
    let spent = spent.saturating_add(signed(settle.cost.0));
    put(tx, &month, (spent, (reserved - amount).max(0))).await
}

/// Sets money aside in this month. Returns whether it fits; a reservation that is there already stays as it is.
async fn reserve(
    tx: &mut TenantTx,
    key: &TenantKey,
    month: &str,
    wanted: &Reserve,
) -> Result<bool> {
    let call = call(key, &wanted.call);
    let there: bool = sqlx::query_scalar(
        "select exists (select from konstruct.reservations where tenant = $1 and call = $2)",
    )
    .bind(tx.id())
    .bind(call)
    .fetch_one(tx.db())
    .await
    .map_err(stored)?;
    if there {
        return Ok(true);
    }
    let (spent, reserved) = budget(tx, month).await?;
    // What does not fit into the number does not fit under any cap, nor without one.
    let Ok(amount) = i64::try_from(wanted.amount.0) else {
        return Ok(false);
    };
    let Some(total) = reserved
        .checked_add(amount)
        .and_then(|held| held.checked_add(spent))
    else {
        return Ok(false);
    };
    if wanted
        .cap
        .is_some_and(|cap| NanoUsd(total.cast_unsigned()) > cap)
    {
        return Ok(false);
    }
    put(tx, month, (spent, reserved + amount)).await?;
    sqlx::query(
        "insert into konstruct.reservations (tenant, call, month, amount) values ($1, $2, $3, $4)",
    )
    .bind(tx.id())
    .bind(call)
    .bind(month)
    .bind(amount)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    Ok(true)
}

/// Returns what was spent and is set aside.
async fn budget(tx: &mut TenantTx, month: &str) -> Result<(i64, i64)> {
    let found: Option<(i64, i64)> = sqlx::query_as(
        "select spent, reserved from konstruct.budgets where tenant = $1 and month = $2",
    )
    .bind(tx.id())
    .bind(month)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    Ok(found.unwrap_or_default())
}

/// Writes what was spent and is set aside.
pub(super) async fn put(
    tx: &mut TenantTx,
    month: &str,
    (spent, reserved): (i64, i64),
) -> Result<()> {
    sqlx::query(
        "insert into konstruct.budgets (tenant, month, spent, reserved) values ($1, $2, $3, $4)
         on conflict (tenant, month) do update set spent = excluded.spent, reserved = excluded.reserved",
    )
    .bind(tx.id())
    .bind(month)
    .bind(spent)
    .bind(reserved)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

fn call(key: &TenantKey, call: &str) -> Uuid {
    Uuid::from_bytes(key.hash("call", call.as_bytes()))
}
