//! A rate limiter in Redis.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use konstruct_core::{
    Clock, Error, Result, Secret, TenantId, Timestamp,
    limit::{Decision, LimitKey, LocalLimiter, Quota, RateLimiter},
};
use redis::{Client, RedisResult, Script, aio::MultiplexedConnection};

use super::link::Link;

/// The shortest period of limits, in seconds.
const SHORTEST_PERIOD: u64 = 64;

/// A rate limiter whose counts all processes share, by the clock of Redis.
///
/// While Redis does not answer, each process counts on its own, and `n` processes together allow up to `n` times the rates. All keys
/// of a request must belong to one tenant, whose counts are in one slot of a cluster.
#[derive(Debug)]
pub struct RedisLimiter {
    link: Arc<Link>,
    script: Script,
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
            link: Link::open(client).await,
            script: Script::new(include_str!("gcra.lua")),
            local: LocalLimiter::new(Arc::clone(&clock)),
            clock,
        })
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        tenant: TenantId,
        keys: &[(LimitKey, Quota)],
    ) -> RedisResult<Decision> {
        let mut call = self.script.prepare_invoke();
        let longest = keys.iter().map(|(_, quota)| allowance(*quota)).max();
        let (period, number) = period(longest.unwrap_or_default(), self.clock.now());
        // The part in braces, the tenant, selects the slot of a cluster.
        let hash = |number| format!("konstruct:limit:{{{tenant}}}:{period}:{number}");
        call.key(hash(number)).key(hash(number - 1));
        call.arg(2 * period);
        for (key, quota) in keys {
            call.arg(&key.of)
                .arg(micros(quota.interval()))
                .arg(micros(allowance(*quota)));
        }
        // Loads the script again if Redis does not know it any more.
        let answer: Option<(usize, u64)> = call.invoke_async(connection).await?;
        Ok(match answer {
            None => Decision::Allowed,
            Some((key, wait)) => Decision::Limited {
                key: key.saturating_sub(1),
                retry_after: Duration::from_micros(wait),
            },
        })
    }
}

/// Returns how far ahead of the clock the requests of a burst may be.
fn allowance(quota: Quota) -> Duration {
    quota.interval().saturating_mul(quota.burst())
}

/// Returns the length of a period in seconds, and the number of the current one. The limits of a period are in one hash, which is
/// cheaper than a key for each; a limit is idle by the end of the next period.
fn period(longest: Duration, now: Timestamp) -> (i64, i64) {
    let secs = (longest.as_secs() + 1)
        .next_power_of_two()
        .max(SHORTEST_PERIOD);
    let secs = i64::try_from(secs).unwrap_or(i64::MAX / 2);
    (secs, now.as_micros() / 1_000_000 / secs)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
        if let Some((mut connection, number)) = self.link.get() {
            match self.ask(&mut connection, tenant, keys).await {
                Ok(decision) => return Ok(decision),
                Err(error) => self.link.failed(number, &error),
            }
        }
        self.local.check(keys).await
    }
}
