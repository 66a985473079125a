//! Money and usage, as integers of nano-USD and never as floats.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ConversationId, Timestamp};

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
    /// Creates an amount from millionths of a dollar.
    pub const fn from_usd_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Adds two amounts. The result saturates at the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts an amount. The result saturates at zero.
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

/// Token counts of one model call, in disjoint buckets whose sum is the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Uncached input tokens.
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
    /// Output tokens without reasoning.
    pub output: u64,
    /// Reasoning tokens, at the price of output tokens.
    #[serde(default)]
    pub reasoning: u64,
}

impl Usage {
    /// Returns the number of all input tokens, cached or not.
    pub fn all_input(&self) -> u64 {
        [
            self.input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Returns the number of all output tokens, including reasoning.
    pub fn all_output(&self) -> u64 {
        self.output.saturating_add(self.reasoning)
    }
}

/// Prices of a model per kind of token, in nano-USD per million tokens: $3.00 per million is 3,000,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Uncached input tokens.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cache_read: u64,
    /// Input tokens written to a cache for five minutes.
    pub cache_write_5m: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Output tokens.
    pub output: u64,
}

impl Rates {
    /// Returns rates with one price for all kinds of input and one for output.
    pub const fn flat(input: u64, output: u64) -> Self {
        Self {
            input,
            cache_read: input,
            cache_write_5m: input,
            cache_write_1h: input,
            output,
        }
    }

    fn dearest_input(&self) -> u64 {
        self.input
            .max(self.cache_write_1h)
            .max(self.cache_write_5m)
            .max(self.cache_read)
    }

    /// Returns the higher rate of each kind.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            output: self.output.max(other.output),
        }
    }
}

/// The price of a model: its base rates, and different rates for long requests.
///
/// ```
/// use konstruct_core::{NanoUsd, money::{Price, Rates, Usage}};
///
/// // $0.40 and $1.60 per million tokens.
/// let price = Price::from(Rates::flat(400_000_000, 1_600_000_000));
/// let usage = Usage { input: 1_000, output: 10, ..Usage::default() };
/// assert_eq!(price.of(&usage), NanoUsd(416_000));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PriceForm")]
pub struct Price {
    /// The rates of requests below all tiers.
    pub rates: Rates,
    /// The rates of longer requests, in ascending order. They apply to all tokens of such a request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<PriceTier>,
}

/// The rates of requests with more than a number of input tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTier {
    /// The number of input tokens, including cached ones, above which these rates apply.
    pub above: u64,
    /// The rates.
    pub rates: Rates,
}

impl From<Rates> for Price {
    fn from(rates: Rates) -> Self {
        Self {
            rates,
            tiers: Vec::new(),
        }
    }
}

impl Price {
    /// Adds a tier. Replaces a tier that starts at the same number.
    #[must_use]
    pub fn with_tier(mut self, above: u64, rates: Rates) -> Self {
        self.tiers.retain(|tier| tier.above != above);
        self.tiers.push(PriceTier { above, rates });
        self.tiers.sort_by_key(|tier| tier.above);
        self
    }

    /// Returns the rates of a request with a number of input tokens.
    pub fn at(&self, input: u64) -> &Rates {
        let tier = self.tiers.iter().rfind(|tier| input > tier.above);
        tier.map_or(&self.rates, |tier| &tier.rates)
    }

    /// Returns the cost of a usage, rounded up to a nano-USD.
    pub fn of(&self, usage: &Usage) -> NanoUsd {
        let rates = self.at(usage.all_input());
        cost([
            (usage.input, rates.input),
            (usage.cache_read, rates.cache_read),
            (usage.cache_write_5m, rates.cache_write_5m),
            (usage.cache_write_1h, rates.cache_write_1h),
            (usage.all_output(), rates.output),
        ])
    }

    /// Returns the maximum cost of a call: all input tokens at the highest rate that can apply, and all output tokens used.
    pub fn worst_case(&self, input_bound: u64, max_output: u64) -> NanoUsd {
        let reached = self.tiers.iter().filter(|tier| input_bound > tier.above);
        let rates = reached.fold(self.rates, |rates, tier| rates.max(&tier.rates));
        cost([
            (input_bound, rates.dearest_input()),
            (max_output, rates.output),
        ])
    }

    /// Returns a price that is never lower than either price.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        let mut price = Self::from(self.rates.max(&other.rates));
        for tier in self.tiers.iter().chain(&other.tiers) {
            if price.tiers.iter().all(|known| known.above != tier.above) {
                let above = tier.above.saturating_add(1);
                let both = self.at(above).max(other.at(above));
                price = price.with_tier(tier.above, both);
            }
        }
        price
    }
}

/// Returns the sum of token counts at rates per million, rounded up.
fn cost<const N: usize>(buckets: [(u64, u64); N]) -> NanoUsd {
    let sum = buckets.iter().fold(0_u128, |sum, (tokens, rate)| {
        sum.saturating_add(u128::from(*tokens) * u128::from(*rate))
    });
    NanoUsd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// The JSON form of a price. The first records stored rates per token instead of per million.
#[derive(Deserialize)]
#[serde(untagged)]
enum PriceForm {
    PerMillion {
        rates: Rates,
        #[serde(default)]
        tiers: Vec<PriceTier>,
    },
    PerToken(Rates),
}

impl From<PriceForm> for Price {
    fn from(form: PriceForm) -> Self {
        match form {
            PriceForm::PerMillion { rates, tiers } => {
                tiers.iter().fold(Self::from(rates), |price, tier| {
                    price.with_tier(tier.above, tier.rates)
                })
            }
            PriceForm::PerToken(rates) => {
                let million = |rate: u64| rate.saturating_mul(1_000_000);
                Self::from(Rates {
                    input: million(rates.input),
                    cache_read: million(rates.cache_read),
                    cache_write_5m: million(rates.cache_write_5m),
                    cache_write_1h: million(rates.cache_write_1h),
                    output: million(rates.output),
                })
            }
        }
    }
}

/// How an amount in the ledger is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// Computed from the usage that the provider reported.
    Reported,
    /// Computed from the usage reported before the provider failed and the maximum that may follow; zero if the provider refused
    /// the request.
    Estimated,
    /// The maximum cost, because the answer was lost.
    WorstCase,
}

/// What a ledger row pays for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LedgerKind {
    /// A call of a language model.
    #[default]
    Model,
    /// A request to an embedder.
    Embedding,
    /// The transcription of a recording.
    Transcription,
}

impl LedgerKind {
    fn is_model(&self) -> bool {
        *self == Self::Model
    }
}

/// A ledger row: one attempt of a provider call.
///
/// ```
/// use konstruct_core::{NanoUsd, Timestamp, money::{Basis, LedgerRow, Usage}};
///
/// let row = LedgerRow::new("job-7.m1", Timestamp::from_secs(1_794_657_600), "openai", "gpt-5-mini")
///     .costing(NanoUsd(1_250_000), Usage { input: 900, output: 80, ..Usage::default() }, Basis::Reported);
/// assert_eq!(row.cost, Some(NanoUsd(1_250_000)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerRow {
    /// The key of the call: the turn's id and the call's number, such as `trn_….m1`, with `.a1` and so on for later attempts.
    pub call: String,
    /// When its cost was settled, by the clock of the process that made the call.
    pub at: Timestamp,
    /// The conversation that the call was made for; `None` for calls outside of conversations, such as embedding a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// What the row pays for.
    #[serde(default, skip_serializing_if = "LedgerKind::is_model")]
    pub kind: LedgerKind,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The token counts.
    pub usage: Usage,
    /// The cost; `None` if the price is unknown, which does not mean zero.
    pub cost: Option<NanoUsd>,
    /// How the cost is known.
    pub basis: Basis,
}

impl LedgerRow {
    /// Creates a row with an unknown cost.
    pub fn new(
        call: impl Into<String>,
        at: Timestamp,
        provider: impl Into<String>,
        model: impl Into<String>,
    ) -> Self {
        Self {
            call: call.into(),
            at,
            conversation: None,
            kind: LedgerKind::Model,
            provider: provider.into(),
            model: model.into(),
            usage: Usage::default(),
            cost: None,
            basis: Basis::WorstCase,
        }
    }

    /// Sets the cost and how it is known.
    #[must_use]
    pub fn costing(mut self, cost: impl Into<Option<NanoUsd>>, usage: Usage, basis: Basis) -> Self {
        self.cost = cost.into();
        self.usage = usage;
        self.basis = basis;
        self
    }

    /// Sets what the row pays for; a model call by default.
    #[must_use]
    pub fn of_kind(mut self, kind: LedgerKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the conversation that the call was made for.
    #[must_use]
    pub fn in_conversation(mut self, conversation: impl Into<Option<ConversationId>>) -> Self {
        self.conversation = conversation.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_requests_have_rates_of_their_own() {
        let price = Price::from(Rates::flat(3_000_000_000, 15_000_000_000))
            .with_tier(200_000, Rates::flat(6_000_000_000, 22_500_000_000));
        let check = |input, cache_read, expected| {
            let usage = Usage {
                input,
                cache_read,
                output: 1,
                ..Usage::default()
            };
            assert_eq!(price.of(&usage), NanoUsd(expected), "{input} {cache_read}");
        };
        check(200_000, 0, 600_015_000);
        check(200_001, 0, 1_200_028_500);
        check(150_000, 50_001, 1_200_028_500);
        assert_eq!(price.worst_case(200_000, 1), NanoUsd(600_015_000));
        assert_eq!(price.worst_case(200_001, 1), NanoUsd(1_200_028_500));
    }

    #[test]
    fn a_part_of_a_nano_counts_as_one() {
        // $0.0028 per million tokens is 2.8 nano-USD per token.
        let price = Price::from(Rates::flat(2_800_000, 0));
        let usage = |input| Usage {
            input,
            ..Usage::default()
        };
        assert_eq!(price.of(&usage(5)), NanoUsd(14));
        assert_eq!(price.of(&usage(1)), NanoUsd(3));
        assert_eq!(price.of(&usage(0)), NanoUsd(0));
    }

    fn rates() -> impl Strategy<Value = Rates> {
        proptest::array::uniform5(0..50_000_000_000_u64).prop_map(
            |[input, cache_read, cache_write_5m, cache_write_1h, output]| Rates {
                input,
                cache_read,
                cache_write_5m,
                cache_write_1h,
                output,
            },
        )
    }

    fn price() -> impl Strategy<Value = Price> {
        let tiers = proptest::collection::vec((0..4_u64, rates()), 0..3);
        (rates(), tiers).prop_map(|(rates, tiers)| {
            tiers
                .into_iter()
                .fold(Price::from(rates), |price, (above, rates)| {
                    price.with_tier(above * 1_000, rates)
                })
        })
    }

    proptest! {
        #[test]
        fn no_usage_within_the_bounds_costs_more_than_the_worst_case(
            price in price(), other in price(), parts in proptest::array::uniform6(0..1_000_u64),
        ) {
            let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = parts;
            let usage = Usage { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning };
            let worst = price.worst_case(usage.all_input(), usage.all_output());
            prop_assert!(price.of(&usage) <= worst);
            prop_assert!(price.of(&usage) <= price.max(&other).of(&usage));
            prop_assert!(worst <= price.max(&other).worst_case(usage.all_input(), usage.all_output()));
            let json = serde_json::to_string(&price).unwrap();
            prop_assert_eq!(serde_json::from_str::<Price>(&json).unwrap(), price);
        }
    }
}
