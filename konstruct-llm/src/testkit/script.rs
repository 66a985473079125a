//! A scripted backend for tests; it runs in virtual time if the test's clock is paused.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    Error, ErrorKind, LlmBackend, Result,
    llm::{BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream},
    money::Usage,
};

/// One step of a scripted backend.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Beat {
    /// Returns an error before the stream starts. Allowed only as the first beat that is not a wait.
    Refuse(Trouble),
    /// Yields an event.
    Yield(ModelEvent),
    /// Waits.
    Wait(Duration),
    /// Hangs forever.
    Hang,
    /// Breaks the stream.
    Break(Trouble),
    /// Ends the stream, with or without a finish.
    End,
}

/// An error to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind.
    pub kind: ErrorKind,
    /// The wait that the provider requests.
    pub retry_after: Option<Duration>,
    /// Whether the provider requests a retry.
    pub should_retry: Option<bool>,
}

impl From<ErrorKind> for Trouble {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind,
            retry_after: None,
            should_retry: None,
        }
    }
}

impl Trouble {
    fn error(self) -> Error {
        let mut error = Error::new(self.kind, "scripted");
        if let Some(wait) = self.retry_after {
            error = error.with_retry_after(wait);
        }
        match self.should_retry {
            Some(repeat) => error.with_should_retry(repeat),
            None => error,
        }
    }
}

/// Returns the beats of a whole answer: a start, a text word by word, the usage and the finish.
pub fn says(text: &str, usage: Option<Usage>) -> Vec<Beat> {
    let mut beats = begins(text);
    beats.push(Beat::Yield(ModelEvent::BlockEnd { index: 0 }));
    beats.extend(usage.map(|usage| Beat::Yield(ModelEvent::Usage(usage))));
    beats.push(Beat::Yield(ModelEvent::Finish(Finish::Stop)));
    beats
}

/// Returns the beats of an answer that has started and not ended.
pub fn begins(text: &str) -> Vec<Beat> {
    let start = ModelEvent::Start {
        id: "answer".into(),
        model: "scripted".into(),
    };
    let block = ModelEvent::BlockStart {
        index: 0,
        kind: BlockKind::Text,
    };
    let words = text.split_inclusive(' ').map(|word| ModelEvent::Text {
        index: 0,
        delta: word.into(),
    });
    [start, block]
        .into_iter()
        .chain(words)
        .map(Beat::Yield)
        .collect()
}

type Script = dyn Fn(usize, &ModelRequest) -> Vec<Beat> + Send + Sync;

/// A backend whose beats come from a function of the call's number (from 0) and the request. Clones share the recorded requests.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use konstruct_core::{TenantId, llm::{CallContext, LlmBackendExt as _, ModelInfo, ModelRequest}};
/// use konstruct_llm::testkit::{Scripted, says};
///
/// let model = Scripted::new(ModelInfo::new("scripted", "m"), |_, _| says("Hello there.", None));
/// let call = CallContext::new(TenantId::new(), "c1", Duration::from_secs(1));
/// assert_eq!(model.complete(ModelRequest::default(), &call).await?.text(), "Hello there.");
/// assert_eq!(model.requests().len(), 1);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Scripted {
    info: ModelInfo,
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<(String, ModelRequest)>>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scripted").field(&self.info.model).finish()
    }
}

impl Scripted {
    /// Creates a backend with a script.
    pub fn new(
        info: ModelInfo,
        script: impl Fn(usize, &ModelRequest) -> Vec<Beat> + Send + Sync + 'static,
    ) -> Self {
        Self {
            info,
            script: Arc::new(script),
            requests: Arc::default(),
        }
    }

    /// Returns the idempotency keys and requests of the calls so far.
    pub fn requests(&self) -> Vec<(String, ModelRequest)> {
        self.asked().clone()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<(String, ModelRequest)>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LlmBackend for Scripted {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        let number = self.asked().len();
        let mut beats: VecDeque<Beat> = (self.script)(number, &request).into();
        self.asked().push((call.idempotency_key.clone(), request));
        while let Some(Beat::Wait(wait)) = beats.front() {
            tokio::time::sleep(*wait).await;
            beats.pop_front();
        }
        match beats.front() {
            Some(Beat::Refuse(trouble)) => return Err(trouble.error()),
            Some(Beat::Hang) => std::future::pending().await,
            _ => {}
        }
        let events = stream::unfold(beats, async |mut beats| {
            loop {
                match beats.pop_front()? {
                    Beat::Wait(wait) => tokio::time::sleep(wait).await,
                    Beat::Hang => std::future::pending().await,
                    Beat::Yield(event) => return Some((Ok(event), beats)),
                    Beat::Refuse(trouble) | Beat::Break(trouble) => {
                        return Some((Err(trouble.error()), VecDeque::new()));
                    }
                    Beat::End => return None,
                }
            }
        });
        Ok(events.boxed())
    }
}
