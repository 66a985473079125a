//! What was spent, from the rows of the ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was spent in a time, in groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// The groups: days in their order, everything else by cost, the highest first.
    pub groups: Vec<SpendGroup>,
}

/// The sums of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpendGroup {
    /// The day in UTC, the kind (`model`, `embedding`, `transcription`), `provider/model`, or an id. `(other)` for calls outside of
    /// conversations, for conversations of several people, and for groups beyond the first thousand.
    pub name: String,
    /// The cost in billionths of a US dollar, of the calls whose price is known.
    pub nano_usd: u64,
    /// The number of calls, each attempt counted.
    pub calls: u64,
    /// The tokens that were sent, those read from a cache included.
    pub input_tokens: u64,
    /// The tokens that were generated, reasoning included.
    pub output_tokens: u64,
    /// How many of the calls have no known price.
    pub without_price: u64,
    /// How many of the calls are counted at their highest possible cost, because the provider's answer was lost.
    pub at_worst_case: u64,
}
