//! Measures whole turns a second: signed webhook, model, send and receipt, with fakes that answer immediately. The turns run
//! through the built server on redb, or through an embedding program on PostgreSQL.
//!
//! Ends with `turns_per_s=N p50_ms=N p99_ms=N cpu_us_per_turn=N bytes_per_turn=N`, and with `--burst` with
//! `burst_accepted_per_s=N burst_p99_ms=N`. With `--processes`, built servers share a PostgreSQL database, and the line ends with
//! `accepted_per_s=N statements_per_turn=N`: the webhooks that they acknowledge when nobody waits for answers, and all statements
//! of a run at the server's socket, also those of the background.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use konstruct_admin_api::EmployeeSettings;
use konstruct_benches::{
    Failed, embedder,
    office::SECRET,
    process::{cpu, resident},
    quick::{Deliverer, Quick, webhook},
    server::{self, Setup, add_shop},
    store::Database as Postgres,
};
use konstruct_core::Secret;
use konstruct_memory::KeyRing;
use redb::{
    Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition, TableHandle as _,
};
use tokio::task::JoinSet;

/// The number of customers that write to each tenant in turn.
const CUSTOMERS: usize = 40;
/// The most time of a turn.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of connections of a burst.
const BURST_LINES: usize = 64;

/// Measures whole turns a second.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Store.
    #[arg(long, value_enum, default_value = "redb")]
    store: On,
    /// Number of measured turns.
    #[arg(long, default_value_t = 6_000)]
    turns: usize,
    /// Number of unmeasured turns before, at each of the two starts.
    #[arg(long, default_value_t = 500)]
    warm_up: usize,
    /// Number of tenants.
    #[arg(long, default_value_t = 50)]
    tenants: usize,
    /// Number of customers that wait for an answer at the same time.
    #[arg(long, default_value_t = 512)]
    at_once: usize,
    /// Number of conversations that the server processes concurrently.
    #[arg(long, default_value_t = 1_024)]
    concurrency: usize,
    /// Number of connections of the embedding program to PostgreSQL.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Delivers a burst of this many webhooks while every worker is busy, and measures their acknowledgement.
    #[arg(long, default_missing_value = "6000", num_args = 0..=1)]
    burst: Option<usize>,
    /// Number of processes of the built server that share a PostgreSQL database, instead of the embedding program.
    #[arg(long)]
    processes: Option<usize>,
    /// The server's binary for redb and for `--processes`. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Keeps the store and the server's log in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Lists the rows and bytes of each table of the store.
    #[arg(long)]
    tables: bool,
}

/// The store, and the program that uses it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum On {
    /// A redb file, with the built server.
    Redb,
    /// A new database on the server of `KONSTRUCT_TEST_DATABASE_URL`, with an embedding program.
    Postgres,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// The embedding program, started by the benchmark.
    #[command(hide = true)]
    Embedder {
        /// Number of tenants.
        tenants: usize,
        /// Number of connections to the database.
        connections: u32,
    },
}

#[path = "throughput/processes.rs"]
mod processes;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    if let Some(many) = arguments.processes {
        return processes::run(&arguments, many).await;
    }
    if let Some(Command::Embedder {
        tenants,
        connections,
    }) = arguments.command
    {
        return embedder::serve(tenants, connections).await;
    }
    let temporary = tempfile::tempdir()?;
    let dir = arguments.keep.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(dir)?;
    let quick = Quick::start().await?;
    let (mut setup, kept) = match arguments.store {
        On::Redb => {
            let setup = Setup::new(server::binary(arguments.server.clone())?, dir)?;
            let kept = Kept::File(setup.store());
            (setup, kept)
        }
        On::Postgres => {
            let database = Postgres::create().await?;
            let mut setup = Setup::new(env::current_exe()?, dir)?;
            let (tenants, connections) = (arguments.tenants, arguments.connections);
            setup.arguments([
                "embedder".into(),
                tenants.to_string(),
                connections.to_string(),
            ]);
            database.connect_server(&mut setup, &KeyRing::generate()?.to_secret())?;
            (setup, Kept::Database(database))
        }
    };
    quick.connect(&mut setup);
    for (name, value) in [
        ("WHATSAPP_VERIFY_TOKEN", "verify"),
        ("KONSTRUCT_CONCURRENCY", &arguments.concurrency.to_string()),
        ("RUST_LOG", "warn"),
    ] {
        setup.set(name, value);
    }
    let mut server = setup.start()?;
    server.listening().await?;
    let numbers = match kept {
        Kept::File(_) => hire(&setup, arguments.tenants).await?,
        Kept::Database(_) => (0..arguments.tenants).map(embedder::number).collect(),
    };
    let load = Load {
        quick: quick.clone(),
        urls: vec![setup.url()].into(),
        numbers: numbers.into(),
        next: Arc::default(),
        over: Arc::default(),
    };
    load.run(arguments.at_once, arguments.warm_up).await?;
    server.terminate().await?;
    let before = kept.used().await?;
    let mut server = setup.start()?;
    server.listening().await?;
    let id = server.id().ok_or("the server has ended")?;
    load.run(arguments.at_once, arguments.warm_up).await?;
    let (memory, calls) = (resident(id)?, quick.counts());
    let database_cpu = kept.cpu().await?;
    let (used_cpu, began) = (cpu(id)?, Instant::now());
    let last = match arguments.burst {
        None => {
            let mut times = load.run(arguments.at_once, arguments.turns).await?;
            let (took, used_cpu) = (began.elapsed(), cpu(id)? - used_cpu);
            let database_cpu = kept.cpu().await? - database_cpu;
            let (sends, called) = quick.counts();
            let turns = sends - calls.0;
            println!(
                "turns={turns} model_calls={} rss_mb_start={memory} rss_mb_end={}",
                called - calls.1,
                resident(id)?
            );
            let behind = kept.catch_up().await?;
            server.terminate().await?;
            let after = kept.used().await?;
            match &kept {
                Kept::File(path) => {
                    let file = fs::metadata(path)?.len();
                    println!("file_mb={} used_mb={}", file >> 20, after >> 20);
                }
                Kept::Database(_) => println!(
                    "database_mb={} database_cpu_us_per_turn={:.0} records_to_index={behind}",
                    after >> 20,
                    database_cpu.as_micros() as f64 / turns as f64
                ),
            }
            format!(
                "turns_per_s={:.0} p50_ms={:.1} p99_ms={:.1} cpu_us_per_turn={:.0} bytes_per_turn={}",
                turns as f64 / took.as_secs_f64(),
                percentile(&mut times, 50),
                percentile(&mut times, 99),
                used_cpu.as_micros() as f64 / turns as f64,
                // The second warm-up lies between the two measurements as well.
                after.saturating_sub(before) / (turns + arguments.warm_up as u64),
            )
        }
        Some(burst) => {
            let backlog = tokio::spawn(load.clone().run_until_over(arguments.at_once));
            tokio::time::sleep(Duration::from_secs(2)).await;
            let (took, mut times) = load.burst(burst).await?;
            let busy = quick.counts().0;
            load.over.store(true, SeqCst);
            backlog.await??;
            println!(
                "turns_meanwhile={} rss_mb={}",
                busy - calls.0,
                resident(id)?
            );
            server.terminate().await?;
            format!(
                "burst_accepted_per_s={:.0} burst_p99_ms={:.1}",
                burst as f64 / took.as_secs_f64(),
                percentile(&mut times, 99)
            )
        }
    };
    if arguments.tables {
        kept.tables().await?;
    }
    kept.remove().await?;
    println!("{last}");
    Ok(())
}

/// The store of the measured program.
enum Kept {
    File(PathBuf),
    Database(Postgres),
}

impl Kept {
    /// Returns the bytes in use.
    async fn used(&self) -> Result<u64, Failed> {
        match self {
            Self::File(path) => used(path),
            Self::Database(database) => database.size().await,
        }
    }

    /// Returns the processor time of the database server.
    async fn cpu(&self) -> Result<Duration, Failed> {
        match self {
            Self::File(_) => Ok(Duration::ZERO),
            Self::Database(database) => database.cpu().await,
        }
    }

    /// Waits until the index has followed the log. Returns the number of records it was behind.
    async fn catch_up(&self) -> Result<u64, Failed> {
        let Self::Database(database) = self else {
            return Ok(0);
        };
        let (behind, began) = (database.behind().await?, Instant::now());
        while database.behind().await? > 0 {
            if began.elapsed() > PATIENCE {
                return Err("the index does not catch up".into());
            }
            tokio::time::sleep(server::POLL).await;
        }
        Ok(behind)
    }

    /// Lists the content of each table.
    async fn tables(&self) -> Result<(), Failed> {
        match self {
            Self::File(path) => tables(path),
            Self::Database(database) => {
                for (name, rows, bytes, indexes) in database.tables().await? {
                    println!("table={name} rows={rows} stored={bytes} indexes={indexes}");
                }
                Ok(())
            }
        }
    }

    async fn remove(self) -> Result<(), Failed> {
        match self {
            Self::File(_) => Ok(()),
            Self::Database(database) => database.remove().await,
        }
    }
}

/// Adds tenants, each with an employee and a number. Returns the numbers.
async fn hire(setup: &Setup, tenants: usize) -> Result<Vec<String>, Failed> {
    let admin = setup.admin()?;
    let settings: EmployeeSettings = serde_json::from_value(serde_json::json!({
        "name": "Ava", "role": "front desk of a bicycle shop", "persona": "warm and brief",
    }))?;
    let mut numbers = Vec::new();
    for nth in 0..tenants {
        let number = embedder::number(nth);
        add_shop(&admin, nth, &number, &settings).await?;
        numbers.push(number);
    }
    Ok(numbers)
}

/// Customers that write, and wait for the answer before they write again.
#[derive(Clone)]
struct Load {
    quick: Quick,
    /// The addresses of the processes, which the writers use in turn.
    urls: Arc<[String]>,
    numbers: Arc<[String]>,
    /// The number of the next message.
    next: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Load {
    /// Runs this many turns. Returns the time of each from its webhook to the arrival of its reply.
    async fn run(&self, at_once: usize, turns: usize) -> Result<Vec<Duration>, Failed> {
        let end = self.next.load(SeqCst) + turns;
        self.write(at_once, move |nth| nth < end).await
    }

    async fn run_until_over(self, at_once: usize) -> Result<Vec<Duration>, Failed> {
        let over = Arc::clone(&self.over);
        self.write(at_once, move |_| !over.load(SeqCst)).await
    }

    async fn write(
        &self,
        at_once: usize,
        goes_on: impl Fn(usize) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<Duration>, Failed> {
        let mut writers = JoinSet::new();
        for writer in 0..at_once {
            let (load, goes_on) = (self.clone(), goes_on.clone());
            writers.spawn(async move { load.customer(writer, at_once, goes_on).await });
        }
        let mut times = Vec::new();
        while let Some(ended) = writers.join_next().await {
            times.extend(ended??);
        }
        // Each writer has taken one number too many, but numbers are unique, so the next message gets an unused one.
        Ok(times)
    }

    /// Writes as one of this writer's customers after another.
    async fn customer(
        self,
        writer: usize,
        at_once: usize,
        goes_on: impl Fn(usize) -> bool,
    ) -> Result<Vec<Duration>, Failed> {
        let mut line = self.line(writer).await?;
        let mut times = Vec::new();
        // Each writer has its own share of the customers of all tenants.
        let shares = (self.numbers.len() * CUSTOMERS).div_ceil(at_once).max(1);
        let mut share = 0;
        loop {
            let nth = self.next.fetch_add(1, SeqCst);
            if !goes_on(nth) {
                return Ok(times);
            }
            let customer = writer + at_once * (share % shares);
            share += 1;
            let from = format!("1555{customer:07}");
            let number = &self.numbers[customer % self.numbers.len()];
            let body = webhook(
                number,
                &from,
                &format!("wamid.T{nth:016}"),
                "Hello, are you open today, and do you repair bicycles?",
            );
            let told = self.quick.sent_to(&from);
            let began = Instant::now();
            acknowledged(&mut line, &body).await?;
            tokio::time::timeout(PATIENCE, told).await??;
            times.push(began.elapsed());
        }
    }

    /// Connects to one of the processes.
    async fn line(&self, nth: usize) -> Result<Deliverer, Failed> {
        let url = &self.urls[nth % self.urls.len()];
        Ok(Deliverer::connect(url, Secret::new(SECRET)).await?)
    }

    /// Delivers this many webhooks of new customers as fast as they are acknowledged. Returns the total time and the time of
    /// each.
    async fn burst(&self, burst: usize) -> Result<(Duration, Vec<Duration>), Failed> {
        let mut lines = JoinSet::new();
        let began = Instant::now();
        for line in 0..BURST_LINES {
            let load = self.clone();
            lines.spawn(async move {
                let mut connection = load.line(line).await?;
                let mut times = Vec::new();
                for nth in (line..burst).step_by(BURST_LINES) {
                    let number = &load.numbers[nth % load.numbers.len()];
                    let from = format!("1666{:07}", nth % (load.numbers.len() * CUSTOMERS));
                    let id = format!("wamid.B{nth:016}");
                    let body = webhook(number, &from, &id, "Is anybody there?");
                    let began = Instant::now();
                    acknowledged(&mut connection, &body).await?;
                    times.push(began.elapsed());
                }
                Ok::<_, Failed>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(ended) = lines.join_next().await {
            times.extend(ended??);
        }
        Ok((began.elapsed(), times))
    }
}

async fn acknowledged(line: &mut Deliverer, body: &[u8]) -> Result<(), Failed> {
    match line.deliver(body).await? {
        200 => Ok(()),
        status => Err(format!("a webhook was answered with {status}").into()),
    }
}

/// Returns a percentile of durations, in milliseconds.
fn percentile(times: &mut [Duration], share: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * share / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Returns the bytes in use of a store's file.
fn used(path: &Path) -> Result<u64, Failed> {
    let db = Database::open(path)?;
    let stats = db.begin_write()?.stats()?;
    Ok(stats.allocated_pages() * stats.page_size() as u64)
}

/// Lists the rows and bytes of each table.
fn tables(path: &Path) -> Result<(), Failed> {
    let db = Database::open(path)?;
    let read = db.begin_read()?;
    for table in read.list_tables()? {
        let name = table.name().to_owned();
        let table = read.open_table(TableDefinition::<&[u8], &[u8]>::new(&name))?;
        let (rows, stats) = (table.len()?, table.stats()?);
        if rows > 0 {
            println!(
                "table={name} rows={rows} stored={} fragmented={} metadata={}",
                stats.stored_bytes(),
                stats.fragmented_bytes(),
                stats.metadata_bytes()
            );
        }
    }
    Ok(())
}
