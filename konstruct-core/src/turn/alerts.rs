//! Reports how much of a cap is spent: once for each level, period and process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Driver;
use crate::{
    Result, TenantId, Timestamp,
    limit::{AlertLevel, BudgetKey, BudgetObserver, BudgetSum},
    store::{LedgerQuery, rules::month},
};

/// The number of sums that are read after a turn. Those with the highest level are the first.
const READ: usize = 16;

/// The alerts of a driver.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    observer: Option<Arc<dyn BudgetObserver>>,
    reported: Mutex<BTreeMap<(TenantId, BudgetKey, Timestamp), AlertLevel>>,
}

impl Alerts {
    pub(super) fn new(observer: Arc<dyn BudgetObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..Self::default()
        }
    }

    /// Returns whether the level of a sum was not reported before.
    fn is_new(&self, tenant: TenantId, sum: &BudgetSum, now: Timestamp) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.retain(|(_, _, until), _| *until > now);
        let key = (tenant, sum.budget, sum.until);
        let before = match sum.sum.alert {
            Some(level) => reported.insert(key, level),
            None => reported.remove(&key),
        };
        sum.sum.alert > before
    }
}

impl Driver {
    /// Reports the sums of a tenant whose level has risen. Called after a turn that moved money under caps.
    pub(super) async fn report_budgets(&self, tenant: TenantId) {
        if let Err(error) = self.new_alerts(tenant).await {
            tracing::warn!(%tenant, %error, "could not read how much of the caps is spent");
        }
    }

    async fn new_alerts(&self, tenant: TenantId) -> Result<()> {
        let now = self.clock.now();
        let query = LedgerQuery::new(month(now)).limit(0).budgets(READ);
        for sum in self.store.ledger(tenant, query).await?.budgets {
            if !self.alerts.is_new(tenant, &sum, now) {
                continue;
            }
            let Some(level) = sum.sum.alert else {
                continue;
            };
            self.stats.count_alert(level);
            let (percent, until) = (level.percent(), sum.until);
            let cap = sum.sum.cap.map(tracing::field::display);
            tracing::warn!(%tenant, budget = %sum.budget, percent, cap, %until, "a cap is nearly or fully spent");
            if let Some(observer) = &self.alerts.observer {
                observer.reached(tenant, sum).await;
            }
        }
        Ok(())
    }
}
