//! A model that answers what a test tells it to.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::{
    Error, ErrorKind, LlmBackend, Result,
    limit::{Attempt, Spent},
    llm::{
        BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream, ToolCall,
    },
    money::{Basis, Price, Usage},
};

/// What a scripted model does with one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// It says this.
    Text(String),
    /// It says this, if anything, and calls tools.
    Tools(String, Vec<ToolCall>),
    /// It says this, and is cut off at its limit of tokens.
    Cut(String),
    /// It ends so, without a word.
    Ends(Finish),
    /// It refuses before anything was generated.
    Refuses(ErrorKind),
    /// It begins, and breaks.
    Breaks(ErrorKind),
    /// It begins, and the stream ends without an ending.
    Truncated,
    /// It waits at a gate, then does this.
    Waits(Gate, Box<Answer>),
}

impl Answer {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Calls of tools without arguments, each with its place in the list as its id.
    pub fn tools(names: &[&str]) -> Self {
        let calls = names.iter().enumerate().map(|(n, name)| ToolCall {
            id: format!("call{n}"),
            name: (*name).to_owned(),
            arguments: "{}".into(),
        });
        Self::Tools(String::new(), calls.collect())
    }
}

/// Where an answer waits until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Opens it, for ever.
    pub fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        // No permit is ever given: the gate is passed when it is closed for waiting.
        let _ = self.0.acquire().await;
    }
}

/// A model whose answers come from a function of the request. Clones share what was asked.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use konstruct_core::{TenantId, llm::{CallContext, LlmBackendExt as _, ModelRequest}};
/// use konstruct_core::testkit::{Answer, ScriptedModel};
///
/// let model = ScriptedModel::new(|_| Answer::text("hello"));
/// let call = CallContext::new(TenantId::new(), "k", Default::default());
/// assert_eq!(model.complete(ModelRequest::default(), &call).await?.text(), "hello");
/// assert_eq!(model.calls().len(), 1);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct ScriptedModel {
    info: ModelInfo,
    usage: Option<Usage>,
    attempts: u32,
    script: Arc<dyn Fn(&ModelRequest) -> Answer + Send + Sync>,
    calls: Arc<Mutex<Vec<(String, ModelRequest)>>>,
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel").finish_non_exhaustive()
    }
}

impl ScriptedModel {
    /// Makes a model that reports 100 tokens in and 20 out, and whose price is unknown.
    pub fn new(script: impl Fn(&ModelRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            info: ModelInfo::new("scripted", "script-1"),
            usage: Some(Usage {
                input: 100,
                output: 20,
                ..Usage::default()
            }),
            attempts: 0,
            script: Arc::new(script),
            calls: Arc::default(),
        }
    }

    /// Says what it costs.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.info.price = Some(price);
        self
    }

    /// Says what it reports of each call.
    #[must_use]
    pub fn with_usage(mut self, usage: Option<Usage>) -> Self {
        self.usage = usage;
        self
    }

    /// Pays for itself as a pool does: so many attempts, of which the last one answers.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    async fn pay(&self, request: &ModelRequest, call: &CallContext) -> Result<()> {
        let price = self.info.price.as_ref();
        for number in 0..self.attempts {
            let attempt = Attempt {
                call: call.idempotency_key.clone(),
                number,
                provider: self.info.provider.clone(),
                model: self.info.model.clone(),
                worst: price.map(|price| {
                    price.worst_case(request.input_bound(), u64::from(request.max_tokens))
                }),
            };
            call.budget.reserve(&attempt).await?;
            let reported = self.usage.filter(|_| number + 1 == self.attempts);
            let spent = Spent {
                usage: reported.unwrap_or_default(),
                cost: match reported {
                    Some(usage) => price.map(|price| price.of(&usage)),
                    None => attempt.worst,
                },
                basis: if reported.is_some() {
                    Basis::Reported
                } else {
                    Basis::WorstCase
                },
            };
            call.budget.settle(&attempt, spent);
        }
        Ok(())
    }

    /// Returns the idempotency key and the request of every call, in order.
    pub fn calls(&self) -> Vec<(String, ModelRequest)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone()
    }

    fn events(&self, answer: Answer) -> Result<Vec<Result<ModelEvent>>> {
        let start = ModelEvent::Start {
            id: "answer".into(),
            model: self.info.model.clone(),
        };
        let mut events = vec![Ok(start)];
        let (text, calls, finish) = match answer {
            Answer::Text(text) => (text, Vec::new(), Finish::Stop),
            Answer::Cut(text) => (text, Vec::new(), Finish::Length),
            Answer::Tools(text, calls) => (text, calls, Finish::ToolCalls),
            Answer::Ends(finish) => (String::new(), Vec::new(), finish),
            Answer::Refuses(kind) => return Err(Error::new(kind, "scripted")),
            Answer::Breaks(kind) => {
                events.push(Err(Error::new(kind, "scripted")));
                return Ok(events);
            }
            Answer::Truncated => return Ok(events),
            Answer::Waits(_, answer) => return self.events(*answer),
        };
        let mut block = |index, kind, delta| {
            let end = ModelEvent::BlockEnd { index };
            events.extend([
                Ok(ModelEvent::BlockStart { index, kind }),
                Ok(delta),
                Ok(end),
            ]);
        };
        if !text.is_empty() {
            block(
                0,
                BlockKind::Text,
                ModelEvent::Text {
                    index: 0,
                    delta: text,
                },
            );
        }
        for (index, call) in (1..).zip(calls) {
            let ToolCall {
                id,
                name,
                arguments: delta,
            } = call;
            block(
                index,
                BlockKind::ToolCall { id, name },
                ModelEvent::ToolArguments { index, delta },
            );
        }
        events.extend(self.usage.map(|usage| Ok(ModelEvent::Usage(usage))));
        events.push(Ok(ModelEvent::Finish(finish)));
        Ok(events)
    }
}

#[async_trait]
impl LlmBackend for ScriptedModel {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        request.check(&self.info)?;
        self.pay(&request, call).await?;
        let answer = (self.script)(&request);
        let asked = (call.idempotency_key.clone(), request);
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked);
        if let Answer::Waits(gate, _) = &answer {
            gate.pass().await;
        }
        Ok(stream::iter(self.events(answer)?).boxed())
    }
}
