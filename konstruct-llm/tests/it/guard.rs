//! Every backend and embedder respects its guard, which is tested in konstruct-core.

use konstruct_core::{
    Embedder, ErrorKind, LlmBackend, Secret, TenantId,
    embed::{EmbedContext, EmbedKind},
    http::Guard,
    llm::LlmBackendExt as _,
};
use konstruct_llm::{Anthropic, Ollama, OllamaEmbedder, OpenAi, OpenAiEmbedder, Timeouts};
use tokio::net::TcpListener;

use crate::{ask, call};

/// Every backend with a guard, which must survive the settings after it.
fn backends(url: &str, guard: &Guard) -> Vec<Box<dyn LlmBackend>> {
    vec![
        Box::new(
            OpenAi::new(Secret::new("k"), "m")
                .base_url(url)
                .guarded(guard.clone())
                .timeouts(Timeouts::default()),
        ),
        Box::new(
            Anthropic::new(Secret::new("k"), "m")
                .base_url(url)
                .guarded(guard.clone())
                .timeouts(Timeouts::default()),
        ),
        Box::new(
            Ollama::new("m")
                .base_url(url)
                .api_key(Secret::new("k"))
                .guarded(guard.clone())
                .timeouts(Timeouts::default()),
        ),
    ]
}

/// Returns a listener, and its address.
async fn private() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Returns whether anything connects to a listener before the future completes.
async fn connected(
    listener: &TcpListener,
    answer: impl Future<Output = ErrorKind>,
) -> (ErrorKind, bool) {
    let mut connected = false;
    tokio::pin!(answer);
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept(), if !connected => {
                // Dropped at once: the backend sees a broken connection.
                drop(accepted);
                connected = true;
            }
            kind = &mut answer => return (kind, connected),
        }
    }
}

#[tokio::test]
async fn private_addresses_must_be_permitted() {
    let (listener, address) = private().await;
    for (scheme, guard, expected) in [
        ("http", Guard::new(), (ErrorKind::Forbidden, false)),
        ("https", Guard::new(), (ErrorKind::Forbidden, false)),
        (
            "http",
            Guard::new().allow(&address),
            (ErrorKind::Truncated, true),
        ),
    ] {
        for backend in backends(&format!("{scheme}://{address}"), &guard) {
            let answer = async {
                backend
                    .complete(ask("Hi"), &call())
                    .await
                    .unwrap_err()
                    .kind()
            };
            assert_eq!(
                connected(&listener, answer).await,
                expected,
                "{scheme} {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn embedders_are_guarded_too() {
    let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "call");
    let (listener, address) = private().await;
    let url = format!("https://{address}");
    let openai = OpenAiEmbedder::new(Secret::new("k"), "m", 8)
        .base_url(&url)
        .guarded(Guard::new());
    let ollama = OllamaEmbedder::new("m", 8)
        .base_url(&url)
        .guarded(Guard::new());
    for embedder in [&openai as &dyn Embedder, &ollama] {
        let answer = async { embedder.embed(&context, &["a"]).await.unwrap_err().kind() };
        let expected = (ErrorKind::Forbidden, false);
        assert_eq!(
            connected(&listener, answer).await,
            expected,
            "{}",
            embedder.id()
        );
    }
}
