//! The waits between retries, and their number.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The maximum number of attempts at the same deployment in one call.
pub(super) const TRIES: u32 = 3;

/// The longest wait of a call that a provider can request. After a longer one the deployment is not retried in this call.
const LONGEST: Duration = Duration::from_secs(60);

/// Returns the wait before retry number `tries` (from 1) of the same deployment: half a second, doubled each time up to 8
/// seconds, minus up to a quarter at random; or the wait that the provider requests, and `None` if that is too long. `chance` is
/// from 0 to 1.
pub(super) fn wait(tries: u32, asked: Option<Duration>, chance: f64) -> Option<Duration> {
    if let Some(asked) = asked {
        return (asked <= LONGEST).then_some(asked);
    }
    let doubled = Duration::from_millis(500) * (1 << tries.saturating_sub(1).min(4));
    Some(doubled.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0))
}

/// Limits retries and hedges to a share of the calls, so that retries do not multiply the load of a failing provider.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// In hundredths of a retry.
    left: Mutex<u32>,
}

/// The cost of a retry, the credit for each call, and the maximum credit, in hundredths of a retry.
const TRY: u32 = 100;
const PER_CALL: u32 = 20;
const SAVED: u32 = 1_000;

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            left: Mutex::new(SAVED),
        }
    }
}

impl RetryBudget {
    /// Adds the credit for a call.
    pub(super) fn call(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + PER_CALL).min(SAVED);
    }

    /// Returns whether a retry is available.
    pub(super) fn has_one(&self) -> bool {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) >= TRY
    }

    /// Takes a retry, if one is available.
    pub(super) fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = left.checked_sub(TRY);
        *left = rest.unwrap_or(*left);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let check = |tries, asked: Option<u64>, chance, expected: Option<u64>| {
            let waited = wait(tries, asked.map(Duration::from_millis), chance);
            assert_eq!(
                waited,
                expected.map(Duration::from_millis),
                "{tries} {asked:?}"
            );
        };
        check(1, None, 0.0, Some(500));
        check(1, None, 1.0, Some(375));
        check(3, None, 0.0, Some(2_000));
        check(9, None, 0.0, Some(8_000));
        check(1, Some(0), 0.5, Some(0));
        check(1, Some(60_000), 0.5, Some(60_000));
        check(1, Some(60_001), 0.5, None);
    }

    #[test]
    fn ten_retries_at_first_then_one_per_five_calls() {
        let budget = RetryBudget::default();
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        for _ in 0..50 {
            budget.call();
        }
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        for _ in 0..4 {
            budget.call();
        }
        assert!(!budget.take());
    }
}
