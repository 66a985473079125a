//! A website that misbehaves as it is told, and a clock that never waits.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use konstruct_core::{Clock, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A response of the site.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Here,
    /// It never ends.
    Never,
    /// Nothing more is sent, and the connection stays open.
    Stalls,
}

impl Reply {
    pub(super) fn html(body: impl AsRef<str>) -> Self {
        Self::new("text/html; charset=utf-8", body.as_ref())
    }

    pub(super) fn new(media: &str, body: impl AsRef<[u8]>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), media.into())],
            body: body.as_ref().to_vec(),
            end: End::Here,
        }
    }

    pub(super) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::new("text/plain", "a status")
        }
    }

    pub(super) fn redirect(status: u16, to: &str) -> Self {
        Self::status(status).header("location", to)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) fn endless(mut self) -> Self {
        self.end = End::Never;
        self
    }

    pub(super) fn stalling(mut self) -> Self {
        self.end = End::Stalls;
        self
    }

    pub(super) fn gzip(mut self) -> Self {
        self.body = gzip(&self.body);
        self.header("content-encoding", "gzip")
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request that the site received, with its time.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) at: Timestamp,
}

type Pages = HashMap<String, Vec<Reply>>;

/// A site on this machine. Pages that it does not have are 404.
#[derive(Clone, Debug)]
pub(super) struct TestSite {
    pub(super) url: String,
    pages: Arc<Mutex<Pages>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl TestSite {
    pub(super) async fn open(clock: &Leaps) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            pages: Arc::default(),
            requests: Arc::default(),
        };
        let (serving, clock) = (site.clone(), clock.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (site, clock) = (serving.clone(), clock.clone());
                tokio::spawn(async move { site.serve(stream, &clock).await });
            }
        });
        site
    }

    /// Sets a page.
    pub(super) fn set(&self, path: &str, reply: Reply) {
        self.plan(path, [reply]);
    }

    /// Sets the responses for a page in turn; the last one is repeated.
    pub(super) fn plan(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.pages.lock().unwrap().insert(path.into(), replies);
    }

    pub(super) fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    /// Returns the requests since the last call.
    pub(super) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    async fn serve(&self, mut stream: TcpStream, clock: &Leaps) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let reply = {
            let mut pages = self.pages.lock().unwrap();
            match pages.get_mut(&path) {
                Some(replies) if replies.len() > 1 => replies.remove(0),
                Some(replies) => replies[0].clone(),
                None => Reply::status(404),
            }
        };
        let etag = reply.headers.iter().find(|(name, _)| name == "etag");
        let is_known =
            etag.is_some_and(|(_, tag)| head.contains(&format!("if-none-match: {tag}\r\n")));
        let at = clock.now();
        self.requests
            .lock()
            .unwrap()
            .push(Request { path, head, at });
        // A client that stops reading is not an error.
        let _ = answer(&mut stream, reply, is_known).await;
    }
}

async fn answer(stream: &mut TcpStream, reply: Reply, is_known: bool) -> std::io::Result<()> {
    let status = if is_known { 304 } else { reply.status };
    let mut head = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n");
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if is_known {
        return stream.write_all(format!("{head}\r\n").as_bytes()).await;
    }
    if reply.end == End::Here {
        head += &format!("content-length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    stream.write_all(&reply.body).await?;
    match reply.end {
        End::Here => stream.shutdown().await,
        End::Never => loop {
            stream.write_all(&[b'x'; 8192]).await?;
        },
        End::Stalls => std::future::pending().await,
    }
}

/// A clock that jumps to the time for which something waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaps(Arc<Mutex<Timestamp>>);

#[async_trait]
impl Clock for Leaps {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, when: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = (*now).max(when);
    }
}
