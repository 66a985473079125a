//! The open connections of a listener: what each one does, how long it may do so, and which one is closed when there are too many.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

use super::counts::{Closed, Counts};

/// How long a slow body may be refused in words, before its connection is closed.
const BODY_GRACE: Duration = Duration::from_secs(5);

/// How long a connection may take for each part of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For the headers, from the accept or from the first byte of a further request.
    pub(crate) headers: Duration,
    /// For the body, from the end of the headers. The response to a slower one is written within [`BODY_GRACE`].
    pub(crate) body: Duration,
    /// Without a request, after a response.
    pub(crate) idle: Duration,
    /// Without reading anything of a response.
    pub(crate) stall: Duration,
}

/// What a connection does. Those without a complete request are closed first, and then streams of events, which can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Headers,
    Body,
    /// A complete request is processed, or its response is written.
    Busy,
    /// The response is a stream of events.
    Streaming,
}

/// The order in which connections are closed: the class, and then the age.
type Order = (u8, u64);

/// The open connections of a listener.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    times: Times,
    counts: Arc<Counts>,
    places: Arc<Semaphore>,
    closable: Mutex<Closable>,
    /// Wakes the accept while it waits for a connection to close.
    more_closable: Notify,
}

#[derive(Debug, Default)]
struct Closable {
    next: u64,
    by_order: BTreeMap<Order, Arc<Notify>>,
}

impl Connections {
    pub(super) fn new(limit: usize, times: Times, counts: Arc<Counts>) -> Self {
        Self(Arc::new(Shared {
            times,
            counts,
            places: Arc::new(Semaphore::new(limit)),
            closable: Mutex::default(),
            more_closable: Notify::new(),
        }))
    }

    /// Takes a place for a connection. If there is none, the oldest connection without a complete request is closed; if all have one,
    /// the oldest stream of events; and if there is none either, this waits.
    pub(super) async fn place(&self) -> Place {
        let shared = &self.0;
        let mut closed = 0;
        loop {
            let more = shared.more_closable.notified();
            if let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() {
                shared.counts.opened();
                return Place {
                    _permit: permit,
                    counts: Arc::clone(&shared.counts),
                };
            }
            // One is closed for one that comes.
            if closed == 0 && self.close_oldest() {
                closed += 1;
            }
            tokio::select! {
                // The next turn of the loop takes it: whoever is dropped here must not keep a place.
                permit = shared.places.acquire() => drop(permit),
                () = more, if closed == 0 => {}
            }
        }
    }

    /// Closes the connection that is the first in order. Returns whether there was one.
    pub(super) fn close_oldest(&self) -> bool {
        let first = self.closable().by_order.pop_first();
        if let Some((_, close)) = &first {
            self.0.counts.closed(Closed::Limit);
            close.notify_one();
        }
        first.is_some()
    }

    /// Starts to track a connection that was just accepted.
    pub(super) fn track(&self) -> Arc<Tracker> {
        let tracker = Tracker {
            connections: self.clone(),
            close: Arc::default(),
            state: Mutex::new(State {
                phase: Phase::Busy,
                order: None,
                deadline: None,
                stalled: None,
                request: 0,
            }),
        };
        tracker.enter(&mut tracker.state(), Phase::Headers);
        Arc::new(tracker)
    }

    fn closable(&self) -> MutexGuard<'_, Closable> {
        self.0
            .closable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open connection.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    counts: Arc<Counts>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.ended();
    }
}

/// Follows one connection through its requests.
#[derive(Debug)]
pub(super) struct Tracker {
    connections: Connections,
    close: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    order: Option<Order>,
    deadline: Option<Instant>,
    /// When the client must have read something of the response.
    stalled: Option<Instant>,
    /// The number of the current request: what still belongs to an earlier one changes nothing.
    request: u64,
}

impl Tracker {
    /// Notes that the headers of a request are complete. Returns the number of the request.
    pub(super) fn request(&self, has_body: bool) -> u64 {
        let mut state = self.state();
        state.request += 1;
        let phase = if has_body { Phase::Body } else { Phase::Busy };
        self.enter(&mut state, phase);
        state.request
    }

    /// Notes that the body of a request is complete, or that nobody reads it.
    pub(super) fn body_ended(&self, request: u64) {
        let mut state = self.state();
        if state.request == request && state.phase == Phase::Body {
            self.enter(&mut state, Phase::Busy);
        }
    }

    /// Notes that a request is answered with a stream of events.
    pub(super) fn streams(&self, request: u64) {
        let mut state = self.state();
        if state.request == request {
            self.enter(&mut state, Phase::Streaming);
        }
    }

    /// Notes that the response to a request was handed over.
    pub(super) fn answered(&self, request: u64) {
        let mut state = self.state();
        if state.request == request {
            self.enter(&mut state, Phase::Idle);
        }
    }

    fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            self.enter(&mut state, Phase::Headers);
        }
    }

    fn stalled(&self) {
        let stall = self.connections.0.times.stall;
        self.state()
            .stalled
            .get_or_insert_with(|| Instant::now() + stall);
    }

    fn wrote(&self) {
        self.state().stalled = None;
    }

    /// Returns when the connection must be closed, and why.
    fn deadline(&self) -> Option<(Instant, Closed)> {
        let state = self.state();
        let why = match state.phase {
            Phase::Headers => Closed::Headers,
            Phase::Body => Closed::Body,
            _ => Closed::Idle,
        };
        let phase = state.deadline.map(|at| (at, why));
        let stall = state.stalled.map(|at| (at, Closed::Stalled));
        [phase, stall]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        let Shared {
            times,
            more_closable,
            ..
        } = &*self.connections.0;
        let within = match phase {
            Phase::Idle => Some(times.idle),
            Phase::Headers => Some(times.headers),
            Phase::Body => Some(times.body + BODY_GRACE),
            Phase::Busy | Phase::Streaming => None,
        };
        state.deadline = within.map(|within| Instant::now() + within);
        let class = match phase {
            Phase::Idle | Phase::Headers | Phase::Body => Some(0),
            Phase::Streaming => Some(1),
            Phase::Busy => None,
        };
        state.phase = phase;
        // A connection keeps its age until its request is complete.
        if state.order.map(|(class, _)| class) == class {
            return;
        }
        let mut closable = self.connections.closable();
        if let Some(order) = state.order.take() {
            closable.by_order.remove(&order);
        }
        if let Some(class) = class {
            let order = (class, closable.next);
            closable.next += 1;
            closable.by_order.insert(order, Arc::clone(&self.close));
            state.order = Some(order);
            more_closable.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let order = self.state().order.take();
        if let Some(order) = order {
            self.connections.closable().by_order.remove(&order);
        }
    }
}

/// Drives a connection until it ends or must be closed.
pub(super) async fn drive<T>(
    connection: impl Future<Output = T>,
    tracker: &Tracker,
) -> Result<T, Closed> {
    let mut connection = std::pin::pin!(connection);
    let mut closed = std::pin::pin!(tracker.close.notified());
    let mut timer: Pin<Box<Sleep>> = Box::pin(sleep_until(Instant::now()));
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(done) = connection.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Closed::Limit));
        }
        // The phase changes only while the connection is polled, apart from bodies that other tasks read, which only get more time.
        while let Some((at, why)) = tracker.deadline() {
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if tracker.deadline() == Some((at, why)) {
                tracker.connections.0.counts.closed(why);
                return Poll::Ready(Err(why));
            }
        }
        Poll::Pending
    })
    .await
}

/// A socket that reports to the tracker what arrives, and whether the client reads.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) tracker: Arc<Tracker>,
}

impl Socket {
    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &written {
            Poll::Pending => self.tracker.stalled(),
            Poll::Ready(_) => self.tracker.wrote(),
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.tracker.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
