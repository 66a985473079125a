//! A transcriber with scripted answers, and one with a deliberate defect, to test that the suite detects it.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, Result, Transcriber,
    transcribe::{Recording, SpeechBill, SpeechContext, SpeechPrice, TranscriberInfo, Transcript},
};

/// A transcriber that answers from a queue, and then with the bytes of the recording as text. Clones share it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use konstruct_core::{TenantId, Transcriber, llm::Media, testkit::ScriptedTranscriber};
/// use konstruct_core::transcribe::{Recording, SpeechContext, SpeechPrice};
///
/// let transcriber = ScriptedTranscriber::new(SpeechPrice::Free);
/// let context = SpeechContext::new(TenantId::new(), "c1", Duration::from_secs(5));
/// let recording = Recording::new(Media::new("audio/ogg", "OggS When do you open?"));
/// assert_eq!(transcriber.transcribe(recording, &context).await?.text, "When do you open?");
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedTranscriber {
    info: TranscriberInfo,
    answers: Arc<Mutex<VecDeque<Option<Result<Transcript>>>>>,
    calls: Arc<Mutex<Vec<(String, Recording)>>>,
}

impl ScriptedTranscriber {
    /// Creates a transcriber with a price, or an unknown one.
    pub fn new(price: impl Into<Option<SpeechPrice>>) -> Self {
        Self {
            info: TranscriberInfo::new("scripted", "ears-1").with_price(price),
            answers: Arc::default(),
            calls: Arc::default(),
        }
    }

    /// Plans the outcome of the next transcription that has no outcome yet.
    pub fn plan(&self, outcome: Result<Transcript>) {
        lock(&self.answers).push_back(Some(outcome));
    }

    /// Plans that the next transcription never ends.
    pub fn hang(&self) {
        lock(&self.answers).push_back(None);
    }

    /// Returns the key and the recording of every transcription, in order.
    pub fn calls(&self) -> Vec<(String, Recording)> {
        lock(&self.calls).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Transcriber for ScriptedTranscriber {
    fn describe(&self) -> &TranscriberInfo {
        &self.info
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let data = recording.audio.data.clone();
        let mut bill = SpeechBill::open(context, &self.info, data.len()).await?;
        lock(&self.calls).push((context.idempotency_key.clone(), recording));
        let planned = lock(&self.answers).pop_front();
        let outcome = match planned {
            Some(None) => {
                let hanging = tokio::time::timeout(context.timeout, pending()).await;
                hanging.unwrap_or_else(|_| Err(Error::new(ErrorKind::Truncated, "no response")))
            }
            Some(Some(outcome)) => outcome,
            None => {
                let text = String::from_utf8_lossy(&data);
                let text = text.strip_prefix("OggS").unwrap_or(&text).trim();
                Ok(Transcript::new(text).with(|it| it.seconds = Some(2.0)))
            }
        };
        bill.note(&outcome);
        outcome
    }
}

/// The defect of a [`BrokenTranscriber`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TranscriberFlaw {
    /// No defect: the wrapper itself is correct.
    Nothing,
    /// Words are invented where nobody speaks.
    InventsWords,
    /// A failure becomes a recording without speech.
    SwallowsErrors,
    /// The timeout is ignored.
    IgnoresTimeout,
    /// The budget is ignored.
    IgnoresBudget,
    /// A server's failure is reported as harmless.
    PromisesNoBill,
}

/// A transcriber with a defect.
#[derive(Clone, Debug)]
pub struct BrokenTranscriber {
    inner: Arc<dyn Transcriber>,
    flaw: TranscriberFlaw,
}

impl BrokenTranscriber {
    /// Wraps a transcriber with a defect.
    pub fn new(inner: Arc<dyn Transcriber>, flaw: TranscriberFlaw) -> Self {
        Self { inner, flaw }
    }
}

#[async_trait]
impl Transcriber for BrokenTranscriber {
    fn describe(&self) -> &TranscriberInfo {
        self.inner.describe()
    }

    async fn transcribe(
        &self,
        recording: Recording,
        context: &SpeechContext,
    ) -> Result<Transcript> {
        let mut context = context.clone();
        if self.flaw == TranscriberFlaw::IgnoresTimeout {
            context.timeout *= 1_000;
        }
        if self.flaw == TranscriberFlaw::IgnoresBudget {
            context = context.with_budget(Arc::new(crate::limit::Unmetered));
        }
        let outcome = self.inner.transcribe(recording, &context).await;
        match (self.flaw, outcome) {
            (TranscriberFlaw::InventsWords, Ok(heard)) if heard.text.is_empty() => {
                Ok(Transcript::new("Thanks for watching!"))
            }
            (TranscriberFlaw::SwallowsErrors, Err(_)) => Ok(Transcript::default()),
            (TranscriberFlaw::PromisesNoBill, Err(error)) => {
                Err(Error::new(ErrorKind::Unavailable, error.message()))
            }
            (_, outcome) => outcome,
        }
    }
}
