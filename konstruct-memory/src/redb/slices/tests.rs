//! Tests of an erasure in parts, stopped after each of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::RowStore as _;
use ::redb::Database;
use futures_util::{FutureExt as _, TryStreamExt as _};
use konstruct_core::{
    Audience, Clock as _, ConnectionId, Employee, MemoryStore as _, Recall, Timestamp,
    channel::Find,
    employee::TurnLimits,
    llm::{ModelRequest, Part},
    memory::{ErasureReceipt, FactOwner, FactStore as _, NewFact, Quote, Scope},
    message::RoutedEvent,
    store::{Accepted, Archive as _, History as _, Mailbox as _},
    testkit::{
        ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock, World,
        message,
    },
    tool::Toolbox,
    turn::{Driver, Worker},
};

use super::{
    super::{
        Inner, Redb, RedbBuilder,
        keys::PERSON_UNITS,
        recover::Health,
        writer::{Loop, Queues, Writer},
    },
    *,
};

const TENANT: TenantId = TenantId::from_bytes([5; 16]);
const OTHER: TenantId = TenantId::from_bytes([6; 16]);
const CONNECTION: ConnectionId = ConnectionId::from_bytes([7; 16]);
/// A word that only Ann uses.
const SECRET: &str = "zanzibar";

fn clock() -> VirtualClock {
    VirtualClock::new(Timestamp::from_secs(1_794_657_600))
}

fn routed(place: &str, id: &str, text: &str, at: Timestamp) -> RoutedEvent {
    RoutedEvent {
        connection: CONNECTION,
        event: message(place, id, text, at),
    }
}

/// An office with two people: Ann tells a secret in several threads, and Bob something else. Returns Ann's id.
async fn fill(path: &Path, clock: &VirtualClock) -> PersonId {
    let store = builder(clock, usize::MAX).open(path).unwrap();
    let model = ScriptedModel::new(|request: &ModelRequest| {
        let parts = request.messages.last().map(|message| message.parts.clone());
        let text = parts.into_iter().flatten().find_map(|part| match part {
            Part::Text { text } => Some(text),
            _ => None,
        });
        ScriptedAnswer::text(format!("You said: {}", text.unwrap_or_default()))
    });
    let directory = ScriptedDirectory::default();
    let employee =
        Employee::builder("Ava").limits(TurnLimits::default().with(|it| it.burst_ms = 0));
    let tools = Toolbox::builder().build().unwrap();
    directory.hire(TENANT, employee.build().unwrap(), Arc::new(model), tools);
    let channel = ScriptedChannel::new(World::default(), Arc::new(clock.clone()), Find::Query);
    directory.connect(TENANT, CONNECTION, channel);
    let memory: Arc<dyn konstruct_core::MemoryStore> = Arc::new(store.clone());
    let worker = Worker::new(Driver::new(
        Arc::new(store.clone()),
        Arc::new(directory),
        Some(memory),
        Arc::new(clock.clone()),
    ));
    for n in 0..4 {
        for (place, text) in [
            ("ann", format!("{SECRET} {n}")),
            ("bob", format!("bicycle {n}")),
        ] {
            let mut routed = routed(place, &format!("{place}{n}"), &text, clock.now());
            if let Some(conversation) = &mut routed.event.conversation {
                conversation.thread = Some(format!("t{n}"));
            }
            store.accept(TENANT, vec![routed]).await.unwrap();
        }
        worker.run_until_idle().await.unwrap();
    }
    // Not answered: it stays in the inbox.
    let waits = routed("ann", "waits", SECRET, clock.now());
    store.accept(TENANT, vec![waits]).await.unwrap();
    store
        .put_row(Some(TENANT), "table", "key", b"row")
        .await
        .unwrap();
    store.catch_up(TENANT).await.unwrap();
    let mut ann = None;
    for conversation in store.list(TENANT, None, 100).await.unwrap() {
        if conversation.place.is_none_or(|place| place.id != "ann") || conversation.len == 0 {
            continue;
        }
        let log = store.read(TENANT, conversation.id, 0..2).await.unwrap();
        let said = log[1].record.as_ref().unwrap();
        let person = *said.persons.first().unwrap();
        ann = Some(person);
        let source = Quote {
            conversation: conversation.id,
            index: 1,
            quote: SECRET.to_owned(),
        };
        let fact = NewFact {
            about: Some(person),
            ..NewFact::new(
                format!("likes {SECRET}"),
                FactOwner::Person { person },
                vec![source],
            )
        };
        store.remember(TENANT, fact).await.unwrap();
    }
    ann.expect("Ann was heard")
}

fn builder(clock: &VirtualClock, part: usize) -> RedbBuilder {
    RedbBuilder {
        part,
        ..Redb::builder().clock(Arc::new(clock.clone()))
    }
}

/// A store whose writer advances only on request.
struct Stepped {
    path: PathBuf,
    shared: Arc<Shared>,
    queues: Option<Queues>,
    unfinished: Vec<super::super::erase::Erasure>,
    store: Redb,
}

impl Stepped {
    fn open(path: PathBuf, clock: &VirtualClock, part: usize) -> Self {
        let db = Database::create(&path).unwrap();
        let open = || unreachable!("it is not opened again");
        let health = Health::new(Box::new(open));
        let own = builder(clock, part);
        let (shared, unfinished) = own.share(db, Some(path.clone()), health).unwrap();
        let (writer, queues) = Writer::queues();
        let inner = Inner {
            shared: Arc::clone(&shared),
            writer: Some(writer),
            threads: Vec::new(),
        };
        let store = Redb {
            inner: Arc::new(inner),
        };
        Self {
            path,
            shared,
            queues: Some(queues),
            unfinished,
            store,
        }
    }

    /// Returns its writer, and another handle to the store.
    fn parts(&mut self) -> (Loop<'_>, Redb) {
        let queues = self.queues.take().unwrap();
        let unfinished = std::mem::take(&mut self.unfinished);
        let writer = Loop::new(&self.shared, queues, unfinished);
        (writer, self.store.clone())
    }
}

fn rows(store: &Redb, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut snapshot = store.inner.shared.snapshot().unwrap();
    snapshot.all(table, prefix).unwrap()
}

/// Returns everything that the store returns about the tenant, except by searching.
async fn doors(store: &Redb) -> String {
    let exported: Vec<_> = store
        .export(TENANT)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let feed = store.feed(TENANT, 0, 1_000).await.unwrap();
    let list = store.list(TENANT, None, 1_000).await.unwrap();
    let row = store.get_row(Some(TENANT), "table", "key").await.unwrap();
    format!("{exported:?}{feed:?}{list:?}{row:?}")
}

/// Returns the search results of Ann and Bob, with scores.
async fn answers(store: &Redb, persons: &[PersonId]) -> String {
    let mut all = String::new();
    for person in persons {
        for question in [SECRET, "bicycle"] {
            let audience = Audience::Person { person: *person };
            let query = Recall::new(question, audience, Scope::ALL);
            let hits = store.recall(TENANT, query).await.unwrap();
            let texts: Vec<_> = hits.into_iter().map(|hit| hit.text).collect();
            all.push_str(&format!("{texts:?}"));
        }
    }
    all
}

fn unfinished(store: &Redb) -> usize {
    let mut snapshot = store.inner.shared.snapshot().unwrap();
    Unfinished::all(&mut snapshot).unwrap().len() + all_prepared(&mut snapshot).unwrap().len()
}

/// Stops an erasure after every transaction. Each time calls `after` with the store, and with a copy of its file as a kill would
/// leave it.
async fn stop_after_each(
    path: PathBuf,
    clock: &VirtualClock,
    (what, depth): (Erase, Depth),
    mut after: impl AsyncFnMut(&Redb, PathBuf),
) -> ErasureReceipt {
    // A tenant has many rows, and each transaction takes time on the disk.
    let part = if what == Erase::Tenant { 4 } else { 1 };
    let mut stepped = Stepped::open(path.clone(), clock, part);
    assert_eq!(stepped.path, path);
    let (mut writer, store) = stepped.parts();
    let erasing = {
        let store = store.clone();
        tokio::spawn(async move { store.erase(TENANT, what, depth).await })
    };
    let mut erasing = std::pin::pin!(erasing);
    let mut many = 0;
    loop {
        tokio::select! {
            biased;
            receipt = &mut erasing => return receipt.unwrap().unwrap(),
            more = writer.step() => assert!(more),
        }
        many += 1;
        let copy = path.with_extension(many.to_string());
        std::fs::copy(&path, &copy).unwrap();
        after(&store, copy).await;
    }
}

/// Waits until no erasure is unfinished.
async fn finished(store: &Redb) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for _ in 0..10_000 {
        ticks.tick().await;
        if unfinished(store) == 0 {
            return;
        }
    }
    panic!("the erasure is not finished");
}

/// Erases in one transaction from a copy of the file.
async fn at_once(path: &Path, clock: &VirtualClock, what: Erase) -> (ErasureReceipt, Redb) {
    let copy = path.with_extension("at-once");
    std::fs::copy(path, &copy).unwrap();
    let store = builder(clock, usize::MAX).open(copy).unwrap();
    let receipt = store.erase(TENANT, what, Depth::Logical).await.unwrap();
    store.catch_up(TENANT).await.unwrap();
    (receipt, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_unreadable_after_each_part_and_the_next_start_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    let ann = fill(&path, &clock).await;
    let what = Erase::Person { person: ann };
    let (expected, whole) = at_once(&path, &clock, what).await;
    let (kept, found) = (doors(&whole).await, answers(&whole, &[ann]).await);
    assert!(!kept.contains(SECRET) && kept.contains("bicycle"));
    let own = keys::of(TENANT, &[ann.as_bytes()]);
    let (mut cuts, mut prepared) = (0, 0);
    let receipt = stop_after_each(path, &clock, (what, Depth::Logical), async |live, copy| {
        let destroyed = rows(live, PERSON_KEYS, &own).is_empty();
        if destroyed {
            assert!(!doors(live).await.contains(SECRET));
            assert!(!answers(live, &[ann]).await.contains(SECRET));
            // The index is not sealed, so none of her units may be left in it.
            assert!(rows(live, PERSON_UNITS, &own).is_empty());
            cuts += usize::from(unfinished(live) > 0);
        } else {
            prepared += 1;
        }
        let store = builder(&clock, 1).open(&copy).unwrap();
        if destroyed {
            assert!(!doors(&store).await.contains(SECRET));
        }
        let begun = destroyed || unfinished(live) > 0;
        if begun {
            finished(&store).await;
            store.catch_up(TENANT).await.unwrap();
            assert_eq!(doors(&store).await, kept);
            assert_eq!(answers(&store, &[ann]).await, found);
            for table in [WORDS, MEMORY_OF, PERSON_UNITS, PERSON_KEYS] {
                assert_eq!(rows(&store, table, &own), []);
            }
        }
        drop(store);
        std::fs::remove_file(copy).unwrap();
    })
    .await;
    assert!(cuts > 10 && prepared > 10, "{cuts} {prepared}");
    assert_eq!(receipt, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_erasure_has_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    let ann = fill(&path, &clock).await;
    for (name, what) in [
        ("person", Erase::Person { person: ann }),
        ("tenant", Erase::Tenant),
    ] {
        let (expected, whole) = at_once(&path, &clock, what).await;
        let path = path.with_extension(name);
        std::fs::copy(folder.path().join("store"), &path).unwrap();
        let mut stepped = Stepped::open(path, &clock, 4);
        let (mut writer, store) = stepped.parts();
        let erasing = {
            let store = store.clone();
            tokio::spawn(async move { store.erase(TENANT, what, Depth::Logical).await })
        };
        let mut erasing = std::pin::pin!(erasing);
        let mut many = 0;
        let receipt = loop {
            tokio::select! {
                biased;
                receipt = &mut erasing => break receipt.unwrap().unwrap(),
                more = writer.step() => assert!(more),
            }
            many += 1;
            if many < 100 && many % 7 == 0 {
                writer.restart();
            }
        };
        assert_eq!(receipt, expected, "{name}");
        assert_eq!(doors(&store).await, doors(&whole).await, "{name}");
        assert_eq!(unfinished(&store), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_unreadable_after_each_part_and_the_next_start_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    fill(&path, &clock).await;
    let (expected, whole) = at_once(&path, &clock, Erase::Tenant).await;
    let nothing = doors(&whole).await;
    assert!(!nothing.contains(SECRET) && !nothing.contains("bicycle"));
    let mut cuts = 0;
    let depth = Depth::Logical;
    let receipt = stop_after_each(path, &clock, (Erase::Tenant, depth), async |live, copy| {
        if rows(live, TENANT_KEYS, TENANT.as_bytes()).is_empty() {
            assert_eq!(doors(live).await, nothing);
            cuts += usize::from(unfinished(live) > 0);
            // Opening all of them takes long, so open only some.
            if cuts % 10 == 1 {
                let store = builder(&clock, 4).open(&copy).unwrap();
                assert_eq!(doors(&store).await, nothing);
                finished(&store).await;
                for table in keys::ALL {
                    let left = rows(&store, table, TENANT.as_bytes());
                    assert!(left.is_empty() || table == META, "{}", table.name);
                }
                assert!(rows(&store, DUE, &[]).is_empty());
            }
        }
        std::fs::remove_file(copy).unwrap();
    })
    .await;
    assert!(cuts > 20, "{cuts}");
    assert_eq!(receipt, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_copied_after_the_last_part() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    fill(&path, &clock).await;
    let mut killed = None;
    let work = (Erase::Tenant, Depth::Physical);
    stop_after_each(path.clone(), &clock, work, async |live, copy| {
        if killed.is_none() && unfinished(live) > 0 {
            killed = Some(copy);
        }
    })
    .await;
    // The process is killed in between: the next one finishes the erasure and then copies the file.
    let killed = killed.unwrap();
    drop(builder(&clock, 4).open(&killed).unwrap());
    let sizes = [&path, &killed].map(|path| std::fs::metadata(path).unwrap().len());
    assert_eq!(sizes[0], sizes[1]);
    let store = Redb::open(&killed).unwrap();
    assert_eq!(unfinished(&store), 0);
    assert!(!super::super::rewrite::is_pending(&store.inner.shared).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_others_are_accepted_between_two_parts_and_those_of_the_tenant_after_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    fill(&path, &clock).await;
    let mut stepped = Stepped::open(path, &clock, 4);
    let (mut writer, store) = stepped.parts();
    let erasing = {
        let store = store.clone();
        tokio::spawn(async move { store.erase(TENANT, Erase::Tenant, Depth::Logical).await })
    };
    while unfinished(&store) == 0 {
        assert!(writer.step().await);
    }
    // It waits, because its rows would be erased too.
    let own = store.accept(TENANT, vec![routed("ann", "again", "hello", clock.now())]);
    let mut own = std::pin::pin!(own);
    assert!(own.as_mut().now_or_never().is_none());
    let mut between = 0;
    while unfinished(&store) > 0 {
        let event = routed("C1", &between.to_string(), "hello", clock.now());
        let other = store.accept(OTHER, vec![event]);
        let mut other = std::pin::pin!(other);
        assert!(other.as_mut().now_or_never().is_none(), "it is queued");
        // One transaction later.
        assert!(writer.step().await);
        let accepted = other.now_or_never().expect("it is answered").unwrap();
        assert!(matches!(accepted[..], [Accepted::New { .. }]));
        assert!(own.as_mut().now_or_never().is_none());
        between += 1;
        // Otherwise the runtime delays ready tasks.
        tokio::task::yield_now().await;
    }
    assert!(between > 20, "only {between} parts");
    assert!(writer.step().await);
    let accepted = own.now_or_never().expect("it is answered").unwrap();
    assert!(matches!(accepted[..], [Accepted::New { .. }]));
    erasing.await.unwrap().unwrap();
    assert!(doors(&store).await.contains("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_an_erased_person_between_parts_stay_and_can_be_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), clock());
    let ann = fill(&path, &clock).await;
    let own = keys::of(TENANT, &[ann.as_bytes()]);
    let what = Erase::Person { person: ann };
    let later = clock.now() + Duration::from_secs(60);
    let mut stepped = Stepped::open(path, &clock, 1);
    let (mut writer, store) = stepped.parts();
    let erase = || {
        let store = store.clone();
        tokio::spawn(async move { store.erase(TENANT, what, Depth::Logical).await })
    };
    let mut erasing = erase();
    while !rows(&store, PERSON_KEYS, &own).is_empty() {
        assert!(writer.step().await);
    }
    assert!(unfinished(&store) > 0);
    let event = routed("ann", "new", "marmalade", later);
    let accepting = store.accept(TENANT, vec![event]);
    tokio::select! {
        biased;
        accepted = accepting => assert!(matches!(accepted.unwrap()[..], [Accepted::New { .. }])),
        () = async { while writer.step().await {} } => unreachable!("handles are left"),
    }
    let receipt = loop {
        tokio::select! {
            biased;
            receipt = &mut erasing => break receipt.unwrap().unwrap(),
            more = writer.step() => assert!(more),
        }
    };
    assert!(receipt.records > 4);
    let kept = doors(&store).await;
    assert!(kept.contains("marmalade") && !kept.contains(SECRET));
    // The new words are indexed by person too.
    let mut again = erase();
    let receipt = loop {
        tokio::select! {
            biased;
            receipt = &mut again => break receipt.unwrap().unwrap(),
            more = writer.step() => assert!(more),
        }
    };
    assert_eq!((receipt.records, receipt.keys), (1, 1));
    assert!(!doors(&store).await.contains("marmalade"));
    assert!(rows(&store, WORDS, &own).is_empty());
}

#[tokio::test]
async fn a_store_that_erases_one_row_at_a_time_is_a_store() {
    konstruct_core::testkit::store_suite(async || {
        let clock = VirtualClock::default();
        konstruct_core::testkit::StoreSubject {
            store: Arc::new(builder(&clock, 1).in_memory().unwrap()),
            clock,
        }
    })
    .await;
}
