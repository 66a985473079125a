//! The `Ledger` trait: reservations, what was spent, and the rows that the invoice is made of.

use std::fmt;

use async_trait::async_trait;

use crate::{NanoUsd, Result, TenantId, money::LedgerRow};

/// The money of tenants. What belongs to a turn moves in [`Append`](super::Append), in the transaction of its records.
///
/// # Contract
/// In every calendar month (UTC) and at every instant, what is spent and reserved does not exceed the cap of the latest reservation
/// that was granted.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// Pays for a call that belongs to no conversation's log, such as one that embeds or summarises. Settlements and rows are
    /// always written. Returns whether the reservation fits under the cap.
    ///
    /// # Errors
    /// Those of the store.
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool>;

    /// Returns what is reserved for a call; `None` when nothing is, because it is settled or was never reserved.
    ///
    /// # Errors
    /// Those of the store.
    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>>;

    /// Reads a month's sums and a page of the ledger's rows, in the order in which they were written.
    ///
    /// # Errors
    /// Those of the store.
    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage>;
}

/// Money to reserve for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The call's key. A reservation that exists already stays as it is.
    pub call: String,
    /// The most that it can cost.
    pub amount: NanoUsd,
    /// The most that may be spent and reserved in this calendar month (UTC).
    pub cap: Option<NanoUsd>,
}

/// What a call cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The call's key.
    pub call: String,
    /// What it cost.
    pub cost: NanoUsd,
}

/// Money that moves for a call that belongs to no conversation's log.
#[derive(Clone, Debug, Default)]
pub struct Charge {
    /// Money to reserve.
    pub reserve: Option<Reserve>,
    /// Calls that are over.
    pub settle: Vec<Settle>,
    /// Rows of the ledger.
    pub ledger: Vec<LedgerRow>,
}

/// What to read of a ledger.
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
    /// The month whose sums are wanted, such as `2026-11`.
    pub month: String,
    /// The rows after this number, which is 0 for the beginning.
    pub after: u64,
    /// The most rows.
    pub limit: usize,
}

impl LedgerQuery {
    /// Asks for the sums of a month, and for the first 100 rows of the ledger.
    pub fn new(month: impl Into<String>) -> Self {
        Self {
            month: month.into(),
            after: 0,
            limit: 100,
        }
    }

    /// Asks for the rows after a number.
    #[must_use]
    pub fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// Sets the most rows.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }
}

/// A part of a ledger.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LedgerPage {
    /// What was spent in the month.
    pub spent: NanoUsd,
    /// What is reserved in the month.
    pub reserved: NanoUsd,
    /// Rows with their numbers.
    pub rows: Vec<(u64, LedgerRow)>,
}

impl LedgerPage {
    /// Makes a page of a month's sums, what was spent and what is reserved, and of numbered rows.
    pub fn new(spent: NanoUsd, reserved: NanoUsd, rows: Vec<(u64, LedgerRow)>) -> Self {
        Self {
            spent,
            reserved,
            rows,
        }
    }
}
