//! Tenants at their limits on two server processes with one PostgreSQL and one Redis, which is stopped and started again.
//!
//! Half of the tenants get more messages at once than their limit allows, by channel or by tenant; the others are their neighbours.
//! Ends with `admitted=N expected=N lost=0 notices_over_one=0 neighbour_delayed=0`: the answers before Redis stops and what the limits
//! allow, messages that were never answered, customers with more than one notice, and answers to neighbours that took too long.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_admin_api::EmployeeSettings;
use konstruct_benches::{
    Failed,
    embedder::number,
    office::SECRET,
    quick::{Deliverer, Quick, webhook},
    redis::RedisServer,
    server::{self, Server, Setup, add_shop},
    store::Database,
};
use konstruct_core::Secret;
use konstruct_memory::KeyRing;

const NOTICE: &str = "One moment, please.";
/// The answers of a busy tenant at once, and the customers who write to it.
const BURST: usize = 8;
const CUSTOMERS: usize = 12;
/// The seconds until a busy tenant may answer once more, longer than the first phase.
const INTERVAL_SECS: usize = 30;
/// The time of the first phase.
const FIRST_PHASE: Duration = Duration::from_secs(15);
/// The most time until every message is answered.
const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The number of tenants.
    #[arg(long, default_value_t = 50)]
    tenants: usize,
    /// The most milliseconds until a neighbour's message is answered.
    #[arg(long, default_value_t = 3_000)]
    neighbour_millis: u64,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let mut redis = RedisServer::start(folder.path())?;
    let database = Database::create().await?;
    let quick = Quick::start().await?;
    let ring = KeyRing::generate()?.to_secret();
    let binary = server::binary(arguments.server)?;
    let mut setups = Vec::new();
    let mut servers: Vec<Server> = Vec::new();
    for nth in ["one", "two"] {
        let mut setup = Setup::new(binary.clone(), &folder.path().join(nth))?;
        std::fs::create_dir_all(folder.path().join(nth))?;
        database.connect_server(&mut setup, &ring)?;
        quick.connect(&mut setup);
        setup.set("REDIS_URL", redis.url());
        setup.set("KONSTRUCT_EMBEDDER", "none");
        setup.set("RUST_LOG", "warn");
        let mut server = setup.start()?;
        server.listening().await?;
        setups.push(setup);
        servers.push(server);
    }
    hire(&setups[0], arguments.tenants).await?;
    let mut run = Run {
        lines: Vec::new(),
        sent: Vec::new(),
        quick,
        tenants: arguments.tenants,
    };
    for setup in &setups {
        let line = Deliverer::connect(&setup.url(), Secret::new(SECRET)).await?;
        run.lines.push(line);
    }

    run.quick.record();
    let begun = Instant::now();
    run.write(CUSTOMERS, 1).await?;
    // Nothing can be awaited: the remaining messages must not be answered.
    tokio::time::sleep(FIRST_PHASE.saturating_sub(begun.elapsed())).await;
    let admitted = run.answered().len();
    let expected = run.busy() * BURST + (run.tenants - run.busy());

    redis.stop();
    run.write(CUSTOMERS, 1).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    redis.restart()?;
    run.write(0, 1).await?;
    let deadline = Instant::now() + PATIENCE;
    while run.lost() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let lost = run.lost();
    let over_one = run.notices().values().filter(|count| **count > 1).count();
    let notices = run.notices().len();
    let longest = Duration::from_millis(arguments.neighbour_millis);
    let waits = run.neighbours_waits();
    let delayed = waits.iter().filter(|wait| **wait > longest).count();
    let slowest = waits.iter().max().copied().unwrap_or_default();
    for server in servers {
        server.terminate().await?;
    }
    database.remove().await?;
    println!(
        "messages={} notices={notices} neighbour_slowest_ms={} seconds={}",
        run.sent.len(),
        slowest.as_millis(),
        begun.elapsed().as_secs()
    );
    println!(
        "admitted={admitted} expected={expected} lost={lost} notices_over_one={over_one} neighbour_delayed={delayed}"
    );
    Ok(())
}

/// Adds the tenants, each with an employee and a number. The first half has limits, by channel or by tenant.
async fn hire(setup: &Setup, tenants: usize) -> Result<(), Failed> {
    let admin = setup.admin()?;
    for nth in 0..tenants {
        let rate = serde_json::json!({"count": BURST, "per_secs": BURST * INTERVAL_SECS});
        let turns = match nth {
            _ if nth >= tenants / 2 => serde_json::json!({}),
            _ if nth % 2 == 0 => serde_json::json!({"channel": rate}),
            _ => serde_json::json!({"tenant": rate}),
        };
        let settings: EmployeeSettings = serde_json::from_value(serde_json::json!({
            "name": "Ava", "role": "front desk of a bicycle shop", "busy": NOTICE,
            "rates": {"turns": turns, "patience_secs": 5},
        }))?;
        add_shop(&admin, nth, &number(nth), &settings).await?;
    }
    Ok(())
}

/// A message of a customer.
struct Written {
    at: Instant,
    tenant: usize,
    from: String,
}

struct Run {
    /// A connection to each process.
    lines: Vec<Deliverer>,
    sent: Vec<Written>,
    quick: Quick,
    tenants: usize,
}

impl Run {
    /// Returns the number of tenants with limits.
    fn busy(&self) -> usize {
        self.tenants / 2
    }

    /// Delivers a message of each customer to the processes in turn.
    async fn write(&mut self, of_busy: usize, of_neighbour: usize) -> Result<(), Failed> {
        for nth in 0..of_busy.max(of_neighbour) {
            for tenant in 0..self.tenants {
                let customers = if tenant < self.busy() {
                    of_busy
                } else {
                    of_neighbour
                };
                if nth >= customers {
                    continue;
                }
                let from = format!("1555{tenant:03}{nth:04}");
                let id = format!("wamid.L{}", self.sent.len());
                let body = webhook(&number(tenant), &from, &id, "When are you open?");
                let line = self.sent.len() % self.lines.len();
                let at = Instant::now();
                let status = self.lines[line].deliver(&body).await?;
                if status != 200 {
                    return Err(format!("a webhook was answered with {status}").into());
                }
                self.sent.push(Written { at, tenant, from });
            }
        }
        Ok(())
    }

    /// Returns the time of the latest answer to each customer.
    fn answered(&self) -> HashMap<String, Instant> {
        let sent = self.quick.sent().into_iter();
        let answers = sent.filter(|sent| sent.text != NOTICE);
        answers.map(|sent| (sent.to, sent.at)).collect()
    }

    /// Returns the notices of each customer who got one.
    fn notices(&self) -> HashMap<String, usize> {
        let mut notices = HashMap::new();
        for sent in self.quick.sent() {
            if sent.text == NOTICE {
                *notices.entry(sent.to).or_default() += 1;
            }
        }
        notices
    }

    /// Counts the messages after which their customer got no answer.
    fn lost(&self) -> usize {
        let answered = self.answered();
        let lost = |written: &&Written| {
            answered
                .get(&written.from)
                .is_none_or(|at| *at < written.at)
        };
        self.sent.iter().filter(lost).count()
    }

    /// Returns how long each message to a tenant without limits waited for its answer.
    fn neighbours_waits(&self) -> Vec<Duration> {
        let sent = self.quick.sent();
        let customers: HashSet<_> = sent.iter().map(|sent| &sent.to).collect();
        let neighbours = self
            .sent
            .iter()
            .filter(|written| written.tenant >= self.busy());
        neighbours
            .filter(|written| customers.contains(&written.from))
            .filter_map(|written| {
                let mut answers = sent.iter().filter(|sent| sent.to == written.from);
                let first = answers.find(|sent| sent.at >= written.at)?;
                Some(first.at - written.at)
            })
            .collect()
    }
}
