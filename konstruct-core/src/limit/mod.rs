//! Limits: how much of something a tenant or a channel may do in a time, and what it may cost.

mod budget;
mod gcra;
mod local;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub(crate) use self::budget::{attempt_key, over_cap, unknown_price};
pub use self::{
    budget::{Attempt, Budget, LocalBudget, Spent, Unmetered},
    gcra::{Gcra, Quota},
    local::LocalLimiter,
};
use crate::{Result, TenantId};

/// What is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of what: `turns`, or a connection's id.
    pub of: String,
}

/// The answer of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead; it was counted.
    Allowed,
    /// Come back later; nothing was counted.
    Limited {
        /// Which of the keys is the one to wait longest for.
        key: usize,
        /// How long to wait.
        retry_after: Duration,
    },
}

/// Counts, and says when it is too much.
///
/// # Contract
/// All keys or none: a refusal by one counts against no other. A limiter may lose its counts (it is never the record of
/// money), and then allows more rather than less.
#[async_trait]
pub trait RateLimiter: fmt::Debug + Send + Sync + 'static {
    /// Takes one of each key, or none.
    ///
    /// # Errors
    /// When the counts could not be reached.
    async fn check(&self, keys: &[(LimitKey, Quota)]) -> Result<Decision>;
}
