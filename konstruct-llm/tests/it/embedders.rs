//! Each embedder against its fake provider.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Embedder, ErrorKind, NanoUsd, Secret, TenantId,
    embed::{EmbedContext, EmbedKind},
    limit::LocalBudget,
    money::{Basis, Price, Rates},
};
use konstruct_llm::{
    EmbedderPool, OllamaEmbedder, OpenAiEmbedder, Timeouts,
    testkit::{FakeProvider, Fault, Reply, vector},
};

fn context(kind: EmbedKind) -> EmbedContext {
    EmbedContext::new(TenantId::new(), kind, "call")
}

fn embedders(url: &str, dim: usize) -> [Box<dyn Embedder>; 2] {
    let timeouts = Timeouts::default().with_first_content(Duration::from_secs(1));
    let openai = OpenAiEmbedder::new(Secret::new("key-1"), "m", dim)
        .base_url(format!("{url}/v1/"))
        .timeouts(timeouts);
    let ollama = OllamaEmbedder::new("m", dim)
        .base_url(url)
        .timeouts(timeouts);
    [Box::new(openai), Box::new(ollama)]
}

#[tokio::test]
async fn each_text_gets_its_vector() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let texts: Vec<String> = (0..150).map(|at| format!("text {at}")).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts[7] = " ";
    for embedder in embedders(server.url(), 8) {
        let id = embedder.id();
        let vectors = embedder
            .embed(&context(EmbedKind::Document), &texts)
            .await
            .unwrap();
        assert_eq!(vectors.len(), texts.len(), "{id}");
        for (text, found) in texts.iter().zip(&vectors) {
            let expected = if *text == " " {
                vec![0.0; 8]
            } else {
                vector(text, 8)
            };
            assert_eq!(found, &expected, "{id}: {text}");
        }
        assert!(
            embedder
                .embed(&context(EmbedKind::Query), &[])
                .await
                .unwrap()
                .is_empty()
        );
    }
    let sizes = |path: &str| -> Vec<usize> {
        let requests = fake.requests();
        let of = requests.iter().filter(|request| request.path == path);
        of.map(|request| request.body["input"].as_array().unwrap().len())
            .collect()
    };
    assert_eq!(sizes("/v1/embeddings"), [149]);
    assert_eq!(sizes("/api/embed"), [64, 64, 21]);
}

#[tokio::test]
async fn long_texts_are_truncated_and_many_are_batched() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let [openai, _] = embedders(server.url(), 8);
    let long = "ab".repeat(20_000);
    let texts = vec![long.as_str(); 80];
    let vectors = openai
        .embed(&context(EmbedKind::Document), &texts)
        .await
        .unwrap();
    assert_eq!(vectors.len(), 80);
    let requests = fake.requests();
    assert_eq!(requests.len(), 3, "36 texts of 8,000 tokens are a request");
    for text in requests
        .iter()
        .flat_map(|request| request.body["input"].as_array().unwrap())
    {
        assert_eq!(text.as_str().unwrap().len(), 16_000);
    }
    let many = vec!["x"; 2049];
    assert_eq!(
        openai
            .embed(&context(EmbedKind::Document), &many)
            .await
            .unwrap()
            .len(),
        2049
    );
    assert_eq!(fake.requests().len(), 5);
}

#[tokio::test]
async fn requests_have_the_models_options() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let url = server.url();
    let openai = OpenAiEmbedder::new(Secret::new(""), "text-embedding-3-small", 4).base_url(url);
    assert_eq!(
        openai
            .embed(&context(EmbedKind::Query), &["a"])
            .await
            .unwrap()[0]
            .len(),
        4
    );
    let plain = OpenAiEmbedder::new(Secret::new("key-1"), "bge", 8).base_url(url);
    let prefixed = plain.clone().prefixes("query: ", "passage: ");
    assert_ne!(plain.id(), prefixed.id());
    prefixed
        .embed(&context(EmbedKind::Query), &["a"])
        .await
        .unwrap();
    prefixed
        .embed(&context(EmbedKind::Document), &["a"])
        .await
        .unwrap();
    let measured = OllamaEmbedder::new("nomic", 0)
        .base_url(url)
        .measured()
        .await
        .unwrap();
    assert_eq!(measured.dim(), 8);

    let requests = fake.requests();
    assert_eq!(requests[0].body["dimensions"], 4);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[1].header("authorization"), Some("Bearer key-1"));
    for request in &requests[1..3] {
        let body = request.body.as_object().unwrap();
        assert!(
            !body.contains_key("dimensions") && !body.contains_key("encoding_format"),
            "{body:?}"
        );
    }
    assert_eq!(requests[1].body["input"][0], "query: a");
    assert_eq!(requests[2].body["input"][0], "passage: a");
    assert_eq!(requests[3].body["truncate"], true);
}

#[tokio::test]
async fn faults_are_errors() {
    let check = async |reply: Reply, dim, expected: ErrorKind| {
        let fake = FakeProvider::default();
        let server = fake.spawn().await.unwrap();
        for embedder in embedders(server.url(), dim) {
            fake.next(reply.clone());
            let error = embedder
                .embed(&context(EmbedKind::Document), &["a", "b"])
                .await
                .unwrap_err();
            assert_eq!(error.kind(), expected, "{}: {error}", embedder.id());
            assert!(!format!("{error:?}").contains("key-1"), "{error:?}");
        }
        assert_eq!(fake.requests().len(), 2, "nothing is retried here");
    };
    let fault = |fault| Reply::default().fault(fault);
    check(fault(Fault::status(429, "{}")), 8, ErrorKind::RateLimited).await;
    check(fault(Fault::status(401, "{}")), 8, ErrorKind::Unauthorized).await;
    check(fault(Fault::status(500, "oops")), 8, ErrorKind::Ambiguous).await;
    check(fault(Fault::status(200, "<html>")), 8, ErrorKind::Protocol).await;
    check(fault(Fault::End(1)), 8, ErrorKind::Protocol).await;
    check(fault(Fault::Cut(1)), 8, ErrorKind::Truncated).await;
    check(fault(Fault::Stall(1)), 8, ErrorKind::Truncated).await;
    check(Reply::default(), 9, ErrorKind::Protocol).await;
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    for embedder in embedders("http://127.0.0.1:9", 8) {
        let error = embedder
            .embed(&context(EmbedKind::Query), &["a"])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

/// One dollar per million tokens.
fn priced(url: &str) -> OpenAiEmbedder {
    let dollar = Price::from(Rates::flat(1_000_000_000, 0));
    OpenAiEmbedder::new(Secret::new("key-1"), "m", 8)
        .base_url(url)
        .price(dollar)
        .timeouts(Timeouts::default().with_first_content(Duration::from_secs(1)))
}

fn metered(cap: Option<NanoUsd>) -> (Arc<LocalBudget>, EmbedContext) {
    let budget = Arc::new(LocalBudget::new(cap));
    let context = context(EmbedKind::Document).with_budget(Arc::clone(&budget) as _);
    (budget, context)
}

#[tokio::test]
async fn each_request_is_a_row_of_the_ledger() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let check = async |reply: Reply, expected: (u64, Basis)| {
        let (budget, context) = metered(None);
        fake.next(reply);
        let _result = priced(server.url()).embed(&context, &["four", "5"]).await;
        let rows = budget.rows();
        let [row] = &*rows else { panic!("{rows:?}") };
        let found = (row.cost, row.basis, &*row.call, &*row.provider, &*row.model);
        assert_eq!(
            found,
            (Some(NanoUsd(expected.0)), expected.1, "call", "openai", "m")
        );
        assert_eq!(budget.reserved(), NanoUsd(0));
    };
    // Five bytes, plus sixteen special tokens per text.
    let worst = (37_000, Basis::WorstCase);
    let fault = |fault| Reply::text("").fault(fault);
    check(Reply::text("").usage(3, 0), (3_000, Basis::Reported)).await;
    check(fault(Fault::status(429, "{}")), (0, Basis::Estimated)).await;
    check(fault(Fault::status(503, "busy")), (0, Basis::Estimated)).await;
    for status in [408, 500, 502, 504, 520, 524] {
        check(fault(Fault::status(status, "oops")), worst).await;
    }
    check(fault(Fault::status(200, "<html>")), worst).await;
    check(fault(Fault::Cut(1)), worst).await;
    check(fault(Fault::Stall(1)), worst).await;

    let (budget, context) = metered(None);
    let ollama = OllamaEmbedder::new("m", 8).base_url(server.url());
    ollama.embed(&context, &["x"; 65]).await.unwrap();
    let rows = budget.rows();
    let found: Vec<_> = rows.iter().map(|row| (&*row.call, row.cost)).collect();
    let free = Some(NanoUsd(0));
    assert_eq!(found, [("call", free), ("call.a1", free)]);
}

#[tokio::test]
async fn a_request_over_the_cap_is_not_sent() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    fake.next(Reply::text("").usage(17, 0));
    let (budget, context) = metered(Some(NanoUsd(33_000)));
    let two = || Box::new(priced(server.url())) as Box<dyn Embedder>;
    let pool = EmbedderPool::new(vec![two(), two()]).unwrap();
    pool.embed(&context, &["a"]).await.unwrap();
    let error = pool.embed(&context, &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    assert_eq!(fake.requests().len(), 1);
    assert_eq!(budget.spent(), NanoUsd(17_000));
    // A rejected reservation is nobody's fault: the pool keeps serving callers with a budget.
    let (_, rich) = metered(None);
    pool.embed(&rich, &["a"]).await.unwrap();

    // A request without a price is rejected under a cap.
    let unpriced = OpenAiEmbedder::new(Secret::new(""), "m", 8).base_url(server.url());
    let error = unpriced.embed(&context, &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    unpriced.embed(&rich, &["a"]).await.unwrap();
}

#[tokio::test]
async fn the_pool_pays_for_each_attempt() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    fake.next(Reply::text("").fault(Fault::Cut(1)));
    fake.next(Reply::text("").usage(2, 0));
    let (budget, context) = metered(None);
    let pool = EmbedderPool::new(vec![
        Box::new(priced(server.url())),
        Box::new(priced(server.url())),
    ])
    .unwrap();
    pool.embed(&context, &["a"]).await.unwrap();
    let rows = budget.rows();
    let found: Vec<_> = rows.iter().map(|row| (&*row.call, row.cost)).collect();
    assert_eq!(
        found,
        [
            ("call", Some(NanoUsd(17_000))),
            ("call.a1", Some(NanoUsd(2_000)))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_query_times_out_after_five_seconds() {
    let fake = FakeProvider::new(|_| Reply::text("").fault(Fault::Stall(1)));
    let server = fake.spawn().await.unwrap();
    let openai = OpenAiEmbedder::new(Secret::new("key-1"), "m", 8).base_url(server.url());
    let ollama = OllamaEmbedder::new("m", 8).base_url(server.url());
    for embedder in [&openai as &dyn Embedder, &ollama] {
        let begin = tokio::time::Instant::now();
        let error = embedder
            .embed(&context(EmbedKind::Query), &["a"])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!(begin.elapsed().as_secs(), 5, "{}", embedder.id());
    }
}
