//! The bytes of request bodies in memory, bounded over all requests.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{StatusCode, header::EXPECT},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, task::AtomicWaker};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{
    Problem,
    counts::{Counts, Refused},
};

/// What a frame of a body takes beyond its bytes: bodies that arrive in tiny frames are not cheap.
const FRAME: usize = 64;
/// When a refused request may be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How much of a refused body is read and dropped, and for how long: a client that still sends would not see the response.
const DRAINED: usize = 4 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The budget of all request bodies. Cloning is cheap.
///
/// A body takes its bytes as they arrive. If the budget is exhausted, the oldest incomplete body is refused, even if another one needs
/// the bytes: a slow sender cannot hold them. Complete bodies keep theirs until the response.
#[derive(Clone, Debug)]
pub(super) struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    counts: Arc<Counts>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    next: u64,
    /// The bodies that are still arriving, by age.
    incomplete: BTreeMap<u64, Arc<Lease>>,
}

impl BodyBudget {
    pub(super) fn new(most: usize, counts: Arc<Counts>) -> Self {
        Self(Arc::new(Shared {
            most,
            counts,
            held: Mutex::default(),
        }))
    }

    /// Wraps routes whose bodies must arrive within a time.
    pub(super) fn metered<S: Clone + Send + Sync + 'static>(
        &self,
        router: Router<S>,
        within: Duration,
    ) -> Router<S> {
        let budget = self.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let budget = budget.clone();
            async move { budget.run(request, next, within).await }
        }))
    }

    async fn run(&self, request: Request, next: Next, within: Duration) -> Response {
        if request.body().is_end_stream() {
            return next.run(request).await;
        }
        let lease = Arc::new(Lease::default());
        let number = self.held().admit(&lease);
        let incoming = Incoming {
            budget: self.clone(),
            lease: Arc::clone(&lease),
            number,
        };
        // It returns the bytes when the response is there, or when the request is dropped.
        let _held = Returned(&incoming);
        let drains = !request.headers().contains_key(EXPECT);
        let metered = request.map(|body| {
            Body::new(Metered {
                body: Some(body),
                drains,
                incoming: incoming.clone(),
                timer: Box::pin(sleep(within)),
            })
        });
        let response = next.run(metered).await;
        let Some(why) = lease.refusal() else {
            return response;
        };
        self.0.counts.refused(why);
        match why {
            Refused::SlowBody => {
                let detail = "the body of the request did not arrive in time";
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
            }
            _ => {
                let detail = "the server is receiving too much at once; try again after the time in Retry-After";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                problem.with_retry_after(RETRY_AFTER).into_response()
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn admit(&mut self, lease: &Arc<Lease>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.incomplete.insert(number, Arc::clone(lease));
        number
    }
}

/// What one body holds.
#[derive(Debug, Default)]
struct Lease {
    bytes: AtomicUsize,
    refused: Mutex<Option<Refused>>,
    /// Wakes the task that waits for more of the body.
    waiting: AtomicWaker,
}

impl Lease {
    fn refusal(&self) -> Option<Refused> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, why: Refused) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert(why);
        self.waiting.wake();
    }
}

/// A body's part of the budget.
#[derive(Clone, Debug)]
struct Incoming {
    budget: BodyBudget,
    lease: Arc<Lease>,
    number: u64,
}

impl Incoming {
    /// Takes bytes. Returns whether there were enough.
    fn take(&self, bytes: usize) -> bool {
        let shared = &self.budget.0;
        let mut held = self.budget.held();
        while held.bytes + bytes > shared.most {
            let oldest = held.incomplete.pop_first();
            match oldest {
                Some((number, oldest)) if number != self.number => {
                    held.bytes -= oldest.bytes.swap(0, Relaxed);
                    oldest.refuse(Refused::Budget);
                }
                // This one is the oldest, or all others are complete.
                _ => return false,
            }
        }
        held.bytes += bytes;
        self.lease.bytes.fetch_add(bytes, Relaxed);
        shared.counts.body_bytes(held.bytes);
        true
    }

    /// Notes that the body is complete.
    fn completed(&self) {
        self.budget.held().incomplete.remove(&self.number);
    }

    fn give_back(&self) {
        let mut held = self.budget.held();
        held.incomplete.remove(&self.number);
        held.bytes -= self.lease.bytes.swap(0, Relaxed);
        self.budget.0.counts.body_bytes(held.bytes);
    }
}

/// Gives the bytes back when it is dropped.
struct Returned<'a>(&'a Incoming);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A body that takes its bytes from the budget as they arrive.
struct Metered {
    /// `None` after the end.
    body: Option<Body>,
    drains: bool,
    incoming: Incoming,
    timer: Pin<Box<Sleep>>,
}

/// Why a body breaks off. The handler's response to it is replaced.
#[derive(Clone, Copy, Debug)]
struct BrokenOff(Refused);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body was refused: {:?}", self.0)
    }
}

impl std::error::Error for BrokenOff {}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let lease = &this.incoming.lease;
        lease.waiting.register(cx.waker());
        if let Some(why) = lease.refusal() {
            return Poll::Ready(Some(Err(BrokenOff(why).into())));
        }
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            ready!(this.timer.as_mut().poll(cx));
            lease.refuse(Refused::SlowBody);
            // Its connection is closed: there is nothing to wait for.
            this.body = None;
            return Poll::Ready(Some(Err(BrokenOff(Refused::SlowBody).into())));
        };
        match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) + FRAME;
                if !this.incoming.take(bytes) {
                    lease.refuse(Refused::Budget);
                    return Poll::Ready(Some(Err(BrokenOff(Refused::Budget).into())));
                }
                if this.body.as_ref().is_some_and(HttpBody::is_end_stream) {
                    this.incoming.completed();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.body = None;
                this.incoming.completed();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let rest = self
            .body
            .take()
            .filter(|rest| self.drains && !rest.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(drain(rest));
        }
    }
}

/// Reads what a client still sends, and keeps nothing.
async fn drain(body: Body) {
    let mut rest = body.into_data_stream();
    let mut read = 0;
    let all = async {
        while let Some(Ok(bytes)) = rest.next().await {
            read += bytes.len();
            if read > DRAINED {
                return;
            }
        }
    };
    // A slower client loses its connection.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use futures_util::stream;
    use tokio::sync::mpsc;
    use tower::ServiceExt as _;

    use super::*;

    const KILO: usize = 1024;

    /// A client that sends a body piece by piece.
    struct Sender {
        pieces: mpsc::UnboundedSender<Bytes>,
        response: tokio::task::JoinHandle<Response>,
    }

    struct Bench {
        router: Router,
        budget: BodyBudget,
        counts: Arc<Counts>,
    }

    impl Bench {
        /// A budget of ten kilobytes, and a handler that answers with the length of the body after this time.
        fn new(after: Duration) -> Self {
            let counts = Arc::<Counts>::default();
            let budget = BodyBudget::new(10 * KILO, Arc::clone(&counts));
            let length = move |body: Bytes| async move {
                sleep(after).await;
                body.len().to_string()
            };
            let router = Router::new()
                .route("/", post(length))
                .route("/early", post(|| async { StatusCode::UNAUTHORIZED }));
            let router = budget.metered(router, Duration::from_secs(5));
            Self {
                router,
                budget,
                counts,
            }
        }

        fn open(&self, path: &str) -> Sender {
            let (pieces, received) = mpsc::unbounded_channel::<Bytes>();
            let body = stream::unfold(received, async |mut received| {
                let piece = received.recv().await?;
                Some((Ok::<_, axum::BoxError>(piece), received))
            });
            let request = Request::post(path).body(Body::from_stream(body)).unwrap();
            let response = self.router.clone().oneshot(request);
            let response = tokio::spawn(async { response.await.unwrap() });
            Sender { pieces, response }
        }

        fn held(&self) -> usize {
            self.budget.held().bytes
        }

        async fn holds(&self, at_least: usize) {
            while self.held() < at_least {
                tokio::task::yield_now().await;
            }
        }
    }

    impl Sender {
        fn send(&self, kilobytes: usize) {
            // The receiver may have been refused.
            let _ = self.pieces.send(vec![0; kilobytes * KILO].into());
        }

        async fn end(self) -> Response {
            drop(self.pieces);
            self.response.await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_incomplete_body_is_refused() {
        let bench = Bench::new(Duration::ZERO);
        let (oldest, older) = (bench.open("/"), bench.open("/"));
        oldest.send(4);
        older.send(4);
        bench.holds(8 * KILO).await;
        let young = bench.open("/");
        young.send(3);
        let response = oldest.end().await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        // The others are complete.
        assert_eq!(young.end().await.status(), 200);
        assert_eq!(older.end().await.status(), 200);
        assert_eq!(bench.held(), 0);
        let refused: Vec<_> = bench
            .counts
            .refused_by_reason()
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(refused, [("body_budget", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn complete_bodies_keep_their_bytes_until_the_response() {
        let bench = Bench::new(Duration::from_secs(60));
        let complete = bench.open("/");
        complete.send(8);
        bench.holds(8 * KILO).await;
        let complete = tokio::spawn(complete.end());
        sleep(Duration::from_secs(1)).await;
        let another = bench.open("/");
        another.send(3);
        assert_eq!(another.end().await.status(), 503);
        assert_eq!(complete.await.unwrap().status(), 200);
        let another = bench.open("/");
        another.send(3);
        assert_eq!(another.end().await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_refused_and_gives_its_bytes_back() {
        let bench = Bench::new(Duration::ZERO);
        let slow = bench.open("/");
        slow.send(9);
        bench.holds(9 * KILO).await;
        let Sender { pieces, response } = slow;
        let begun = tokio::time::Instant::now();
        assert_eq!(response.await.unwrap().status(), 408);
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(bench.held(), 0);
        drop(pieces);
    }

    #[tokio::test(start_paused = true)]
    async fn many_bodies_never_hold_more_than_the_budget() {
        let bench = Bench::new(Duration::ZERO);
        let senders: Vec<_> = (0..100).map(|_| bench.open("/")).collect();
        for _ in 0..4 {
            for sender in &senders {
                sender.send(1);
                tokio::task::yield_now().await;
                assert!(bench.held() <= 10 * KILO);
            }
        }
        let mut statuses = BTreeMap::new();
        for sender in senders {
            *statuses
                .entry(sender.end().await.status().as_u16())
                .or_insert(0) += 1;
        }
        assert!(statuses[&503] >= 90 && statuses[&200] >= 1, "{statuses:?}");
        assert_eq!(bench.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_is_drained_without_the_budget() {
        let bench = Bench::new(Duration::ZERO);
        let early = bench.open("/early");
        early.send(1_000);
        let Sender { pieces, response } = early;
        assert_eq!(response.await.unwrap().status(), 401);
        assert_eq!(bench.held(), 0);
        // The client can still send, but not for ever.
        assert!(pieces.send(vec![0; KILO].into()).is_ok());
        tokio::time::timeout(2 * DRAIN_TIME, pieces.closed())
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_gives_its_bytes_back() {
        let bench = Bench::new(Duration::ZERO);
        let gone = bench.open("/");
        gone.send(5);
        bench.holds(5 * KILO).await;
        gone.response.abort();
        assert!(gone.response.await.is_err());
        assert_eq!(bench.held(), 0);
    }
}
