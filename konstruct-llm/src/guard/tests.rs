use std::{io, net::SocketAddr, sync::Mutex, time::Duration};

use async_trait::async_trait;
use konstruct_core::{
    CallContext, ErrorKind, LlmBackend, LlmBackendExt as _, ModelMessage, ModelRequest, Role,
    Secret, TenantId,
};
use tokio::net::TcpListener;

use super::*;

/// Answers one lookup after another; the last answer stays.
#[derive(Debug)]
struct Names(Mutex<Vec<Vec<&'static str>>>);

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        Ok(answer.into_iter().map(address).collect())
    }
}

fn guard(answers: &[&[&'static str]]) -> Guard {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Guard {
        lookup: Arc::new(Names(Mutex::new(answers))),
        ..Guard::new()
    }
}

/// Returns what a backend says, and whether anything connected to the listener.
async fn ask(backend: &dyn LlmBackend, listener: &TcpListener) -> (ErrorKind, bool) {
    let request = ModelRequest {
        messages: vec![ModelMessage::text(Role::User, "Hi")],
        max_tokens: 10,
        ..ModelRequest::default()
    };
    let call = CallContext::new(TenantId::new(), "trn_1.m1", Duration::from_secs(20));
    let mut connected = false;
    let answer = async { backend.complete(request, &call).await.unwrap_err().kind() };
    tokio::pin!(answer);
    let kind = loop {
        tokio::select! {
            biased;
            accepted = listener.accept(), if !connected => {
                // Dropped at once: the backend sees a connection that breaks.
                drop(accepted);
                connected = true;
            }
            kind = &mut answer => break kind,
        }
    };
    (kind, connected)
}

fn backends(url: &str, guard: &Guard) -> Vec<Box<dyn LlmBackend>> {
    vec![
        #[cfg(feature = "openai")]
        Box::new(
            crate::OpenAi::new(Secret::new("k"), "m")
                .base_url(url)
                .guarded(guard.clone())
                .timeouts(crate::Timeouts::default()),
        ),
        #[cfg(feature = "anthropic")]
        Box::new(
            crate::Anthropic::new(Secret::new("k"), "m")
                .base_url(url)
                .guarded(guard.clone())
                .timeouts(crate::Timeouts::default()),
        ),
        #[cfg(feature = "ollama")]
        Box::new(
            crate::Ollama::new("m")
                .base_url(url)
                .api_key(Secret::new("k"))
                .guarded(guard.clone())
                .timeouts(crate::Timeouts::default()),
        ),
    ]
}

#[tokio::test]
async fn urls_that_pass_and_do_not() {
    let guard = guard(&[&["1.1.1.1"]])
        .allow("127.0.0.1:11434")
        .allow("Ollama.internal")
        .allow("[::1]:8080");
    let check = async |url: &str, expected: Result<(), ErrorKind>| {
        let got = guard.check(url).await.map_err(|error| error.kind());
        assert_eq!(got, expected, "{url}");
    };
    check("https://llm.example/v1", Ok(())).await;
    check("https://1.1.1.1", Ok(())).await;
    check("http://127.0.0.1:11434", Ok(())).await;
    check("http://ollama.internal:9999", Ok(())).await;
    check("http://[::1]:8080", Ok(())).await;
    check("no url", Err(ErrorKind::InvalidInput)).await;
    for url in [
        "http://llm.example",
        "ftp://llm.example",
        "http://127.0.0.1:11435",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.0.0.1.",
        "https://①②⑦.⓪.⓪.①",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://169.254.169.254/latest/meta-data",
    ] {
        check(url, Err(ErrorKind::Forbidden)).await;
    }
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_enough() {
    let guard = guard(&[&["1.1.1.1", "10.0.0.1"]]);
    let error = guard.check("https://llm.example").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(!format!("{error:?}").contains("10.0.0.1"), "{error:?}");
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://rebound.example:{port}");
    let rebinding = || guard(&[&["1.1.1.1"], &["127.0.0.1"]]);
    for at in 0..backends(&url, &rebinding()).len() {
        let guard = rebinding();
        guard.check(&url).await.unwrap();
        let backend = backends(&url, &guard).remove(at);
        let (kind, connected) = ask(&*backend, &listener).await;
        assert_eq!(kind, ErrorKind::Forbidden, "{backend:?}");
        assert!(!connected, "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_looked_up_is_what_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // A name that no other resolver knows: the connection comes by way of the guard's own.
    let url = format!("http://ollama.invalid:{port}");
    let guard = guard(&[&["127.0.0.1"]]).allow(format!("ollama.invalid:{port}"));
    for backend in backends(&url, &guard) {
        let (kind, connected) = ask(&*backend, &listener).await;
        assert_eq!(kind, ErrorKind::Truncated, "{backend:?}");
        assert!(connected, "{backend:?}");
    }
}

#[tokio::test]
async fn a_literal_address_is_checked_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["http", "https"] {
        for backend in backends(&format!("{scheme}://{address}"), &Guard::new()) {
            let (kind, connected) = ask(&*backend, &listener).await;
            assert_eq!(kind, ErrorKind::Forbidden, "{backend:?}");
            assert!(!connected, "{backend:?}");
        }
    }
}

#[cfg(all(feature = "openai", feature = "ollama"))]
#[tokio::test]
async fn embedders_are_guarded_too() {
    use konstruct_core::{EmbedContext, EmbedKind, Embedder, TenantId};

    let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "call");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let openai = crate::OpenAiEmbedder::new(Secret::new("k"), "m", 8)
        .base_url(&url)
        .guarded(Guard::new());
    let ollama = crate::OllamaEmbedder::new("m", 8)
        .base_url(&url)
        .guarded(Guard::new());
    for embedder in [&openai as &dyn Embedder, &ollama] {
        let error = embedder.embed(&context, &["a"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", embedder.id());
    }
}
