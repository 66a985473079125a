//! Each embedder against its fake provider.

use std::time::Duration;

use konstruct_core::{EmbedKind, Embedder, ErrorKind, Secret};
use konstruct_llm::{
    OllamaEmbedder, OpenAiEmbedder, Timeouts,
    testkit::{FakeProvider, Fault, Reply, vector},
};

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
        let vectors = embedder.embed(EmbedKind::Document, &texts).await.unwrap();
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
                .embed(EmbedKind::Query, &[])
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
async fn long_texts_and_many_are_parted() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let [openai, _] = embedders(server.url(), 8);
    let long = "ab".repeat(20_000);
    let texts = vec![long.as_str(); 80];
    let vectors = openai.embed(EmbedKind::Document, &texts).await.unwrap();
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
            .embed(EmbedKind::Document, &many)
            .await
            .unwrap()
            .len(),
        2049
    );
    assert_eq!(fake.requests().len(), 5);
}

#[tokio::test]
async fn requests_say_what_the_model_wants() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let url = server.url();
    let openai = OpenAiEmbedder::new(Secret::new(""), "text-embedding-3-small", 4).base_url(url);
    assert_eq!(
        openai.embed(EmbedKind::Query, &["a"]).await.unwrap()[0].len(),
        4
    );
    let plain = OpenAiEmbedder::new(Secret::new("key-1"), "bge", 8).base_url(url);
    let prefixed = plain.clone().prefixes("query: ", "passage: ");
    assert_ne!(plain.id(), prefixed.id());
    prefixed.embed(EmbedKind::Query, &["a"]).await.unwrap();
    prefixed.embed(EmbedKind::Document, &["a"]).await.unwrap();
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
async fn what_goes_wrong_is_an_error() {
    let check = async |reply: Reply, dim, expected: ErrorKind| {
        let fake = FakeProvider::default();
        let server = fake.spawn().await.unwrap();
        for embedder in embedders(server.url(), dim) {
            fake.next(reply.clone());
            let error = embedder
                .embed(EmbedKind::Document, &["a", "b"])
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
    check(fault(Fault::status(500, "oops")), 8, ErrorKind::Unavailable).await;
    check(fault(Fault::status(200, "<html>")), 8, ErrorKind::Protocol).await;
    check(fault(Fault::End(1)), 8, ErrorKind::Protocol).await;
    check(fault(Fault::Cut(1)), 8, ErrorKind::Truncated).await;
    check(fault(Fault::Stall(1)), 8, ErrorKind::Truncated).await;
    check(Reply::default(), 9, ErrorKind::Protocol).await;
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    for embedder in embedders("http://127.0.0.1:9", 8) {
        let error = embedder.embed(EmbedKind::Query, &["a"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}
