//! A rate limiter in Redis.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use konstruct_core::{
    Clock, Error, Result, Secret, Timestamp,
    limit::{Decision, LimitKey, LocalLimiter, Quota, RateLimiter},
};
use redis::Client;

use super::{
    batch::{Batches, Period, Request},
    link::Link,
};

/// The shortest period of limits, in seconds.
const SHORTEST_PERIOD: u64 = 64;

/// A rate limiter whose counts all processes share, by the clock of Redis.
///
/// While Redis does not answer, each process counts on its own, and `n` processes together allow up to `n` times the rates. All keys
/// of a request must belong to one tenant.
///
/// Requests that arrive while a call is under way are decided together in the next one, in the order of their arrival: a script that
/// decides many costs little more than one that decides a single request. The counts of all tenants are in the hash of a period, so
/// Redis is one server, not a cluster.
#[derive(Debug)]
pub struct RedisLimiter {
    batches: Arc<Batches>,
    clock: Arc<dyn Clock>,
    local: LocalLimiter,
}

impl RedisLimiter {
    /// Connects to the Redis server at a URL such as `redis://127.0.0.1:6379`, `rediss://…` or `redis+unix:///run/redis.sock`. A
    /// server that does not answer is tried again later. `clock` is used for decisions without Redis, and to choose keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for an invalid URL.
    pub async fn open(url: &Secret, clock: Arc<dyn Clock>) -> Result<Self> {
        // For `rediss://`: the client uses the process's provider of cryptography. Another part may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::open(url.expose()).map_err(|_| {
            let example = "must be a URL such as redis://:PASSWORD@127.0.0.1:6379";
            Error::invalid("REDIS_URL", example)
        })?;
        Ok(Self {
            batches: Batches::new(Link::open(client).await),
            local: LocalLimiter::new(Arc::clone(&clock)),
            clock,
        })
    }
}

/// Returns how far ahead of the clock the requests of a burst may be.
fn allowance(quota: Quota) -> Duration {
    quota.interval().saturating_mul(quota.burst())
}

/// Returns the length of a period in seconds, and the number of the current one. The limits of a period are in one hash, which is
/// cheaper than a key for each; a limit is idle by the end of the next period.
fn period(longest: Duration, now: Timestamp) -> Period {
    let secs = (longest.as_secs() + 1)
        .next_power_of_two()
        .max(SHORTEST_PERIOD);
    let secs = i64::try_from(secs).unwrap_or(i64::MAX / 2);
    (secs, now.as_micros() / 1_000_000 / secs)
}

/// Returns whole microseconds, which a double holds exactly for 285 years.
fn micros(time: Duration) -> f64 {
    time.as_micros() as f64
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn check(&self, keys: &[(LimitKey, Quota)]) -> Result<Decision> {
        let Some((first, _)) = keys.first() else {
            return Ok(Decision::Allowed);
        };
        let tenant = first.tenant;
        if keys.iter().any(|(key, _)| key.tenant != tenant) {
            return Err(Error::invalid("keys", "must belong to one tenant"));
        }
        let longest = keys.iter().map(|(_, quota)| allowance(*quota)).max();
        let period = period(longest.unwrap_or_default(), self.clock.now());
        let mut request = Request::of(keys.len())?;
        for (key, quota) in keys {
            let field = [tenant.as_bytes().as_slice(), key.of.as_bytes()];
            request.push(micros(quota.interval()), micros(allowance(*quota)), field)?;
        }
        if let Some(decision) = self.batches.decide(period, request).await {
            return Ok(decision);
        }
        self.local.check(keys).await
    }
}
