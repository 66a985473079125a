//! The cost of an attempt, whatever its outcome.

use std::sync::Arc;

use konstruct_core::{
    Error, ErrorKind, NanoUsd, Result,
    limit::{Attempt, Budget, Spent},
    llm::{ModelEvent, ModelInfo},
    money::{Basis, Price, Usage},
};

/// Returns whether an error, as the first response to a request, means that no work was done, so that nothing is charged.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::RateLimited
            | ErrorKind::QuotaExhausted
            | ErrorKind::TooLarge
            | ErrorKind::Unsupported
            // Not reached, or rejected before any work; ambiguous statuses are `Ambiguous`.
            | ErrorKind::Unavailable
    )
}

/// The cost of one attempt. It is settled on drop.
#[derive(Debug)]
pub(super) struct Bill {
    budget: Arc<dyn Budget>,
    attempt: Attempt,
    price: Option<Price>,
    max_output: u64,
    input_bound: u64,
    /// Whether tokens may be billed that are not in the answer.
    thinks: bool,
    usage: Option<Usage>,
    /// Whether no content followed the usage, so that it is final.
    usage_is_final: bool,
    /// The size of the answer so far, in bytes: an upper bound for its tokens.
    answer_bytes: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The request was not sent or was rejected: it costs nothing.
    Nothing,
    /// The provider may be working, or was when the attempt broke.
    Open,
    Finished,
}

/// The maximum usage of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) thinks: bool,
}

impl Bill {
    /// Reserves the maximum cost of an attempt.
    ///
    /// # Errors
    /// Those of the budget; the attempt must not be made then.
    pub(super) async fn open(
        budget: &Arc<dyn Budget>,
        (call, number): (&str, u32),
        info: &ModelInfo,
        bounds: Bounds,
    ) -> Result<Self> {
        let price = info.price.clone();
        let attempt = Attempt {
            call: call.to_owned(),
            number,
            provider: info.provider.clone(),
            model: info.model.clone(),
            worst: price
                .as_ref()
                .map(|price| price.worst_case(bounds.input, bounds.output)),
        };
        budget.reserve(&attempt).await?;
        Ok(Self {
            budget: Arc::clone(budget),
            attempt,
            price,
            max_output: bounds.output,
            input_bound: bounds.input,
            thinks: bounds.thinks,
            usage: None,
            usage_is_final: false,
            answer_bytes: 0,
            outcome: Outcome::Nothing,
        })
    }

    /// Returns the attempt's key in the ledger.
    pub(super) fn key(&self) -> String {
        self.attempt.key()
    }

    /// Records that the request is being sent.
    pub(super) fn sent(&mut self) {
        self.outcome = Outcome::Open;
    }

    /// Records an event of the provider.
    pub(super) fn note(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Usage(usage) => (self.usage, self.usage_is_final) = (Some(*usage), true),
            ModelEvent::Text { delta, .. }
            | ModelEvent::Reasoning { delta, .. }
            | ModelEvent::ToolArguments { delta, .. } => {
                self.answer_bytes += delta.len() as u64;
                self.usage_is_final = false;
            }
            // Tool names are tokens too, and so are the wire's own around them.
            ModelEvent::BlockStart { .. } => {
                self.answer_bytes += 256;
                self.usage_is_final = false;
            }
            ModelEvent::Finish(_) => self.outcome = Outcome::Finished,
            _ => {}
        }
    }

    /// Records an error: one that means that no work was done costs nothing.
    pub(super) fn failed(&mut self, error: &Error, begun: bool) {
        let refused = match error.kind() {
            ErrorKind::Unavailable => !begun,
            _ => is_refusal(error) && self.usage.is_none() && self.answer_bytes == 0,
        };
        if refused {
            self.outcome = Outcome::Nothing;
        }
    }

    /// Returns an upper bound for the input after its first count. In recorded answers the last count is up to 1.4 times the
    /// first if the provider runs no tools of its own, which are never requested here.
    fn input_at_most(&self, known: &Usage) -> u64 {
        let grown = known.all_input().saturating_mul(2).saturating_add(1_024);
        grown.min(self.input_bound.max(known.all_input()))
    }

    fn spent(&self) -> Spent {
        let usage = self.usage.unwrap_or_default();
        // Servers that do not count report zero, and no request has zero tokens.
        let known = usage.all_input() > 0;
        let counted = known && (usage.all_output() > 0 || self.answer_bytes == 0);
        let input = if known {
            self.input_at_most(&usage)
        } else {
            self.input_bound
        };
        // For a complete answer the bytes are an upper bound of the tokens, unless some of them were not shown.
        let whole = self.outcome == Outcome::Finished && !self.thinks;
        let output = if whole {
            self.answer_bytes.min(self.max_output)
        } else {
            self.max_output
        };
        let price = self.price.as_ref();
        let (cost, basis) = match self.outcome {
            Outcome::Nothing => (price.map(|_| NanoUsd(0)), Basis::Estimated),
            Outcome::Finished if self.usage_is_final && counted => {
                (price.map(|price| price.of(&usage)), Basis::Reported)
            }
            _ if known || whole => {
                let most = price.map(|price| price.worst_case(input, output));
                (most, Basis::Estimated)
            }
            _ => (self.attempt.worst, Basis::WorstCase),
        };
        Spent { usage, cost, basis }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.budget.settle(&self.attempt, self.spent());
    }
}
