//! Parts shared by the fake vendors: a server whose connections can be broken, and a plan of faults.

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

/// A single fault of a fake vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Closes the connection without performing the call.
    DropBefore,
    /// Performs the call, and closes the connection without a response.
    DropAfter,
    /// Hangs without performing the call.
    HangBefore,
    /// Performs the call and hangs.
    HangAfter,
    /// Performs the call, and responds after this many milliseconds.
    Delay(u64),
    /// Responds with 429 and a wait of this many seconds.
    RateLimit(u64),
    /// Responds with this status without performing the call.
    StatusBefore(u16),
    /// Performs the call, and responds with this status.
    StatusAfter(u16),
    /// Performs the call, and responds with half of the JSON.
    Malformed,
}

/// The method of a fault that is planned for the next call, whichever it is.
const ANY: &str = "*";

/// The planned faults, by method.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<HashMap<String, VecDeque<Fault>>>);

impl Plan {
    pub(super) fn add(&self, method: &str, fault: Fault) {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.entry(method.to_owned()).or_default().push_back(fault);
    }

    fn next(&self, method: &str) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [method, ANY]
            .iter()
            .find_map(|method| plan.get_mut(*method)?.pop_front())
    }

    /// Performs a call, or its planned fault. `limited` is the vendor's body for too many requests.
    pub(super) async fn perform(
        &self,
        method: &str,
        breaker: &ConnectionBreaker,
        limited: Value,
        accept: impl FnOnce() -> Reply,
    ) -> Response {
        match self.next(method) {
            None => accept().into_response(),
            Some(Fault::DropBefore) => breaker.break_connection(),
            Some(Fault::DropAfter) => {
                let _done = accept();
                breaker.break_connection()
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

/// A vendor's response.
pub(super) type Reply = (StatusCode, Json<Value>);

fn bare(status: u16) -> Response {
    StatusCode::from_u16(status)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        .into_response()
}

/// Serves a router on connections that can be broken.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<ConnectionBreaker>();
    axum::serve(BreakableListener(listener), service).await
}

/// Breaks one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionBreaker(Arc<AtomicBool>);

impl ConnectionBreaker {
    /// Makes every further write fail. The returned response never arrives.
    fn break_connection(&self) -> Response {
        self.0.store(true, SeqCst);
        StatusCode::OK.into_response()
    }
}

impl Connected<IncomingStream<'_, BreakableListener>> for ConnectionBreaker {
    fn connect_info(stream: IncomingStream<'_, BreakableListener>) -> Self {
        stream.io().breaker.clone()
    }
}

struct BreakableListener(TcpListener);

impl Listener for BreakableListener {
    type Io = BreakableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, addr) = Listener::accept(&mut self.0).await;
        let breaker = ConnectionBreaker::default();
        (BreakableStream { stream, breaker }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

struct BreakableStream {
    stream: TcpStream,
    breaker: ConnectionBreaker,
}

impl BreakableStream {
    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.breaker.0.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BreakableStream {
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
