//! Several transcribers, tried in order.

use std::time::Instant;

use async_trait::async_trait;
use konstruct_core::{
    Error, ErrorKind, Result, Transcriber,
    transcribe::{Recording, SpeechContext, TranscriberInfo, Transcript},
};

/// Several transcribers, tried in order until one succeeds. Each may use an equal share of the time that is left.
///
/// ```
/// use konstruct_core::{Secret, Transcriber};
/// use konstruct_llm::{OpenAiTranscriber, TranscriberPool, WhisperCpp};
///
/// let pool = TranscriberPool::new(vec![
///     Box::new(WhisperCpp::new("http://127.0.0.1:8081")),
///     Box::new(OpenAiTranscriber::new(Secret::new("sk-1"), "whisper-1")),
/// ])?;
/// assert_eq!(pool.describe().provider, "whisper.cpp");
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Debug)]
pub struct TranscriberPool {
    members: Vec<Box<dyn Transcriber>>,
    info: TranscriberInfo,
}

impl TranscriberPool {
    /// Creates a pool, with the preferred transcriber first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty pool.
    pub fn new(transcribers: Vec<Box<dyn Transcriber>>) -> Result<Self> {
        let first = transcribers.first();
        let first = first.ok_or_else(|| Error::invalid("transcribers", "must not be empty"))?;
        let largest = transcribers.iter().map(|it| it.describe().max_bytes).max();
        let info = first.describe().clone();
        let most = largest.unwrap_or(info.max_bytes);
        Ok(Self {
            info: info.with_max_bytes(most),
            members: transcribers,
        })
    }
}

#[async_trait]
impl Transcriber for TranscriberPool {
    fn describe(&self) -> &TranscriberInfo {
        &self.info
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let start = Instant::now();
        let mut last = Error::new(ErrorKind::Unavailable, "every transcriber failed");
        for (place, member) in self.members.iter().enumerate() {
            let left = context.timeout.saturating_sub(start.elapsed());
            let share = u32::try_from(self.members.len() - place).unwrap_or(u32::MAX);
            let mut own = context.clone();
            own.timeout = left / share;
            match member.transcribe(recording.clone(), &own).await {
                Ok(transcript) => return Ok(transcript),
                Err(error) => {
                    let info = member.describe();
                    tracing::warn!(provider = info.provider, model = info.model, %error, "could not transcribe a recording");
                    last = error;
                }
            }
        }
        Err(last)
    }
}
