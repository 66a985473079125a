//! What one request for vectors costs, whatever becomes of it.

use std::sync::Arc;

use konstruct_core::{
    Result,
    embed::EmbedContext,
    limit::{Attempt, Budget, Spent},
    money::{Basis, Price, Usage},
};

use super::{Answered, Model};
use crate::pool::is_refusal;

/// A tokenizer may add so many tokens to a text.
const AROUND: u64 = 16;

/// The account of a request. It settles itself when it is dropped, at the most unless more is known.
#[derive(Debug)]
pub(super) struct Bill {
    budget: Arc<dyn Budget>,
    attempt: Attempt,
    price: Option<Price>,
    spent: Spent,
}

impl Bill {
    /// Sets aside what a request can cost: no text has more tokens than bytes.
    ///
    /// # Errors
    /// Those of the budget: the request must not be made.
    pub(super) async fn open(
        context: &EmbedContext,
        model: &Model,
        input: &[&str],
    ) -> Result<Self> {
        let bound = |sum: u64, text: &&str| sum + text.len() as u64 + AROUND;
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

    /// Takes note of what came of it.
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
