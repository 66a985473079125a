//! The `Transcriber` trait, which turns recordings of speech into text, with its prices and budgets.

mod context;
mod price;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::{
    context::{SpeechBill, SpeechContext},
    price::SpeechPrice,
};
use crate::{Result, llm::Media, money::Usage};

/// Turns recordings of speech into text.
///
/// `testkit::transcriber_suite` (feature `testkit`) tests the contract on any transcriber.
///
/// # Contract
/// * A transcript without text means that the recording contains no speech. Text that a server does not return is never invented,
///   and a response that breaks off is an error.
/// * The kind of an error tells whether the request may have been billed: after [`ErrorKind::Ambiguous`](crate::ErrorKind::Ambiguous),
///   [`Truncated`](crate::ErrorKind::Truncated) and [`Protocol`](crate::ErrorKind::Protocol) it may, every other kind guarantees
///   that it was not. [`TooLarge`](crate::ErrorKind::TooLarge) and [`InvalidInput`](crate::ErrorKind::InvalidInput) concern the
///   recording, so a repetition does not help.
/// * A transcriber that costs money opens a [`SpeechBill`] before each request to a provider. It does not repeat requests.
///
/// ```
/// use konstruct_core::{
///     Result, Transcriber, async_trait,
///     transcribe::{Recording, SpeechContext, TranscriberInfo, Transcript},
/// };
///
/// /// Hears the same in every recording.
/// #[derive(Debug)]
/// struct Echo(TranscriberInfo);
///
/// #[async_trait]
/// impl Transcriber for Echo {
///     fn describe(&self) -> &TranscriberInfo {
///         &self.0
///     }
///
///     async fn transcribe(&self, _: Recording, _: &SpeechContext) -> Result<Transcript> {
///         Ok(Transcript::new("Hello?"))
///     }
/// }
///
/// assert_eq!(Echo(TranscriberInfo::new("example", "echo")).describe().provider, "example");
/// ```
#[async_trait]
pub trait Transcriber: fmt::Debug + Send + Sync + 'static {
    /// Returns the provider, the model and the price.
    fn describe(&self) -> &TranscriberInfo;

    /// Transcribes a recording, within [`SpeechContext::timeout`].
    ///
    /// # Errors
    /// See the contract. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a format that the server cannot decode.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request, which is then billed at its maximum.
    async fn transcribe(&self, recording: Recording, context: &SpeechContext)
    -> Result<Transcript>;
}

/// The model of a transcriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TranscriberInfo {
    /// The provider, such as `openai`.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// The price; `None` if unknown, which does not mean free.
    pub price: Option<SpeechPrice>,
    /// The most bytes of a recording.
    pub max_bytes: u64,
}

impl TranscriberInfo {
    /// Creates a model with an unknown price that accepts 25 MB.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            price: None,
            max_bytes: 25_000_000,
        }
    }

    /// Sets the price.
    #[must_use]
    pub fn with_price(mut self, price: impl Into<Option<SpeechPrice>>) -> Self {
        self.price = price.into();
        self
    }

    /// Sets the most bytes of a recording.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }
}

/// A recording to transcribe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recording {
    /// The audio, with its media type, such as `audio/ogg`.
    pub audio: Media,
    /// The language that is spoken, as a BCP 47 tag; `None` to detect it.
    pub language: Option<String>,
}

impl Recording {
    /// Creates a recording in an unknown language.
    pub fn new(audio: Media) -> Self {
        Self {
            audio,
            language: None,
        }
    }

    /// Sets the language that is spoken.
    #[must_use]
    pub fn in_language(mut self, tag: impl Into<String>) -> Self {
        self.language = Some(tag.into());
        self
    }

    /// Returns the file name for an upload, whose ending tells a server the format.
    pub fn file_name(&self) -> &'static str {
        match self.audio.media_type.as_str() {
            "audio/mpeg" => "audio.mp3",
            "audio/mp4" => "audio.m4a",
            "audio/wav" => "audio.wav",
            "audio/webm" => "audio.webm",
            "audio/flac" => "audio.flac",
            "audio/aac" => "audio.aac",
            "audio/amr" => "audio.amr",
            _ => "audio.ogg",
        }
    }
}

/// What was said in a recording.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Transcript {
    /// The words; empty if there is no speech.
    pub text: String,
    /// The language that was recognized, as the server names it.
    pub language: Option<String>,
    /// The duration in seconds.
    pub seconds: Option<f64>,
    /// The tokens that the server billed, if it bills tokens.
    pub usage: Option<Usage>,
}

impl Transcript {
    /// Creates a transcript of an unknown language and duration.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Transcriber + ?Sized> Transcriber for Arc<T> {
    fn describe(&self) -> &TranscriberInfo {
        (**self).describe()
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        (**self).transcribe(recording, context).await
    }
}
