//! Several server processes on one PostgreSQL and one Redis, while processes are killed, PostgreSQL crashes, Redis is stopped, and
//! connections are cut.
//!
//! Ends with `lost=0 duplicates=0 out_of_order=0 unresolved=N injected_ambiguous=N`: the last two are the sends that a person is
//! asked about, and those whose outcome a fault may have hidden: faults of the vendors, and sends that were under way when something
//! was disrupted. With `--fair`, nothing goes wrong, and it ends with `delayed_ratio=X`: the p99 of the answers to the quiet tenants
//! while another has a hundred times their load, compared with that before.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

#[path = "cluster/fair.rs"]
mod fair;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_benches::{
    Failed,
    chaos::{self, PostgresServer, Proxy},
    dice::Dice,
    office::{Office, SECRET},
    redis::RedisServer,
    sender::Sender,
    server::{self, Server, Setup},
    storm::Storm,
    traffic::Traffic,
    verdict::{Seen, Verdict, verdict},
};
use konstruct_core::{Clock as _, Secret, SystemClock};
use konstruct_memory::{KeyRing, Postgres};
use tempfile::TempDir;

/// The number of messages a second.
const PACE: usize = 25;
/// How long after the traffic every message must be answered or reported as unresolved: longer than a receipt is waited for, and than
/// the longest pause after the failures of the database.
const PATIENCE: Duration = Duration::from_secs(400);
/// How long a server that was stopped is away.
const AWAY: Duration = Duration::from_millis(800);

/// Disturbs a cluster, or measures its fairness.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Number of messages that people write.
    #[arg(long, default_value_t = 5_000)]
    messages: usize,
    /// Number of processes that are killed. PostgreSQL and Redis are each stopped once for ten kills, and connections are cut as often
    /// as processes are killed.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of processes.
    #[arg(long, default_value_t = 3)]
    processes: usize,
    /// Measures the delay of quiet tenants by a busy one instead.
    #[arg(long)]
    fair: bool,
    /// Number of seconds of each of the two phases of `--fair`.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Number of quiet tenants of `--fair`.
    #[arg(long, default_value_t = 20)]
    quiet: usize,
    /// Messages a second of each quiet tenant.
    #[arg(long, default_value_t = 0.2)]
    rate: f64,
    /// The most conversations of a tenant that are processed at a time, as an operator sets it; 0 for no limit.
    #[arg(long, default_value_t = 6)]
    at_once: u32,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Keeps the logs of the servers in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let dir = match &arguments.keep {
        Some(dir) => {
            fs::create_dir_all(dir)?;
            dir.as_path()
        }
        None => temporary.path(),
    };
    if arguments.fair {
        return fair::run(&arguments, dir).await;
    }
    let mut cluster = Cluster::start(&arguments, dir, |office, setup| {
        office.connect(setup);
        Ok(())
    })
    .await?;
    let setup = &cluster.setups[0];
    let admin = setup.admin()?;
    let tenant = admin.tenants(None).await?.items;
    let tenant = tenant.first().ok_or("no tenant of the business")?.id;
    let urls = cluster.setups.iter().map(Setup::url).collect();
    let storm = Storm::new(
        Arc::clone(&cluster.office),
        Sender::new(urls, Secret::new(SECRET))?,
    );
    let mut dice = Dice::new(arguments.seed);
    let paced = Duration::from_secs_f64(arguments.messages as f64 / PACE as f64);
    let window = paced.max(Duration::from_secs(u64::from(arguments.kills)));
    let traffic = Traffic::new(arguments.messages, window, &mut dice);
    println!(
        "{} messages, {} deliveries, {} processes, {} kills within {} s",
        traffic.messages.len(),
        traffic.deliveries.len(),
        arguments.processes,
        arguments.kills,
        window.as_secs()
    );
    let inject_faults = tokio::spawn(storm.clone().inject_faults(Dice::new(dice.roll())));
    let telling = tokio::spawn(storm.clone().send_statuses(Dice::new(dice.roll())));
    let delivering = tokio::spawn(storm.clone().deliver(traffic));
    cluster
        .disrupt(&storm, arguments.kills, window, &mut dice)
        .await?;
    while !delivering.is_finished() {
        cluster.revive().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    delivering.await?;
    storm.end();
    let hidden = inject_faults.await?;
    cluster.all_listen().await?;
    let settled = storm.settle(&admin, tenant, PATIENCE).await?;
    telling.abort();
    let seen = Seen {
        disruptions: std::mem::take(&mut cluster.disruptions),
        ..storm.seen(&cluster.setups[0], tenant).await?
    };
    println!(
        "kills={} postgres_crashes={} redis_stops={} cuts={} cut_connections={} exits={}",
        cluster.counts.kills,
        cluster.counts.postgres,
        cluster.counts.redis,
        cluster.counts.cuts,
        cluster.counts.cut_connections,
        cluster.counts.exits
    );
    for server in std::mem::take(&mut cluster.servers) {
        server.terminate().await?;
    }
    let store = Postgres::builder(cluster.direct_url("konstruct_app"))
        .key_ring(KeyRing::parse(cluster.ring.expose())?)
        .connect()
        .await?;
    let verdict = verdict(&store, tenant, &seen).await?;
    Ok(report(&verdict, hidden, settled))
}

/// Prints the figures. A broken guarantee is a failure.
fn report(verdict: &Verdict, hidden: usize, settled: bool) -> ExitCode {
    for finding in verdict.findings.iter().take(50) {
        println!("{finding}");
    }
    println!(
        "settled={settled} turns={} late={} fallbacks={} ambiguous={} vendor_faults={hidden} sends_disrupted={}",
        verdict.turns, verdict.late, verdict.fallbacks, verdict.ambiguous, verdict.disrupted
    );
    let injected = hidden + verdict.disrupted;
    println!(
        "lost={} duplicates={} out_of_order={} unresolved={} injected_ambiguous={injected}",
        verdict.lost, verdict.duplicates, verdict.out_of_order, verdict.unresolved
    );
    let broken = verdict.lost + verdict.duplicates + verdict.out_of_order;
    if broken == 0 && settled && verdict.unresolved <= injected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What went wrong.
#[derive(Debug, Default)]
struct Counts {
    kills: u32,
    postgres: u32,
    redis: u32,
    cuts: u32,
    cut_connections: usize,
    /// Starts that ended because the database or Redis was away.
    exits: u32,
}

/// The processes, and the servers that they share.
struct Cluster {
    office: Arc<Office>,
    setups: Vec<Setup>,
    servers: Vec<Server>,
    postgres: PostgresServer,
    redis: RedisServer,
    /// In front of PostgreSQL and Redis.
    proxies: [Proxy; 2],
    ring: Secret,
    disruptions: Vec<konstruct_core::Timestamp>,
    counts: Counts,
    /// Removed after the servers in it have ended.
    _sockets: TempDir,
}

impl Cluster {
    /// Starts everything. `connect` configures the vendors of each process.
    async fn start(
        arguments: &Arguments,
        dir: &Path,
        connect: impl Fn(&Office, &mut Setup) -> Result<(), Failed>,
    ) -> Result<Self, Failed> {
        let binary = server::binary(arguments.server.clone())?;
        let office = Arc::new(Office::open().await?);
        // Not in `dir`: the path of a socket is short.
        let folder = tempfile::tempdir()?;
        let sockets = folder.path();
        let postgres = PostgresServer::start(sockets).await?;
        let redis = RedisServer::start(sockets)?;
        Postgres::migrate(&chaos::url(postgres.folder(), "postgres", "postgres")).await?;
        let front = sockets.join("front");
        fs::create_dir_all(&front)?;
        let redis_front = front.join("redis.sock");
        let proxies = [
            Proxy::postgres(&front, postgres.folder())?,
            Proxy::start(&redis_front, sockets.join("redis.sock"))?,
        ];
        let ring = KeyRing::generate()?.to_secret();
        let url = chaos::url(&front, "postgres", "konstruct_app");
        let (mut setups, mut servers) = (Vec::new(), Vec::new());
        for nth in 0..arguments.processes {
            let folder = dir.join(nth.to_string());
            fs::create_dir_all(&folder)?;
            let mut setup = Setup::new(binary.clone(), &folder)?;
            connect(&office, &mut setup)?;
            setup.set("DATABASE_URL", url.expose());
            setup.set(
                "REDIS_URL",
                format!("redis+unix://{}", redis_front.display()),
            );
            setup.set("KONSTRUCT_MASTER_KEY", ring.expose());
            setup.set("KONSTRUCT_EMBEDDER", "none");
            setup.set("RUST_LOG", "warn");
            // Its ports are in use when those of the next are chosen.
            let mut server = setup.start()?;
            server.listening().await?;
            setups.push(setup);
            servers.push(server);
        }
        Ok(Self {
            office,
            setups,
            servers,
            postgres,
            redis,
            proxies,
            ring,
            disruptions: Vec::new(),
            counts: Counts::default(),
            _sockets: folder,
        })
    }

    /// Returns the URL of the database without the proxy.
    fn direct_url(&self, role: &str) -> Secret {
        chaos::url(self.postgres.folder(), "postgres", role)
    }

    /// Kills processes this many times, half of them after a vendor accepted a send and before it answers, and disturbs PostgreSQL,
    /// Redis and the connections in between.
    async fn disrupt(
        &mut self,
        storm: &Storm,
        kills: u32,
        window: Duration,
        dice: &mut Dice,
    ) -> Result<(), Failed> {
        let mean = window / kills.max(1);
        for nth in 0..kills {
            let at = Instant::now() + mean.mul_f64(dice.below(2_000) as f64 / 1_000.0);
            self.revive().await?;
            let cut = at - (at - Instant::now()).mul_f64(dice.below(1_000) as f64 / 1_000.0);
            tokio::time::sleep(cut.saturating_duration_since(Instant::now())).await;
            self.disruptions.push(SystemClock.now());
            self.counts.cuts += 1;
            self.counts.cut_connections += self.proxies[usize::from(dice.percent(20))].cut();
            if nth % 10 == 4 {
                self.disruptions.push(SystemClock.now());
                self.postgres.stop()?;
                tokio::time::sleep(AWAY).await;
                self.postgres.restart()?;
                self.disruptions.push(SystemClock.now());
                self.counts.postgres += 1;
            }
            if nth % 10 == 8 {
                self.redis.stop();
                tokio::time::sleep(AWAY).await;
                self.redis.restart()?;
                self.counts.redis += 1;
            }
            tokio::time::sleep(at.saturating_duration_since(Instant::now())).await;
            if nth % 2 == 1 {
                storm.wait_for_sends(at + mean).await;
            }
            let victim = usize::try_from(dice.below(self.servers.len() as u64))?;
            self.disruptions.push(SystemClock.now());
            match self.servers.remove(victim).kill().await {
                Ok(()) => self.counts.kills += 1,
                // It ended because the database was away when it started.
                Err(_) => self.counts.exits += 1,
            }
            self.servers.insert(victim, self.setups[victim].start()?);
        }
        Ok(())
    }

    /// Starts the processes that have ended, as a supervisor does.
    async fn revive(&mut self) -> Result<(), Failed> {
        for (setup, server) in self.setups.iter().zip(&mut self.servers) {
            if server.has_ended()? {
                self.counts.exits += 1;
                *server = setup.start()?;
            }
        }
        Ok(())
    }

    /// Waits until every process listens.
    async fn all_listen(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + Duration::from_secs(120);
        for nth in 0..self.servers.len() {
            while self.servers[nth].listening().await.is_err() {
                if Instant::now() > deadline {
                    return Err("a process does not start".into());
                }
                self.revive().await?;
            }
        }
        Ok(())
    }
}
