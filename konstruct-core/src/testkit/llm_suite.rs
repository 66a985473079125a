//! The conformance suite for implementations of [`LlmBackend`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join};
use tokio::time::timeout;

use super::store_suite::{Failed, Outcome, ensure, ensure_eq};
use crate::{
    ErrorKind, LlmBackend, Result, TenantId,
    llm::{
        Ability, BlockKind, CallContext, Collector, LlmBackendExt as _, Media, ModelEvent,
        ModelMessage, ModelRequest, Part, Role, ToolSpec,
    },
};

/// The time after which a case counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend to test.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use konstruct_core::testkit::{ScriptedAnswer, LlmSubject, ScriptedModel, llm_suite};
///
/// llm_suite(async || {
///     LlmSubject::new(Arc::new(ScriptedModel::new(|_| ScriptedAnswer::text("Good morning."))))
///         .cut_off(Arc::new(ScriptedModel::new(|_| ScriptedAnswer::Truncated)))
/// })
/// .await;
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct LlmSubject {
    backend: Arc<dyn LlmBackend>,
    cut_off: Option<Arc<dyn LlmBackend>>,
    silent: Option<Arc<dyn LlmBackend>>,
}

impl LlmSubject {
    /// Creates a subject from a backend that answers.
    pub fn new(backend: Arc<dyn LlmBackend>) -> Self {
        Self {
            backend,
            cut_off: None,
            silent: None,
        }
    }

    /// Adds a backend of the same kind whose provider fails in the middle of an answer.
    #[must_use]
    pub fn cut_off(mut self, backend: Arc<dyn LlmBackend>) -> Self {
        self.cut_off = Some(backend);
        self
    }

    /// Adds a backend of the same kind whose provider accepts the request and never responds.
    #[must_use]
    pub fn silent(mut self, backend: Arc<dyn LlmBackend>) -> Self {
        self.silent = Some(backend);
        self
    }
}

macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        /// The names of the suite's cases.
        pub const LLM_CASES: &[&str] = &[$(stringify!($case),)+];

        /// Runs one case of the suite on a fresh backend.
        ///
        /// The violated requirement, or the error that the backend returned.
        /// What the backend did that it must not do, or the error that it returned.
        pub async fn llm_case(name: &str, make: &impl AsyncFn() -> LlmSubject) -> Result<(), Failed> {
            match name {
                $(stringify!($case) => {
                    let subject = make().await;
                    let outcome = timeout(PATIENCE * 3, Box::pin($case(&subject))).await;
                    outcome.unwrap_or_else(|_| Err("the case hangs".into()))
                })+
                _ => Err(format!("unknown case: {name}").into()),
            }
        }
    };
}

cases! {
    the_backend_describes_itself,
    an_answer_is_well_formed,
    an_answer_equals_its_stream,
    calls_do_not_mix,
    a_dropped_stream_has_no_side_effects,
    unsupported_requests_are_refused,
    tools_are_called_with_whole_arguments,
    a_broken_stream_is_an_error,
    a_silent_provider_times_out,
}

/// Runs every case, each on a fresh backend.
///
/// # Panics
/// If a case fails. The message lists all failures.
pub async fn llm_suite(make: impl AsyncFn() -> LlmSubject) {
    let mut failures = Vec::new();
    for name in LLM_CASES {
        if let Err(error) = llm_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        LLM_CASES.len(),
        failures.join("\n")
    );
}

fn call() -> CallContext {
    CallContext::new(TenantId::new(), "suite.m1", PATIENCE)
}

fn ask(text: &str) -> ModelRequest {
    ModelRequest {
        system: "You are brief.".into(),
        messages: vec![ModelMessage::text(Role::User, text)],
        max_tokens: 200,
        ..ModelRequest::default()
    }
}

/// Sends a request, and returns all results of the stream, including an error before its start.
async fn events(backend: &dyn LlmBackend, request: ModelRequest) -> Vec<Result<ModelEvent>> {
    match backend.stream(request, &call()).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

/// Checks the contract of a stream.
fn well_formed(events: &[Result<ModelEvent>]) -> Outcome {
    let (mut open, mut known) = (BTreeSet::new(), BTreeSet::new());
    for (at, event) in events.iter().enumerate() {
        let last = at + 1 == events.len();
        let ending = matches!(event, Err(_) | Ok(ModelEvent::Finish(_)));
        ensure_eq!(
            ending,
            last,
            "whether event {at} of {} ends the stream",
            events.len()
        );
        let Ok(event) = event else { continue };
        match event {
            ModelEvent::BlockStart { index, kind } => {
                ensure!(known.insert(*index), "block {index} starts twice");
                open.insert(*index);
                if let BlockKind::ToolCall { id, name } = kind {
                    ensure!(
                        !id.is_empty() && !name.is_empty(),
                        "a tool call has no id or no name"
                    );
                }
            }
            ModelEvent::BlockEnd { index } => {
                ensure!(open.remove(index), "block {index} ends but is not open");
            }
            ModelEvent::Text { index, .. }
            | ModelEvent::Reasoning { index, .. }
            | ModelEvent::Signature { index, .. }
            | ModelEvent::ToolArguments { index, .. } => {
                ensure!(
                    open.contains(index),
                    "a delta belongs to block {index}, which is not open"
                );
            }
            ModelEvent::Restart => {
                open.clear();
                known.clear();
            }
            ModelEvent::Finish(_) => {
                ensure!(
                    open.is_empty(),
                    "the stream finishes with open blocks: {open:?}"
                );
            }
            _ => {}
        }
    }
    ensure!(!events.is_empty(), "the stream yields nothing");
    Ok(())
}

async fn the_backend_describes_itself(subject: &LlmSubject) -> Outcome {
    let before = subject.backend.describe().clone();
    ensure!(!before.provider.is_empty(), "provider is empty");
    ensure!(!before.model.is_empty(), "model is empty");
    subject.backend.complete(ask("Say hello."), &call()).await?;
    ensure_eq!(
        *subject.backend.describe(),
        before,
        "the description after a call"
    );
    Ok(())
}

async fn an_answer_is_well_formed(subject: &LlmSubject) -> Outcome {
    let events = events(&*subject.backend, ask("Say hello.")).await;
    well_formed(&events)?;
    ensure!(
        matches!(events.last(), Some(Ok(ModelEvent::Finish(_)))),
        "the stream ends with {:?}",
        events.last()
    );
    let said = |event: &Result<ModelEvent>| matches!(event, Ok(ModelEvent::Text { delta, .. }) if !delta.is_empty());
    ensure!(events.iter().any(said), "the answer has no text");
    Ok(())
}

async fn an_answer_equals_its_stream(subject: &LlmSubject) -> Outcome {
    let mut collector = Collector::default();
    let mut answer = None;
    for event in events(&*subject.backend, ask("Say hello.")).await {
        ensure!(
            answer.is_none(),
            "the stream continues after the finish event"
        );
        answer = collector.push(event?)?;
    }
    let answer = answer.ok_or("the stream has no finish event")?;
    ensure!(!answer.text().is_empty(), "the answer has no text");
    for part in &answer.parts {
        if let Part::ToolCall(call) = part {
            ensure!(!call.arguments.is_empty(), "empty arguments must be `{{}}`");
        }
    }
    Ok(())
}

async fn calls_do_not_mix(subject: &LlmSubject) -> Outcome {
    let (one, two) = join(
        events(&*subject.backend, ask("Say hello.")),
        events(&*subject.backend, ask("Say goodbye.")),
    )
    .await;
    well_formed(&one)?;
    well_formed(&two)
}

async fn a_dropped_stream_has_no_side_effects(subject: &LlmSubject) -> Outcome {
    for most in 0..3 {
        let mut stream = subject.backend.stream(ask("Say hello."), &call()).await?;
        for _ in 0..most {
            let _some = stream.next().await;
        }
    }
    an_answer_is_well_formed(subject).await
}

async fn unsupported_requests_are_refused(subject: &LlmSubject) -> Outcome {
    let can = &subject.backend.describe().can;
    let media = [
        (
            Ability::Images,
            Part::Image(Media::new("image/png", &b"\x89PNG\r\n\x1a\n"[..])),
        ),
        (
            Ability::Audio,
            Part::Audio(Media::new("audio/wav", &b"RIFF"[..])),
        ),
    ];
    for (ability, part) in media {
        if can.contains(&ability) {
            continue;
        }
        let mut request = ask("What is this?");
        request.messages[0].parts.push(part);
        let answer = subject.backend.complete(request, &call()).await;
        let kind = answer.as_ref().map_err(|error| error.kind()).err();
        ensure!(
            matches!(kind, Some(ErrorKind::Unsupported | ErrorKind::InvalidInput)),
            "the backend does not list {ability:?} but answers {answer:?}"
        );
    }
    Ok(())
}

async fn tools_are_called_with_whole_arguments(subject: &LlmSubject) -> Outcome {
    if !subject.backend.describe().can.contains(&Ability::Tools) {
        return Ok(());
    }
    let mut request = ask("Look up when we are open.");
    request.tools = vec![ToolSpec {
        name: "look_up".into(),
        description: "Looks something up.".into(),
        parameters: serde_json::json!({"type": "object", "properties": {}}),
    }];
    let events = events(&*subject.backend, request.clone()).await;
    well_formed(&events)?;
    let answer = subject.backend.complete(request, &call()).await?;
    for call in answer.tool_calls() {
        ensure_eq!(call.name, "look_up", "which tool is called");
        let arguments = serde_json::from_str::<serde_json::Value>(&call.arguments);
        ensure!(
            arguments.is_ok_and(|it| it.is_object()),
            "arguments: {}",
            call.arguments
        );
    }
    Ok(())
}

async fn a_broken_stream_is_an_error(subject: &LlmSubject) -> Outcome {
    let Some(backend) = &subject.cut_off else {
        return Ok(());
    };
    let events = events(&**backend, ask("Say hello.")).await;
    // An end without a finish event is detected by the consumer: `collect` returns an error.
    let finished = events
        .iter()
        .any(|event| matches!(event, Ok(ModelEvent::Finish(_))));
    ensure!(!finished, "a truncated stream finishes");
    let error = match backend.complete(ask("Say hello."), &call()).await {
        Ok(answer) => {
            return Err(format!("a truncated answer counts as complete: {answer:?}").into());
        }
        Err(error) => error,
    };
    ensure!(
        matches!(
            error.kind(),
            ErrorKind::Truncated
                | ErrorKind::Ambiguous
                | ErrorKind::Unavailable
                | ErrorKind::Protocol
        ),
        "the error of a broken stream is {error}"
    );
    Ok(())
}

async fn a_silent_provider_times_out(subject: &LlmSubject) -> Outcome {
    let Some(backend) = &subject.silent else {
        return Ok(());
    };
    let soon = Duration::from_millis(200);
    let call = CallContext::new(TenantId::new(), "suite.m1", soon);
    let answer = timeout(PATIENCE, backend.complete(ask("Say hello."), &call)).await;
    let answer = answer.map_err(|_| "the backend exceeds the call's timeout")?;
    ensure!(
        answer.is_err(),
        "the backend answers although the provider did not respond"
    );
    Ok(())
}
