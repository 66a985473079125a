//! What well-known models cost.
//!
//! Read on 2026-11-24 from the providers' price pages (platform.claude.com "Model pricing", developers.openai.com "Pricing")
//! by way of public tables that quote them; standard tier, short prompts. A model that is not here has no price, which is not free:
//! the operator names it with the backend's `price`. Long-prompt tariffs (above 100,000 tokens on Haiku 5.5, 272,000 on GPT-6)
//! lie beyond what a turn sends.

use konstruct_core::Price;

/// Per provider and model: input, cache read, 5-minute cache write, 1-hour cache write and output, in nano-USD per token,
/// which is thousandths of a dollar per million tokens.
const TABLE: &[(&str, &str, [u64; 5])] = &[
    ("openai", "gpt-6.1-sol", [2_000, 100, 2_500, 2_500, 10_000]),
    ("openai", "gpt-6-sol", [2_000, 200, 2_500, 2_500, 10_000]),
    ("openai", "gpt-6-luna", [100, 10, 125, 125, 500]),
    ("openai", "gpt-5.4", [2_500, 250, 2_500, 2_500, 15_000]),
    ("openai", "gpt-5.4-mini", [750, 75, 750, 750, 4_500]),
    ("openai", "gpt-5.2", [1_750, 175, 1_750, 1_750, 14_000]),
    ("openai", "gpt-5.1", [1_250, 125, 1_250, 1_250, 10_000]),
    ("openai", "gpt-5", [1_250, 125, 1_250, 1_250, 10_000]),
    ("openai", "gpt-5-mini", [250, 25, 250, 250, 2_000]),
    ("openai", "gpt-5-nano", [50, 5, 50, 50, 400]),
    ("openai", "gpt-4.1", [2_000, 500, 2_000, 2_000, 8_000]),
    ("openai", "gpt-4.1-mini", [400, 100, 400, 400, 1_600]),
    ("openai", "gpt-4.1-nano", [100, 25, 100, 100, 400]),
    ("openai", "gpt-4o", [2_500, 1_250, 2_500, 2_500, 10_000]),
    ("openai", "gpt-4o-mini", [150, 75, 150, 150, 600]),
    ("openai", "o3", [2_000, 500, 2_000, 2_000, 8_000]),
    ("openai", "o4-mini", [1_100, 275, 1_100, 1_100, 4_400]),
    (
        "anthropic",
        "claude-fable-5-1",
        [10_000, 250, 12_500, 20_000, 50_000],
    ),
    (
        "anthropic",
        "claude-fable-5",
        [10_000, 1_000, 12_500, 20_000, 50_000],
    ),
    (
        "anthropic",
        "claude-opus-5-5",
        [4_000, 200, 5_000, 8_000, 20_000],
    ),
    (
        "anthropic",
        "claude-opus-5",
        [5_000, 500, 6_250, 10_000, 25_000],
    ),
    (
        "anthropic",
        "claude-opus-4-7",
        [5_000, 500, 6_250, 10_000, 25_000],
    ),
    (
        "anthropic",
        "claude-opus-4-6",
        [5_000, 500, 6_250, 10_000, 25_000],
    ),
    (
        "anthropic",
        "claude-opus-4-5",
        [5_000, 500, 6_250, 10_000, 25_000],
    ),
    (
        "anthropic",
        "claude-opus-4-1",
        [15_000, 1_500, 18_750, 30_000, 75_000],
    ),
    (
        "anthropic",
        "claude-sonnet-5-5",
        [2_000, 100, 2_500, 4_000, 10_000],
    ),
    (
        "anthropic",
        "claude-sonnet-5",
        [2_000, 200, 2_500, 4_000, 10_000],
    ),
    (
        "anthropic",
        "claude-sonnet-4-6",
        [3_000, 300, 3_750, 6_000, 15_000],
    ),
    (
        "anthropic",
        "claude-sonnet-4-5",
        [3_000, 300, 3_750, 6_000, 15_000],
    ),
    (
        "anthropic",
        "claude-sonnet-4",
        [3_000, 300, 3_750, 6_000, 15_000],
    ),
    ("anthropic", "claude-haiku-5-5", [100, 10, 125, 200, 500]),
    (
        "anthropic",
        "claude-haiku-4-5",
        [1_000, 100, 1_250, 2_000, 5_000],
    ),
    (
        "anthropic",
        "claude-3-5-haiku",
        [800, 80, 1_000, 1_600, 4_000],
    ),
];

/// Returns a model's price, also by a dated name such as `gpt-4.1-mini-2025-04-14` or `claude-haiku-4-5-20251001`.
pub(crate) fn of(provider: &str, model: &str) -> Option<Price> {
    let (_, _, prices) = TABLE.iter().find(|(by, name, _)| {
        *by == provider
            && model
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || is_date(rest))
    })?;
    let [input, cache_read, cache_write_5m, cache_write_1h, output] = *prices;
    Some(Price {
        input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output,
    })
}

/// Returns whether a name's end is a date or `-latest`, and not another model's version.
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
        let input = |provider, model| of(provider, model).map(|price| price.input);
        assert_eq!(input("openai", "gpt-4.1-mini"), Some(400));
        assert_eq!(input("openai", "gpt-4.1-mini-2025-04-14"), Some(400));
        assert_eq!(input("openai", "gpt-4.1"), Some(2_000));
        assert_eq!(input("openai", "gpt-4"), None);
        assert_eq!(input("openai", "llama3"), None);
        assert_eq!(input("anthropic", "claude-haiku-4-5-20251001"), Some(1_000));
        assert_eq!(input("anthropic", "claude-sonnet-4-9"), None);
        assert_eq!(input("anthropic", "gpt-4.1"), None);
    }
}
