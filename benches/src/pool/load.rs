//! The load: callers that send one request after another, and the measured CPU and latency. The program in `peers/` includes this
//! file.

use std::{
    error::Error,
    future::Future,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

/// The size of a load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The number of concurrent callers.
    pub callers: usize,
    /// The total number of requests.
    pub requests: usize,
}

/// The requested answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its number of words. In a stream, each word is a chunk.
    pub words: usize,
    /// Whether it is streamed.
    pub stream: bool,
}

impl Answer {
    /// Returns the name of the model with this answer.
    pub fn model(&self) -> String {
        format!("words-{}", self.words)
    }
}

/// The figures of a round.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// CPU of the process a request, in microseconds.
    pub cpu_us: f64,
    /// The median latency of a request, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99_us: f64,
}

/// Runs the load and measures it. `cpu` returns the CPU used so far by the measured process.
///
/// # Errors
/// The first error of a request, and errors of `cpu`.
pub async fn round<F, A>(
    load: Load,
    cpu: impl Fn() -> Result<Duration, Box<dyn Error + Send + Sync>>,
    ask: F,
) -> Result<Figures, Box<dyn Error + Send + Sync>>
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let each = load.requests.div_ceil(load.callers);
    let before = cpu()?;
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        let ask = ask.clone();
        callers.spawn(async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                let begin = Instant::now();
                ask().await?;
                times.push(begin.elapsed());
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(times)
        });
    }
    let mut times = Vec::with_capacity(load.requests);
    while let Some(of) = callers.join_next().await {
        times.extend(of??);
    }
    let used = cpu()?.saturating_sub(before);
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        micros(times[place.min(times.len() - 1)])
    };
    Ok(Figures {
        cpu_us: micros(used) / times.len() as f64,
        p50_us: at(0.5),
        p99_us: at(0.99),
    })
}

/// Returns the CPU that this process has used.
///
/// # Errors
/// None.
pub fn own() -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::new(
        used.tv_sec.try_into()?,
        used.tv_nsec.try_into()?,
    ))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
