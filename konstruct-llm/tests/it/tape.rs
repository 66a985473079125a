//! Recorded exchanges can be replayed without the provider.

use std::fs;

use konstruct_core::{ErrorKind, LlmBackend, Secret, llm::LlmBackendExt as _};
use konstruct_llm::{
    Anthropic, Ollama, OpenAi,
    testkit::{FakeProvider, Fault, Reply, Tape},
};

use crate::{ask, call};

fn backends(url: &str) -> Vec<Box<dyn LlmBackend>> {
    let key = || Secret::new("key-1");
    vec![
        Box::new(OpenAi::new(key(), "m").base_url(format!("{url}/v1"))),
        Box::new(Anthropic::new(key(), "m").base_url(url)),
        Box::new(Ollama::new("m").base_url(url)),
    ]
}

#[tokio::test]
async fn a_tape_responds_like_the_provider() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tape.jsonl");
    let fake = FakeProvider::default();
    let provider = fake.spawn().await.unwrap();
    let tape = Tape::record(provider.url(), &file).await.unwrap();
    let mut said = Vec::new();
    for backend in backends(tape.url()) {
        said.push(backend.complete(ask("Grüße 🚲"), &call()).await.unwrap());
        let busy = Fault::status(503, "{}").header("retry-after", "7");
        fake.next(Reply::default().fault(busy));
        backend.complete(ask("Again"), &call()).await.unwrap_err();
    }
    drop((tape, provider));
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().count(), 6);
    assert!(!kept.contains("key-1"), "a key is on the tape");

    let tape = Tape::replay(&file).await.unwrap();
    for (backend, said) in backends(tape.url()).into_iter().zip(said) {
        for _ in 0..2 {
            let again = backend.complete(ask("Grüße 🚲"), &call()).await.unwrap();
            assert_eq!(again, said);
        }
        let error = backend.complete(ask("Again"), &call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(7));
        let error = backend.complete(ask("New"), &call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
