//! What the fake vendors share: a server whose connections can be cut, and a plan of faults.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::connect_info::Connected,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
    serve::{IncomingStream, Listener},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// How a fake vendor misbehaves, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Closes the connection without having done anything.
    DropBefore,
    /// Does it, and closes the connection without an answer.
    DropAfter,
    /// Never does it and never answers.
    HangBefore,
    /// Does it and never answers.
    HangAfter,
    /// Does it, and answers after so many milliseconds.
    Delay(u64),
    /// Answers with 429 and asks to wait so many seconds.
    RateLimit(u64),
    /// Answers with this status, and has done nothing.
    StatusBefore(u16),
    /// Does it, and answers with this status.
    StatusAfter(u16),
    /// Does it, and answers with half of the JSON.
    Malformed,
}

/// The faults to come, by method.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<HashMap<String, VecDeque<Fault>>>);

impl Plan {
    pub(super) fn add(&self, method: &str, fault: Fault) {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.entry(method.to_owned()).or_default().push_back(fault);
    }

    fn next(&self, method: &str) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.get_mut(method)?.pop_front()
    }

    /// Does a request or fails at it, as planned. `limited` is the vendor's way to say that there were too many.
    pub(super) async fn perform(
        &self,
        method: &str,
        cut: &Cut,
        limited: Value,
        accept: impl FnOnce() -> Reply,
    ) -> Response {
        match self.next(method) {
            None => accept().into_response(),
            Some(Fault::DropBefore) => cut.cut(),
            Some(Fault::DropAfter) => {
                let _done = accept();
                cut.cut()
            }
            Some(Fault::HangBefore) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                let _done = accept();
                std::future::pending().await
            }
            Some(Fault::Delay(millis)) => {
                let reply = accept();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                reply.into_response()
            }
            Some(Fault::RateLimit(seconds)) => {
                let wait = [(RETRY_AFTER, seconds.to_string())];
                (StatusCode::TOO_MANY_REQUESTS, wait, Json(limited)).into_response()
            }
            Some(Fault::StatusBefore(status)) => bare(status),
            Some(Fault::StatusAfter(status)) => {
                let _done = accept();
                bare(status)
            }
            Some(Fault::Malformed) => {
                let json = accept().1.0.to_string();
                let half = json
                    .chars()
                    .take(json.chars().count() / 2)
                    .collect::<String>();
                half.into_response()
            }
        }
    }
}

/// A vendor's answer.
pub(super) type Reply = (StatusCode, Json<Value>);

fn bare(status: u16) -> Response {
    StatusCode::from_u16(status)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        .into_response()
}

/// Serves a router on connections that can be cut.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<Cut>();
    axum::serve(Cuttable(listener), service).await
}

/// Cuts one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Makes every further write fail. What is returned never arrives.
    fn cut(&self) -> Response {
        self.0.store(true, SeqCst);
        StatusCode::OK.into_response()
    }
}

impl Connected<IncomingStream<'_, Cuttable>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Self {
        stream.io().cut.clone()
    }
}

struct Cuttable(TcpListener);

impl Listener for Cuttable {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, addr) = Listener::accept(&mut self.0).await;
        let cut = Cut::default();
        (CuttableStream { stream, cut }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

struct CuttableStream {
    stream: TcpStream,
    cut: Cut,
}

impl CuttableStream {
    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.cut.0.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
