//! Limits on rates and on costs.

mod budget;
mod cap;
mod gcra;
mod local;
mod rates;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use self::{
    budget::{Attempt, Budget, LocalBudget, Spent, Unmetered},
    cap::{
        AlertLevel, AppliedCap, BudgetKey, BudgetObserver, BudgetScope, BudgetSum, Cap, CapScope,
        Period, Sum, budgets,
    },
    gcra::{Gcra, Quota},
    local::LocalLimiter,
    rates::{LimitScope, Limited, PlanRates, Rate, RateLimits, ScopeRates},
};
pub(crate) use self::{
    budget::{attempt_key, over_cap, unknown_price},
    cap::{Payers, validate as validate_caps},
    rates::{Request, Subject, keys},
};
use crate::{Result, TenantId};

/// The subject of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey {
    /// The tenant.
    pub tenant: TenantId,
    /// What is limited, such as `turn:tenant`.
    pub of: String,
}

/// The decision of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The request is allowed and was counted.
    Allowed,
    /// The request is refused and was not counted.
    Limited {
        /// The index of the key with the longest wait.
        key: usize,
        /// How long to wait.
        retry_after: Duration,
    },
}

/// Limits rates.
///
/// # Contract
/// A request counts against all of its keys or none: a refusal by one key does not count against the others. A limiter may lose
/// its state, and then allows more rather than less. It is therefore not used to account for money.
#[async_trait]
pub trait RateLimiter: fmt::Debug + Send + Sync + 'static {
    /// Counts a request against each key, or against none.
    ///
    /// # Errors
    /// Those of the limiter's storage.
    async fn check(&self, keys: &[(LimitKey, Quota)]) -> Result<Decision>;
}
