//! Decodes arbitrary bytes: every way of splitting them yields the same events and exactly one ending.

#![no_main]

use konstruct_llm::{OpenAiDecoder, testkit::decodes_alike};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (one, other, bytes) = input;
    decodes_alike(OpenAiDecoder::default, bytes, one.into(), other.into());
});
