//! Budgets for the attempts of a call: money is reserved before each attempt and settled after it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{BudgetKey, Sum};
use crate::{
    Clock as _, Error, ErrorKind, NanoUsd, Result, SystemClock, Timestamp,
    money::{Basis, LedgerRow, Usage},
};

/// An attempt of a call at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The call's key.
    pub call: String,
    /// Its number, from 0.
    pub number: u32,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The maximum cost; `None` if the price is unknown.
    pub worst: Option<NanoUsd>,
}

impl Attempt {
    /// Returns the attempt's key in the ledger: the key of the call for the first attempt, with `.a1`, `.a2` and so on appended
    /// for later ones.
    pub fn key(&self) -> String {
        attempt_key(&self.call, self.number)
    }

    /// Returns the attempt's ledger row, settled at a time.
    pub fn row(&self, spent: Spent, at: Timestamp) -> LedgerRow {
        LedgerRow::new(self.key(), at, &*self.provider, &*self.model).costing(
            spent.cost,
            spent.usage,
            spent.basis,
        )
    }
}

/// Returns the key of a call's attempt.
pub(crate) fn attempt_key(call: &str, number: u32) -> String {
    if number == 0 {
        call.to_owned()
    } else {
        format!("{call}.a{number}")
    }
}

/// What an attempt has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The tokens.
    pub usage: Usage,
    /// The amount; `None` if the price is unknown.
    pub cost: Option<NanoUsd>,
    /// How the amount is known.
    pub basis: Basis,
}

/// Pays for the attempts of a call.
///
/// # Contract
/// * A backend that makes attempts, such as a pool, calls `reserve` before each attempt, and does not make an attempt that was
///   refused.
/// * Each granted attempt is settled exactly once, even if its stream is dropped.
/// * The attempts of a call are numbered from 0 without gaps. Several may be open at a time.
#[async_trait]
pub trait Budget: fmt::Debug + Send + Sync + 'static {
    /// Reserves the maximum cost of an attempt.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExhausted`] if the amount does not fit under a cap, or if there is a cap and the price is unknown; and
    /// those of the store.
    async fn reserve(&self, attempt: &Attempt) -> Result<()>;

    /// Records the cost of an attempt and frees its reservation. Does not block, because it is also called while dropping.
    fn settle(&self, attempt: &Attempt, spent: Spent);
}

/// A budget that grants everything and keeps no records, for calls that are not metered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

#[async_trait]
impl Budget for Unmetered {
    async fn reserve(&self, _: &Attempt) -> Result<()> {
        Ok(())
    }

    fn settle(&self, _: &Attempt, _: Spent) {}
}

/// A budget in memory, for many calls. For programs without a store, and for tests.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use konstruct_core::{NanoUsd, limit::{Attempt, Budget, LocalBudget}};
///
/// let budget = LocalBudget::new(Some(NanoUsd(100)));
/// let attempt = |number, worst| Attempt {
///     call: "c1".into(), number, provider: "p".into(), model: "m".into(), worst: Some(NanoUsd(worst)),
/// };
/// budget.reserve(&attempt(0, 90)).await?;
/// assert!(budget.reserve(&attempt(1, 11)).await.is_err());
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct LocalBudget {
    cap: Option<NanoUsd>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    open: BTreeMap<String, NanoUsd>,
    spent: NanoUsd,
    rows: Vec<LedgerRow>,
}

impl LocalBudget {
    /// Creates a budget with an optional cap.
    pub fn new(cap: Option<NanoUsd>) -> Self {
        Self {
            cap,
            book: Mutex::default(),
        }
    }

    /// Returns the amount spent.
    pub fn spent(&self) -> NanoUsd {
        self.book().spent
    }

    /// Returns the amount reserved for open attempts.
    pub fn reserved(&self) -> NanoUsd {
        self.book().reserved()
    }

    /// Returns the ledger rows so far.
    pub fn rows(&self) -> Vec<LedgerRow> {
        self.book().rows.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn reserved(&self) -> NanoUsd {
        let amounts = self.open.values();
        amounts.fold(NanoUsd(0), |sum, amount| sum.saturating_add(*amount))
    }
}

#[async_trait]
impl Budget for LocalBudget {
    async fn reserve(&self, attempt: &Attempt) -> Result<()> {
        let mut book = self.book();
        if let Some(cap) = self.cap {
            let worst = attempt.worst.ok_or_else(unknown_price)?;
            let sum = Sum {
                spent: book.spent,
                reserved: book.reserved(),
                ..Sum::default()
            };
            if !sum.fits(worst, Some(cap)) {
                return Err(over_cap(BudgetKey::MONTH));
            }
        }
        let amount = attempt.worst.unwrap_or_default();
        book.open.insert(attempt.key(), amount);
        Ok(())
    }

    fn settle(&self, attempt: &Attempt, spent: Spent) {
        let mut book = self.book();
        book.open.remove(&attempt.key());
        book.spent = book.spent.saturating_add(spent.cost.unwrap_or_default());
        book.rows.push(attempt.row(spent, SystemClock.now()));
    }
}

pub(crate) fn unknown_price() -> Error {
    Error::new(
        ErrorKind::QuotaExhausted,
        "the model's price is unknown, so the cap cannot be enforced",
    )
}

pub(crate) fn over_cap(budget: BudgetKey) -> Error {
    Error::new(
        ErrorKind::QuotaExhausted,
        format!("the maximum cost of the call does not fit under the cap of {budget}"),
    )
}
