//! The price table and its parser.

use std::sync::LazyLock;

use konstruct_core::{
    Error, Result,
    money::{Price, Rates},
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The table built into this version.
static BUILT_IN: LazyLock<PriceTable> =
    LazyLock::new(|| PriceTable::parse(include_str!("prices.json")).unwrap_or_default());

/// Prices of models, by provider and model.
///
/// The built-in table was read from the providers' price pages on the date of its version, by way of public tables that quote
/// them; it has the prices of the standard tier. A model that is not in the table has no price, which does not mean that it is
/// free: its calls are recorded with an unknown cost, and rejected under a cap.
///
/// A custom file has the same format, with prices in US dollars per million tokens as text, so that no digit is lost:
///
/// ```
/// use konstruct_core::{NanoUsd, money::Usage};
/// use konstruct_llm::PriceTable;
///
/// let table = PriceTable::parse(r#"{
///     "version": "2026-12-01",
///     "unit": "USD per million tokens",
///     "models": [{
///         "provider": "openai", "model": "our-llama",
///         "rates": {"input": "0.10", "output": "0.40"},
///         "tiers": [{"above": 128000, "rates": {"input": "0.20", "output": "0.60"}}]
///     }]
/// }"#)?;
/// let price = table.price("openai", "our-llama").unwrap();
/// assert_eq!(price.of(&Usage { input: 10, output: 1, ..Usage::default() }), NanoUsd(1_400));
/// assert_eq!(table.price("openai", "another"), None);
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    version: String,
    models: Vec<Model>,
}

impl PriceTable {
    /// Returns the table built into this version.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Parses a table. A missing cache rate defaults to the input rate.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) with the position of the mistake.
    pub fn parse(json: &str) -> Result<Self> {
        let file: File =
            serde_json::from_str(json).map_err(|error| Error::invalid("prices", error))?;
        if file.unit != "USD per million tokens" {
            return Err(Error::invalid(
                "prices.unit",
                "must be `USD per million tokens`",
            ));
        }
        Ok(Self {
            version: file.version,
            models: file.models,
        })
    }

    /// Returns the table's version: the date of its prices.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns a model's price, also for a dated name such as `gpt-4.1-mini-2025-04-14` or `claude-haiku-4-5-20251001`.
    pub fn price(&self, provider: &str, model: &str) -> Option<Price> {
        let found = self.models.iter().find(|known| {
            known.provider == provider
                && model
                    .strip_prefix(&*known.model)
                    .is_some_and(|rest| rest.is_empty() || is_date(rest))
        })?;
        let price = Price::from(found.rates.rates());
        Some(found.tiers.iter().fold(price, |price, tier| {
            price.with_tier(tier.above, tier.rates.rates())
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    unit: String,
    models: Vec<Model>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    provider: String,
    model: String,
    rates: FileRates,
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    above: u64,
    rates: FileRates,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRates {
    input: Usd,
    cache_read: Option<Usd>,
    cache_write_5m: Option<Usd>,
    cache_write_1h: Option<Usd>,
    output: Usd,
}

impl FileRates {
    fn rates(&self) -> Rates {
        let cached = |rate: &Option<Usd>| rate.as_ref().unwrap_or(&self.input).0;
        Rates {
            input: self.input.0,
            cache_read: cached(&self.cache_read),
            cache_write_5m: cached(&self.cache_write_5m),
            cache_write_1h: cached(&self.cache_write_1h),
            output: self.output.0,
        }
    }
}

/// An amount as decimal digits, in nano-USD.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Usd(u64);

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        nano(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is not an amount in US dollars such as \"0.075\" with at most nine decimals"
            ))
        })
    }
}

fn nano(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(part)
}

/// Returns whether a name's suffix is a date or `-latest`, and not another model's version.
fn is_date(rest: &str) -> bool {
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    rest == "-latest"
        || (rest.starts_with('-')
            && digits == 8
            && rest.bytes().all(|b| b == b'-' || b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let input = |provider, model| {
            let price = PriceTable::built_in().price(provider, model);
            price.map(|price| price.rates.input)
        };
        assert_eq!(input("openai", "gpt-4.1-mini"), Some(400_000_000));
        assert_eq!(
            input("openai", "gpt-4.1-mini-2025-04-14"),
            Some(400_000_000)
        );
        assert_eq!(input("openai", "gpt-4.1"), Some(2_000_000_000));
        assert_eq!(input("openai", "text-embedding-3-small"), Some(20_000_000));
        assert_eq!(input("openai", "gpt-4"), None);
        assert_eq!(input("openai", "llama3"), None);
        assert_eq!(
            input("anthropic", "claude-haiku-4-5-20251001"),
            Some(1_000_000_000)
        );
        assert_eq!(input("anthropic", "claude-sonnet-4-9"), None);
        assert_eq!(input("anthropic", "gpt-4.1"), None);
    }

    #[test]
    fn amounts() {
        for (text, expected) in [
            ("0.075", Some(75_000_000)),
            ("15", Some(15_000_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("99999999999999", None),
        ] {
            assert_eq!(nano(text), expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_problem() {
        let check = |json: &str, told: &str| {
            let error = PriceTable::parse(json).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        };
        let file = |rates: &str| {
            format!(
                r#"{{"version":"1","unit":"USD per million tokens","models":[{{"provider":"p","model":"m","rates":{rates}}}]}}"#
            )
        };
        check(&file(r#"{"input":"1"}"#), "output");
        check(&file(r#"{"input":"one","output":"1"}"#), "\"one\"");
        check(&file(r#"{"input":"1","output":"1","cache":"1"}"#), "cache");
        check(r#"{"version":"1","unit":"EUR","models":[]}"#, "prices.unit");
    }
}
