//! How the attempts of one model call are paid for from the journal.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    NanoUsd, Result, TenantId, Timestamp,
    limit::{Attempt, Budget, Spent, attempt_key, over_cap, unknown_price},
    money::{Basis, LedgerRow, Usage},
    store::{Charge, Ledger, Reserve, Settle, Store},
};

/// The budget of one call, over a [`Ledger`]. The cost of the first attempt was reserved with the call's intent; what goes beyond is reserved
/// in transactions of its own. What it cost in the end is written by the caller, with the answer: [`CallBudget::close`].
///
/// A call that no process lived to close is settled by [`settle_lost`].
#[derive(Debug)]
pub struct CallBudget {
    store: Arc<dyn Store>,
    tenant: TenantId,
    call: String,
    cap: Option<NanoUsd>,
    /// What was set aside with the intent.
    intended: Option<NanoUsd>,
    attempts: Mutex<BTreeMap<u32, (Attempt, Option<Spent>)>>,
}

/// What a call has cost, attempt by attempt. Empty where the backend makes no attempts of its own: the caller settles then.
#[derive(Debug, Default)]
pub struct Paid {
    /// What frees the money that was set aside.
    pub settle: Vec<Settle>,
    /// The rows of the ledger.
    pub rows: Vec<LedgerRow>,
}

impl CallBudget {
    /// A budget for a call. `intended` is what was set aside for its first attempt already, under the call's own key.
    pub fn new(
        store: &Arc<dyn Store>,
        tenant: TenantId,
        call: &str,
        (intended, cap): (Option<NanoUsd>, Option<NanoUsd>),
    ) -> Self {
        Self {
            store: Arc::clone(store),
            tenant,
            call: call.to_owned(),
            cap,
            intended,
            attempts: Mutex::default(),
        }
    }

    /// Sums up a call that is over. An attempt that nobody settled has cost the most that it can.
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

    /// Returns what has to be set aside for an attempt, beyond what the intent did.
    fn wanted(&self, attempt: &Attempt) -> Option<(String, NanoUsd)> {
        let worst = attempt.worst.unwrap_or_default();
        if attempt.number > 0 {
            // Of a free attempt too: after a crash this is what tells that it was made.
            return Some((attempt.key(), worst));
        }
        let more = worst.saturating_sub(self.intended.unwrap_or_default());
        (more > NanoUsd(0)).then(|| (top_up_key(&self.call), more))
    }
}

#[async_trait]
impl Budget for CallBudget {
    async fn reserve(&self, attempt: &Attempt) -> Result<()> {
        if attempt.worst.is_none() && self.cap.is_some() {
            return Err(unknown_price());
        }
        // Until it is allowed it costs nothing. Whoever stops waiting here may have the money set aside all the same: it is freed at the end.
        self.note(
            attempt,
            Some(Spent {
                usage: Usage::default(),
                cost: attempt.worst.map(|_| NanoUsd(0)),
                basis: Basis::Estimated,
            }),
        );
        if let Some((call, amount)) = self.wanted(attempt) {
            let cap = self.cap;
            let charge = Charge {
                reserve: Some(Reserve { call, amount, cap }),
                ..Charge::default()
            };
            if !self.store.charge(self.tenant, charge).await? {
                let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
                attempts.remove(&attempt.number);
                return Err(over_cap());
            }
        }
        self.note(attempt, None);
        Ok(())
    }

    fn settle(&self, attempt: &Attempt, spent: Spent) {
        self.note(attempt, Some(spent));
    }
}

/// Returns what a call has cost that a crash cut off: all that is set aside for its attempts. `known` tells whether its price is known: what
/// has no price is not free.
///
/// # Errors
/// Those of the store.
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
    // A call that is known to be free has nothing set aside.
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

/// Pays for a call that an earlier process made and did not live to settle, if it did: before the same call is made again.
///
/// # Errors
/// Those of the store.
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

/// The key of what the first attempt may cost beyond what was set aside with the intent.
fn top_up_key(call: &str) -> String {
    format!("{call}.a0")
}
