//! The context of a transcription: the tenant, the timeout and the budget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{TranscriberInfo, Transcript};
use crate::{
    Error, ErrorKind, Result, TenantId,
    limit::{Attempt, Budget, Spent, Unmetered},
    money::{Basis, Usage},
};

/// The context of a transcription: the tenant, the timeout and the budget.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpeechContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The call's key in the ledger.
    pub idempotency_key: String,
    /// The timeout of the whole transcription.
    pub timeout: Duration,
    /// The budget that pays for it; [`Unmetered`] by default.
    pub budget: Arc<dyn Budget>,
    attempts: Arc<AtomicU32>,
}

impl SpeechContext {
    /// Creates the context of a transcription that is not metered.
    pub fn new(tenant: TenantId, idempotency_key: impl Into<String>, timeout: Duration) -> Self {
        Self {
            tenant,
            idempotency_key: idempotency_key.into(),
            timeout,
            budget: Arc::new(Unmetered),
            attempts: Arc::default(),
        }
    }

    /// Sets the budget that pays for the transcription.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }
}

/// The cost of one request to a provider. It is settled on drop, at the maximum unless the outcome was noted.
#[derive(Debug)]
pub struct SpeechBill<'a> {
    context: &'a SpeechContext,
    info: &'a TranscriberInfo,
    attempt: Attempt,
    spent: Spent,
}

impl<'a> SpeechBill<'a> {
    /// Reserves the maximum cost of a request with a recording of this many bytes.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if the model does not accept so many bytes, and those of [`Budget::reserve`]. The request must not
    /// be made then.
    pub async fn open(
        context: &'a SpeechContext,
        info: &'a TranscriberInfo,
        bytes: usize,
    ) -> Result<Self> {
        let bytes = bytes as u64;
        if bytes > info.max_bytes {
            let message = format!("the recording has more than {} bytes", info.max_bytes);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let worst = info.price.as_ref().map(|price| price.worst_case(bytes));
        let attempt = Attempt {
            call: context.idempotency_key.clone(),
            number: context.attempts.fetch_add(1, Ordering::Relaxed),
            provider: info.provider.clone(),
            model: info.model.clone(),
            worst,
        };
        context.budget.reserve(&attempt).await?;
        let spent = Spent {
            usage: Usage::default(),
            cost: worst,
            basis: Basis::WorstCase,
        };
        Ok(Self {
            context,
            info,
            attempt,
            spent,
        })
    }

    /// Records the outcome.
    pub fn note(&mut self, outcome: &Result<Transcript>) {
        let price = self.info.price.as_ref();
        match outcome {
            Ok(transcript) => {
                self.spent.usage = transcript.usage.unwrap_or_default();
                if let Some(cost) = price.and_then(|price| price.of(transcript)) {
                    self.spent.cost = Some(cost);
                    self.spent.basis = Basis::Reported;
                }
            }
            Err(error) if may_be_billed(error.kind()) => {}
            Err(_) => {
                self.spent.cost = price.map(|_| crate::NanoUsd(0));
                self.spent.basis = Basis::Estimated;
            }
        }
    }
}

impl Drop for SpeechBill<'_> {
    fn drop(&mut self) {
        self.context.budget.settle(&self.attempt, self.spent);
    }
}

/// Returns whether a provider may bill a request that failed in this way.
fn may_be_billed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Ambiguous | ErrorKind::Truncated | ErrorKind::Protocol
    )
}
