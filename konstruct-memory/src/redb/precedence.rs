//! Prioritises accepting events: while many events wait for acknowledgement, turns and the index wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// Turns wait while at least this many callers accept events.
const MANY: usize = 16;
/// A turn waits for at most this many accepts, so that it is not delayed forever.
const LONGEST: u64 = 4_096;
/// Waiting turns check their limit after this many accepts.
const EVERY: u64 = 256;

/// Counts the callers that accept events.
#[derive(Debug, Default)]
pub(super) struct Precedence {
    accepting: AtomicUsize,
    passed: AtomicU64,
    eased: Notify,
}

impl Precedence {
    /// Counts a caller until the guard is dropped.
    pub(super) fn accept(&self) -> Accepting<'_> {
        self.accepting.fetch_add(1, SeqCst);
        Accepting(self)
    }

    /// Returns whether many callers accept events.
    pub(super) fn is_needed(&self) -> bool {
        self.accepting.load(SeqCst) >= MANY
    }

    /// Waits until few callers accept events, or enough of them have finished.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn give_way(&self) {
        let began = self.passed.load(SeqCst);
        loop {
            let eased = self.eased.notified();
            let passed = self.passed.load(SeqCst) - began;
            if !self.is_needed() || passed >= LONGEST {
                return;
            }
            eased.await;
        }
    }
}

/// Guard of a caller that accepts events.
pub(super) struct Accepting<'a>(&'a Precedence);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let before = self.0.accepting.fetch_sub(1, SeqCst);
        let passed = self.0.passed.fetch_add(1, SeqCst);
        if before <= MANY || passed.is_multiple_of(EVERY) {
            self.0.eased.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn turns_wait_while_many_accept_but_not_forever() {
        let precedence = Precedence::default();
        assert!(precedence.give_way().now_or_never().is_some());
        let mut accepting: Vec<_> = (0..MANY).map(|_| precedence.accept()).collect();
        let mut turn = Box::pin(precedence.give_way());
        assert!(turn.as_mut().now_or_never().is_none());
        accepting.pop();
        assert!(turn.now_or_never().is_some());
        // However many follow one another.
        accepting.push(precedence.accept());
        let mut turn = Box::pin(precedence.give_way());
        assert!(turn.as_mut().now_or_never().is_none());
        for _ in 0..LONGEST + EVERY {
            drop(precedence.accept());
        }
        assert!(turn.now_or_never().is_some());
    }
}
