//! A server with canned responses, for cases that the fake providers do not support.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A server that sends its responses in order. Dropping it stops it.
pub(crate) struct Canned {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    task: JoinHandle<()>,
}

impl Canned {
    /// Answers one request after another, each with a content type and a body, then stops responding.
    pub(crate) async fn new(answers: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let mut left: VecDeque<String> = answers
            .iter()
            .map(|(media, body)| {
                let length = body.len();
                format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            })
            .collect();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Some(answer) = left.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked, task }
    }

    /// Answers one request with the beginning of a body, then stalls with the connection open.
    pub(crate) async fn silent_after(media: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let length = body.len() + 1;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read(&mut stream).await;
            seen.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        Self { url, asked, task }
    }

    /// Returns the method and target of each request so far, and its body's JSON.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let wanted = name.eq_ignore_ascii_case("content-length");
                wanted.then(|| value.parse::<usize>().unwrap())
            });
            break (head.to_owned(), length.unwrap_or(0));
        }
        assert_ne!(count, 0, "the request ended in its head");
    };
    let mut body = bytes.split_off(head.len() + 4);
    let have = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[have..]).await.unwrap();
    let first = head.lines().next().unwrap();
    let target = first.strip_suffix(" HTTP/1.1").unwrap().to_owned();
    (target, serde_json::from_slice(&body).unwrap_or_default())
}
