//! What the decoders accept beyond the providers' documentation, because servers send it.
//!
//! | input | wires | value | test (`tests/it/lenient.rs`) |
//! |---|---|---|---|
//! | arguments as an object, as JSON text, as JSON text of JSON text, empty, `null`, `[]` | all | the object; `{}` | `arguments` |
//! | a call without an id, or with the id of another call | all | a call with an id of its own | `ids_of_calls` |
//! | a call without an index | chat, messages | the order of the fragments decides | `ids_of_calls` |
//! | a `function_call` or a call without a name and arguments | chat, ollama | no call | `empty_calls` |
//! | an empty finish reason before the last | chat | ignored | `finish_reasons` |
//! | an empty finish reason as the last, and the terminal event | chat, messages | `Stop` | `finish_reasons` |
//! | the finish reason in another field, or in another spelling | chat | the reason | `finish_reasons` |
//! | a stream without its terminal event after the finish reason | chat, messages | the answer | `finish_reasons` |
//! | a last line with token counts but without a `done_reason` | ollama | `Stop` | `finish_reasons` |
//! | the whole message after its deltas | chat | the deltas | `documents` |
//! | a document without `object`, `type`, `status` or an id | chat, responses, messages | the answer | `documents` |
//! | counts as text or with a fraction `.0`, an index as text | all | the number | `counts` |
//! | `usage: null`, counts that are `null` or missing | all | no usage; 0 | `counts` |
//! | input tokens that include the cached ones, or do not | chat, responses | disjoint counts | `usage` |
//! | more reasoning tokens than output tokens | all that report them | disjoint counts | `usage` |
//! | reasoning, template marks and calls in the text | all | see `text_filter` | `text` |

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// Reads `null` as a missing field.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a token count, which some servers send as a floating-point number or a text.
#[cfg(feature = "openai")]
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(some_count(deserializer)?.unwrap_or(0))
}

/// Reads a token count that may be missing.
pub(crate) fn some_count<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    struct Counts;
    impl Visitor<'_> for Counts {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a count")
        }

        fn visit_u64<E>(self, count: u64) -> Result<Option<u64>, E> {
            Ok(Some(count))
        }

        fn visit_i64<E>(self, count: i64) -> Result<Option<u64>, E> {
            Ok(Some(u64::try_from(count).unwrap_or(0)))
        }

        fn visit_f64<E: de::Error>(self, count: f64) -> Result<Option<u64>, E> {
            // A whole number below 2^53 is exact in both types.
            if (0.0..9e15).contains(&count) && count.fract() == 0.0 {
                Ok(Some(count as u64))
            } else {
                Err(E::custom("not a count"))
            }
        }

        fn visit_str<E: de::Error>(self, count: &str) -> Result<Option<u64>, E> {
            match count.trim() {
                "" => Ok(None),
                count => match (count.parse(), count.parse()) {
                    (Ok(count), _) => Ok(Some(count)),
                    (_, Ok(count)) => self.visit_f64(count),
                    _ => Err(E::custom("not a count")),
                },
            }
        }

        fn visit_unit<E>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Counts)
}

/// Reads an index that may be missing.
#[cfg(any(feature = "openai", feature = "anthropic"))]
pub(crate) fn some_index<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let index = some_count(deserializer)?;
    index
        .map(|index| u32::try_from(index).map_err(|_| de::Error::custom("the index is too large")))
        .transpose()
}

/// Returns the input tokens that were neither read from a cache nor written to it. The providers count those among the input
/// tokens, but some servers count them separately, which shows if they are more.
#[cfg(feature = "openai")]
pub(crate) fn uncached(input: u64, read: u64, written: u64) -> u64 {
    let unread = input.checked_sub(read).unwrap_or(input);
    unread.checked_sub(written).unwrap_or(unread)
}

/// Returns the output tokens without reasoning, and the reasoning tokens. The providers count reasoning among the output tokens,
/// but some servers count it separately, which shows in the total of both if there is one, and otherwise if reasoning is more.
#[cfg(any(feature = "openai", feature = "anthropic"))]
pub(crate) fn without_reasoning(output: u64, reasoning: u64, total: Option<u64>) -> (u64, u64) {
    match total {
        Some(total) if total > 0 && total == output.saturating_add(reasoning) => {
            (output, reasoning)
        }
        Some(total) if total > 0 && total == output => {
            let reasoning = reasoning.min(output);
            (output - reasoning, reasoning)
        }
        _ => (output.checked_sub(reasoning).unwrap_or(output), reasoning),
    }
}
