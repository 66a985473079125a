//! Tests how thoroughly a person is erased: plants canaries, erases the person, and searches all files and all APIs.
//!
//! A customer sends a thousand canaries to an employee that repeats each; facts and a summary quote some. An export is taken.
//! After the erasure nothing may be readable: in the files of the store, in a dump, through the store or the memory. The export,
//! imported into a fresh instance, must give the same answers as before. Meanwhile another tenant receives webhooks. On redb, the
//! 99th percentile of their acknowledgement during the erasures of the person and finally of the whole tenant may be at most
//! twice that without an erasure. Ends with `canaries=N readable=0`.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use futures_util::TryStreamExt as _;
use konstruct_benches::{
    Failed,
    staff::Staffed,
    store::{Kind, Store},
    webhooks::{Times, Webhooks},
};
use konstruct_core::{
    Audience, Clock as _, ConversationId, Depth, Erase, PersonId, Recall, SystemClock, TenantId,
    llm::{ModelRequest, Part},
    memory::{ErasureReceipt, FactOwner, NewFact, NewSummary, Quote, Remembered, Scope},
    message::RoutedEvent,
    store::Exported,
    testkit::{ScriptedAnswer, ScriptedModel, VirtualClock, message},
};

/// The prefix of every canary, which occurs nowhere else.
const CANARY: &str = "zqcanaryxk";
/// The number of messages accepted at once.
const AT_ONCE: usize = 50;
/// The number of facts that quote a canary.
const FACTS: usize = 20;
/// How long webhooks are timed without an erasure, before and after.
const IDLE: Duration = Duration::from_secs(4);
/// The largest allowed ratio of the latencies during and without an erasure.
const MOST: f64 = 2.0;

/// Tests how thoroughly a person is erased.
#[derive(Parser)]
struct Arguments {
    /// Store.
    #[arg(long, value_enum, default_value_t = Kind::Redb)]
    store: Kind,
    /// Number of canaries.
    #[arg(long, default_value_t = 1000)]
    canaries: usize,
    /// Number of other messages of the same person: each makes four records, like a canary.
    #[arg(long, default_value_t = 4000)]
    others: usize,
}

/// A tenant whose employee repeats every message.
struct Office(Staffed);

impl Office {
    fn open(store: &Store) -> Result<Self, Failed> {
        let clock = VirtualClock::new(SystemClock.now());
        let model = ScriptedModel::new(|request: &ModelRequest| {
            let heard = request.messages.last().map(|message| message.parts.clone());
            let heard = heard.into_iter().flatten().find_map(|part| match part {
                Part::Text { text } => Some(text),
                _ => None,
            });
            ScriptedAnswer::text(format!("You said: {}", heard.unwrap_or_default()))
        });
        Ok(Self(Staffed::hire(store, clock, model, 2)?))
    }

    /// Sends messages, each in its own thread, and has them answered.
    async fn say(&self, store: &Store, place: &str, texts: &[String]) -> Result<(), Failed> {
        for (n, texts) in texts.chunks(AT_ONCE).enumerate() {
            let events = texts.iter().enumerate().map(|(m, text)| {
                let id = format!("{place}-{n}-{m}");
                let mut event = message(place, &id, text, SystemClock.now());
                if let Some(conversation) = &mut event.conversation {
                    conversation.thread = Some(id);
                }
                RoutedEvent {
                    connection: self.0.connection,
                    event,
                }
            });
            store
                .turn_store
                .accept(self.0.tenant, events.collect())
                .await?;
            self.0.worker.run_until_idle().await?;
        }
        Ok(())
    }
}

fn canary(n: usize) -> String {
    format!("{CANARY}{n:05}")
}

/// Finds the canaries in some bytes.
fn canaries_in(bytes: &[u8], found: &mut BTreeSet<String>) {
    let prefix = CANARY.as_bytes();
    for (at, _) in bytes
        .windows(prefix.len())
        .enumerate()
        .filter(|(_, window)| *window == prefix)
    {
        let end = bytes.len().min(at + prefix.len() + 5);
        found.insert(String::from_utf8_lossy(&bytes[at..end]).into_owned());
    }
}

/// Searches every file under a folder.
fn search_files(path: &Path, found: &mut BTreeSet<String>) -> Result<u64, Failed> {
    let mut searched = 0;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            searched += search_files(&entry?.path(), found)?;
        }
    } else if path.is_file() {
        let bytes = std::fs::read(path)?;
        canaries_in(&bytes, found);
        searched += bytes.len() as u64;
    }
    Ok(searched)
}

/// Searches the store's files, and a dump of the database.
async fn search_store(store: &Store, found: &mut BTreeSet<String>) -> Result<u64, Failed> {
    let mut searched = 0;
    for path in store.files().await? {
        searched += search_files(&path, found)?;
    }
    if let Some((pg_dump, arguments)) = store.dump().await? {
        let dump = Command::new(pg_dump).args(arguments).output()?;
        if !dump.status.success() {
            return Err(String::from_utf8_lossy(&dump.stderr).into_owned().into());
        }
        canaries_in(&dump.stdout, found);
        searched += dump.stdout.len() as u64;
    }
    Ok(searched)
}

/// Returns everything that the store and the memory return, as text.
async fn api_output(store: &Store, tenant: TenantId) -> Result<String, Failed> {
    let exported: Vec<Exported> = store.turn_store.export(tenant).await?.try_collect().await?;
    let memory: Vec<Remembered> = store
        .memory
        .export_memory(tenant)
        .await?
        .try_collect()
        .await?;
    let unanswered = store.memory.unanswered(tenant, usize::MAX).await?;
    let feed = store.turn_store.feed(tenant, 0, usize::MAX >> 1).await?;
    Ok(format!("{exported:?}{memory:?}{unanswered:?}{feed:?}"))
}

/// Returns the texts found by some questions.
async fn answers(
    store: &Store,
    tenant: TenantId,
    audiences: &[Audience],
    questions: &[String],
) -> Result<Vec<Vec<String>>, Failed> {
    store.memory.catch_up(tenant).await?;
    let mut all = Vec::new();
    for audience in audiences {
        for question in questions {
            let query = Recall::new(&**question, audience.clone(), Scope::ALL);
            let hits = store.memory.recall(tenant, query).await?;
            all.push(hits.into_iter().map(|hit| hit.text).collect());
        }
    }
    Ok(all)
}

async fn persons_of(
    store: &Store,
    tenant: TenantId,
) -> Result<Vec<(ConversationId, PersonId, String)>, Failed> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.turn_store.list(tenant, after, 500).await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = Some(last.cursor());
        for conversation in &page {
            let log = store.turn_store.read(tenant, conversation.id, 0..2).await?;
            let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
            let person = records.find_map(|record| record.persons.first().copied());
            if let (Some(person), Some(place)) = (person, &conversation.place) {
                found.push((conversation.id, person, place.id.clone()));
            }
        }
    }
}

async fn learn(
    store: &Store,
    tenant: TenantId,
    (conversation, person): (ConversationId, PersonId),
    quote: &str,
) -> Result<(), Failed> {
    let source = Quote {
        conversation,
        // The turn's first record is its start.
        index: 1,
        quote: quote.to_owned(),
    };
    let text = format!("The person keeps {quote}");
    let fact = NewFact {
        about: Some(person),
        ..NewFact::new(text, FactOwner::Person { person }, vec![source])
    };
    store.memory.remember(tenant, fact).await?;
    let summary = NewSummary {
        conversation,
        to: 2,
        text: format!("There was talk of {quote}"),
        persons: vec![person],
        mark: store.memory.mark(tenant).await?,
    };
    store.memory.put_summary(tenant, summary).await?;
    Ok(())
}

fn print_receipt(receipt: &ErasureReceipt, seconds: f64) {
    println!(
        "receipt records={} passages={} facts={} keys={} seconds={seconds:.2}",
        receipt.records, receipt.passages, receipt.facts, receipt.keys
    );
    for remains in &receipt.remains {
        let count = remains
            .count
            .map_or_else(|| "?".into(), |count| count.to_string());
        println!("remains {:?} count={count} {}", remains.what, remains.until);
    }
}

fn print_times(during: &str, times: &Times) {
    println!(
        "webhooks during={during} count={} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
        times.count(),
        times.percentile(50),
        times.percentile(99),
        times.percentile(100)
    );
}

/// Times webhooks without an erasure.
async fn idle_times(webhooks: &Webhooks, when: &str) -> Result<Times, Failed> {
    let ((), times) = webhooks.during(tokio::time::sleep(IDLE)).await?;
    print_times(when, &times);
    Ok(times)
}

/// Compares the slower of two idle periods with the slower of two erasures. Returns whether the ratio is within the limit.
fn compare(idle: [&Times; 2], erasing: [&Times; 2]) -> bool {
    let slower = |times: [&Times; 2]| times[0].percentile(99).max(times[1].percentile(99));
    let (idle, erasing) = (slower(idle), slower(erasing));
    let ratio = erasing / idle;
    println!("webhook_p99_idle_ms={idle:.2} webhook_p99_erasing_ms={erasing:.2} ratio={ratio:.2}");
    ratio <= MOST
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let store = Store::open(arguments.store, None).await?;
    let office = Office::open(&store)?;
    let tenant = office.0.tenant;
    let canaries: Vec<String> = (0..arguments.canaries).map(canary).collect();
    let secrets = canaries
        .iter()
        .map(|canary| format!("please keep the code {canary} for me"));
    let plain = (0..arguments.others).map(|n| format!("the meeting number {n} is moved again"));
    office
        .say(
            &store,
            "D-secret",
            &secrets.chain(plain).collect::<Vec<_>>(),
        )
        .await?;
    let others: Vec<String> = (0..50)
        .map(|n| format!("I would like {n} blue bicycles"))
        .collect();
    office.say(&store, "D-other", &others).await?;
    store.memory.catch_up(tenant).await?;
    let persons = persons_of(&store, tenant).await?;
    let of = |place: &'static str| persons.iter().filter(move |(_, _, at)| at == place);
    let (secret, other) = (of("D-secret").next(), of("D-other").next());
    let (Some((_, person, _)), Some((_, other, _))) = (secret, other) else {
        return Err("no person was stored".into());
    };
    let mut learned = 0;
    for (conversation, person, _) in of("D-secret") {
        if learned == FACTS {
            break;
        }
        let log = store.turn_store.read(tenant, *conversation, 0..2).await?;
        let mut found = BTreeSet::new();
        canaries_in(format!("{log:?}").as_bytes(), &mut found);
        if let Some(canary) = found.first() {
            learn(&store, tenant, (*conversation, *person), canary).await?;
            learned += 1;
        }
    }
    let audiences = [
        Audience::Person { person: *person },
        Audience::Person { person: *other },
    ];
    let mut questions: Vec<String> = canaries.iter().step_by(20).cloned().collect();
    questions.push("blue bicycles".into());
    questions.push("keep the code".into());
    let before = answers(&store, tenant, &audiences, &questions).await?;
    let mut planted = BTreeSet::new();
    canaries_in(api_output(&store, tenant).await?.as_bytes(), &mut planted);
    let mut raw = BTreeSet::new();
    let searched = search_store(&store, &mut raw).await?;
    println!(
        "planted={} found_in_answers={} in_files_before={} searched_mb={}",
        planted.len(),
        before.iter().filter(|texts| !texts.is_empty()).count(),
        raw.len(),
        searched >> 20
    );
    let exported: Vec<Exported> = store.turn_store.export(tenant).await?.try_collect().await?;
    let memory: Vec<Remembered> = store
        .memory
        .export_memory(tenant)
        .await?
        .try_collect()
        .await?;

    let what = Erase::Person { person: *person };
    let depth = match arguments.store {
        #[cfg(feature = "postgres")]
        Kind::Postgres => Depth::Logical,
        _ => Depth::Physical,
    };
    let webhooks = Webhooks::new(Arc::clone(&store.turn_store));
    let idle = idle_times(&webhooks, "before").await?;
    let began = Instant::now();
    let forgetting = store.memory.forget(tenant, what, depth);
    let (receipt, of_person) = webhooks.during(forgetting).await?;
    print_receipt(&receipt?, began.elapsed().as_secs_f64());
    print_times("person", &of_person);

    let mut readable = BTreeSet::new();
    let searched = search_store(&store, &mut readable).await?;
    canaries_in(api_output(&store, tenant).await?.as_bytes(), &mut readable);
    let after = answers(&store, tenant, &audiences, &questions).await?;
    canaries_in(format!("{after:?}").as_bytes(), &mut readable);
    let bicycles = after.iter().flatten().any(|text| text.contains("bicycles"));
    println!("others_kept={bicycles} searched_mb={}", searched >> 20);

    let fresh = Store::open(arguments.store, None).await?;
    fresh.turn_store.import(tenant, exported).await?;
    fresh.memory.import_memory(tenant, memory).await?;
    let again = answers(&fresh, tenant, &audiences, &questions).await?;
    let same = again == before;
    println!(
        "answers_after_import={}",
        if same { "same" } else { "other" }
    );
    fresh.close().await?;
    let began = Instant::now();
    let forgetting = store.memory.forget(tenant, Erase::Tenant, depth);
    let (receipt, of_tenant) = webhooks.during(forgetting).await?;
    print_receipt(&receipt?, began.elapsed().as_secs_f64());
    print_times("tenant", &of_tenant);
    let after = idle_times(&webhooks, "after").await?;
    let in_time = compare([&idle, &after], [&of_person, &of_tenant]);
    store.close().await?;
    println!("canaries={} readable={}", planted.len(), readable.len());
    // PostgreSQL has its own disk and processes, so its webhooks are not limited.
    let held = in_time || depth == Depth::Logical;
    if same && bicycles && readable.is_empty() && planted.len() == arguments.canaries && held {
        Ok(())
    } else {
        Err("a check failed".into())
    }
}
