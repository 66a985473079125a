//! Compares decisions of the rate limiter in Redis with an empty script, in alternating rounds on the same server.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use futures_util::future::try_join_all;
use konstruct_benches::{Failed, redis::RedisServer};
use konstruct_core::{
    Secret, SystemClock, TenantId,
    limit::{Decision, LimitKey, Quota, RateLimiter as _},
};
use konstruct_server::RedisLimiter;
use redis::Script;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The number of rounds of each kind.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The milliseconds of a round.
    #[arg(long, default_value_t = 1_000)]
    millis: u64,
    /// The number of requests at the same time.
    #[arg(long, default_value_t = 64)]
    at_once: u64,
    /// The number of limits that each request is checked against.
    #[arg(long, default_value_t = 4)]
    scopes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let server = RedisServer::start(folder.path())?;
    let limiter = RedisLimiter::open(&Secret::new(server.url()), Arc::new(SystemClock)).await?;
    let client = redis::Client::open(server.url())?;
    let connection = client.get_multiplexed_async_connection().await?;
    let empty = Script::new("return 0");
    let requests: Vec<_> = (0..arguments.at_once)
        .map(|n| request(n, arguments.scopes))
        .collect::<Result<_, _>>()?;
    let time = Duration::from_millis(arguments.millis);
    let (mut decisions, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let rate = per_second(time, &requests, async |keys| {
            match limiter.check(keys).await? {
                Decision::Allowed => Ok(()),
                Decision::Limited { .. } => Err("a request was limited".into()),
            }
        });
        decisions.push(rate.await?);
        let rate = per_second(time, &requests, async |_| {
            let answer: u64 = empty.invoke_async(&mut connection.clone()).await?;
            (answer == 0).then_some(()).ok_or("another answer".into())
        });
        calls.push(rate.await?);
    }
    let (decisions, calls) = (median(decisions), median(calls));
    println!(
        "scopes={} at_once={} decisions_per_s={decisions:.0} empty_evalsha_per_s={calls:.0} ratio={:.2}",
        arguments.scopes,
        arguments.at_once,
        decisions / calls,
    );
    Ok(())
}

/// Returns the keys of a tenant's request: as many as a turn has, with limits that are never reached.
fn request(n: u64, scopes: usize) -> Result<Vec<(LimitKey, Quota)>, Failed> {
    let tenant = TenantId::new();
    let quota = Quota::new(1_000_000, Duration::from_secs(1), 1_000_000)?;
    let key = |scope| LimitKey {
        tenant,
        of: format!("turn:scope{scope}:{n:032x}"),
    };
    Ok((0..scopes).map(|scope| (key(scope), quota)).collect())
}

/// Runs one loop for each request. Returns the calls in a second.
async fn per_second(
    time: Duration,
    requests: &[Vec<(LimitKey, Quota)>],
    call: impl AsyncFn(&[(LimitKey, Quota)]) -> Result<(), Failed>,
) -> Result<f64, Failed> {
    let (begun, count) = (Instant::now(), AtomicU64::new(0));
    let loops = requests.iter().map(async |keys| {
        while begun.elapsed() < time {
            call(keys).await?;
            count.fetch_add(1, Relaxed);
        }
        Ok::<_, Failed>(())
    });
    try_join_all(loops).await?;
    Ok(count.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
