//! What an attempt costs, whatever becomes of it.

use std::sync::Arc;

use konstruct_core::{
    Error, ErrorKind, NanoUsd, Result,
    limit::{Attempt, Budget, Spent},
    llm::{ModelEvent, ModelInfo},
    money::{Basis, Price, Usage},
};

/// Returns whether an error, as the first thing that is heard of a request, says that nothing was done: there is nothing to pay.
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
            // Not reached, or refused before any work; a status that leaves it open is `Ambiguous`.
            | ErrorKind::Unavailable
    )
}

/// The account of one attempt. It settles itself when it is dropped.
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
    /// Whether nothing was said after the usage: then it is the last word.
    last_word: bool,
    /// The bytes of the answer so far: no fewer than its tokens.
    answered: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The request is not yet made, or was refused: it costs nothing.
    Nothing,
    /// The provider may be at work, or was when the attempt broke.
    Open,
    Finished,
}

/// How much a request can use at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) thinks: bool,
}

impl Bill {
    /// Sets aside what an attempt can cost.
    ///
    /// # Errors
    /// Those of the budget: the attempt must not be made.
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
            last_word: false,
            answered: 0,
            outcome: Outcome::Nothing,
        })
    }

    /// Returns the attempt's key in the ledger.
    pub(super) fn key(&self) -> String {
        self.attempt.key()
    }

    /// The request is on its way.
    pub(super) fn sent(&mut self) {
        self.outcome = Outcome::Open;
    }

    /// Takes note of what the provider says.
    pub(super) fn note(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Usage(usage) => (self.usage, self.last_word) = (Some(*usage), true),
            ModelEvent::Text { delta, .. }
            | ModelEvent::Reasoning { delta, .. }
            | ModelEvent::ToolArguments { delta, .. } => {
                self.answered += delta.len() as u64;
                self.last_word = false;
            }
            // Names are tokens too, and so is the wire's own around them.
            ModelEvent::BlockStart { .. } => {
                self.answered += 256;
                self.last_word = false;
            }
            ModelEvent::Finish(_) => self.outcome = Outcome::Finished,
            _ => {}
        }
    }

    /// Takes note of an error: one that says that nothing was done costs nothing.
    pub(super) fn failed(&mut self, error: &Error, begun: bool) {
        let refused = match error.kind() {
            ErrorKind::Unavailable => !begun,
            _ => is_refusal(error) && self.usage.is_none() && self.answered == 0,
        };
        if refused {
            self.outcome = Outcome::Nothing;
        }
    }

    /// Returns what the input may grow to once its first count is known. In recorded answers the last count is up to 1.4 times the first
    /// where the provider runs no tools of its own, which is never asked for here.
    fn input_at_most(&self, known: &Usage) -> u64 {
        let grown = known.all_input().saturating_mul(2).saturating_add(1_024);
        grown.min(self.input_bound.max(known.all_input()))
    }

    fn spent(&self) -> Spent {
        let usage = self.usage.unwrap_or_default();
        // Servers that do not count say zero, and zero is not what anything costs.
        let known = usage.all_input() > 0;
        let counted = known && (usage.all_output() > 0 || self.answered == 0);
        let input = if known {
            self.input_at_most(&usage)
        } else {
            self.input_bound
        };
        // Of a whole answer the bytes bound the tokens, unless some of them were not shown.
        let whole = self.outcome == Outcome::Finished && !self.thinks;
        let output = if whole {
            self.answered.min(self.max_output)
        } else {
            self.max_output
        };
        let price = self.price.as_ref();
        let (cost, basis) = match self.outcome {
            Outcome::Nothing => (price.map(|_| NanoUsd(0)), Basis::Estimated),
            Outcome::Finished if self.last_word && counted => {
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
