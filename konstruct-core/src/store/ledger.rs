//! The `Ledger` trait: reservations, spending, and the rows that invoices are made from.

use std::fmt;

use async_trait::async_trait;

use crate::{
    NanoUsd, Result, TenantId,
    limit::{AppliedCap, BudgetKey, BudgetSum},
    money::LedgerRow,
};

/// Accounts for the money of tenants. The money of a turn moves in an [`Append`](super::Append), in the same transaction as its
/// records.
///
/// # Contract
/// * At every instant, what is spent and reserved in a period does not exceed the cap of the latest granted reservation, for each
///   sum that the reservation counts against: [the tenant's month](BudgetKey::MONTH), and every one that it has a cap for.
/// * A call is settled in the periods of its reservation, however late.
/// * A sum without a cap is not kept, except the tenant's month: a new cap counts what is reserved from then on.
/// * The sums of a period that has ended, except the tenant's months, may be removed once nothing is reserved in them.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// Accounts for a call outside of any turn, such as one that embeds or summarises. Settlements and rows are always written.
    /// If the reservation does not fit, the sum in question is [marked](crate::limit::Sum::refuse).
    ///
    /// # Errors
    /// Any error of the store.
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged>;

    /// Returns the amount that is reserved for a call; `None` if the call is settled or nothing was reserved.
    ///
    /// # Errors
    /// Any error of the store.
    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>>;

    /// Returns the sums of a month and a page of the ledger's rows, in the order in which they were written, and the sums of the
    /// current periods, if they are requested.
    ///
    /// # Errors
    /// Any error of the store.
    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage>;
}

/// Money to reserve for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The call's key. An existing reservation under this key is left unchanged.
    pub call: String,
    /// The maximum cost of the call.
    pub amount: NanoUsd,
    /// The caps under which the amount must fit, in the calendar periods (UTC) of now.
    pub caps: Vec<AppliedCap>,
}

/// The result of a [`Charge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charged {
    /// The reservation fits, or there was none.
    Granted,
    /// The reservation does not fit under the cap of this sum. Nothing was reserved.
    OverBudget(BudgetKey),
}

/// The cost of a finished call, which replaces its reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The call's key.
    pub call: String,
    /// The cost.
    pub cost: NanoUsd,
}

/// The money of a call outside of any turn.
#[derive(Clone, Debug, Default)]
pub struct Charge {
    /// Money to reserve.
    pub reserve: Option<Reserve>,
    /// Finished calls to settle.
    pub settle: Vec<Settle>,
    /// Rows to add to the ledger.
    pub ledger: Vec<LedgerRow>,
}

/// A query of the ledger.
///
/// ```
/// use konstruct_core::store::LedgerQuery;
///
/// let first = LedgerQuery::new("2026-11");
/// let next = first.clone().after(first.limit as u64);
/// assert_eq!(next.after, 100);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerQuery {
    /// The month of the sums, such as `2026-11`.
    pub month: String,
    /// The number after which rows are returned, or 0 to start at the beginning.
    pub after: u64,
    /// The maximum number of rows to return.
    pub limit: usize,
    /// The maximum number of sums of current periods to return.
    pub budgets: usize,
}

impl LedgerQuery {
    /// Creates a query for the sums of a month and the first 100 rows of the ledger.
    pub fn new(month: impl Into<String>) -> Self {
        Self {
            month: month.into(),
            after: 0,
            limit: 100,
            budgets: 0,
        }
    }

    /// Sets the number after which rows are returned.
    #[must_use]
    pub fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// Sets the most sums of current periods to return.
    #[must_use]
    pub fn budgets(mut self, sums: usize) -> Self {
        self.budgets = sums;
        self
    }

    /// Sets the most rows to return.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }
}

/// A page of the ledger.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LedgerPage {
    /// The amount spent in the month.
    pub spent: NanoUsd,
    /// The amount reserved in the month.
    pub reserved: NanoUsd,
    /// The rows with their numbers.
    pub rows: Vec<(u64, LedgerRow)>,
    /// The sums of the current periods: those of the highest [alert](crate::limit::Sum::alert) first, and among them those with
    /// the most spent.
    pub budgets: Vec<BudgetSum>,
}

impl LedgerPage {
    /// Creates a page from the sums of a month and numbered rows.
    pub fn new(spent: NanoUsd, reserved: NanoUsd, rows: Vec<(u64, LedgerRow)>) -> Self {
        Self {
            spent,
            reserved,
            rows,
            budgets: Vec::new(),
        }
    }

    /// Adds the sums of the current periods.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Vec<BudgetSum>) -> Self {
        self.budgets = budgets;
        self
    }
}
