//! Money: what is spent and reserved in calendar periods, which never exceeds the caps, and the ledger.

use konstruct_core::{
    NanoUsd, Result, TenantId, Timestamp,
    limit::{AlertLevel, BudgetKey, BudgetSum, Period, Sum, budgets},
    money::LedgerRow,
    store::{Charge, Charged, LedgerPage, LedgerQuery, Reserve, Settle, rules},
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
    pub(super) async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let money = Money::of(
            &key,
            charge.reserve.as_ref(),
            &charge.settle,
            &charge.ledger,
        )?;
        let no_room: i32 = sqlx::query_scalar(
            "select konstruct.charge($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(tx.id())
        .bind(tx.given())
        .bind(money.settled)
        .bind(money.costs)
        .bind(money.reserved)
        .bind(money.amount)
        .bind(money.scopes)
        .bind(money.names)
        .bind(money.periods)
        .bind(money.caps)
        .bind(money.tokens)
        .bind(money.rows)
        .fetch_one(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        match no_room {
            0 => Ok(Charged::Granted),
            full => nth(charge.reserve.as_ref(), full).map(Charged::OverBudget),
        }
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
        let sums: Vec<Row> = sqlx::query_as(SUMS)
            .bind(tx.id())
            .bind(rules::month_end(&query.month)?.as_micros())
            .bind(scope(&key, BudgetKey::MONTH))
            .bind(tx.given())
            .bind(signed(query.budgets as u64))
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        let rows = match query.limit {
            0 => Vec::new(),
            limit => ledger_rows(&mut tx, &key, signed(query.after), limit).await?,
        };
        tx.commit().await?;
        let numbered = |(number, row): (i64, _)| (number.cast_unsigned(), row);
        let rows = rows.into_iter().map(numbered).collect();
        let month = rules::month_end(&query.month)?;
        let is_month = |sum: &BudgetSum| (sum.budget, sum.until) == (BudgetKey::MONTH, month);
        let mut sums = opened(&key, sums)?;
        // If the month is the current one, it is there twice.
        let of_month = match sums.iter().position(is_month) {
            Some(at) => sums.remove(at).sum,
            None => Sum::default(),
        };
        Ok(LedgerPage::new(of_month.spent, of_month.reserved, rows)
            .with_budgets(rules::ranked(sums, query.budgets)))
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
    /// The sums, of which the first is the tenant's month: their names, hashed and sealed, their periods and their caps.
    pub(super) scopes: Vec<Uuid>,
    pub(super) names: Vec<Vec<u8>>,
    pub(super) periods: Vec<i16>,
    pub(super) caps: Vec<Option<i64>>,
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
        }
        if reserve.is_some() || !settle.is_empty() {
            for (budget, cap) in budgets(reserve.map_or(&[], |reserve| &reserve.caps)) {
                money.scopes.push(scope(key, budget));
                money.names.push(sealed_name(key, budget)?);
                money.periods.push(match budget.period {
                    Period::Hour => 1,
                    Period::Day => 2,
                    _ => 3,
                });
                money.caps.push(cap.map(|cap| signed(cap.0)));
            }
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

/// Returns the sum of which a statement says that it has no room.
pub(super) fn nth(reserve: Option<&Reserve>, number: i32) -> Result<BudgetKey> {
    let sums = budgets(reserve.map_or(&[], |reserve| &reserve.caps));
    let at = usize::try_from(number)
        .ok()
        .and_then(|at| at.checked_sub(1));
    at.and_then(|at| sums.get(at))
        .map(|(budget, _)| *budget)
        .ok_or_else(corrupt)
}

/// The columns of a sum.
pub(super) type Row = (Uuid, Vec<u8>, i64, i64, i64, Option<i64>, i16);

/// The sum of a month, and those of the current periods.
const SUMS: &str = "
select scope, name, until, spent, reserved, cap, level from konstruct.budgets
where tenant = $1 and not pruned and until = $2 and scope = $3
union all (
    select scope, name, until, spent, reserved, cap, level from konstruct.budgets
    where tenant = $1 and until > coalesce($4, konstruct.now_us()) order by level desc, spent desc limit $5)";

/// Opens the names of sums.
pub(super) fn opened(key: &TenantKey, rows: Vec<Row>) -> Result<Vec<BudgetSum>> {
    let amount = |amount: i64| NanoUsd(amount.cast_unsigned());
    rows.into_iter()
        .map(|(scope, name, until, spent, reserved, cap, level)| {
            let place = ("budgets", scope.as_bytes().as_slice());
            let budget = KeysById::default().open(key, place, &name)?;
            let sum = Sum {
                spent: amount(spent),
                reserved: amount(reserved),
                cap: cap.map(amount),
                alert: match level {
                    1 => Some(AlertLevel::Eighty),
                    2 => Some(AlertLevel::NinetyFive),
                    3 => Some(AlertLevel::Reached),
                    _ => None,
                },
            };
            Ok(BudgetSum {
                budget: budget.ok_or_else(corrupt)?,
                until: Timestamp::from_micros(until),
                sum,
            })
        })
        .collect()
}

/// Writes a sum.
pub(super) async fn put(tx: &mut TenantTx, key: &TenantKey, it: &BudgetSum) -> Result<()> {
    let level = match it.sum.alert {
        None => 0_i16,
        Some(AlertLevel::Eighty) => 1,
        Some(AlertLevel::NinetyFive) => 2,
        Some(_) => 3,
    };
    sqlx::query(
        "insert into konstruct.budgets (tenant, pruned, until, scope, name, spent, reserved, cap, level)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (tenant, pruned, until, scope) do update set
             spent = excluded.spent, reserved = excluded.reserved, cap = excluded.cap, level = excluded.level",
    )
    .bind(tx.id())
    .bind(it.budget != BudgetKey::MONTH)
    .bind(it.until.as_micros())
    .bind(scope(key, it.budget))
    .bind(sealed_name(key, it.budget)?)
    .bind(signed(it.sum.spent.0))
    .bind(signed(it.sum.reserved.0))
    .bind(it.sum.cap.map(|cap| signed(cap.0)))
    .bind(level)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

fn scope(key: &TenantKey, budget: BudgetKey) -> Uuid {
    Uuid::from_bytes(key.hash("budget", budget.to_string().as_bytes()))
}

fn sealed_name(key: &TenantKey, budget: BudgetKey) -> Result<Vec<u8>> {
    let scope = scope(key, budget);
    let place = ("budgets", scope.as_bytes().as_slice());
    Persons::default().seal(key, [], place, &budget)
}

fn call(key: &TenantKey, call: &str) -> Uuid {
    Uuid::from_bytes(key.hash("call", call.as_bytes()))
}
