//! The context of an embedding call: the tenant, the purpose and the budget.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::{
    NanoUsd, Result, TenantId,
    limit::{Attempt, Budget, Unmetered},
};

/// The purpose of an embedding, which some models take into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedKind {
    /// A search query.
    Query,
    /// A text to be found.
    Document,
}

/// The context of an embedding call: the tenant, the purpose and the budget.
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
    /// The purpose.
    pub kind: EmbedKind,
    /// A key that stays the same when the same texts are embedded again after a crash. It is also the call's key in the ledger.
    pub idempotency_key: String,
    /// The budget that pays for the call; [`Unmetered`] by default.
    pub budget: Arc<dyn Budget>,
    made: Arc<Made>,
}

/// The progress of a call.
#[derive(Debug, Default)]
struct Made {
    attempts: AtomicU32,
    refused: AtomicBool,
}

impl EmbedContext {
    /// Creates the context of a call that is not metered.
    pub fn new(tenant: TenantId, kind: EmbedKind, idempotency_key: impl Into<String>) -> Self {
        Self {
            tenant,
            kind,
            idempotency_key: idempotency_key.into(),
            budget: Arc::new(Unmetered),
            made: Arc::default(),
        }
    }

    /// Sets the budget that pays for the call.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// Reserves the maximum cost of the call's next request to a provider; `None` if its price is unknown. The caller must settle
    /// the request with the budget.
    ///
    /// # Errors
    /// Those of [`Budget::reserve`]. The request must not be made then.
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

    /// Returns whether the budget refused a request of this call. Another embedder would be refused as well, and the embedder did
    /// not fail.
    pub fn is_refused(&self) -> bool {
        self.made.refused.load(Ordering::Relaxed)
    }
}
