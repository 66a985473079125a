//! The cost of one embedding request, whatever its outcome.

use std::sync::Arc;

use konstruct_core::{
    Result,
    embed::EmbedContext,
    limit::{Attempt, Budget, Spent},
    money::{Basis, Price, Usage},
};

use super::{Answered, Model};
use crate::pool::is_refusal;

/// The number of special tokens that a tokenizer may add to a text.
const SPECIAL_TOKENS: u64 = 16;

/// The cost of a request. It is settled on drop, at the worst case unless the actual cost is known.
#[derive(Debug)]
pub(super) struct Bill {
    budget: Arc<dyn Budget>,
    attempt: Attempt,
    price: Option<Price>,
    spent: Spent,
}

impl Bill {
    /// Reserves the maximum cost of a request: a text has at most one token per byte.
    ///
    /// # Errors
    /// Those of the budget; the request must not be made then.
    pub(super) async fn open(
        context: &EmbedContext,
        model: &Model,
        input: &[&str],
    ) -> Result<Self> {
        let bound = |sum: u64, text: &&str| sum + text.len() as u64 + SPECIAL_TOKENS;
        let bound = input.iter().fold(0, bound);
        let price = model.price.clone();
        let worst = price.as_ref().map(|price| price.worst_case(bound, 0));
        let attempt = context
            .reserve((model.provider, &model.name), worst)
            .await?;
        Ok(Self {
            budget: Arc::clone(&context.budget),
            attempt,
            price,
            spent: Spent {
                usage: Usage::default(),
                cost: worst,
                basis: Basis::WorstCase,
            },
        })
    }

    /// Records the outcome.
    pub(super) fn note(&mut self, answer: &Result<Answered>) {
        let (usage, basis) = match answer {
            Ok(Answered {
                tokens: Some(input),
                ..
            }) if *input > 0 => {
                let usage = Usage {
                    input: *input,
                    ..Usage::default()
                };
                (usage, Basis::Reported)
            }
            Err(error) if is_refusal(error) => (Usage::default(), Basis::Estimated),
            _ => return,
        };
        let cost = self.price.as_ref().map(|price| price.of(&usage));
        self.spent = Spent { usage, cost, basis };
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.budget.settle(&self.attempt, self.spent);
    }
}
