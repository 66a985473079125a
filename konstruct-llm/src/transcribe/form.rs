//! The upload of a recording as `multipart/form-data`, and its response.

use konstruct_core::{
    Error, ErrorKind, Result,
    http::Headers,
    money::Usage,
    transcribe::{Recording, SpeechBill, SpeechContext, TranscriberInfo, Transcript},
};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::http::{Http, ProviderError, Refusal, Upload};

/// The maximum size of a response, in bytes. With timestamps, an hour of speech has about a megabyte.
const ANSWER: usize = 16 << 20;

/// A request to a transcription server.
pub(super) struct Form<'a> {
    pub(super) url: String,
    pub(super) headers: Headers,
    pub(super) recording: &'a Recording,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) refused: fn(&Refusal) -> Error,
}

impl Form<'_> {
    /// Sends the form, within the timeout of the context, and pays for it.
    pub(super) async fn send(
        self,
        http: &Http,
        info: &TranscriberInfo,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let size = self.recording.audio.data.len();
        let mut bill = SpeechBill::open(context, info, size).await?;
        let (boundary, body) = self.body();
        let upload = Upload {
            provider: &info.provider,
            url: self.url,
            headers: self.headers,
            content_type: format!("multipart/form-data; boundary={boundary}"),
            body,
            refused: self.refused,
        };
        let answer: Result<Answer> = http.upload(upload, context.timeout, ANSWER).await;
        let transcript = answer.and_then(|answer| answer.transcript(&info.provider));
        bill.note(&transcript);
        transcript
    }

    /// Returns the boundary and the body. Nobody can put the hash of a recording into the recording itself.
    fn body(&self) -> (String, Vec<u8>) {
        let audio = &self.recording.audio;
        let hash = Sha256::digest(&audio.data);
        let hash: String = hash[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let boundary = format!("konstruct-{hash}");
        let mut body = Vec::with_capacity(audio.data.len() + 1024);
        for (name, value) in &self.fields {
            let part = format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\ncontent-type: {}\r\n\r\n",
            self.recording.file_name(),
            audio.media_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&audio.data);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        (boundary, body)
    }
}

/// Returns the primary language of a BCP 47 tag, such as `en` for `en-GB`.
pub(super) fn primary(tag: &str) -> String {
    tag.split(['-', '_'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// A response, of which only the text is required.
#[derive(Debug, Deserialize)]
struct Answer {
    text: Option<String>,
    #[serde(default)]
    language: Value,
    #[serde(default)]
    duration: Value,
    #[serde(default)]
    usage: Value,
    /// whisper.cpp reports errors with status 200.
    #[serde(default)]
    error: Value,
}

impl Answer {
    fn transcript(self, provider: &str) -> Result<Transcript> {
        let Some(text) = self.text else {
            let said = self.error.as_str().map(|said| ProviderError::new("", said));
            return Err(match said {
                Some(said) => {
                    let message = format!("{provider} could not decode the recording");
                    Error::new(ErrorKind::Unsupported, message).with_source(said)
                }
                None => {
                    let message = format!("{provider} returned no text");
                    Error::new(ErrorKind::Protocol, message)
                }
            });
        };
        let seconds = number(&self.duration).or_else(|| number(&self.usage["seconds"]));
        let tokens = |name: &str| self.usage[name].as_u64();
        let usage = tokens("input_tokens").map(|input| Usage {
            input,
            output: tokens("output_tokens").unwrap_or(0),
            ..Usage::default()
        });
        // whisper.cpp marks silence so.
        let text = text.replace("[BLANK_AUDIO]", "");
        Ok(Transcript::new(text.trim()).with(|it| {
            it.language = self.language.as_str().map(str::to_owned);
            it.seconds = seconds;
            it.usage = usage;
        }))
    }
}

/// Reads a duration, which some servers send as text.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}
