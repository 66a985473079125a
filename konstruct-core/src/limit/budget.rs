//! Who pays for the attempts of a call: set aside before each, settled after it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Clock as _, Error, ErrorKind, NanoUsd, Result, SystemClock, Timestamp,
    money::{Basis, LedgerRow, Usage},
};

/// An attempt at a provider that is about to be made for a call.
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
    /// The most that it can cost; `None` where the price is unknown.
    pub worst: Option<NanoUsd>,
}

impl Attempt {
    /// Returns its key in the ledger: the call's own for the first, then with `.a1`, `.a2` behind it.
    pub fn key(&self) -> String {
        attempt_key(&self.call, self.number)
    }

    /// Returns its row of the ledger, settled at this time.
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
    /// The amount; `None` where the price is unknown.
    pub cost: Option<NanoUsd>,
    /// How it is known.
    pub basis: Basis,
}

/// Pays for the attempts of a call.
///
/// # Contract
/// * Who makes attempts (a pool) asks before each one, and makes none that was refused.
/// * Each attempt that was allowed is settled exactly once, also when its stream is dropped.
/// * Attempts of a call are numbered from 0 without a gap. Several may be open at once.
#[async_trait]
pub trait Budget: fmt::Debug + Send + Sync + 'static {
    /// Sets aside the most that an attempt can cost.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExhausted`] when it does not fit under a cap, or when its price is unknown and there is one; the store's own.
    async fn reserve(&self, attempt: &Attempt) -> Result<()>;

    /// Takes what an attempt has cost, and frees what was set aside for it. It does not wait: it is called in a drop too.
    fn settle(&self, attempt: &Attempt, spent: Spent);
}

/// Allows everything and keeps no rows: nobody meters the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

#[async_trait]
impl Budget for Unmetered {
    async fn reserve(&self, _: &Attempt) -> Result<()> {
        Ok(())
    }

    fn settle(&self, _: &Attempt, _: Spent) {}
}

/// A budget in memory, for many calls: for embedders without a store, and for tests.
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
    /// A budget with a cap, or without.
    pub fn new(cap: Option<NanoUsd>) -> Self {
        Self {
            cap,
            book: Mutex::default(),
        }
    }

    /// Returns what was spent.
    pub fn spent(&self) -> NanoUsd {
        self.book().spent
    }

    /// Returns what is set aside for attempts that are not over.
    pub fn reserved(&self) -> NanoUsd {
        self.book().reserved()
    }

    /// Returns the ledger so far.
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
            let after = book
                .spent
                .saturating_add(book.reserved())
                .saturating_add(worst);
            if after > cap {
                return Err(over_cap());
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
        "the model's price is unknown, and there is a cap",
    )
}

pub(crate) fn over_cap() -> Error {
    Error::new(
        ErrorKind::QuotaExhausted,
        "the most that the call can cost does not fit under the cap",
    )
}
