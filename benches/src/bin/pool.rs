//! Measures the cost of the pool, compared with a bare HTTP client, and with `--peers` with other libraries and gateways.
//!
//! Prints a row for each of them, and ends with `cpu_us_per_request=N cpu_us_per_chunk=N added_p50_us=N`.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use konstruct_benches::{
    Failed,
    pool::{
        candidate::Candidate,
        load::{Answer, Figures, Load},
        peers,
        upstream::{self, Upstream},
    },
};

/// The argument that makes this program the provider.
const UPSTREAM: &str = "--upstream";

/// A small and a large number of chunks; their difference gives the cost of one chunk.
const FEW: usize = 20;
const MANY: usize = 400;

/// Measures the cost of the pool.
#[derive(Parser)]
struct Arguments {
    /// Number of rounds; medians are reported.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Number of requests to each candidate in a round, of twenty chunks each.
    #[arg(long, default_value_t = 400)]
    requests: usize,
    /// Also measures LiteLLM, TensorZero, async-openai and genai, with a Python environment in this folder.
    #[arg(long, num_args = 0..=1, default_missing_value = "target/pool-peers")]
    peers: Option<PathBuf>,
}

/// The answer requested in a round, and the number of callers.
type Case = (Answer, usize);

fn cases() -> Vec<Case> {
    let answer = |words, stream| Answer { words, stream };
    let answers = [answer(FEW, false), answer(FEW, true), answer(MANY, true)];
    answers
        .into_iter()
        .flat_map(|answer| [1, 8].map(|callers| (answer, callers)))
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failed> {
    if std::env::args().nth(1).as_deref() == Some(UPSTREAM) {
        upstream::serve().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    let upstream = Upstream::start(UPSTREAM)?;
    let mut candidates = vec![
        Candidate::Raw,
        Candidate::Alone,
        Candidate::Pool(1),
        Candidate::Pool(3),
    ];
    if let Some(folder) = &arguments.peers {
        let answers: Vec<Answer> = cases().into_iter().map(|(answer, _)| answer).collect();
        candidates.extend(peers::start(folder, upstream.url(), &answers).await?);
    }
    // One row for each candidate, one figure for each case and round.
    let mut seen: Vec<Vec<Vec<Figures>>> = vec![vec![Vec::new(); cases().len()]; candidates.len()];
    for _ in 0..arguments.rounds {
        for (at, (answer, callers)) in cases().into_iter().enumerate() {
            let requests = match answer.words {
                MANY => arguments.requests.div_ceil(4),
                _ => arguments.requests,
            };
            let load = Load { callers, requests };
            for (candidate, seen) in candidates.iter().zip(&mut seen) {
                let round = candidate.round(upstream.url(), answer, load);
                let figures = round
                    .await
                    .map_err(|error| format!("{}: {error}", candidate.name()))?;
                seen[at].push(figures);
            }
        }
    }
    report(&candidates, &seen);
    Ok(ExitCode::SUCCESS)
}

/// A candidate's figures in the order of [`cases`].
struct Row<'a>(&'a [Vec<Figures>]);

impl Row<'_> {
    fn of(&self, case: usize, figure: fn(&Figures) -> f64) -> f64 {
        median(self.0[case].iter().map(figure).collect())
    }

    /// Returns the mean CPU, because the CPU of another process is measured in steps of ten milliseconds.
    fn cpu(&self, case: usize) -> f64 {
        let rounds = &self.0[case];
        rounds.iter().map(|round| round.cpu_us).sum::<f64>() / rounds.len() as f64
    }

    /// Returns the cost of one more chunk, with this number of callers.
    fn chunk(&self, callers: usize) -> f64 {
        (self.cpu(4 + callers) - self.cpu(2 + callers)) / (MANY - FEW) as f64
    }
}

fn report(candidates: &[Candidate], seen: &[Vec<Vec<Figures>>]) {
    let (one, eight) = (0, 1);
    let raw = &seen[0];
    for (candidate, seen) in candidates.iter().zip(seen) {
        let row = Row(seen);
        let mut line = format!("who={}", candidate.name());
        for (callers, at) in [(1, one), (8, eight)] {
            line += &format!(
                " c{callers}: plain_cpu_us={:.1} cpu_us={:.1} chunk_cpu_us={:.2} plain_p50_us={:.0} p50_us={:.0} p99_us={:.0} added_p50_us={:.0}",
                row.cpu(at),
                row.cpu(2 + at),
                row.chunk(at),
                row.of(at, |round| round.p50_us),
                row.of(2 + at, |round| round.p50_us),
                row.of(2 + at, |round| round.p99_us),
                added(&seen[2 + at], &raw[2 + at]),
            );
        }
        out(&line);
    }
    let pool = Row(&seen[2]);
    for (candidate, seen) in candidates.iter().zip(seen).skip(4) {
        let other = Row(seen);
        out(&format!(
            "cpu of {} by that of pool-1: plain={:.1} streamed={:.1} chunk={:.1}",
            candidate.name(),
            other.cpu(eight) / pool.cpu(eight),
            other.cpu(2 + eight) / pool.cpu(2 + eight),
            other.chunk(eight) / pool.chunk(eight),
        ));
    }
    out(&format!(
        "cpu_us_per_request={:.1} cpu_us_per_chunk={:.2} added_p50_us={:.1}",
        pool.cpu(2 + eight),
        pool.chunk(eight),
        added(&seen[2][2 + one], &raw[2 + one]),
    ));
}

/// Returns the median over the rounds of the latency above the bare client's.
fn added(seen: &[Figures], raw: &[Figures]) -> f64 {
    let rounds = seen.iter().zip(raw);
    median(rounds.map(|(seen, raw)| seen.p50_us - raw.p50_us).collect())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[expect(clippy::print_stdout, reason = "its lines are what a bench is for")]
fn out(line: &str) {
    println!("{line}");
}
