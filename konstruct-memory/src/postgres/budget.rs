//! Money: amounts spent and reserved in a calendar month, whose sum never exceeds the cap, and the ledger.

use konstruct_core::{
    NanoUsd, Result, TenantId,
    money::LedgerRow,
    store::{Charge, LedgerPage, LedgerQuery, Reserve, Settle},
};
use uuid::Uuid;

use super::{
    Inner,
    claim::signed,
    error::{corrupt, stored},
    tenant::{Mode, TenantTx},
    vault::{KeysById, Persons},
};
use crate::seal::{self, TenantKey};

impl Inner {
    pub(super) async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let money = Money::of(
            &key,
            charge.reserve.as_ref(),
            &charge.settle,
            &charge.ledger,
        )?;
        let fits: bool =
            sqlx::query_scalar("select konstruct.charge($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                .bind(tx.id())
                .bind(tx.given())
                .bind(money.settled)
                .bind(money.costs)
                .bind(money.reserved)
                .bind(money.amount)
                .bind(money.cap)
                .bind(money.tokens)
                .bind(money.rows)
                .fetch_one(tx.db())
                .await
                .map_err(stored)?;
        tx.commit().await?;
        Ok(fits)
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

    pub(super) async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(LedgerPage::default());
        };
        let sums: Option<(i64, i64)> = sqlx::query_as(
            "select spent, reserved from konstruct.budgets where tenant = $1 and month = $2",
        )
        .bind(tx.id())
        .bind(&query.month)
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        let (spent, reserved) = sums.unwrap_or_default();
        let rows = ledger_rows(&mut tx, &key, signed(query.after), query.limit).await?;
        tx.commit().await?;
        let numbered = |(number, row): (i64, _)| (number.cast_unsigned(), row);
        Ok(LedgerPage::new(
            NanoUsd(spent.cast_unsigned()),
            NanoUsd(reserved.cast_unsigned()),
            rows.into_iter().map(numbered).collect(),
        ))
    }
}

/// Reads rows of the ledger after a number.
pub(super) async fn ledger_rows(
    tx: &mut TenantTx,
    key: &TenantKey,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, LedgerRow)>> {
    let rows: Vec<(i64, Uuid, Vec<u8>)> = sqlx::query_as(
        "select number, token, sealed from konstruct.ledger
         where tenant = $1 and number > $2 order by number limit $3",
    )
    .bind(tx.id())
    .bind(after)
    .bind(signed(limit as u64))
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    rows.into_iter()
        .map(|(number, token, sealed)| {
            let place = ("ledger", token.as_bytes().as_slice());
            let row = KeysById::default().open(key, place, &sealed)?;
            Ok((number, row.ok_or_else(corrupt)?))
        })
        .collect()
}

/// Movements of money, as bound by statements.
#[derive(Debug, Default)]
pub(super) struct Money {
    pub(super) settled: Vec<Uuid>,
    pub(super) costs: Vec<i64>,
    pub(super) reserved: Option<Uuid>,
    pub(super) amount: i64,
    pub(super) cap: Option<i64>,
    pub(super) tokens: Vec<Uuid>,
    pub(super) rows: Vec<Vec<u8>>,
}

impl Money {
    pub(super) fn of(
        key: &TenantKey,
        reserve: Option<&Reserve>,
        settle: &[Settle],
        ledger: &[LedgerRow],
    ) -> Result<Self> {
        let mut money = Self::default();
        for settle in settle {
            money.settled.push(call(key, &settle.call));
            money.costs.push(signed(settle.cost.0));
        }
        if let Some(reserve) = reserve {
            money.reserved = Some(call(key, &reserve.call));
            money.amount = signed(reserve.amount.0);
            money.cap = reserve.cap.map(|cap| signed(cap.0));
        }
        for row in ledger {
            let token = Uuid::from_bytes(seal::token()?);
            let place = ("ledger", token.as_bytes().as_slice());
            money
                .rows
                .push(Persons::default().seal(key, [], place, row)?);
            money.tokens.push(token);
        }
        Ok(money)
    }
}

/// Writes the spent and reserved amounts.
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
