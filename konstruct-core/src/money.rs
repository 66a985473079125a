//! Money and usage: integer nano-USD, never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in billionths of a US dollar.
///
/// ```
/// use konstruct_core::NanoUsd;
///
/// assert_eq!(NanoUsd::from_usd_micros(1_500_000).to_string(), "$1.500000000");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    /// Makes an amount of millionths of a dollar.
    pub const fn from_usd_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Adds, and stays at the largest amount rather than overflow.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts, and stays at zero rather than overflow.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "${}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// Tokens of one model call, in disjoint buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that came from no cache.
    pub input: u64,
    /// Input tokens read from a cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Input tokens written to a cache for five minutes.
    #[serde(default)]
    pub cache_write_5m: u64,
    /// Input tokens written to a cache for an hour.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// Output tokens, the reasoning among them.
    pub output: u64,
    /// How many of the output tokens were reasoning.
    #[serde(default)]
    pub reasoning: u64,
}

/// Prices of a model, in nano-USD per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// An input token from no cache.
    pub input: u64,
    /// An input token read from a cache.
    pub cache_read: u64,
    /// An input token written to a cache for five minutes.
    pub cache_write_5m: u64,
    /// An input token written to a cache for an hour.
    pub cache_write_1h: u64,
    /// An output token.
    pub output: u64,
}

impl Price {
    /// Returns what a usage costs.
    pub fn of(&self, usage: &Usage) -> NanoUsd {
        let buckets = [
            (usage.input, self.input),
            (usage.cache_read, self.cache_read),
            (usage.cache_write_5m, self.cache_write_5m),
            (usage.cache_write_1h, self.cache_write_1h),
            (usage.output, self.output),
        ];
        NanoUsd(buckets.iter().fold(0, |sum: u64, (tokens, price)| {
            sum.saturating_add(tokens.saturating_mul(*price))
        }))
    }

    /// Returns the most that a call can cost: every input byte a token at the dearest input price, every output token used.
    pub fn worst_case(&self, input_bytes: u64, max_output: u64) -> NanoUsd {
        let dearest = self
            .input
            .max(self.cache_write_1h)
            .max(self.cache_write_5m)
            .max(self.cache_read);
        NanoUsd(
            input_bytes
                .saturating_mul(dearest)
                .saturating_add(max_output.saturating_mul(self.output)),
        )
    }
}

/// How an amount of the ledger is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// By the usage that the provider reported.
    Reported,
    /// By our own count.
    Estimated,
    /// The most it can have been: the answer was lost.
    WorstCase,
}

/// One provider call, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Which call: the turn's id and its number, such as `trn_….m1`.
    pub call: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The tokens.
    pub usage: Usage,
    /// The amount; `None` where the price is unknown, which is not zero.
    pub cost: Option<NanoUsd>,
    /// How it is known.
    pub basis: Basis,
}
