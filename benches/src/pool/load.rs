//! The load: callers that ask one after the other, what that costs a process, and how long it takes. The program in `peers/` has it too.

use std::{
    error::Error,
    future::Future,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many ask at once.
    pub callers: usize,
    /// How many requests all of them make.
    pub requests: usize,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many words it has. As a stream, each is a chunk.
    pub words: usize,
    /// Whether it is streamed.
    pub stream: bool,
}

impl Answer {
    /// Returns the model that answers like this.
    pub fn model(&self) -> String {
        format!("words-{}", self.words)
    }
}

/// What a round of a load showed.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// CPU of the process by request, in microseconds.
    pub cpu_us: f64,
    /// The median time of a request, in microseconds.
    pub p50_us: f64,
    /// The time that one request in a hundred exceeds, in microseconds.
    pub p99_us: f64,
}

/// Asks, and measures. `cpu` tells what was used so far by the process that is measured.
///
/// # Errors
/// The first of a request, and those of `cpu`.
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
