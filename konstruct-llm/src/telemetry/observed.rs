//! A backend that records every call as a span.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    Error, ErrorKind, LlmBackend, Result,
    llm::{CallContext, Collector, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream},
    money::Usage,
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    content,
    metrics::{CallMetrics, Report},
};

/// A backend that records every call as a span `chat MODEL` and in the metrics. Neither contains the text of messages, unless
/// [`Observed::with_content`] enables it.
///
/// ```
/// use std::sync::Arc;
/// use konstruct_core::llm::ModelInfo;
/// use konstruct_llm::{CallMetrics, Observed, testkit::{Scripted, says}};
///
/// let metrics = Arc::new(CallMetrics::default());
/// let model = Scripted::new(ModelInfo::new("scripted", "m"), |_, _| says("Hello.", None));
/// let model = Observed::new(Arc::new(model)).with_metrics(metrics);
/// ```
#[derive(Clone, Debug)]
pub struct Observed {
    inner: Arc<dyn LlmBackend>,
    metrics: Option<Arc<CallMetrics>>,
    named: bool,
    content: bool,
}

impl Observed {
    /// Observes a backend.
    pub fn new(inner: Arc<dyn LlmBackend>) -> Self {
        Self {
            inner,
            metrics: None,
            named: true,
            content: false,
        }
    }

    /// Records the calls in these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<CallMetrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Records the calls under the model name `own` and without a server. Use it for models whose name and server a tenant chose,
    /// so that tenants do not add series to the operator's metrics.
    #[must_use]
    pub fn without_names(mut self) -> Self {
        self.named = false;
        self
    }

    /// Records requests and answers in the spans. They contain personal messages: check first who can read the spans.
    #[must_use]
    pub fn with_content(mut self) -> Self {
        self.content = true;
        self
    }

    /// Describes the model under its name in the metrics.
    fn counted(&self) -> ModelInfo {
        let mut info = self.inner.describe().clone();
        if !self.named {
            info.model = "own".into();
            info.server = None;
        }
        info
    }

    fn span(&self, request: &ModelRequest, call: &CallContext) -> Span {
        let info = self.inner.describe();
        let span = tracing::info_span!(
            "chat",
            otel.name = format_args!("chat {}", info.model),
            otel.kind = "client",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = info.provider,
            gen_ai.request.model = info.model,
            gen_ai.request.stream = true,
            gen_ai.request.max_tokens = request.max_tokens,
            gen_ai.request.temperature = request.temperature,
            gen_ai.conversation.id = Empty,
            gen_ai.response.id = Empty,
            gen_ai.response.model = Empty,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            gen_ai.usage.cache_creation.input_tokens = Empty,
            gen_ai.usage.reasoning.output_tokens = Empty,
            gen_ai.system_instructions = Empty,
            gen_ai.input.messages = Empty,
            gen_ai.output.messages = Empty,
            server.address = Empty,
            server.port = Empty,
            error.type = Empty,
        );
        if span.is_disabled() {
            return span;
        }
        if let Some(conversation) = &call.conversation {
            span.record(
                "gen_ai.conversation.id",
                tracing::field::display(conversation),
            );
        }
        if let Some((host, port)) = info.server.as_deref().and_then(|it| it.rsplit_once(':')) {
            span.record("server.address", host);
            span.record("server.port", port.parse::<u16>().ok());
        }
        if self.content {
            span.record("gen_ai.system_instructions", content::system(request));
            span.record("gen_ai.input.messages", content::input(request));
        }
        span
    }
}

#[async_trait]
impl LlmBackend for Observed {
    fn describe(&self) -> &ModelInfo {
        self.inner.describe()
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        let span = self.span(&request, call);
        let mut watch = CallObservation {
            begun: Instant::now(),
            first: None,
            latest: None,
            chunks: 0,
            usage: None,
            error: None,
            over: false,
            said: (self.content && !span.is_disabled()).then(Collector::default),
            metrics: self.metrics.clone(),
            info: self.counted(),
            span,
        };
        let asking = self.inner.stream(request, call);
        let inner = match asking.instrument(watch.span.clone()).await {
            Ok(inner) => inner,
            Err(error) => {
                watch.fail(&error);
                return Err(error);
            }
        };
        Ok(stream::unfold((inner, watch), next).boxed())
    }
}

async fn next(
    (mut inner, mut watch): (ModelStream, CallObservation),
) -> Option<(Result<ModelEvent>, (ModelStream, CallObservation))> {
    let event = inner.next().await?;
    match &event {
        Ok(event) => watch.note(event),
        Err(error) => watch.fail(error),
    }
    Some((event, (inner, watch)))
}

/// The observations of a call. Dropped before its end, the call counts as cancelled.
struct CallObservation {
    begun: Instant,
    first: Option<Instant>,
    latest: Option<Instant>,
    chunks: u32,
    usage: Option<Usage>,
    error: Option<ErrorKind>,
    over: bool,
    said: Option<Collector>,
    metrics: Option<Arc<CallMetrics>>,
    info: ModelInfo,
    span: Span,
}

impl fmt::Debug for CallObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallObservation").finish_non_exhaustive()
    }
}

impl CallObservation {
    fn note(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Start { id, model } => {
                self.span.record("gen_ai.response.id", id);
                self.span.record("gen_ai.response.model", model);
            }
            ModelEvent::Text { .. }
            | ModelEvent::Reasoning { .. }
            | ModelEvent::ToolArguments { .. } => self.chunk(),
            ModelEvent::Usage(usage) => self.usage = Some(*usage),
            _ => {}
        }
        let answer = match &mut self.said {
            Some(said) => said.push(event.clone()).ok().flatten(),
            None => None,
        };
        if let ModelEvent::Finish(finish) = event {
            self.over = true;
            let reason = reason(finish);
            self.span
                .record("gen_ai.response.finish_reasons", format!("[\"{reason}\"]"));
            if let Some(answer) = answer {
                let said = content::output(&answer.parts, &reason);
                self.span.record("gen_ai.output.messages", said);
            }
        }
    }

    fn chunk(&mut self) {
        let now = Instant::now();
        if self.first.is_some() {
            self.chunks += 1;
        } else {
            self.first = Some(now);
            let waited = now.duration_since(self.begun).as_secs_f64();
            self.span
                .record("gen_ai.response.time_to_first_chunk", waited);
        }
        self.latest = Some(now);
    }

    fn fail(&mut self, error: &Error) {
        self.over = true;
        self.error = Some(error.kind());
    }
}

impl Drop for CallObservation {
    fn drop(&mut self) {
        if !self.over {
            self.error = Some(ErrorKind::Cancelled);
        }
        let error = self.error.map(error_type);
        if let Some(error) = &error {
            self.span.record("error.type", error);
        }
        if let Some(usage) = &self.usage {
            let written = usage.cache_write_5m.saturating_add(usage.cache_write_1h);
            for (name, tokens) in [
                ("gen_ai.usage.input_tokens", usage.all_input()),
                ("gen_ai.usage.output_tokens", usage.all_output()),
                ("gen_ai.usage.cache_read.input_tokens", usage.cache_read),
                ("gen_ai.usage.cache_creation.input_tokens", written),
                ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
            ] {
                self.span.record(name, tokens);
            }
        }
        if let Some(metrics) = &self.metrics {
            let ends = self.first.zip(self.latest);
            let during = ends.map(|(first, latest)| latest.duration_since(first));
            let report = Report {
                duration: self.begun.elapsed(),
                first_chunk: self.first.map(|first| first.duration_since(self.begun)),
                chunks: (during.unwrap_or_default(), self.chunks),
                usage: self.usage,
                error,
            };
            metrics.record(&self.info, &report);
        }
    }
}

/// Returns an error's name in JSON: `rate_limited`.
pub(super) fn error_type(kind: ErrorKind) -> String {
    let name = serde_json::to_value(kind).unwrap_or_default();
    name.as_str().unwrap_or("other").to_owned()
}

fn reason(finish: &Finish) -> String {
    let name = match finish {
        Finish::Stop | Finish::StopSequence => "stop",
        Finish::Length | Finish::ContextWindow => "length",
        Finish::ToolCalls => "tool_call",
        Finish::ContentFilter | Finish::Refusal => "content_filter",
        Finish::Pause => "pause",
        Finish::Other(other) => other,
        _ => "other",
    };
    name.replace('"', "")
}
