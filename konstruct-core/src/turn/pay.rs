//! Pays for the attempts of a model call from the ledger of the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    NanoUsd, Result, TenantId, Timestamp,
    limit::{AppliedCap, Attempt, Budget, Spent, attempt_key, over_cap, unknown_price},
    money::{Basis, LedgerRow, Usage},
    store::{Charge, Charged, Ledger, Reserve, Settle, Store},
};

/// The budget of one model call, backed by a [`Ledger`].
///
/// The cost of the first attempt is reserved together with the call's intent. Further attempts are reserved in transactions of
/// their own. [`CallBudget::close`] returns the final cost, which the caller writes together with the answer.
///
/// If the process ends before the call is closed, [`settle_lost`] settles it.
#[derive(Debug)]
pub struct CallBudget {
    store: Arc<dyn Store>,
    tenant: TenantId,
    call: String,
    caps: Vec<AppliedCap>,
    /// The amount that was reserved with the intent.
    intended: Option<NanoUsd>,
    attempts: Mutex<BTreeMap<u32, (Attempt, Option<Spent>)>>,
}

/// The cost of a call by attempt. Empty if the backend does not report attempts; the caller then settles the call as a whole.
#[derive(Debug, Default)]
pub struct Paid {
    /// The settlements that free the reserved money.
    pub settle: Vec<Settle>,
    /// The rows for the ledger.
    pub rows: Vec<LedgerRow>,
}

impl CallBudget {
    /// Creates the budget of a call. `intended` is the amount that was already reserved for its first attempt, under the call's
    /// own key. Further amounts must fit under the same caps.
    pub fn new(
        store: &Arc<dyn Store>,
        tenant: TenantId,
        call: &str,
        (intended, caps): (Option<NanoUsd>, Vec<AppliedCap>),
    ) -> Self {
        Self {
            store: Arc::clone(store),
            tenant,
            call: call.to_owned(),
            caps,
            intended,
            attempts: Mutex::default(),
        }
    }

    /// Returns the cost of a finished call. An attempt that was not settled is charged at its maximum.
    pub fn close(&self, at: Timestamp) -> Paid {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut paid = Paid::default();
        for (attempt, spent) in std::mem::take(&mut *attempts).into_values() {
            let spent = spent.unwrap_or(Spent {
                usage: Usage::default(),
                cost: attempt.worst,
                basis: Basis::WorstCase,
            });
            paid.settle.extend(self.freed(&attempt, spent.cost));
            paid.rows.push(attempt.row(spent, at));
        }
        paid
    }

    fn freed(&self, attempt: &Attempt, cost: Option<NanoUsd>) -> Vec<Settle> {
        let mut settle = vec![Settle {
            call: attempt.key(),
            cost: cost.unwrap_or_default(),
        }];
        if attempt.number == 0 && attempt.worst > self.intended {
            settle.push(Settle {
                call: top_up_key(&self.call),
                cost: NanoUsd(0),
            });
        }
        settle
    }

    fn note(&self, attempt: &Attempt, spent: Option<Spent>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.insert(attempt.number, (attempt.clone(), spent));
    }

    /// Returns what must be reserved for an attempt beyond the amount reserved with the intent.
    fn wanted(&self, attempt: &Attempt) -> Option<(String, NanoUsd)> {
        let worst = attempt.worst.unwrap_or_default();
        if attempt.number > 0 {
            // Free attempts are reserved too: after a crash, the reservation is the only trace of the attempt.
            return Some((attempt.key(), worst));
        }
        let more = worst.saturating_sub(self.intended.unwrap_or_default());
        (more > NanoUsd(0)).then(|| (top_up_key(&self.call), more))
    }
}

#[async_trait]
impl Budget for CallBudget {
    async fn reserve(&self, attempt: &Attempt) -> Result<()> {
        if attempt.worst.is_none() && !self.caps.is_empty() {
            return Err(unknown_price());
        }
        // An attempt costs nothing until its reservation is granted. If the caller is dropped here, the money may be reserved
        // anyway; `close` frees it.
        self.note(
            attempt,
            Some(Spent {
                usage: Usage::default(),
                cost: attempt.worst.map(|_| NanoUsd(0)),
                basis: Basis::Estimated,
            }),
        );
        if let Some((call, amount)) = self.wanted(attempt) {
            let reserve = Reserve {
                call,
                amount,
                caps: self.caps.clone(),
            };
            let charge = Charge {
                reserve: Some(reserve),
                ..Charge::default()
            };
            if let Charged::OverBudget(budget) = self.store.charge(self.tenant, charge).await? {
                let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
                attempts.remove(&attempt.number);
                return Err(over_cap(budget));
            }
        }
        self.note(attempt, None);
        Ok(())
    }

    fn settle(&self, attempt: &Attempt, spent: Spent) {
        self.note(attempt, Some(spent));
    }
}

/// Returns the cost of a call that a crash interrupted: everything that is reserved for its attempts. `known` is whether the
/// model has a known price; without one, the cost is unknown rather than zero.
///
/// # Errors
/// Any error of the store.
pub async fn settle_lost(
    ledger: &dyn Ledger,
    tenant: TenantId,
    call: &str,
    (provider, model, known): (&str, &str, bool),
    at: Timestamp,
) -> Result<Paid> {
    let mut paid = Paid::default();
    let mut add = |key: &str, amount: Option<NanoUsd>| {
        let cost = amount.filter(|amount| known || *amount > NanoUsd(0));
        let row = LedgerRow::new(key, at, provider, model);
        paid.rows
            .push(row.costing(cost, Usage::default(), Basis::WorstCase));
        paid.settle.extend(amount.map(|cost| Settle {
            call: key.to_owned(),
            cost,
        }));
    };
    let first = ledger.reserved(tenant, call).await?;
    // Nothing is reserved for a call that is known to be free.
    add(call, first.or(known.then_some(NanoUsd(0))));
    let more = top_up_key(call);
    if let Some(amount) = ledger.reserved(tenant, &more).await? {
        add(&more, Some(amount));
    }
    for number in 1.. {
        let key = attempt_key(call, number);
        let Some(amount) = ledger.reserved(tenant, &key).await? else {
            break;
        };
        add(&key, Some(amount));
    }
    Ok(paid)
}

/// Settles a call that an earlier process made but did not settle, if there is one. Must be called before the same call is made
/// again.
///
/// # Errors
/// Any error of the store.
pub async fn pay_lost(
    ledger: &dyn Ledger,
    tenant: TenantId,
    call: &str,
    model: (&str, &str, bool),
    at: Timestamp,
) -> Result<()> {
    let (first, more) = (call, &*top_up_key(call));
    if ledger.reserved(tenant, first).await?.is_none()
        && ledger.reserved(tenant, more).await?.is_none()
    {
        return Ok(());
    }
    let paid = settle_lost(ledger, tenant, call, model, at).await?;
    let charge = Charge {
        reserve: None,
        settle: paid.settle,
        ledger: paid.rows,
    };
    ledger.charge(tenant, charge).await.map(drop)
}

/// Returns the key under which the first attempt reserves what it may cost beyond the amount reserved with the intent.
fn top_up_key(call: &str) -> String {
    format!("{call}.a0")
}
