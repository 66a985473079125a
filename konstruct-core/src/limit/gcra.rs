//! The arithmetic of the generic cell rate algorithm, without a clock.

use std::time::Duration;

use crate::{Error, Result, Timestamp};

/// A rate with a burst size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quota {
    /// The time between two requests at the steady rate, in microseconds.
    interval_us: u64,
    /// The burst size.
    burst: u32,
}

impl Quota {
    /// Creates a rate of `count` requests per `per`, of which up to `burst` may arrive at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a number is zero or the rate exceeds one request per
    /// microsecond.
    ///
    /// ```
    /// use konstruct_core::limit::Quota;
    /// use std::time::Duration;
    ///
    /// assert!(Quota::new(60, Duration::from_secs(60), 10).is_ok());
    /// assert!(Quota::new(0, Duration::from_secs(60), 10).is_err());
    /// ```
    pub fn new(count: u32, per: Duration, burst: u32) -> Result<Self> {
        let interval_us = u64::try_from(per.as_micros())
            .unwrap_or(u64::MAX)
            .checked_div(u64::from(count))
            .unwrap_or(0);
        if interval_us == 0 {
            return Err(Error::invalid(
                "count",
                "must be at least 1, and at most one per microsecond",
            ));
        }
        if burst == 0 {
            return Err(Error::invalid("burst", "must be at least 1"));
        }
        Ok(Self { interval_us, burst })
    }

    /// Returns the time between two requests at the steady rate.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_us)
    }

    /// Returns how many requests may arrive at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }
}

/// The state of one key: the time at which it will be idle again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gcra(Timestamp);

impl Gcra {
    /// Counts a request at a time. Returns the new state.
    ///
    /// # Errors
    /// The time to wait until another request is allowed.
    pub fn take(self, quota: Quota, now: Timestamp) -> Result<Self, Duration> {
        let paid_off = self.0.max(now) + Duration::from_micros(quota.interval_us);
        let allowance =
            Duration::from_micros(quota.interval_us.saturating_mul(u64::from(quota.burst)));
        let ahead = paid_off.since(now);
        if ahead > allowance {
            Err(ahead - allowance)
        } else {
            Ok(Self(paid_off))
        }
    }

    /// Returns whether the state equals that of an unused key.
    pub fn is_idle(self, now: Timestamp) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_flow() {
        let quota = Quota::new(10, Duration::from_secs(1), 3).unwrap();
        let start = Timestamp::from_secs(1_000);
        let mut state = Gcra::default();
        for _ in 0..3 {
            state = state.take(quota, start).unwrap();
        }
        assert_eq!(state.take(quota, start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(100);
        state = state.take(quota, later).unwrap();
        assert_eq!(
            state.take(quota, later),
            Err(Duration::from_millis(100)),
            "a refusal changes nothing"
        );
        assert!(state.is_idle(start + Duration::from_secs(1)));
    }

    #[test]
    fn never_more_than_the_quota_in_any_window() {
        // One request every 7 ms for 10 s, with a limit of 20 per second and a burst of 5.
        let quota = Quota::new(20, Duration::from_secs(1), 5).unwrap();
        let mut state = Gcra::default();
        let mut taken = Vec::new();
        for tick in 0..1_428_i64 {
            let now = Timestamp::from_micros(tick * 7_000);
            if let Ok(next) = state.take(quota, now) {
                state = next;
                taken.push(now);
            }
        }
        for (i, first) in taken.iter().enumerate() {
            let within = taken[i..]
                .iter()
                .take_while(|at| at.since(*first) < Duration::from_secs(1))
                .count();
            assert!(within <= 25, "{within} within a second");
        }
        assert!((200..=205).contains(&taken.len()), "{} of 205", taken.len());
    }
}
