//! A model with scripted answers.

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
        Ability, BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream,
        ToolCall,
    },
    money::{Basis, Price, Usage},
};

/// How a scripted model answers one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ScriptedAnswer {
    /// With a text.
    Text(String),
    /// With an optional text, and tool calls.
    Tools(String, Vec<ToolCall>),
    /// With a text that is truncated at the token limit.
    Cut(String),
    /// With this finish reason and no text.
    Ends(Finish),
    /// With an error before anything was generated.
    Refuses(ErrorKind),
    /// With a stream that starts and then fails.
    Breaks(ErrorKind),
    /// With a stream that starts and ends without a finish event.
    Truncated,
    /// With another answer, after waiting at a gate.
    Waits(Gate, Box<ScriptedAnswer>),
}

impl ScriptedAnswer {
    /// Returns an answer with a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns an answer with tool calls without arguments. The id of each call is its position in the list.
    pub fn tools(names: &[&str]) -> Self {
        let calls = names.iter().enumerate().map(|(n, name)| ToolCall {
            id: format!("call{n}"),
            name: (*name).to_owned(),
            arguments: "{}".into(),
        });
        Self::Tools(String::new(), calls.collect())
    }
}

/// A gate at which an answer waits until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Opens the gate permanently.
    pub fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        // The semaphore never has permits. Closing it opens the gate.
        let _ = self.0.acquire().await;
    }
}

/// A model whose answers are computed from the request. Clones share the recorded calls.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use konstruct_core::{TenantId, llm::{CallContext, LlmBackendExt as _, ModelRequest}};
/// use konstruct_core::testkit::{ScriptedAnswer, ScriptedModel};
///
/// let model = ScriptedModel::new(|_| ScriptedAnswer::text("hello"));
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
    script: Arc<dyn Fn(&ModelRequest) -> ScriptedAnswer + Send + Sync>,
    calls: Arc<Mutex<Vec<(String, ModelRequest)>>>,
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel").finish_non_exhaustive()
    }
}

impl ScriptedModel {
    /// Creates a model that reports 100 input and 20 output tokens for each call, and whose price is unknown.
    pub fn new(script: impl Fn(&ModelRequest) -> ScriptedAnswer + Send + Sync + 'static) -> Self {
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

    /// Sets the price.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.info.price = Some(price);
        self
    }

    /// Adds an ability.
    #[must_use]
    pub fn able_to(mut self, ability: Ability) -> Self {
        self.info.can.insert(ability);
        self
    }

    /// Sets the usage that is reported for each call.
    #[must_use]
    pub fn with_usage(mut self, usage: Option<Usage>) -> Self {
        self.usage = usage;
        self
    }

    /// Pays for itself like a pool: makes this many attempts, of which the last one answers.
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

    fn events(&self, answer: ScriptedAnswer) -> Result<Vec<Result<ModelEvent>>> {
        let start = ModelEvent::Start {
            id: "answer".into(),
            model: self.info.model.clone(),
        };
        let mut events = vec![Ok(start)];
        let (text, calls, finish) = match answer {
            ScriptedAnswer::Text(text) => (text, Vec::new(), Finish::Stop),
            ScriptedAnswer::Cut(text) => (text, Vec::new(), Finish::Length),
            ScriptedAnswer::Tools(text, calls) => (text, calls, Finish::ToolCalls),
            ScriptedAnswer::Ends(finish) => (String::new(), Vec::new(), finish),
            ScriptedAnswer::Refuses(kind) => return Err(Error::new(kind, "scripted")),
            ScriptedAnswer::Breaks(kind) => {
                events.push(Err(Error::new(kind, "scripted")));
                return Ok(events);
            }
            ScriptedAnswer::Truncated => return Ok(events),
            ScriptedAnswer::Waits(_, answer) => return self.events(*answer),
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
        if let ScriptedAnswer::Waits(gate, _) = &answer {
            gate.pass().await;
        }
        Ok(stream::iter(self.events(answer)?).boxed())
    }
}
