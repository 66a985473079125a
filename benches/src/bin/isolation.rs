//! Tries to reach another tenant's data, by every verb of the database, by the calls of both stores, and by every route.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

#[path = "../../../apps/server/tests/it/matrix.rs"]
mod matrix;
#[path = "../../../apps/server/tests/it/visitor.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod visitor;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_admin_api::{Client, Conversation};
use konstruct_benches::{
    Failed,
    dice::Dice,
    office::{NUMBER, Office, SECRET},
    quick::webhook,
    sender::{Sender, Vendor},
    server::{self, POLL, Setup, TOKEN},
    store::Database,
};
use konstruct_core::{
    ChannelKind, Clock as _, ConnectionId, ConversationId, DocumentFormat, DocumentId, MemoryStore,
    NewDocument, Secret, SystemClock, TenantId, message::RoutedEvent, store::Store,
};
use konstruct_memory::{KeyRing, Redb, RowStore, isolation};
use konstruct_server::BUSINESS_TENANT;

use self::matrix::{Route, Target};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The number of random probes: half of them statements on PostgreSQL, a quarter calls of each store.
    #[arg(long, default_value_t = 1_000_000)]
    probes: u64,
    /// The number of tenants.
    #[arg(long, default_value_t = 5)]
    tenants: usize,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
}

/// The last line.
#[derive(Debug, Default)]
struct Totals {
    probes: u64,
    leaks: usize,
    mutants: usize,
    caught: usize,
    routes: usize,
    differing: usize,
}

impl Totals {
    /// Adds probes, and prints their row.
    fn probed(&mut self, part: &str, probes: u64, leaks: &[String], begun: Instant) {
        self.probes += probes;
        self.leaks += leaks.len();
        let seconds = begun.elapsed().as_secs();
        println!(
            "part={part} probes={probes} leaks={} seconds={seconds}",
            leaks.len()
        );
        for leak in leaks.iter().take(20) {
            println!("  {leak}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    if arguments.tenants < 2 {
        return Err("--tenants: at least 2, because a tenant needs another one".into());
    }
    let binary = server::binary(arguments.server.clone())?;
    let mut totals = Totals::default();
    statements(&arguments, &mut totals).await?;
    calls(&arguments, &mut totals).await?;
    for postgres in [false, true] {
        let routes = routes(&binary, postgres).await?;
        let differing: Vec<_> = routes
            .iter()
            .filter(|it| it.foreign != it.missing)
            .collect();
        let store = if postgres { "postgres" } else { "redb" };
        println!(
            "part=routes store={store} routes={} differing={}",
            routes.len(),
            differing.len()
        );
        for route in &differing {
            println!("  {}: {:?}, {:?}", route.name, route.foreign, route.missing);
        }
        totals.routes += routes.len();
        totals.differing += differing.len();
    }
    let judged = judges(&binary)?;
    let Totals {
        probes,
        leaks,
        mutants,
        caught,
        routes,
        differing,
    } = totals;
    println!(
        "probes={probes} leaks={leaks} mutants={mutants} caught={caught} routes={routes} differing={differing}"
    );
    let proven = judged && leaks == 0 && mutants == caught && differing == 0;
    Ok(if proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The catalogue, the probe of each verb on each table, the mutants, and random statements.
async fn statements(arguments: &Arguments, totals: &mut Totals) -> Result<(), Failed> {
    let database = Database::create().await?;
    let owner = database.url(None)?;
    let begun = Instant::now();
    totals.probed("audit", 1, &isolation::audit(&owner).await?, begun);
    let begun = Instant::now();
    let probed = isolation::probe(&owner).await?;
    totals.probed("tables", probed.probes, &probed.leaks, begun);
    let mutants = isolation::mutants(&owner).await?;
    totals.mutants = mutants.len();
    totals.caught = mutants.iter().filter(|mutant| mutant.caught()).count();
    println!(
        "part=mutants mutants={} caught={}",
        totals.mutants, totals.caught
    );
    for mutant in mutants.iter().filter(|mutant| !mutant.caught()) {
        println!("  {}", mutant.sql);
    }
    let begun = Instant::now();
    let (tenants, count) = (arguments.tenants, arguments.probes / 2);
    let probed = isolation::probe_randomly(&owner, tenants, count, arguments.seed).await?;
    totals.probed("statements", probed.probes, &probed.leaks, begun);
    database.remove().await
}

/// Random calls of both stores.
async fn calls(arguments: &Arguments, totals: &mut Totals) -> Result<(), Failed> {
    let count = arguments.probes / 4;
    let begun = Instant::now();
    let redb = Redb::in_memory()?;
    let leaks = probe_store(&redb, arguments, count).await?;
    totals.probed("calls_redb", count, &leaks, begun);
    let begun = Instant::now();
    let database = Database::create().await?;
    let postgres = database.connect(None).await?;
    let leaks = probe_store(&postgres, arguments, count).await?;
    totals.probed("calls_postgres", count, &leaks, begun);
    drop(postgres);
    database.remove().await
}

/// What a tenant has in a store.
struct Owned {
    tenant: TenantId,
    word: String,
    conversation: ConversationId,
    document: DocumentId,
}

const TABLE: &str = "things";

async fn fill<S: Store + MemoryStore + RowStore>(store: &S, nth: usize) -> Result<Owned, Failed> {
    let (tenant, word) = (TenantId::new(), format!("word{nth}"));
    let event = konstruct_core::testkit::message(&word, &word, &word, SystemClock.now());
    let connection = ConnectionId::new();
    let event = RoutedEvent { connection, event };
    store.accept(tenant, vec![event]).await?;
    let listed = store.list(tenant, None, 10).await?;
    let document = NewDocument::new(&word, DocumentFormat::Text, word.clone());
    store.put_row(Some(tenant), TABLE, &word, b"mine").await?;
    Ok(Owned {
        tenant,
        conversation: listed.first().ok_or("no conversation")?.id,
        document: store.put_document(tenant, document).await?.id,
        word,
    })
}

/// Calls a store as one tenant with the ids and words of another. Returns what was found.
async fn probe_store<S: Store + MemoryStore + RowStore>(
    store: &S,
    arguments: &Arguments,
    count: u64,
) -> Result<Vec<String>, Failed> {
    let mut all = Vec::new();
    for nth in 0..arguments.tenants {
        all.push(fill(store, nth).await?);
    }
    let (mut dice, mut leaks) = (Dice::new(arguments.seed), Vec::new());
    let mut pick = |end: usize| usize::try_from(dice.below(end as u64)).unwrap_or_default();
    for _ in 0..count {
        let own = pick(all.len());
        let other = &all[(own + 1 + pick(all.len() - 1)) % all.len()];
        let own = &all[own];
        let tenant = own.tenant;
        let row = Some(tenant);
        let (call, leaked) = match pick(10) {
            0 => (
                "get_row",
                store.get_row(row, TABLE, &other.word).await?.is_some(),
            ),
            1 => (
                "delete_row",
                store.delete_row(row, TABLE, &other.word).await?,
            ),
            2 => {
                let rows = store.rows(row, TABLE, None, 100).await?;
                ("rows", rows.len() != 1 || rows[0].0 != own.word)
            }
            3 => (
                "conversation",
                store
                    .conversation(tenant, other.conversation)
                    .await?
                    .is_some(),
            ),
            4 => {
                let read = store.read(tenant, other.conversation, 0..100).await;
                ("read", read.is_ok_and(|records| !records.is_empty()))
            }
            5 => {
                let listed = store.list(tenant, None, 100).await?;
                let own = listed.len() == 1 && listed[0].id == own.conversation;
                ("list", !own)
            }
            6 => {
                let kind = ChannelKind::new("scripted");
                let person = store.person(tenant, &kind, &other.word).await?;
                ("person", person.is_some())
            }
            7 => (
                "document",
                store
                    .document(tenant, other.document, None)
                    .await?
                    .is_some(),
            ),
            8 => (
                "delete_document",
                store.delete_document(tenant, other.document).await?,
            ),
            _ => {
                let documents = store.documents(tenant).await?;
                let own = documents.len() == 1 && documents[0].id == own.document;
                ("documents", !own)
            }
        };
        if leaked {
            leaks.push(format!("{call}: {} of {}", other.word, own.word));
        }
    }
    // Everyone still has their own things: the probes changed nothing, and a store that hides all would not pass.
    for own in &all {
        let row = store.get_row(Some(own.tenant), TABLE, &own.word).await?;
        let conversation = store.conversation(own.tenant, own.conversation).await?;
        let document = store.document(own.tenant, own.document, None).await?;
        if row.is_none() || conversation.is_none() || document.is_none() {
            leaks.push(format!("{}: not all of its own", own.word));
        }
    }
    Ok(leaks)
}

/// Starts a server, and asks it for the things of another tenant on every route.
async fn routes(binary: &Path, postgres: bool) -> Result<Vec<Route>, Failed> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::new(binary.to_owned(), folder.path())?;
    let office = Office::open().await?;
    office.connect(&mut setup);
    setup.set("KONSTRUCT_EMBEDDER", "none");
    // The websites and models that tenants name are local here.
    let local = "allowed_hosts = [\"127.0.0.1\"]";
    setup.settings(&format!("{local}\n[websites]\n{local}"))?;
    let database = match postgres {
        true => Some(Database::create().await?),
        false => None,
    };
    if let Some(database) = &database {
        database.connect_server(&mut setup, &KeyRing::generate()?.to_secret())?;
    }
    let mut server = setup.start()?;
    server.listening().await?;
    let body = webhook(NUMBER, "15550001", "wamid.1", "hello");
    let sender = Sender::new(vec![setup.url()], Secret::new(SECRET))?;
    sender.deliver(Vendor::WhatsApp, &body).await;
    let conversation = answered(&setup.admin()?).await?;
    let target = Target {
        url: &setup.url(),
        token: TOKEN,
    };
    let (_, routes) = target.matrix(BUSINESS_TENANT, &conversation).await?;
    server.terminate().await?;
    if let Some(database) = database {
        database.remove().await?;
    }
    Ok(routes)
}

/// Waits for the end of the first turn.
async fn answered(admin: &Client) -> Result<Conversation, Failed> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        for listed in admin.conversations(BUSINESS_TENANT, None).await?.items {
            // Its log may still be empty.
            if let Ok(found) = admin.conversation(BUSINESS_TENANT, listed.id).await
                && found.turns.iter().any(|turn| turn.outcome != "open")
            {
                return Ok(found);
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Err("the server did not answer a message".into())
}

/// Runs `.ci/judges`. Returns whether all of them found nothing but what was planted.
fn judges(binary: &Path) -> Result<bool, Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/judges");
    let status = Command::new(script)
        .env("KONSTRUCT_SERVER_BINARY", binary)
        .status()?;
    Ok(status.success())
}
