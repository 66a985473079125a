//! A circuit breaker: after failures a target is skipped for a while, then probed by one attempt at a time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When a breaker opens, and for how long.
///
/// ```
/// use std::time::Duration;
/// use konstruct_llm::BreakerPolicy;
///
/// let policy = BreakerPolicy::default().with_cooldown(Duration::from_secs(1));
/// assert_eq!((policy.failures, policy.cooldown.as_secs()), (3, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// Consecutive failures that open it: 3.
    pub failures: u32,
    /// The first open period: 5 seconds. It doubles after each failed probe.
    pub cooldown: Duration,
    /// The longest open period: 2 minutes, unless the provider asks for more, which is limited to a day.
    pub longest: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 3,
            cooldown: Duration::from_secs(5),
            longest: Duration::from_secs(120),
        }
    }
}

impl BreakerPolicy {
    /// Sets how many consecutive failures open it; at least one.
    #[must_use]
    pub fn with_failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// Sets the first open period.
    #[must_use]
    pub fn with_cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the longest open period.
    #[must_use]
    pub fn with_longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }
}

/// The longest wait that a provider can request; after a day the target is probed whatever a header said.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A breaker, shared by everything that uses the same target.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Consecutive failures while it is closed; consecutive openings after that.
    failures: u32,
    openings: u32,
    /// The end of the open period. If it has passed, the next attempt is a probe.
    open: Option<Instant>,
    probing: bool,
}

/// A permit for one attempt, which is consumed with the outcome. A dropped permit reports nothing.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    probe: bool,
}

impl Breaker {
    pub(super) fn new(policy: BreakerPolicy) -> Arc<Self> {
        Arc::new(Self {
            policy,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the target may be tried; `None` means now. During a probe, the answer is at least one cooldown away.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let until = state.open?;
        if until > now {
            Some(until)
        } else if state.probing {
            Some(now + self.policy.cooldown)
        } else {
            None
        }
    }

    /// Returns the end of the open period for readers that take no permit; a probe in progress does not delay them.
    pub(super) fn open_until(&self, now: Instant) -> Option<Instant> {
        self.state().open.filter(|until| *until > now)
    }

    /// Takes a permit, unless the breaker is open or being probed.
    pub(super) fn permit(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut state = self.state();
        let probe = match state.open {
            None => false,
            Some(until) if until > now || state.probing => return None,
            Some(_) => true,
        };
        state.probing |= probe;
        Some(Permit {
            breaker: Arc::clone(self),
            probe,
        })
    }
}

impl Permit {
    /// Reports a success, which closes the breaker.
    pub(super) fn succeed(self) {
        let mut state = self.breaker.state();
        // An answer that started before the breaker opened does not close it.
        if state.open.is_none() || self.probe {
            *state = State::default();
        }
    }

    /// Reports a failure. `at_once` opens the breaker without waiting for more failures; `wait` is the delay that the provider
    /// requested.
    pub(super) fn fail(self, now: Instant, at_once: bool, wait: Option<Duration>) {
        let policy = self.breaker.policy;
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        let opens = at_once || self.probe || state.failures >= policy.failures;
        if !opens {
            return;
        }
        // Failures of attempts that started before it opened do not open it again, but may extend the period.
        let already = state.open.is_some_and(|until| until > now) && !self.probe;
        let doubled = policy
            .cooldown
            .saturating_mul(1 << state.openings.min(16))
            .min(policy.longest);
        if !already {
            state.openings = state.openings.saturating_add(1);
        }
        let least = if already { Duration::ZERO } else { doubled };
        let until = now + wait.unwrap_or_default().min(DAY).max(least);
        state.open = Some(state.open.map_or(until, |open| open.max(until)));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Arc<Breaker>, Instant) {
        (Breaker::new(BreakerPolicy::default()), Instant::now())
    }

    fn fail(breaker: &Arc<Breaker>, at: Instant, wait: Option<u64>) {
        let permit = breaker.permit(at).unwrap();
        permit.fail(at, false, wait.map(Duration::from_secs));
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_one_probe_closes_it() {
        let (breaker, now) = breaker();
        fail(&breaker, now, None);
        fail(&breaker, now, None);
        breaker.permit(now).unwrap().succeed();
        for _ in 0..3 {
            assert_eq!(breaker.opens_at(now), None);
            fail(&breaker, now, None);
        }
        let until = now + Duration::from_secs(5);
        assert_eq!(breaker.opens_at(now), Some(until));
        assert!(breaker.permit(now).is_none());
        let probe = breaker.permit(until).unwrap();
        assert!(breaker.permit(until).is_none(), "one probe at a time");
        probe.succeed();
        assert_eq!(breaker.opens_at(until), None);
        fail(&breaker, until, None);
        assert_eq!(breaker.opens_at(until), None, "it counts from the start");
    }

    #[test]
    fn a_failed_probe_doubles_the_open_period_up_to_the_limit() {
        let (breaker, mut now) = breaker();
        for _ in 0..3 {
            fail(&breaker, now, None);
        }
        for secs in [5, 10, 20, 40, 80, 120, 120] {
            let until = now + Duration::from_secs(secs);
            assert_eq!(breaker.opens_at(now), Some(until), "{secs}");
            now = until;
            fail(&breaker, now, None);
        }
    }

    #[test]
    fn the_longest_requested_wait_wins() {
        let (breaker, now) = breaker();
        let permits: Vec<Permit> = (0..3).map(|_| breaker.permit(now).unwrap()).collect();
        for (permit, wait) in permits.into_iter().zip([600, 30, 1]) {
            permit.fail(now, true, Some(Duration::from_secs(wait)));
        }
        assert_eq!(
            breaker.opens_at(now),
            Some(now + Duration::from_secs(600)),
            "and three failures at once are one opening"
        );
        assert_eq!(breaker.state().openings, 1);
    }

    #[test]
    fn an_open_period_is_at_most_a_day() {
        let (breaker, now) = breaker();
        for wait in [Duration::MAX, Duration::from_secs(1 << 62)] {
            breaker.state().open = None;
            breaker.permit(now).unwrap().fail(now, true, Some(wait));
            assert_eq!(breaker.opens_at(now), Some(now + DAY), "{wait:?}");
        }
    }

    #[test]
    fn a_dropped_probe_allows_another() {
        let (breaker, now) = breaker();
        breaker.permit(now).unwrap().fail(now, true, None);
        let later = now + Duration::from_secs(5);
        drop(breaker.permit(later).unwrap());
        assert!(breaker.permit(later).is_some());
    }

    #[test]
    fn an_attempt_from_before_it_opened_does_not_close_it() {
        let (breaker, now) = breaker();
        let early = breaker.permit(now).unwrap();
        breaker.permit(now).unwrap().fail(now, true, None);
        early.succeed();
        assert!(breaker.opens_at(now).is_some());
    }
}
