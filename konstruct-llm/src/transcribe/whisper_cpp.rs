//! The transcriber for whisper.cpp's server.

use async_trait::async_trait;
use konstruct_core::{
    Result, Transcriber,
    http::{Guard, Headers},
    transcribe::{Recording, SpeechContext, SpeechPrice, TranscriberInfo, Transcript},
};

use super::form::{Form, primary};
use crate::http::{Http, Timeouts, without_slash};

/// whisper.cpp's server, `whisper-server`, which is free.
///
/// WhatsApp's voice messages are Ogg files with Opus. The server converts them only if it was started with `--convert`, which
/// requires ffmpeg; otherwise it decodes few formats. The language is detected unless a recording names it.
///
/// ```
/// use konstruct_core::Transcriber;
/// use konstruct_llm::WhisperCpp;
///
/// let transcriber = WhisperCpp::new("http://127.0.0.1:8081");
/// assert_eq!(transcriber.describe().provider, "whisper.cpp");
/// ```
#[derive(Clone, Debug)]
pub struct WhisperCpp {
    info: TranscriberInfo,
    base_url: String,
    http: Http,
}

impl WhisperCpp {
    /// Creates a client for a server. A trailing slash of the URL is ignored.
    pub fn new(base_url: impl AsRef<str>) -> Self {
        Self {
            info: TranscriberInfo::new("whisper.cpp", "default").with_price(SpeechPrice::Free),
            base_url: without_slash(base_url),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Sets the name of the model in the ledger. The server has only the one that it was started with.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.info.model = name.into();
        self
    }

    /// Restricts connections to the addresses that the guard permits; use it for a base URL that a tenant chose.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.http = self.http.guarded(guard);
        self
    }
}

#[async_trait]
impl Transcriber for WhisperCpp {
    fn describe(&self) -> &TranscriberInfo {
        &self.info
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let language = recording.language.as_deref();
        let fields = vec![
            ("response_format", "json".to_owned()),
            ("temperature", "0.0".to_owned()),
            // The server's own default is English.
            (
                "language",
                language.map_or_else(|| "auto".to_owned(), primary),
            ),
        ];
        let form = Form {
            url: format!("{}/inference", self.base_url),
            headers: Headers::default(),
            recording: &recording,
            fields,
            refused: |refusal| refusal.error("whisper.cpp", None, None),
        };
        form.send(&self.http, &self.info, context).await
    }
}
