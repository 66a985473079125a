//! The transcriber for OpenAI's `/audio/transcriptions`, and for compatible servers.

use async_trait::async_trait;
use konstruct_core::{
    Result, Secret, Transcriber,
    http::Guard,
    transcribe::{Recording, SpeechContext, SpeechPrice, TranscriberInfo, Transcript},
};

use super::form::{Form, primary};
use crate::{
    http::{Http, Timeouts, without_slash},
    openai::{OFFICIAL, authorization, refused},
    price,
};

/// A transcription model behind OpenAI's `/audio/transcriptions`, or behind a compatible server such as Groq or vLLM.
///
/// The models `gpt-4o-transcribe` and `gpt-4o-mini-transcribe` return only the text; `whisper-1` and the models of other servers
/// also return the language and the duration. The built-in prices cover OpenAI's models and Groq's.
///
/// ```
/// use konstruct_core::{Secret, Transcriber};
/// use konstruct_llm::OpenAiTranscriber;
///
/// let transcriber = OpenAiTranscriber::new(Secret::new("sk-1"), "whisper-1");
/// assert_eq!(transcriber.describe().model, "whisper-1");
/// ```
#[derive(Clone, Debug)]
pub struct OpenAiTranscriber {
    info: TranscriberInfo,
    api_key: Secret,
    base_url: String,
    http: Http,
}

impl OpenAiTranscriber {
    /// Creates a client for a model at `https://api.openai.com/v1`. Without an API key no `authorization` header is sent.
    pub fn new(api_key: Secret, model: impl Into<String>) -> Self {
        let model = model.into();
        let price = price::speech(&model);
        Self {
            info: TranscriberInfo::new("openai", model).with_price(price),
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Sets the server's URL, including its `/v1`. A trailing slash is ignored.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = without_slash(url);
        self
    }

    /// Sets the price, if it is missing or wrong in the built-in table.
    #[must_use]
    pub fn price(mut self, price: SpeechPrice) -> Self {
        self.info = self.info.with_price(price);
        self
    }

    /// Restricts connections to the addresses that the guard permits; use it for a base URL that a tenant chose.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.http = self.http.guarded(guard);
        self
    }

    /// Returns the format that the model supports: the one with language and duration, if possible.
    fn format(&self) -> &'static str {
        if self.info.model.contains("-transcribe") {
            "json"
        } else {
            "verbose_json"
        }
    }
}

#[async_trait]
impl Transcriber for OpenAiTranscriber {
    fn describe(&self) -> &TranscriberInfo {
        &self.info
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let mut fields = vec![
            ("model", self.info.model.clone()),
            ("response_format", self.format().to_owned()),
            ("temperature", "0".to_owned()),
        ];
        fields.extend(
            recording
                .language
                .as_deref()
                .map(|tag| ("language", primary(tag))),
        );
        let form = Form {
            url: format!("{}/audio/transcriptions", self.base_url),
            headers: authorization(&self.api_key)?,
            recording: &recording,
            fields,
            refused,
        };
        form.send(&self.http, &self.info, context).await
    }
}
