//! Ollama in unusual cases: requests, responses, and model management.

use std::time::Duration;

use futures_util::StreamExt as _;
use konstruct_core::{
    ErrorKind, LlmBackend as _, Result, Secret,
    llm::{
        Ability, Effort, Finish, LlmBackendExt as _, Media, ModelEvent, ModelRequest, OutputSchema,
        Part, ToolChoice,
    },
    money::Usage,
};
use konstruct_llm::{LocalState, Ollama, OllamaDecoder, Timeouts, testkit::FakeProvider};
use serde_json::{Value, json};

use crate::{ask, call, canned::Canned, tool};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Returns the body of the request for a model.
async fn sent(model: &str, request: ModelRequest) -> Result<Value> {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let answer = Ollama::new(model)
        .base_url(server.url())
        .complete(request, &call())
        .await;
    let requests = fake.requests();
    assert_eq!(requests.len(), usize::from(answer.is_ok()));
    answer.map(|_| requests[0].body.clone())
}

#[tokio::test]
async fn thinking_modes() {
    let check = async |model: &str, effort, expected: Value| {
        let mut request = ask("Hi");
        request.reasoning = effort;
        let body = sent(model, request).await.unwrap();
        assert_eq!(body["think"], expected, "{model} {effort:?}");
    };
    check("qwen3:4b", None, Value::Null).await;
    check("qwen3:4b", Some(Effort::Off), json!(false)).await;
    check("qwen3:4b", Some(Effort::Low), json!(true)).await;
    check("gpt-oss:20b", Some(Effort::Off), json!("low")).await;
    check("gpt-oss:20b", Some(Effort::Medium), json!("medium")).await;
    check("gpt-oss:20b", Some(Effort::High), json!("high")).await;
    // Requesting thought from a model that cannot think is an error.
    check("llama3.2", Some(Effort::High), Value::Null).await;
}

#[tokio::test]
async fn schema_stops_and_images() {
    let schema = json!({"type": "object", "properties": {}});
    let mut request = ask("Hi");
    request.output = Some(OutputSchema {
        name: "answer".into(),
        schema: schema.clone(),
    });
    request.stop = vec!["END".into()];
    let image = Part::Image(Media::new("image/png", vec![1, 2, 3]));
    request.messages[0].parts.push(image);
    let body = sent("llava", request.clone()).await.unwrap();
    assert_eq!(body["format"], schema);
    assert_eq!(body["options"]["stop"], json!(["END"]));
    assert_eq!(
        body["messages"][1],
        json!({"role": "user", "content": "Hi", "images": ["AQID"]})
    );
    let error = sent("llama3.2", request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn unsupported_options_are_rejected() {
    let check = async |change: fn(&mut ModelRequest), named: &str| {
        let mut request = ask("Hi");
        request.tools = vec![tool("look_up")];
        change(&mut request);
        let server = Canned::new(&[]).await;
        let backend = Ollama::new("m")
            .base_url(&server.url)
            .abilities([Ability::Tools, Ability::Audio]);
        let error = backend.complete(request, &call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{named}");
        assert!(error.message().starts_with(named), "{error}");
    };
    check(|it| it.tool_choice = ToolChoice::Required, "tool_choice").await;
    check(
        |it| it.tool_choice = ToolChoice::Tool("look_up".into()),
        "tool_choice",
    )
    .await;
    check(|it| it.parallel_tools = Some(false), "parallel_tools").await;
    check(
        |it| {
            let audio = Part::Audio(Media::new("audio/wav", vec![1]));
            it.messages[0].parts.push(audio);
        },
        "messages[0]: ollama does not support audio",
    )
    .await;
    let mut request = ask("Hi");
    request.tools = vec![tool("look_up")];
    request.tool_choice = ToolChoice::None;
    assert_eq!(sent("m", request).await.unwrap()["tools"], Value::Null);
}

#[test]
fn model_descriptions() {
    let model = Ollama::new("qwen3").base_url("gpu").context(4096);
    let info = model.describe().clone();
    assert!(info.can.contains(&Ability::Reasoning));
    assert_eq!(info.context_window, Some(4096));
    assert_eq!(info.server.as_deref(), Some("gpu:11434"));
    let keyed = model.api_key(Secret::new("k"));
    assert_eq!(keyed.describe().origin.as_deref(), Some("ollama/8254c329"));
    assert_ne!(keyed.describe().origin, info.origin);
}

fn decoded(lines: &[&str]) -> (Vec<ModelEvent>, Option<ErrorKind>) {
    let mut decoder = OllamaDecoder::default();
    let mut out = Vec::new();
    for line in lines {
        out.extend(decoder.push(format!("{line}\n").as_bytes()));
    }
    out.extend(decoder.finish());
    let (events, errors): (Vec<_>, Vec<_>) = out.into_iter().partition(Result::is_ok);
    let errors: Vec<ErrorKind> = errors
        .into_iter()
        .map(|it| it.unwrap_err().kind())
        .collect();
    assert!(errors.len() <= 1, "{errors:?}");
    let events = events.into_iter().flatten().collect();
    (events, errors.first().copied())
}

fn text_and_thought(events: &[ModelEvent]) -> (String, String) {
    let (mut text, mut thought) = (String::new(), String::new());
    for event in events {
        match event {
            ModelEvent::Text { delta, .. } => text.push_str(delta),
            ModelEvent::Reasoning { delta, .. } => thought.push_str(delta),
            _ => {}
        }
    }
    (text, thought)
}

#[test]
fn how_answers_end() {
    let check = |end: &str, finish: Result<Finish, ErrorKind>| {
        let last = format!(r#"{{"model":"m","message":{{"content":"x"}},{end}}}"#);
        let (events, error) = decoded(&[&last]);
        match finish {
            Ok(finish) => assert_eq!(events.last(), Some(&ModelEvent::Finish(finish)), "{end}"),
            Err(kind) => assert_eq!(error, Some(kind), "{end}"),
        }
    };
    check(r#""done":true,"done_reason":"stop""#, Ok(Finish::Stop));
    check(r#""done":true,"done_reason":"length""#, Ok(Finish::Length));
    let load = Finish::Other("load".into());
    check(r#""done":true,"done_reason":"load""#, Ok(load));
    check(r#""done":true"#, Err(ErrorKind::Truncated));
    check(
        r#""done":true,"done_reason":null"#,
        Err(ErrorKind::Truncated),
    );
    check(r#""done":false"#, Err(ErrorKind::Truncated));
    check(
        r#""error":"an error was encountered""#,
        Err(ErrorKind::Unavailable),
    );
    check(
        r#""error":{"message":"of a gateway"}"#,
        Err(ErrorKind::Unavailable),
    );
}

#[test]
fn missing_counts_are_not_reported() {
    let check = |counts: &str, expected: Option<Usage>| {
        let last = format!(r#"{{"done":true,"done_reason":"stop"{counts}}}"#);
        let (events, error) = decoded(&[&last]);
        assert_eq!(error, None, "{counts}");
        let usage = events.iter().find_map(|event| match event {
            ModelEvent::Usage(usage) => Some(*usage),
            _ => None,
        });
        assert_eq!(usage, expected, "{counts}");
    };
    check("", None);
    let usage = |input, output| Usage {
        input,
        output,
        ..Usage::default()
    };
    check(r#","eval_count":3"#, Some(usage(0, 3)));
    check(
        r#","prompt_eval_count":26,"eval_count":3"#,
        Some(usage(26, 3)),
    );
}

#[test]
fn tags_of_thoughts_do_not_reach_the_text() {
    let check = |contents: &[&str], text: &str, thought: &str| {
        let mut lines: Vec<String> = contents
            .iter()
            .map(|content| json!({"model": "m", "message": {"content": content}}).to_string())
            .collect();
        lines.push(r#"{"done":true,"done_reason":"stop"}"#.into());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (events, error) = decoded(&lines);
        assert_eq!(error, None, "{contents:?}");
        let (said, thoughts) = text_and_thought(&events);
        assert_eq!(
            (said.as_str(), thoughts.as_str()),
            (text, thought),
            "{contents:?}"
        );
    };
    check(&["</think>", "\n\n", "Hello"], "Hello", "");
    check(&["<th", "ink>Hm.</thi", "nk>", "\n\nHello"], "Hello", "Hm.");
    check(&["Say </think> twice"], "Say </think> twice", "");
    check(&["a <"], "a <", "");
}

#[test]
fn held_text_precedes_a_call() {
    let (events, _) = decoded(&[
        r#"{"model":"m","message":{"content":"a <","tool_calls":[{"function":{"name":"f","arguments":{}}}]}}"#,
        r#"{"done":true,"done_reason":"stop"}"#,
    ]);
    let text: Vec<usize> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| matches!(event, ModelEvent::Text { .. }))
        .map(|(at, _)| at)
        .collect();
    let call = events
        .iter()
        .position(|event| matches!(event, ModelEvent::ToolArguments { .. }));
    assert!(text.iter().all(|at| Some(*at) < call), "{events:?}");
    assert_eq!(text_and_thought(&events).0, "a <");
    let finish = Some(&ModelEvent::Finish(Finish::ToolCalls));
    assert_eq!(events.last(), finish);
}

#[tokio::test]
async fn local_state_of_a_model() {
    let list = |names: &[&str]| {
        let models: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({ "models": models }).to_string()
    };
    let check = async |loaded: &[&str], there: &[&str], expected: LocalState| {
        let (loaded, there) = (list(loaded), list(there));
        let server = Canned::new(&[(JSON, &loaded), (JSON, &there)]).await;
        let model = Ollama::new("llama3.2").base_url(&server.url);
        assert_eq!(model.state().await.unwrap(), expected);
        assert_eq!(server.asked()[0].0, "GET /api/ps");
    };
    let latest = &["llama3.2:latest"][..];
    check(latest, latest, LocalState::Loaded).await;
    check(&["qwen3:4b"], latest, LocalState::Present).await;
    check(&[], &["llama3.2:1b"], LocalState::Absent).await;
}

#[tokio::test]
async fn loading_and_unloading() {
    let loaded = r#"{"model":"m","message":{"role":"assistant","content":""},"done_reason":"load","done":true}"#;
    let server = Canned::new(&[(JSON, loaded), (JSON, loaded), (JSON, "{}")]).await;
    let model = Ollama::new("m").base_url(&server.url).context(4096);
    model.load().await.unwrap();
    model.unload().await.unwrap();
    let error = model.load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let asked = server.asked();
    let body = json!({"model": "m", "messages": [], "stream": false, "options": {"num_ctx": 4096}});
    assert_eq!(asked[0], ("POST /api/chat".to_owned(), body));
    assert_eq!(asked[1].1["keep_alive"], 0);
}

#[tokio::test]
async fn abilities_reported_by_ollama() {
    let shown = r#"{"capabilities":["completion","tools","vision","new"],"license":"long"}"#;
    let server = Canned::new(&[(JSON, shown)]).await;
    let model = Ollama::new("mine").base_url(&server.url);
    let model = model.measured().await.unwrap();
    let expected = [Ability::Tools, Ability::Images, Ability::Schema];
    assert_eq!(model.describe().can, expected.into());
    let asked = ("POST /api/show".to_owned(), json!({"model": "mine"}));
    assert_eq!(server.asked(), [asked]);
}

#[tokio::test]
async fn a_pull_reports_progress() {
    let check = async |body: &str, expected: &[&str], error: Option<ErrorKind>| {
        let server = Canned::new(&[(LINES, body)]).await;
        let model = Ollama::new("m").base_url(&server.url);
        let events: Vec<_> = model.pull().await.unwrap().collect().await;
        let told: Vec<String> = events
            .iter()
            .flatten()
            .map(|it| {
                format!(
                    "{} {}/{}",
                    it.status,
                    it.completed.unwrap_or(0),
                    it.total.unwrap_or(0)
                )
            })
            .collect();
        assert_eq!(told, expected, "{body}");
        let errors: Vec<ErrorKind> = events
            .iter()
            .filter_map(|it| it.as_ref().err().map(konstruct_core::Error::kind))
            .collect();
        assert_eq!(errors, Vec::from_iter(error), "{body}");
        let asked = ("POST /api/pull".to_owned(), json!({"model": "m"}));
        assert_eq!(server.asked(), [asked]);
    };
    let begun = r#"{"status":"pulling manifest"}
{"status":"pulling 6a07","digest":"sha256:6a07","total":100,"completed":60}
"#;
    let told = ["pulling manifest 0/0", "pulling 6a07 60/100", "success 0/0"];
    let whole = format!("{begun}{{\"status\":\"success\"}}\n{{\"status\":\"more\"}}\n");
    check(&whole, &told, None).await;
    let unterminated = format!("{begun}{{\"status\":\"success\"}}");
    check(&unterminated, &told, None).await;
    check(begun, &told[..2], Some(ErrorKind::Truncated)).await;
    let failed = format!("{begun}{{\"error\":\"no space left\"}}\n");
    check(&failed, &told[..2], Some(ErrorKind::Unavailable)).await;
    let odd = format!("{begun}nonsense\n");
    check(&odd, &told[..2], Some(ErrorKind::Protocol)).await;
}

#[tokio::test]
async fn a_silent_pull_times_out() {
    let server = Canned::silent_after(LINES, "{\"status\":\"pulling manifest\"}\n").await;
    let patience = Timeouts::default().with_first_content(Duration::from_millis(200));
    let model = Ollama::new("m").base_url(&server.url).timeouts(patience);
    let events: Vec<_> = model.pull().await.unwrap().collect().await;
    assert_eq!(events.len(), 2);
    let error = events[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
}

#[tokio::test]
async fn time_limits_of_a_document() {
    let server = Canned::silent_after(JSON, "{\"model\":\"m\",").await;
    let patience = Duration::from_millis(200);
    let timeouts = Timeouts::default()
        .with_first_content(patience)
        .with_idle(patience);
    let model = Ollama::new("m").base_url(&server.url).timeouts(timeouts);
    let error = model.complete(ask("Hi"), &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
}
