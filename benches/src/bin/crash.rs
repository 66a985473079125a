//! Kills a working server repeatedly at random instants, and counts what was lost, duplicated or out of order.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_benches::{
    Failed,
    dice::Dice,
    office::{Office, SECRET},
    prefill::prefill,
    sender::{self, Sender, Vendor},
    server::{self, POLL, Server, Setup},
    storm::Storm,
    traffic::{self, Traffic},
    verdict::{self, Verdict, verdict},
};
use konstruct_core::Secret;
use tokio::task::JoinSet;

/// The number of messages a second.
const PACE: usize = 25;
/// How long after the traffic every message must be answered or reported as unresolved: longer than a receipt is waited for.
const PATIENCE: Duration = Duration::from_secs(150);

/// Kills a working server at random instants.
#[derive(Parser)]
struct Arguments {
    /// Number of messages that people write.
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// Number of kills.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Size of the store before the test, in GB.
    #[arg(long, default_value_t = 0.0)]
    data_gb: f64,
    /// Keeps the store and the server's log in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let dir = arguments.keep.as_deref().unwrap_or(temporary.path());
    let mut setup = Setup::new(server::binary(arguments.server.clone())?, dir)?;
    let office = Arc::new(Office::open().await?);
    office.connect(&mut setup);
    setup.set("RUST_LOG", "warn");
    if arguments.data_gb > 0.0 {
        let begun = Instant::now();
        let conversations = prefill(&setup.store(), bytes(arguments.data_gb)).await?;
        println!(
            "prefilled {conversations} conversations in {:.0} s",
            begun.elapsed().as_secs_f64()
        );
    }
    let mut server = setup.start()?;
    server.listening().await?;
    let admin = setup.admin()?;
    let tenants = admin.tenants(None).await?;
    let tenant = tenants.items.first().ok_or("no demo tenant")?.id;

    let sender = Sender::new(vec![setup.url()], Secret::new(SECRET))?;
    let storm = Storm::new(office, sender);
    let mut dice = Dice::new(arguments.seed);
    let paced = Duration::from_secs_f64(arguments.messages as f64 / PACE as f64);
    let window = paced.max(Duration::from_secs(u64::from(arguments.kills)));
    let traffic = Traffic::new(arguments.messages, window, &mut dice);
    println!(
        "{} messages, {} deliveries, {} kills within {} s",
        traffic.messages.len(),
        traffic.deliveries.len(),
        arguments.kills,
        window.as_secs()
    );
    let inject_faults = tokio::spawn(storm.clone().inject_faults(Dice::new(dice.roll())));
    let telling = tokio::spawn(storm.clone().send_statuses(Dice::new(dice.roll())));
    let delivering = tokio::spawn(storm.clone().deliver(traffic));
    let killing = kill(&storm, &setup, server, arguments.kills, window, &mut dice);
    let (server, recovery) = killing.await?;
    delivering.await?;
    storm.end();
    inject_faults.await?;
    let settled = storm.settle(&admin, tenant, PATIENCE).await?;
    telling.abort();
    let seen = storm.seen(&setup, tenant).await?;
    server.terminate().await?;
    let store = verdict::open(&setup.store())?;
    let verdict = verdict(&store, tenant, &seen).await?;
    Ok(report(&verdict, &recovery, settled))
}

fn bytes(gb: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in GB"
    )]
    let bytes = (gb * 1e9) as u64;
    bytes
}

/// Prints the figures. A broken guarantee is a failure.
fn report(verdict: &Verdict, recovery: &[Duration], settled: bool) -> ExitCode {
    for finding in verdict.findings.iter().take(50) {
        println!("{finding}");
    }
    let mut recovery = recovery.to_vec();
    recovery.sort_unstable();
    let millis = |at: usize| recovery.get(at).map_or(0, Duration::as_millis);
    println!(
        "settled={settled} turns={} late={} fallbacks={} restarts_measured={} recovery_ms_median={}",
        verdict.turns,
        verdict.late,
        verdict.fallbacks,
        recovery.len(),
        millis(recovery.len() / 2)
    );
    println!(
        "lost={} duplicates={} out_of_order={} unresolved={} recovery_ms_max={}",
        verdict.lost,
        verdict.duplicates,
        verdict.out_of_order,
        verdict.unresolved,
        millis(recovery.len().saturating_sub(1))
    );
    let broken = verdict.lost + verdict.duplicates + verdict.out_of_order;
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Kills the server this many times, half of them after a vendor accepted a send and before it answers, and restarts it
/// immediately. Returns the last server, and the times to the first claim of the restarts that reached one.
async fn kill(
    storm: &Storm,
    setup: &Setup,
    mut server: Server,
    kills: u32,
    window: Duration,
    dice: &mut Dice,
) -> Result<(Server, Vec<Duration>), Failed> {
    let client = sender::client()?;
    let mut recovery = Vec::new();
    let mean = window / kills.max(1);
    let mut knocking = JoinSet::new();
    let mut restarted = false;
    for nth in 0..kills {
        let wait = mean.mul_f64(dice.below(2_000) as f64 / 1_000.0);
        let kill_at = Instant::now() + wait;
        let claimed = first_claim(&server, &client, kill_at).await;
        recovery.extend(claimed.filter(|_| restarted));
        tokio::time::sleep(kill_at.saturating_duration_since(Instant::now())).await;
        if nth % 2 == 1 {
            storm.wait_for_sends(kill_at + mean).await;
        }
        server.kill().await?;
        server = setup.start()?;
        restarted = true;
        // One more message, so that the start is measured and not the wait for work.
        let (text, body) = traffic::knock(nth);
        knocking.spawn(storm.clone().say(Vendor::WhatsApp, text, body));
    }
    let claimed = first_claim(&server, &client, Instant::now() + Duration::from_secs(10)).await;
    recovery.extend(claimed);
    while knocking.join_next().await.is_some() {}
    Ok((server, recovery))
}

/// Polls a server until it reports its first claim, or until it is to be killed.
async fn first_claim(
    server: &Server,
    client: &reqwest::Client,
    until: Instant,
) -> Option<Duration> {
    while Instant::now() < until {
        if let Some(claimed) = server.first_claim(client).await {
            return Some(claimed);
        }
        tokio::time::sleep(POLL).await;
    }
    None
}
