//! What a transcription costs.

use super::Transcript;
use crate::{
    NanoUsd,
    money::{Price, Usage},
};

/// The fewest bytes of a second of speech. The lowest bit rate of the usual codecs is 4.75 kbit/s (AMR).
const BYTES_PER_SECOND: u64 = 500;
/// What is added for rounding, and for servers that bill silence around the speech.
const SPARE_SECONDS: u64 = 5;
/// The most tokens of a second of audio, and of a second of speech as text.
const AUDIO_TOKENS: u64 = 25;
const TEXT_TOKENS: u64 = 25;
/// What a server may bill beyond the audio.
const SPARE_TOKENS: u64 = 256;

/// The price of a transcription.
///
/// ```
/// use konstruct_core::{NanoUsd, transcribe::{SpeechPrice, Transcript}};
///
/// // $0.006 a minute.
/// let price = SpeechPrice::PerMinute { price: NanoUsd(6_000_000), least_secs: 0 };
/// let transcript = Transcript::new("Hello?").with(|it| it.seconds = Some(2.0));
/// assert_eq!(price.of(&transcript), Some(NanoUsd(200_000)));
/// assert_eq!(price.of(&Transcript::new("Hello?")), None, "the duration is unknown");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpeechPrice {
    /// Nothing, because the server is the operator's own.
    Free,
    /// The provider bills seconds, rounded up.
    PerMinute {
        /// The price of a minute.
        price: NanoUsd,
        /// The seconds that are billed at least.
        least_secs: u32,
    },
    /// The provider bills tokens of audio and text.
    Tokens(Price),
}

impl SpeechPrice {
    /// Returns the maximum cost of a recording of this many bytes.
    pub fn worst_case(&self, bytes: u64) -> NanoUsd {
        let seconds = bytes / BYTES_PER_SECOND + SPARE_SECONDS;
        match self {
            Self::Free => NanoUsd(0),
            Self::PerMinute { price, least_secs } => minutes(*price, seconds, *least_secs),
            Self::Tokens(price) => price.worst_case(
                seconds * AUDIO_TOKENS + SPARE_TOKENS,
                seconds * TEXT_TOKENS + SPARE_TOKENS,
            ),
        }
    }

    /// Returns the cost of a transcript; `None` if it does not report what is billed.
    pub fn of(&self, transcript: &Transcript) -> Option<NanoUsd> {
        match self {
            Self::Free => Some(NanoUsd(0)),
            Self::PerMinute { price, least_secs } => {
                let seconds = transcript.seconds?;
                // A duration that is not a number becomes 0, and is not believed.
                let seconds = seconds.ceil() as u64;
                (seconds > 0).then(|| minutes(*price, seconds, *least_secs))
            }
            Self::Tokens(price) => {
                let usage = transcript
                    .usage
                    .filter(|usage| *usage != Usage::default())?;
                Some(price.of(&usage))
            }
        }
    }
}

fn minutes(price: NanoUsd, seconds: u64, least: u32) -> NanoUsd {
    let seconds = u128::from(seconds.max(u64::from(least)));
    let cost = (u128::from(price.0) * seconds).div_ceil(60);
    NanoUsd(u64::try_from(cost).unwrap_or(u64::MAX))
}
