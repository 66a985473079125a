//! Adds many tenants to a server, and measures how long each takes, the memory that they need, and what happens while all are silent.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_admin_api::{ConnectionState, EmployeeSettings};
use konstruct_benches::{
    Failed,
    office::SECRET,
    process,
    quick::{Deliverer, Quick, webhook},
    server::{self, Setup, add_shop},
    store::Database,
};
use konstruct_core::{
    ConnectionId, Employee, Secret, TenantId,
    channel::Find,
    message::RoutedEvent,
    store,
    testkit::{
        ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock, World,
        message,
    },
    tool::Toolbox,
    turn::{Driver, Worker},
};
use konstruct_memory::{KeyRing, Postgres, Redb};

/// Tenants before the measurement: the caches of the process are then in use.
const WARM_UP: usize = 50;
/// Idle time before memory is read.
const REST: Duration = Duration::from_secs(3);
const DAYS: u32 = 30;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The number of tenants.
    #[arg(long, default_value_t = 10_000)]
    tenants: usize,
    /// The number of tenants that are silent for 30 virtual days after a message each, on each store.
    #[arg(long, default_value_t = 1_000)]
    silent: usize,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
}

/// The figures of a server.
struct Provisioned {
    live: Vec<Duration>,
    /// What the tenants added to its resident memory.
    kib: u64,
    model_calls: u64,
    /// What they added to the database, in bytes; 0 on redb.
    stored: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let binary = server::binary(arguments.server)?;
    let (mut live, mut rss, mut model_calls, mut wakeups) = (Vec::new(), 0, 0, 0);
    for postgres in [false, true] {
        let store = if postgres { "postgres" } else { "redb" };
        let of = provision(&binary, postgres, arguments.tenants).await?;
        println!(
            "store={store} tenants={} live_ms_p50={:.1} live_ms_p99={:.1} rss_mb={:.1} bytes_per_tenant={} stored_per_tenant={}",
            arguments.tenants,
            percentile(&of.live, 50),
            percentile(&of.live, 99),
            of.kib as f64 / 1024.0,
            of.kib * 1024 / arguments.tenants.max(1) as u64,
            of.stored / arguments.tenants.max(1) as u64,
        );
        live.extend(of.live);
        // The embedded store has its cache in this process.
        rss = rss.max(of.kib);
        model_calls += of.model_calls;
    }
    for postgres in [false, true] {
        let store = if postgres { "postgres" } else { "redb" };
        let (calls, claims) = silence(postgres, arguments.silent).await?;
        println!(
            "store={store} silent_tenants={} days={DAYS} model_calls={calls} wakeups={claims}",
            arguments.silent
        );
        model_calls += calls;
        wakeups += claims;
    }
    println!(
        "tenants={} live_ms_p99={:.0} rss_mb={} model_calls={model_calls} wakeups={wakeups}",
        arguments.tenants,
        percentile(&live, 99),
        rss.div_ceil(1024)
    );
    Ok(())
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = times.len().saturating_sub(1) * percent / 100;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Adds the tenants one after the other. A tenant is live when its number is connected; the last one must then answer a message.
async fn provision(binary: &Path, postgres: bool, tenants: usize) -> Result<Provisioned, Failed> {
    let folder = tempfile::tempdir()?;
    let quick = Quick::start().await?;
    let mut setup = Setup::new(binary.to_owned(), folder.path())?;
    quick.connect(&mut setup);
    setup.set("KONSTRUCT_EMBEDDER", "none");
    setup.set("RUST_LOG", "warn");
    let database = match postgres {
        true => Some(Database::create().await?),
        false => None,
    };
    if let Some(database) = &database {
        database.connect_server(&mut setup, &KeyRing::generate()?.to_secret())?;
    }
    let mut server = setup.start()?;
    server.listening().await?;
    let id = server.id().ok_or("the server has ended")?;
    let admin = setup.admin()?;
    let settings: EmployeeSettings = serde_json::from_value(serde_json::json!({
        "name": "Ava", "role": "front desk of a bicycle shop",
    }))?;
    let (mut live, mut before, mut empty) = (Vec::with_capacity(tenants), 0, 0);
    for nth in 0..WARM_UP + tenants {
        if nth == WARM_UP {
            tokio::time::sleep(REST).await;
            before = process::resident_kib(id)?;
            empty = size(database.as_ref()).await?;
        }
        let begun = Instant::now();
        let shop = add_shop(&admin, nth, &number(nth), &settings).await?;
        let state = shop.state;
        if state != ConnectionState::Active {
            return Err(format!("tenant {nth} is not live: {state:?}").into());
        }
        if nth >= WARM_UP {
            live.push(begun.elapsed());
        }
    }
    tokio::time::sleep(REST).await;
    let kib = process::resident_kib(id)?.saturating_sub(before);
    let stored = size(database.as_ref()).await?.saturating_sub(empty);
    let (_, model_calls) = quick.counts();

    let last = number(WARM_UP + tenants - 1);
    let (mut line, customer) = (
        Deliverer::connect(&setup.url(), Secret::new(SECRET)).await?,
        "15550001",
    );
    let answered = quick.sent_to(customer);
    let body = webhook(&last, customer, "wamid.1", "When are you open?");
    let status = line.deliver(&body).await?;
    if status != 200 {
        return Err(format!("the webhook of a new tenant was answered with {status}").into());
    }
    tokio::time::timeout(PATIENCE, answered).await??;
    server.terminate().await?;
    if let Some(database) = database {
        database.remove().await?;
    }
    Ok(Provisioned {
        live,
        kib,
        model_calls,
        stored,
    })
}

async fn size(database: Option<&Database>) -> Result<u64, Failed> {
    match database {
        Some(database) => database.size().await,
        None => Ok(0),
    }
}

/// The number of a tenant.
fn number(nth: usize) -> String {
    format!("1065{nth:011}")
}

/// Lets each tenant answer a message, and then 30 days of a virtual clock pass. Returns the calls of the model and the claims of
/// conversations in these days.
async fn silence(postgres: bool, tenants: usize) -> Result<(u64, u64), Failed> {
    let clock = VirtualClock::default();
    if !postgres {
        let folder = tempfile::tempdir()?;
        let builder = Redb::builder().clock(Arc::new(clock.clone()));
        let store = builder.open(folder.path().join("bench.redb"))?;
        return pass(Arc::new(store), clock, tenants).await;
    }
    let database = Database::create().await?;
    let builder = Postgres::builder(database.url(Some("konstruct_app"))?);
    let builder = builder.key_ring(KeyRing::generate()?);
    let store = builder.clock(Arc::new(clock.clone())).connect().await?;
    let counted = pass(Arc::new(store), clock, tenants).await?;
    database.remove().await?;
    Ok(counted)
}

async fn pass(
    store: Arc<dyn store::Store>,
    clock: VirtualClock,
    tenants: usize,
) -> Result<(u64, u64), Failed> {
    let directory = ScriptedDirectory::default();
    let world = World::default();
    for nth in 0..tenants {
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let employee = Employee::builder("Ava").build()?;
        let model = ScriptedModel::new(|_| ScriptedAnswer::text("We open at ten."));
        directory.hire(
            tenant,
            employee,
            Arc::new(model),
            Toolbox::builder().build()?,
        );
        let channel = ScriptedChannel::new(world.clone(), Arc::new(clock.clone()), Find::Query);
        directory.connect(tenant, connection, channel);
        let (place, id) = (format!("D{nth}"), format!("m{nth}"));
        let event = message(&place, &id, "hello", konstruct_core::Clock::now(&clock));
        let event = RoutedEvent { connection, event };
        store.accept(tenant, vec![event]).await?;
    }
    let driver = Driver::new(store, Arc::new(directory), None, Arc::new(clock.clone()));
    let stats = || {
        let stats = driver.stats();
        let ended = stats.replied.load(Relaxed) + stats.silent.load(Relaxed);
        (
            ended,
            stats.model_calls.load(Relaxed),
            stats.claims.load(Relaxed),
        )
    };
    let worker = Worker::new(driver.clone());
    let pause = Duration::from_millis(5);
    let counted = worker.run_until(async {
        let begun = Instant::now();
        while stats().0 < tenants as u64 && begun.elapsed() < 10 * PATIENCE {
            // A burst of messages is waited for.
            clock.advance(Duration::from_millis(100));
            tokio::time::sleep(pause).await;
        }
        if stats().0 < tenants as u64 {
            return Err("not every tenant answered");
        }
        // What follows a turn, such as its receipt.
        clock.advance(Duration::from_secs(3_600));
        tokio::time::sleep(REST).await;
        let (_, calls, claims) = stats();
        for _ in 0..DAYS * 24 {
            clock.advance(Duration::from_secs(3_600));
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep(REST).await;
        let (_, later, woken) = stats();
        Ok((later - calls, woken - claims))
    });
    Ok(counted.await?)
}
