//! A listener with limits on connections and on their time, which neither a lack of descriptors nor slow clients stop.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Request, Response, header::CONTENT_TYPE},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::{
    connection::{Connections, Place, Socket, Times, Tracker, drive},
    counts::Counts,
};
use crate::config;

/// The wait after a failed accept, for example because too many files are open.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How often a lack of descriptors is logged.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// The most bytes of a request's headers, and of a connection's buffer for reading.
const MAX_HEADERS: usize = 16 * 1024;
/// How long a client may read nothing of its response.
const STALL: Duration = Duration::from_secs(30);
/// How long requests in progress may continue after the shutdown starts.
const GRACE: Duration = Duration::from_secs(1);

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of open connections.
    pub(crate) connections: usize,
    /// The time limits of a connection.
    pub(crate) times: Times,
    /// How long requests in progress may continue after the shutdown starts.
    pub(crate) grace: Duration,
}

impl Limits {
    /// Returns the limits of a listener with this many connections.
    pub(crate) fn new(connections: usize, config: &config::Http) -> Self {
        Self {
            connections,
            times: Times {
                headers: Duration::from_secs(config.header_secs.get()),
                body: Duration::from_secs(config.body_secs.get()),
                idle: Duration::from_secs(config.keep_alive_secs.get()),
                stall: STALL,
            },
            grace: GRACE,
        }
    }
}

/// The address at the other end of a request's connection: the client, or a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Serves until `stopped` is ready, and then completes requests in progress within the grace period.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    counts: Arc<Counts>,
    stopped: impl Future<Output = ()>,
) {
    let mut stopped = pin!(stopped);
    let open = Connections::new(limits.connections, limits.times, Arc::clone(&counts));
    let graceful = GracefulShutdown::new();
    let mut exhaustion = Exhaustion::default();
    loop {
        let next = async {
            let (stream, peer) = listener.accept().await?;
            io::Result::Ok((stream, peer, open.place().await))
        };
        tokio::select! {
            () = &mut stopped => break,
            accepted = next => match accepted {
                Ok((stream, peer, place)) => {
                    let connection = Accepted { stream, peer, place, tracker: open.track() };
                    connection.spawn(&router, &graceful);
                }
                Err(error) if is_of_the_client(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    counts.exhausted();
                    exhaustion.log(&error, limits.connections);
                    open.close_oldest();
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    // Slower requests are cut off, so that an open connection does not delay the shutdown.
    let _ = tokio::time::timeout(limits.grace, graceful.shutdown()).await;
}

/// Returns whether only the connection failed, and not the accept.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// Logs a lack of descriptors once in a period, however often the accept fails.
#[derive(Debug, Default)]
struct Exhaustion {
    logged: Option<Instant>,
    /// The failures since then.
    since: u64,
}

impl Exhaustion {
    /// Returns whether it logged.
    fn log(&mut self, error: &io::Error, connections: usize) -> bool {
        self.since += 1;
        let recent = self.logged.is_some_and(|at| at.elapsed() < LOG_PERIOD);
        if !recent {
            tracing::error!(
                %error,
                failures = self.since,
                connections,
                "could not accept connections; raise the limit of open files (`ulimit -n`, LimitNOFILE= of systemd), or lower \
                 `http.connections`"
            );
            (self.logged, self.since) = (Some(Instant::now()), 0);
        }
        !recent
    }
}

/// A connection that has a place.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    tracker: Arc<Tracker>,
}

impl Accepted {
    fn spawn(self, router: &Router, graceful: &GracefulShutdown) {
        let Self {
            stream,
            peer,
            place,
            tracker,
        } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not disable Nagle's algorithm on a connection");
        }
        let peer = Peer(peer.ip().to_canonical());
        let socket = Socket {
            stream,
            tracker: Arc::clone(&tracker),
        };
        let router = TowerToHyperService::new(router.clone());
        let following = Arc::clone(&tracker);
        let service = service_fn(move |request| {
            answer(request, router.clone(), peer, Arc::clone(&following))
        });
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(socket), service);
        let connection = Box::pin(graceful.watch(connection));
        tokio::spawn(async move {
            let _place = place;
            match drive(connection, &tracker).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended with an error"),
                Err(why) => tracing::debug!(why = why.label(), "closed a connection"),
            }
        });
    }
}

/// Passes a request to the routes, and follows its body and the body of its response.
async fn answer(
    mut request: Request<Incoming>,
    router: TowerToHyperService<Router>,
    peer: Peer,
    tracker: Arc<Tracker>,
) -> Result<Response<Followed<Body>>, Infallible> {
    request.extensions_mut().insert(peer);
    let number = tracker.request(!request.body().is_end_stream());
    let request = request.map(|body| {
        Body::new(Followed {
            body,
            end: Tracker::body_ended,
            tracker: Arc::clone(&tracker),
            number,
        })
    });
    let response = router.call(request).await?;
    let media = response
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    if media.is_some_and(|media| media.starts_with(b"text/event-stream")) {
        tracker.streams(number);
    }
    Ok(response.map(|body| Followed {
        body,
        end: Tracker::answered,
        tracker,
        number,
    }))
}

/// A body whose end the tracker is told: the last frame, or the drop.
struct Followed<B> {
    body: B,
    end: fn(&Tracker, u64),
    tracker: Arc<Tracker>,
    number: u64,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Followed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            (self.end)(&self.tracker, self.number);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Followed<B> {
    fn drop(&mut self) {
        (self.end)(&self.tracker, self.number);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    const SHORT: Duration = Duration::from_millis(50);

    fn limits(connections: usize) -> Limits {
        Limits {
            connections,
            times: Times {
                headers: HOUR,
                body: HOUR,
                idle: HOUR,
                stall: HOUR,
            },
            grace: HOUR,
        }
    }

    async fn start(limits: Limits) -> (SocketAddr, Arc<Counts>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let large = || async { Body::from(vec![b'x'; 64 << 20]) };
        let events = || async { ([(CONTENT_TYPE, "text/event-stream")], Body::new(Endless)) };
        let router = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/never", get(std::future::pending::<()>))
            .route("/large", get(large))
            .route("/events", get(events))
            .route("/body", post(|body: Bytes| async move { body }));
        let counts = Arc::<Counts>::default();
        tokio::spawn(serve(
            listener,
            router,
            limits,
            Arc::clone(&counts),
            std::future::pending(),
        ));
        (address, counts)
    }

    /// A stream that neither ends nor sends.
    struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn closed(counts: &Counts, reason: &str) -> u64 {
        let mut all = counts.closed_by_reason();
        all.find(|(name, _)| *name == reason).unwrap().1
    }

    async fn connect(address: SocketAddr, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream
    }

    /// Reads the head of a response and its two bytes.
    async fn is_ok(stream: &mut TcpStream) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{answer:?}");
    }

    /// Waits until the server closes the connection.
    async fn ends(stream: &mut TcpStream) -> Vec<u8> {
        let mut answer = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_slow_client_is_disconnected_in_every_phase() {
        let check = async |reason: &str, first: &[u8], then: &[u8], change: fn(&mut Times)| {
            let mut limits = limits(10);
            change(&mut limits.times);
            let (address, counts) = start(limits).await;
            let mut stream = connect(address, first).await;
            if !then.is_empty() {
                is_ok(&mut stream).await;
                stream.write_all(then).await.unwrap();
            }
            // A client that is stalled does not read; the count is the only sign.
            while closed(&counts, reason) == 0 {
                tokio::task::yield_now().await;
            }
            ends(&mut stream).await;
            assert_eq!(closed(&counts, reason), 1, "{reason}");
        };
        let half = b"GET / HTTP/1.1\r\nx-slow: ";
        check("headers", b"", b"", |times| times.headers = SHORT).await;
        check("headers", half, b"", |times| times.headers = SHORT).await;
        check("headers", GET, half, |times| times.headers = SHORT).await;
        check("idle", GET, b"", |times| times.idle = SHORT).await;
        let large = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n";
        check("stalled", large, b"", |times| times.stall = SHORT).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_ends_with_its_connection() {
        let mut limits = limits(10);
        limits.times.body = Duration::from_secs(30);
        let (address, counts) = start(limits).await;
        let head = b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
        let mut stream = connect(address, head).await;
        let begun = Instant::now();
        ends(&mut stream).await;
        assert!(begun.elapsed() >= Duration::from_secs(30));
        assert_eq!(closed(&counts, "body"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_progress_has_no_limit_here() {
        let mut limits = limits(10);
        limits.times = Times {
            headers: SHORT,
            body: SHORT,
            idle: SHORT,
            stall: SHORT,
        };
        let (address, counts) = start(limits).await;
        let never = b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut stream = connect(address, never).await;
        let waited = tokio::time::timeout(HOUR, ends(&mut stream)).await;
        assert!(waited.is_err(), "it is still open");
        assert_eq!(counts.open_connections(), 1);
    }

    #[tokio::test]
    async fn the_oldest_without_a_request_makes_room() {
        let (address, counts) = start(limits(3)).await;
        let mut kept = connect(address, GET).await;
        is_ok(&mut kept).await;
        let mut busy = connect(address, b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut slow = connect(address, b"GET / HTTP/1.1\r\nx-slow: ").await;
        while counts.open_connections() < 3 {
            tokio::task::yield_now().await;
        }
        // `kept` is idle for the longest time, then `slow`; `busy` has a request.
        let mut first = connect(address, GET).await;
        is_ok(&mut first).await;
        assert!(ends(&mut kept).await.is_empty());
        let mut second = connect(address, GET).await;
        is_ok(&mut second).await;
        assert!(ends(&mut slow).await.is_empty());
        assert_eq!(closed(&counts, "limit"), 2);
        assert!(counts.open_connections() <= 3);
        let mut nothing = [0; 1];
        assert!(busy.try_read(&mut nothing).is_err(), "it is open");
        busy.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_of_events_makes_room_when_all_others_have_requests() {
        let (address, counts) = start(limits(2)).await;
        let mut events = connect(address, b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut head = [0; 15];
        events.read_exact(&mut head).await.unwrap();
        let busy = connect(address, b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
        while counts.open_connections() < 2 {
            tokio::task::yield_now().await;
        }
        let mut another = connect(address, GET).await;
        is_ok(&mut another).await;
        ends(&mut events).await;
        assert_eq!(closed(&counts, "limit"), 1);
        drop(busy);
    }

    #[tokio::test]
    async fn connections_wait_while_all_others_have_requests() {
        let (address, counts) = start(limits(1)).await;
        let busy = connect(address, b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
        while counts.open_connections() < 1 {
            tokio::task::yield_now().await;
        }
        let mut second = connect(address, GET).await;
        let mut nothing = [0; 1];
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(second.try_read(&mut nothing).is_err(), "the second waits");
        drop(busy);
        is_ok(&mut second).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lack_of_descriptors_is_logged_once_in_a_period() {
        let mut exhaustion = Exhaustion::default();
        let error = io::Error::from_raw_os_error(24);
        assert!(exhaustion.log(&error, 1));
        for _ in 0..1_000 {
            assert!(!exhaustion.log(&error, 1));
        }
        tokio::time::advance(LOG_PERIOD).await;
        assert!(exhaustion.log(&error, 1));
    }

    #[tokio::test]
    async fn headers_beyond_their_limit_are_refused() {
        let (address, _) = start(limits(1)).await;
        let mut stream = connect(address, b"GET / HTTP/1.1\r\n").await;
        let line = [b"x-long: ".as_slice(), &[b'x'; 1024], b"\r\n"].concat();
        for _ in 0..20 {
            // The server may have closed it.
            let _ = stream.write_all(&line).await;
        }
        let answer = ends(&mut stream).await;
        assert!(
            answer.starts_with(b"HTTP/1.1 431") || answer.is_empty(),
            "{answer:?}"
        );
    }
}
