//! Dropping an answer cancels the request: the provider sees the connection close.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use konstruct_core::{LlmBackend, Secret, llm::ModelEvent};
use konstruct_llm::{Anthropic, Deployment, Ollama, OpenAi, Pool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
    time::timeout,
};

use crate::{ask, call};

const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// Starts an answer with these bytes, and reports when the client has disconnected.
async fn provider(begin: String) -> (String, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (gone, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 4096];
        assert!(stream.read(&mut bytes).await.unwrap() > 0);
        stream.write_all(begin.as_bytes()).await.unwrap();
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        // The receiver is gone if the test has failed.
        let _ = gone.send(());
    });
    (url, told)
}

#[tokio::test]
async fn a_dropped_answer_closes_the_connection() {
    type Make = fn(&str) -> Arc<dyn LlmBackend>;
    let wires: [(String, Make); 3] = [
        (
            format!("{SSE}data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}}}}]}}\n\n"),
            |url| Arc::new(OpenAi::new(Secret::new("k"), "m").base_url(url)),
        ),
        (
            format!(
                "{SSE}data: {{\"type\":\"message_start\",\"message\":{{\"id\":\"1\",\"model\":\"m\"}}}}\n\n\
                 data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"Hi\"}}}}\n\n"
            ),
            |url| Arc::new(Anthropic::new(Secret::new("k"), "m").base_url(url)),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n\
             {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n"
                .into(),
            |url| Arc::new(Ollama::new("m").base_url(url)),
        ),
    ];
    for (begin, make) in wires {
        for pooled in [false, true] {
            let (url, gone) = provider(begin.clone()).await;
            let mut backend = make(&url);
            if pooled {
                let pool = Pool::builder().deployment(Deployment::shared("only", backend));
                backend = Arc::new(pool.build().unwrap());
            }
            let mut stream = backend.stream(ask("Hi"), &call()).await.unwrap();
            while !matches!(
                stream.next().await.unwrap().unwrap(),
                ModelEvent::Text { .. }
            ) {}
            drop(stream);
            let told = timeout(Duration::from_secs(10), gone).await;
            told.expect("the request is still open").unwrap();
        }
        // The same before the response starts.
        let (url, gone) = provider(String::new()).await;
        let backend = make(&url);
        let asked = timeout(
            Duration::from_millis(200),
            backend.stream(ask("Hi"), &call()),
        )
        .await;
        assert!(asked.is_err());
        let told = timeout(Duration::from_secs(10), gone).await;
        told.expect("the request is still open").unwrap();
    }
}
