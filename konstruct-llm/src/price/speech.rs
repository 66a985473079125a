//! The prices of transcription models.

use konstruct_core::{
    NanoUsd,
    money::{Price, Rates},
    transcribe::SpeechPrice,
};

/// Returns the price of a transcription model of OpenAI or Groq, as of August 2026; `None` if it is unknown.
pub(crate) fn speech(model: &str) -> Option<SpeechPrice> {
    let minute = |nano, least_secs| SpeechPrice::PerMinute {
        price: NanoUsd(nano),
        least_secs,
    };
    // Audio tokens are the dearest input.
    let tokens = |input: u64, output: u64| {
        SpeechPrice::Tokens(Price::from(Rates::flat(
            input * 1_000_000_000,
            output * 1_000_000_000,
        )))
    };
    Some(match model {
        "whisper-1" => minute(6_000_000, 0),
        "gpt-4o-transcribe" | "gpt-4o-transcribe-diarize" => tokens(6, 10),
        "gpt-4o-mini-transcribe" => tokens(3, 5),
        "whisper-large-v3" => minute(1_850_000, 10),
        "whisper-large-v3-turbo" => minute(666_667, 10),
        _ => return None,
    })
}
