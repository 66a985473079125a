//! What the listeners and the checks before every handler have counted since the start, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why the server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Another connection needed its place.
    Limit,
    /// The headers of a request did not arrive in time.
    Headers,
    /// The body of a request did not arrive in time.
    Body,
    /// No further request arrived in time.
    Idle,
    /// The client stopped reading the response.
    Stalled,
}

impl Closed {
    const ALL: [Self; 5] = [
        Self::Limit,
        Self::Headers,
        Self::Body,
        Self::Idle,
        Self::Stalled,
    ];

    /// Returns the value of the metric's label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }
}

/// Why a request was refused before its handler ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request names another host, or several.
    Host,
    /// A page of another origin sent it.
    Origin,
    /// It claims to be forwarded, and its sender is not a trusted proxy.
    Forwarded,
    /// The bodies in flight fill their budget.
    Budget,
    /// The body was too slow.
    SlowBody,
}

impl Refused {
    const ALL: [Self; 5] = [
        Self::Host,
        Self::Origin,
        Self::Forwarded,
        Self::Budget,
        Self::SlowBody,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Forwarded => "forwarded",
            Self::Budget => "body_budget",
            Self::SlowBody => "slow_body",
        }
    }
}

/// The counts of all listeners of a process.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    open: AtomicU64,
    exhausted: AtomicU64,
    panics: AtomicU64,
    body_bytes: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
}

impl Counts {
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn closed(&self, why: Closed) {
        self.closed[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts an accept that failed for lack of descriptors or memory.
    pub(super) fn exhausted(&self) {
        self.exhausted.fetch_add(1, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Sets the bytes of request bodies in memory.
    pub(super) fn body_bytes(&self, bytes: usize) {
        self.body_bytes.store(bytes as u64, Relaxed);
    }

    /// Returns the number of open connections.
    pub(super) fn open_connections(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Returns the bytes of request bodies in memory.
    pub(super) fn bytes_of_bodies(&self) -> u64 {
        self.body_bytes.load(Relaxed)
    }

    /// Returns the number of failed accepts.
    pub(super) fn exhaustions(&self) -> u64 {
        self.exhausted.load(Relaxed)
    }

    /// Returns the number of handlers that panicked.
    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Returns the closed connections by reason.
    pub(super) fn closed_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Closed::ALL
            .map(|why| (why.label(), self.closed[why as usize].load(Relaxed)))
            .into_iter()
    }

    /// Returns the refused requests by reason.
    pub(super) fn refused_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL
            .map(|why| (why.label(), self.refused[why as usize].load(Relaxed)))
            .into_iter()
    }
}
