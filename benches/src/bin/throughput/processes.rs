//! Several processes of the built server on one database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use konstruct_benches::{
    Failed,
    process::cpu,
    quick::Quick,
    server::{self, Server, Setup},
    store::Database,
};
use konstruct_memory::KeyRing;

use super::{Arguments, Load, hire, percentile};

#[path = "../../../../konstruct-memory/tests/pg/counter.rs"]
#[expect(dead_code, reason = "shared with a test")]
mod counter;

/// The number of webhooks that are acknowledged while nobody waits for answers.
const BURST: usize = 1_000;
/// The turns of the burst have ended if no answer was sent for this long.
const QUIET: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: &Arguments, many: usize) -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let dir = arguments.keep.as_deref().unwrap_or(temporary.path());
    let database = Database::create().await?;
    let quick = Quick::start().await?;
    let ring = KeyRing::generate()?.to_secret();
    let (mut setups, mut servers) = (Vec::new(), Vec::new());
    for nth in 0..many {
        let folder = dir.join(nth.to_string());
        std::fs::create_dir_all(&folder)?;
        let mut setup = Setup::new(server::binary(arguments.server.clone())?, &folder)?;
        database.connect_server(&mut setup, &ring)?;
        quick.connect(&mut setup);
        setup.set("KONSTRUCT_EMBEDDER", "none");
        setup.set("KONSTRUCT_CONCURRENCY", arguments.concurrency.to_string());
        setup.set("RUST_LOG", "warn");
        servers.push(start(&setup).await?);
        setups.push(setup);
    }
    let urls: Vec<_> = setups.iter().map(Setup::url).collect();
    let load = Load {
        quick: quick.clone(),
        urls: urls.into(),
        numbers: hire(&setups[0], arguments.tenants).await?.into(),
        next: Arc::default(),
        over: Arc::default(),
    };
    load.run(arguments.at_once, arguments.warm_up).await?;
    let before = database.size().await?;
    let (database_cpu, servers_cpu) = (database.cpu().await?, used(&servers)?);
    let own_cpu = cpu(std::process::id())?;
    let began = Instant::now();
    let mut times = load.run(arguments.at_once, arguments.turns).await?;
    let took = began.elapsed();
    let turns = times.len() as f64;
    let per_turn = |time: Duration| time.as_micros() as f64 / turns;
    let database_cpu = per_turn(database.cpu().await? - database_cpu);
    let servers_cpu = per_turn(used(&servers)? - servers_cpu);
    let own_cpu = per_turn(cpu(std::process::id())? - own_cpu);
    let bytes = database.size().await?.saturating_sub(before) as f64 / turns;
    let cores = std::thread::available_parallelism()?.get();
    println!(
        "processes={many} turns={turns} cores={cores} wall_us_per_turn={:.0} server_cpu_us_per_turn={servers_cpu:.0} database_cpu_us_per_turn={database_cpu:.0} bench_cpu_us_per_turn={own_cpu:.0}",
        per_turn(took)
    );
    let (burst_took, mut burst) = load.burst(BURST).await?;
    let accepted = BURST as f64 / burst_took.as_secs_f64();
    println!(
        "burst={BURST} burst_p99_ms={:.1}",
        percentile(&mut burst, 99)
    );
    // The counted turns do not wait for those of the burst.
    let mut sends = 0;
    while std::mem::replace(&mut sends, quick.counts().0) < quick.counts().0 {
        tokio::time::sleep(QUIET).await;
    }
    for server in servers {
        server.terminate().await?;
    }
    let counter = counter::Counter::start(temporary.path(), &Database::socket()?)?;
    let url = database.url_at(counter.folder())?;
    for setup in &mut setups {
        setup.set("DATABASE_URL", url.expose());
    }
    let statements = statements(arguments, &setups, &load, &counter).await?;
    database.remove().await?;
    println!(
        "turns_per_s={:.0} p50_ms={:.1} p99_ms={:.1} cpu_us_per_turn={servers_cpu:.0} bytes_per_turn={bytes:.0} accepted_per_s={accepted:.0} statements_per_turn={statements:.1}",
        turns / took.as_secs_f64(),
        percentile(&mut times, 50),
        percentile(&mut times, 99),
    );
    Ok(())
}

async fn start(setup: &Setup) -> Result<Server, Failed> {
    let mut server = setup.start()?;
    server.listening().await?;
    Ok(server)
}

/// Returns the processor time of all servers.
fn used(servers: &[Server]) -> Result<Duration, Failed> {
    let ids = servers.iter().filter_map(Server::id);
    ids.map(cpu).sum()
}

/// Counts the statements of a turn, in a run of its own through a proxy.
async fn statements(
    arguments: &Arguments,
    setups: &[Setup],
    load: &Load,
    counter: &counter::Counter,
) -> Result<f64, Failed> {
    let mut servers = Vec::new();
    for setup in setups {
        servers.push(start(setup).await?);
    }
    load.run(arguments.at_once, arguments.warm_up).await?;
    counter.take();
    let turns = load.run(arguments.at_once, arguments.turns).await?.len();
    let counts = counter.take();
    for (statement, times) in counts
        .each
        .iter()
        .filter(|(_, times)| **times as usize * 4 > turns)
    {
        let statement: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        println!(
            "per_turn={:.2} {}",
            *times as f64 / turns as f64,
            statement.chars().take(90).collect::<String>()
        );
    }
    for server in servers {
        server.terminate().await?;
    }
    Ok(counts.statements as f64 / turns as f64)
}
