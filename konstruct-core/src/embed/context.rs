//! On whose behalf texts are embedded, what for, and who pays.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::{
    NanoUsd, Result, TenantId,
    limit::{Attempt, Budget, Unmetered},
};

/// What a text is embedded for; some models want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedKind {
    /// A question to search with.
    Query,
    /// A text to be found.
    Document,
}

/// On whose behalf texts are embedded, what for, and who pays for it.
///
/// ```
/// use konstruct_core::{TenantId, embed::{EmbedContext, EmbedKind}};
///
/// let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "trn_1.q");
/// assert_eq!(context.kind, EmbedKind::Query);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbedContext {
    /// The tenant.
    pub tenant: TenantId,
    /// What for.
    pub kind: EmbedKind,
    /// A key that stays the same when the same texts are embedded again after a crash. It names the call in the ledger too.
    pub idempotency_key: String,
    /// Who pays. [`Unmetered`] unless told otherwise.
    pub budget: Arc<dyn Budget>,
    made: Arc<Made>,
}

/// What was made of a call so far.
#[derive(Debug, Default)]
struct Made {
    attempts: AtomicU32,
    refused: AtomicBool,
}

impl EmbedContext {
    /// A call that nobody meters.
    pub fn new(tenant: TenantId, kind: EmbedKind, idempotency_key: impl Into<String>) -> Self {
        Self {
            tenant,
            kind,
            idempotency_key: idempotency_key.into(),
            budget: Arc::new(Unmetered),
            made: Arc::default(),
        }
    }

    /// Says who pays.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// Sets aside the most that the call's next request to a provider can cost; `None` where its price is unknown. Who made the request has
    /// to settle it, by the budget.
    ///
    /// # Errors
    /// Those of [`Budget::reserve`]: the request must not be made.
    pub async fn reserve(
        &self,
        (provider, model): (&str, &str),
        worst: Option<NanoUsd>,
    ) -> Result<Attempt> {
        let attempt = Attempt {
            call: self.idempotency_key.clone(),
            number: self.made.attempts.fetch_add(1, Ordering::Relaxed),
            provider: provider.to_owned(),
            model: model.to_owned(),
            worst,
        };
        match self.budget.reserve(&attempt).await {
            Ok(()) => Ok(attempt),
            Err(error) => {
                self.made.refused.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Returns whether the budget refused a request of this call: then no other embedder helps, and none is to blame.
    pub fn is_refused(&self) -> bool {
        self.made.refused.load(Ordering::Relaxed)
    }
}
