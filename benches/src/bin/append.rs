//! Measures how many messages a second the embedded store commits durably, compared with plain redb, and the latency of reads
//! meanwhile.
//!
//! Ends with `accepts=N appends=N raw=N ratio=R seal_us=N open_us=N`, and the latency of reads without load, beside busy threads
//! without a store, and beside appends:
//! `idle_p50_us=N idle_p99_us=N idle_run_p99_us=N spin_p50_us=N spin_p99_us=N spin_run_p99_us=N busy_p50_us=N busy_p99_us=N
//! busy_run_p99_us=N busy_to_spin=R busy_to_idle_run=R`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_benches::Failed;
use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, ConversationRef, Inbound, PersonId, TenantId, Timestamp,
    TurnId,
    id::WorkerId,
    message::{Actor, Body, Content, IdKind, RoutedEvent},
    store::{Append, AppendOutcome, Claim, ClaimRequest, History as _, Mailbox as _},
    turn::{Cause, Entry, Event, Record},
};
use konstruct_memory::{Redb, SealProbe};
use redb::{Database, TableDefinition};
use tokio::task::JoinSet;

/// The bytes of a record as JSON.
const RECORD: usize = 300;
/// A lease that outlives every run.
const LEASE: Duration = Duration::from_secs(86_400);
/// The number of records of a read.
const WINDOW: u64 = 20;

/// Measures how many messages a second become durable.
#[derive(Parser)]
struct Arguments {
    /// Number of concurrent callers, each with a conversation of its own.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Number of messages that a caller submits at once.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Number of tenants of the callers.
    #[arg(long, default_value_t = 8)]
    tenants: usize,
    /// Duration of each part in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Folder of the files: the figures depend on its disk.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let store = Redb::open(folder.path().join("store"))?;
    let tenants: Vec<_> = (0..arguments.tenants.max(1))
        .map(|_| TenantId::new())
        .collect();
    let for_long = Duration::from_secs(arguments.seconds);

    let accepts = accept(&store, &tenants, &arguments, for_long).await?;
    let holders = claim(&store).await?;
    let reader = fill(&store, ConnectionId::new()).await?;
    let idle = beside(&store, &reader, tokio::time::sleep(for_long))
        .await?
        .1;
    let spin = beside(&store, &reader, spin(arguments.callers, for_long))
        .await?
        .1;
    let appending = append(&store, holders, &arguments, for_long);
    let (appends, busy) = beside(&store, &reader, appending).await?;
    let appends = appends?;
    drop(store);
    let row = sealed_size(&folder.path().join("store"))?;
    let raw = {
        let (path, size) = (
            folder.path().join("raw"),
            arguments.callers * arguments.batch,
        );
        tokio::task::spawn_blocking(move || raw(&path, row, size, for_long)).await??
    };

    let (seal, open) = sealing()?;
    out(&format!(
        "{} callers of {} tenants, {} messages at once, {RECORD} bytes a record, {row} a row",
        arguments.callers, arguments.tenants, arguments.batch
    ));
    out(&format!(
        "accepts={accepts:.0} appends={appends:.0} raw={raw:.0} ratio={:.2} seal_us={seal:.2} open_us={open:.2} \
         {} {} {} busy_to_spin={:.2} busy_to_idle_run={:.2}",
        appends / raw,
        idle.named("idle"),
        spin.named("spin"),
        busy.named("busy"),
        busy.p99 as f64 / spin.p99 as f64,
        busy.run_p99 as f64 / idle.run_p99 as f64,
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the time to seal a record to its person and to open it, in microseconds: the best of several rounds.
fn sealing() -> Result<(f64, f64), Failed> {
    const MANY: u32 = 20_000;
    let probe = SealProbe::new(1)?;
    let plain = [b'x'; RECORD];
    let sealed = probe.seal(&plain)?;
    let (mut seal, mut open) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..7 {
        let begin = Instant::now();
        for _ in 0..MANY {
            std::hint::black_box(probe.seal(std::hint::black_box(&plain))?);
        }
        seal = seal.min(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        for _ in 0..MANY {
            std::hint::black_box(probe.open(std::hint::black_box(&sealed))?);
        }
        open = open.min(begin.elapsed().as_secs_f64());
    }
    let each = 1e6 / f64::from(MANY);
    Ok((seal * each, open * each))
}

fn event(connection: ConnectionId, caller: usize, n: usize, text: &str) -> RoutedEvent {
    let place = format!("D{caller:06}");
    RoutedEvent {
        connection,
        event: Inbound::new(
            ChannelKind::SLACK,
            AccountId("T1".into()),
            format!("Ev{caller:06}{n:010}"),
            Timestamp::from_secs(1_767_225_600),
            Body::Message {
                message: n.to_string(),
                content: Content::text(text),
            },
        )
        .with_logical_id(format!("{place}:{n:010}"))
        .in_conversation(ConversationRef::direct(&place))
        .sent_by(Actor::human(IdKind::SlackUser, format!("U{caller:06}"))),
    }
}

fn record(person: PersonId, text: &str) -> Record {
    Record::new(
        TurnId::new(),
        Timestamp::from_secs(1_767_225_600),
        Cause::Vendor,
        Entry::Event(Event::ToolReturned {
            id: "call".into(),
            content: text.into(),
            error: false,
        }),
    )
    .sealed_to([person])
}

/// Returns a text for a record of [`RECORD`] bytes.
fn text() -> Result<String, Failed> {
    let empty = serde_json::to_vec(&record(PersonId::new(), ""))?.len();
    let words = "the brakes squeak when it rains ";
    Ok(words
        .chars()
        .cycle()
        .take(RECORD.saturating_sub(empty))
        .collect())
}

/// Accepts batches of events from every caller. Returns the events a second.
async fn accept(
    store: &Redb,
    tenants: &[TenantId],
    arguments: &Arguments,
    for_long: Duration,
) -> Result<f64, Failed> {
    let (connection, batch, text) = (ConnectionId::new(), arguments.batch, text()?);
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..arguments.callers {
        let tenant = tenants[caller % tenants.len()];
        let (store, text) = (store.clone(), text.clone());
        callers.spawn(async move {
            let mut many = 0;
            while began.elapsed() < for_long {
                let next = (many..many + batch).map(|n| event(connection, caller, n, &text));
                store.accept(tenant, next.collect()).await?;
                many += batch;
            }
            Ok::<_, konstruct_core::Error>(many)
        });
    }
    rate(callers, began).await
}

async fn rate(
    mut callers: JoinSet<konstruct_core::Result<usize>>,
    began: Instant,
) -> Result<f64, Failed> {
    let mut many = 0;
    while let Some(caller) = callers.join_next().await {
        many += caller??;
    }
    Ok(many as f64 / began.elapsed().as_secs_f64())
}

/// A claimed conversation, its person, and the last event of its inbox.
type Holder = (Claim, PersonId, u64);

async fn claim(store: &Redb) -> Result<Vec<Holder>, Failed> {
    let mut holders = Vec::new();
    while let Some(claim) = store
        .claim(ClaimRequest::new(WorkerId::new(), LEASE))
        .await?
        .conversation()
    {
        let loaded = store.load(&claim).await?.ok_or("a claim is invalid")?;
        let last = loaded.inbox.last().ok_or("an inbox is empty")?;
        let person = *last.persons.first().ok_or("an event has no person")?;
        holders.push((claim, person, last.seq));
    }
    Ok(holders)
}

/// Appends batches of records to the conversation of every caller. Returns the records a second.
async fn append(
    store: &Redb,
    holders: Vec<Holder>,
    arguments: &Arguments,
    for_long: Duration,
) -> Result<f64, Failed> {
    let (batch, text) = (arguments.batch, text()?);
    // Accepted events are consumed first, without being counted.
    for (claim, _, seq) in &holders {
        let consume = Append {
            consume_to: Some(*seq),
            ..Append::default()
        };
        store.append(claim, 0, consume).await?;
    }
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for (claim, person, _) in holders {
        let (store, text) = (store.clone(), text.clone());
        callers.spawn(async move {
            let mut len = 0;
            while began.elapsed() < for_long {
                let records = (0..batch).map(|_| record(person, &text)).collect();
                let append = Append {
                    records,
                    ..Append::default()
                };
                let outcome = store.append(&claim, len as u64, append).await?;
                if outcome != AppendOutcome::Appended {
                    return Err(konstruct_core::Error::internal("an append was refused"));
                }
                len += batch;
            }
            Ok(len)
        });
    }
    rate(callers, began).await
}

/// Creates a conversation of a thousand records for the reader.
async fn fill(store: &Redb, connection: ConnectionId) -> Result<Claim, Failed> {
    let text = text()?;
    let tenant = TenantId::new();
    store
        .accept(tenant, vec![event(connection, 0, 0, &text)])
        .await?;
    let holders = claim(store).await?;
    let (claim, person, _) = holders
        .into_iter()
        .next()
        .ok_or("no conversation is ready")?;
    let append = Append {
        records: (0..1000).map(|_| record(person, &text)).collect(),
        ..Append::default()
    };
    store.append(&claim, 0, append).await?;
    Ok(claim)
}

/// The latency of reads, in microseconds.
struct Latency {
    p50: u128,
    p99: u128,
    /// Without the time in which the thread waited for a processor.
    run_p99: u128,
}

impl Latency {
    fn named(&self, name: &str) -> String {
        format!(
            "{name}_p50_us={} {name}_p99_us={} {name}_run_p99_us={}",
            self.p50, self.p99, self.run_p99
        )
    }
}

/// Reads repeatedly until the other work ends.
async fn beside<T>(
    store: &Redb,
    reader: &Claim,
    work: impl Future<Output = T>,
) -> Result<(T, Latency), Failed> {
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(read(store.clone(), reader.clone(), Arc::clone(&stop)));
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    Ok((done, reading.await??))
}

/// Keeps as many threads busy as the appends do, without a store: the runtime's threads, with callers that compute for as long as
/// sealing a batch takes, and two more in place of the writer and the indexer.
async fn spin(callers: usize, for_long: Duration) {
    let began = Instant::now();
    let count = move |at_most: Duration| {
        let own = Instant::now();
        while own.elapsed() < at_most && began.elapsed() < for_long {
            std::hint::spin_loop();
        }
    };
    let threads: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(move || count(for_long)))
        .collect();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(async move {
            while began.elapsed() < for_long {
                count(Duration::from_micros(200));
                tokio::task::yield_now().await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    for thread in threads {
        // The thread only computes, and cannot panic.
        let _ = thread.join();
    }
}

/// Reads the last records repeatedly.
async fn read(store: Redb, of: Claim, stop: Arc<AtomicBool>) -> Result<Latency, Failed> {
    let (mut times, mut runs) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let waited = waited();
        let began = Instant::now();
        let window = 1000 - WINDOW..1000;
        let read = store.read(of.tenant, of.conversation, window).await?;
        let took = began.elapsed().as_micros();
        times.push(took);
        runs.push(took.saturating_sub(self::waited().saturating_sub(waited)));
        if read.len() as u64 != WINDOW || read.iter().any(|stored| stored.record.is_none()) {
            return Err("the written records were not read".into());
        }
        // Like an occasional reader that does not occupy a processor.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort_unstable();
    runs.sort_unstable();
    let at = |of: &[u128], share: usize| of.get(of.len() * share / 100).copied().unwrap_or(0);
    Ok(Latency {
        p50: at(&times, 50),
        p99: at(&times, 99),
        run_p99: at(&runs, 99),
    })
}

/// Returns the microseconds in which this thread was runnable without a processor, as reported by Linux; 0 elsewhere.
fn waited() -> u128 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told
        .split_whitespace()
        .nth(1)
        .and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0_u128) / 1000
}

/// Returns the mean size of a row of the log, key and value.
fn sealed_size(path: &Path) -> Result<usize, Failed> {
    use redb::{ReadableDatabase as _, ReadableTable as _};
    let log = TableDefinition::<&[u8], &[u8]>::new("log");
    let db = Database::open(path)?;
    let log = db.begin_read()?.open_table(log)?;
    let (mut rows, mut bytes) = (0, 0);
    for row in log.iter()?.take(10_000) {
        let (key, value) = row?;
        rows += 1;
        bytes += key.value().len() + value.value().len();
    }
    Ok(bytes / rows.max(1))
}

/// Writes rows of this size to plain redb, `size` in a transaction, with the store's settings. Returns the rows a second.
fn raw(path: &Path, row: usize, size: usize, for_long: Duration) -> Result<f64, Failed> {
    const KEY: usize = 40;
    let rows = TableDefinition::<&[u8], &[u8]>::new("rows");
    let db = Database::create(path)?;
    let value = vec![0xA5; row.saturating_sub(KEY)];
    let began = Instant::now();
    let mut many = 0_usize;
    while began.elapsed() < for_long {
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut table = txn.open_table(rows)?;
            // As many keys as there are conversations, each with its next rows.
            for place in 0..64_u64 {
                for n in 0..(size / 64).max(1) as u64 {
                    let mut key = [0; KEY];
                    key[..8].copy_from_slice(&place.to_be_bytes());
                    key[32..].copy_from_slice(&(many as u64 + n).to_be_bytes());
                    table.insert(key.as_slice(), value.as_slice())?;
                }
            }
        }
        txn.commit()?;
        many += 64 * (size / 64).max(1);
    }
    Ok(many as f64 / began.elapsed().as_secs_f64())
}

fn out(line: &str) {
    use std::io::Write as _;
    // The reader of the output may be gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}
