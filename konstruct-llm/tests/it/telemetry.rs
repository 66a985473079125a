//! Spans and metrics have the conventions' names, and contain no message text unless it is enabled.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::StreamExt as _;
use konstruct_core::{
    Embedder as _, ErrorKind, LlmBackend as _, Secret, TenantId,
    embed::{EmbedContext, EmbedKind},
    llm::{LlmBackendExt as _, ModelInfo},
    money::Usage,
};
use konstruct_llm::{
    CallMetrics, Deployment, Observed, OpenAiEmbedder, Pool,
    testkit::{Beat, FakeProvider, Fault, Reply, Scripted, begins, says},
};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::set_default,
};

use crate::{ask, call};

type Fields = BTreeMap<String, String>;

/// Records the fields of every span, in order of creation.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<(String, Fields)>>>, Arc<AtomicU64>);

struct Write<'a>(&'a mut Fields);

impl Visit for Write<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut Write(&mut fields));
        let name = span.metadata().name().to_owned();
        self.0.lock().unwrap().push((name, fields));
        Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let at = usize::try_from(span.into_u64() - 1).unwrap();
        values.record(&mut Write(&mut self.0.lock().unwrap()[at].1));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Spans {
    fn chats(&self) -> Vec<Fields> {
        self.named("chat")
    }

    fn named(&self, wanted: &str) -> Vec<Fields> {
        let spans = self.0.lock().unwrap();
        let chats = spans.iter().filter(|(name, _)| name == wanted);
        chats.map(|(_, fields)| fields.clone()).collect()
    }
}

const USAGE: Usage = Usage {
    input: 10,
    cache_read: 20,
    cache_write_5m: 5,
    cache_write_1h: 1,
    output: 7,
    reasoning: 3,
};

fn pool(content: bool, metrics: &Arc<CallMetrics>) -> Pool {
    let info = |model: &str| ModelInfo::new("scripted", model).with_server("llm.example:443");
    let ill = Scripted::new(info("ill"), |_, _| {
        vec![Beat::Refuse(ErrorKind::RateLimited.into())]
    });
    let well = Scripted::new(info("well"), |_, _| says("A secret answer.", Some(USAGE)));
    let mut pool = Pool::builder()
        .deployment(Deployment::new("ill", ill))
        .deployment(Deployment::new("well", well).fallback(1))
        .metrics(Arc::clone(metrics));
    if content {
        pool = pool.content_in_spans();
    }
    pool.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_span_by_the_conventions() {
    let spans = Spans::default();
    let _guard = set_default(spans.clone());
    let metrics = Arc::new(CallMetrics::default());
    let pool = pool(false, &metrics);
    pool.complete(ask("A secret question"), &call())
        .await
        .unwrap();
    let chats = spans.chats();
    let check = |chat: &Fields, expected: &[(&str, &str)]| {
        for (name, value) in expected {
            assert_eq!(
                chat.get(*name).map(String::as_str),
                Some(*value),
                "{name} of {chat:#?}"
            );
        }
    };
    assert_eq!(chats.len(), 2);
    check(
        &chats[0],
        &[
            ("otel.name", "chat ill"),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "scripted"),
            ("gen_ai.request.model", "ill"),
            ("error.type", "rate_limited"),
        ],
    );
    check(
        &chats[1],
        &[
            ("gen_ai.request.model", "well"),
            ("gen_ai.request.max_tokens", "100"),
            ("gen_ai.response.id", "answer"),
            ("gen_ai.response.model", "scripted"),
            ("gen_ai.response.finish_reasons", "[\"stop\"]"),
            ("gen_ai.usage.input_tokens", "36"),
            ("gen_ai.usage.output_tokens", "10"),
            ("gen_ai.usage.cache_read.input_tokens", "20"),
            ("gen_ai.usage.cache_creation.input_tokens", "6"),
            ("gen_ai.usage.reasoning.output_tokens", "3"),
            ("server.address", "llm.example"),
            ("server.port", "443"),
        ],
    );
    assert!(chats[1].contains_key("gen_ai.response.time_to_first_chunk"));
    let all = format!("{chats:?}");
    assert!(!all.contains("secret"), "{all}");

    let text = metrics.prometheus();
    for line in [
        "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"scripted\",\
         gen_ai_request_model=\"well\",server_address=\"llm.example:443\",gen_ai_token_type=\"input\"} 36",
        "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"scripted\",\
         gen_ai_request_model=\"ill\",server_address=\"llm.example:443\",error_type=\"rate_limited\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nin\n{text}"
        );
    }
}

/// Returns the distinct values of a label.
fn values(text: &str, label: &str) -> BTreeSet<String> {
    let before = format!("{label}=\"");
    let after = text.split(&before).skip(1);
    after
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn tenants_add_no_series() {
    let metrics = Arc::new(CallMetrics::default());
    let shared = pool(false, &metrics);
    for tenant in 0..50 {
        let info = ModelInfo::new("scripted", format!("model-{tenant}"))
            .with_server(format!("llm-{tenant}.example:443"));
        let own = Scripted::new(info, |_, _| says("Hi.", Some(USAGE)));
        let pool = shared.extend().deployment(Deployment::new("own", own));
        let pool = pool.build().unwrap();
        pool.complete(ask("Hi"), &call()).await.unwrap();
    }
    shared.complete(ask("Hi"), &call()).await.unwrap();
    let text = metrics.prometheus();
    let models = values(&text, "gen_ai_request_model");
    assert_eq!(models, ["ill", "own", "well"].map(str::to_owned).into());
    assert_eq!(values(&text, "server_address").len(), 1, "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_series_is_limited() {
    let metrics = Arc::new(CallMetrics::default());
    for number in 0..300 {
        let info = ModelInfo::new("scripted", format!("model-{number}"));
        let model = Scripted::new(info, |_, _| says("Hi.", Some(USAGE)));
        let model = Observed::new(Arc::new(model)).with_metrics(Arc::clone(&metrics));
        model.complete(ask("Hi"), &call()).await.unwrap();
    }
    let text = metrics.prometheus();
    let models = values(&text, "gen_ai_request_model");
    assert_eq!(models.len(), 201);
    assert!(models.contains("model-0") && models.contains("other"));
    let others = "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"other\",\
                  gen_ai_request_model=\"other\"} 100";
    assert!(text.lines().any(|line| line == others), "{text}");
}

#[tokio::test(start_paused = true)]
async fn content_is_recorded_on_request() {
    let spans = Spans::default();
    let _guard = set_default(spans.clone());
    let pool = pool(true, &Arc::default());
    pool.complete(ask("A secret question"), &call())
        .await
        .unwrap();
    let chat = spans.chats().pop().unwrap();
    assert!(chat["gen_ai.input.messages"].contains("A secret question"));
    assert!(chat["gen_ai.system_instructions"].contains("Be brief."));
    assert!(chat["gen_ai.output.messages"].contains("A secret answer."));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_counts_as_cancelled() {
    let metrics = Arc::new(CallMetrics::default());
    let model = Scripted::new(ModelInfo::new("scripted", "m"), |_, _| begins("Half of it"));
    let pool = Pool::builder()
        .metrics(Arc::clone(&metrics))
        .deployment(Deployment::new("m", model));
    let pool = pool.build().unwrap();
    let mut stream = pool.stream(ask("Hi"), &call()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert!(metrics.prometheus().contains("error_type=\"cancelled\"} 1"));
}

#[tokio::test]
async fn an_embedding_request_is_a_span_without_text() {
    let spans = Spans::default();
    let _guard = set_default(spans.clone());
    let fake = FakeProvider::new(|_| Reply::text("").usage(3, 0));
    let server = fake.spawn().await.unwrap();
    let embedder = OpenAiEmbedder::new(Secret::new("key-1"), "m", 8).base_url(server.url());
    let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "call");
    embedder.embed(&context, &["a secret"]).await.unwrap();
    fake.next(Reply::default().fault(Fault::status(429, "{}")));
    embedder.embed(&context, &["a secret"]).await.unwrap_err();
    let spans = spans.named("embeddings");
    let [well, ill] = &*spans else {
        panic!("{spans:#?}")
    };
    let address = server.url().trim_start_matches("http://");
    let (host, port) = address.split_once(':').unwrap();
    for (name, value) in [
        ("otel.name", "embeddings m"),
        ("gen_ai.operation.name", "embeddings"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.embeddings.dimension.count", "8"),
        ("gen_ai.usage.input_tokens", "3"),
        ("server.address", host),
        ("server.port", port),
    ] {
        assert_eq!(well.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(
        ill.get("error.type").map(String::as_str),
        Some("rate_limited")
    );
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
}
