//! The embedded store as a journal.

use std::{collections::HashMap, path::PathBuf, sync::Arc, sync::Mutex, time::Duration};

use konstruct_core::{
    AccountId, Actor, Addressing, Body, ChannelKind, Clock as _, ConnectionId, Content,
    ConversationRef, IdKind, Inbound, RoutedEvent, TenantId, Timestamp, WorkerId,
    testkit::{
        JournalSubject, MemoryJournal, Restart, VirtualClock, journal_restart_suite, journal_suite,
        turn_suite,
    },
    turn::{Accepted, Append, AppendOutcome, Journal, TimerChange},
};
use konstruct_memory::Redb;
use tempfile::TempDir;

pub(crate) fn in_memory() -> JournalSubject {
    let clock = VirtualClock::default();
    let store = Redb::builder()
        .clock(Arc::new(clock.clone()))
        .in_memory()
        .unwrap();
    JournalSubject {
        journal: Arc::new(store),
        clock,
    }
}

/// A message of a place, with its ids.
pub(crate) fn message(connection: ConnectionId, place: &str, id: &str, text: &str) -> RoutedEvent {
    RoutedEvent {
        connection,
        event: Inbound {
            id: id.into(),
            logical_id: format!("l-{id}"),
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            conversation: Some(ConversationRef::direct(place)),
            sender: Actor::human(IdKind::SlackUser, "U1"),
            occurred_at: Timestamp::from_secs(1_767_225_600),
            redelivery: 0,
            body: Body::Message {
                message: id.into(),
                content: Content::text(text),
            },
            addressed: Addressing::default(),
            raw: None,
        },
    }
}

#[tokio::test]
async fn redb_is_a_journal() {
    journal_suite(async || in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_is_a_journal_on_many_threads() {
    journal_suite(async || in_memory()).await;
}

#[tokio::test]
async fn the_reference_passes_its_own_suite() {
    journal_suite(async || {
        let clock = VirtualClock::default();
        JournalSubject {
            journal: Arc::new(MemoryJournal::new(Arc::new(clock.clone()))),
            clock,
        }
    })
    .await;
}

/// Files of journals under test, found again by their clock's address: the suite hands a subject back, not its file.
struct Files {
    folder: TempDir,
    open: Mutex<HashMap<usize, PathBuf>>,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            open: Mutex::default(),
        }
    }

    fn open(&self, path: PathBuf, clock: VirtualClock) -> JournalSubject {
        let store = Redb::builder()
            .clock(Arc::new(clock.clone()))
            .open(&path)
            .unwrap();
        let journal: Arc<dyn Journal> = Arc::new(store);
        let address = Arc::as_ptr(&journal).cast::<()>() as usize;
        self.open.lock().unwrap().insert(address, path);
        JournalSubject { journal, clock }
    }

    fn fresh(&self, clock: VirtualClock) -> JournalSubject {
        let path = self.folder.path().join(WorkerId::new().to_string());
        self.open(path, clock)
    }

    fn again(&self, subject: JournalSubject, restart: Restart) -> JournalSubject {
        let address = Arc::as_ptr(&subject.journal).cast::<()>() as usize;
        let path = self.open.lock().unwrap().remove(&address).unwrap();
        let clock = subject.clock.clone();
        if restart == Restart::Closed {
            drop(subject);
            return self.open(path, clock);
        }
        // What a kill leaves: the file as it is on the disk while the store is open.
        let copy = self.folder.path().join(WorkerId::new().to_string());
        std::fs::copy(&path, &copy).unwrap();
        drop(subject);
        self.open(copy, clock)
    }
}

#[tokio::test]
async fn redb_keeps_what_it_answered() {
    let files = Files::new();
    journal_restart_suite(
        async || files.fresh(VirtualClock::default()),
        async |subject, restart| files.again(subject, restart),
    )
    .await;
}

#[tokio::test]
async fn the_laws_hold_on_redb_wherever_the_process_is_killed() {
    let files = Files::new();
    let kills = turn_suite(
        async || files.fresh(VirtualClock::default()),
        async |subject| files.again(subject, Restart::Killed),
    )
    .await
    .unwrap();
    assert!(kills > 60, "only {kills} kills");
}

#[tokio::test]
async fn a_second_handle_of_one_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Redb::open(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.kind(), konstruct_core::ErrorKind::Conflict);
    drop(store);
    Redb::open(&path).unwrap();
}

#[tokio::test]
async fn something_else_than_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "this is no database".repeat(1000)).unwrap();
    assert!(Redb::open(&path).is_err());
}

/// A worker that loaded a message before it was known to name the employee must not consume it as if it did not.
#[tokio::test]
async fn a_mention_that_comes_late_is_not_consumed_unseen() {
    let reference: Arc<dyn Journal> =
        Arc::new(MemoryJournal::new(Arc::new(VirtualClock::default())));
    for journal in [in_memory().journal, reference] {
        late_mention(journal).await;
    }
}

async fn late_mention(journal: Arc<dyn Journal>) {
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let plain = message(connection, "C1", "message", "hello");
    let mut mention = message(connection, "C1", "mention", "hello");
    mention.event.logical_id = plain.event.logical_id.clone();
    mention.event.addressed.mention = true;
    journal.accept(tenant, vec![plain]).await.unwrap();
    let lease = Duration::from_secs(30);
    let claim = journal
        .claim(WorkerId::new(), lease)
        .await
        .unwrap()
        .unwrap();
    let loaded = journal.load(&claim).await.unwrap().unwrap();
    assert!(
        !loaded.inbox[0]
            .event
            .as_ref()
            .unwrap()
            .event
            .addressed
            .mention
    );
    let outcome = journal.accept(tenant, vec![mention]).await.unwrap();
    assert_eq!(outcome, [Accepted::Upgraded]);
    let consume = Append {
        consume_to: Some(1),
        ..Append::default()
    };
    let outcome = journal.append(&claim, 0, consume.clone()).await.unwrap();
    assert_eq!(outcome, AppendOutcome::FenceLost);
    let claim = journal
        .claim(WorkerId::new(), lease)
        .await
        .unwrap()
        .unwrap();
    let loaded = journal.load(&claim).await.unwrap().unwrap();
    assert!(
        loaded.inbox[0]
            .event
            .as_ref()
            .unwrap()
            .event
            .addressed
            .mention
    );
    let outcome = journal.append(&claim, 0, consume).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Appended);
}

/// Ten thousand waiting conversations are found by their timers, each once.
#[tokio::test]
async fn many_wait_for_their_timers() {
    let JournalSubject { journal, clock } = in_memory();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let events = (0..10_000)
        .map(|n| message(connection, &format!("C{n}"), &n.to_string(), ""))
        .collect();
    journal.accept(tenant, events).await.unwrap();
    let lease = Duration::from_secs(3600);
    let (worker, now) = (WorkerId::new(), clock.now());
    let mut waits = tokio::task::JoinSet::new();
    while let Some(claim) = journal.claim(worker, lease).await.unwrap() {
        let journal = Arc::clone(&journal);
        waits.spawn(async move {
            let wait = Append {
                consume_to: Some(1),
                timer: TimerChange::Set(now + Duration::from_secs(60)),
                ..Append::default()
            };
            journal.append(&claim, 0, wait).await.unwrap();
            journal.release(&claim, 1).await.unwrap();
        });
    }
    assert_eq!(waits.join_all().await.len(), 10_000);
    assert!(journal.claim(worker, lease).await.unwrap().is_none());
    clock.advance(Duration::from_secs(60));
    let mut claimed = std::collections::HashSet::new();
    while let Some(claim) = journal.claim(worker, lease).await.unwrap() {
        assert!(claimed.insert(claim.conversation));
    }
    assert_eq!(claimed.len(), 10_000);
}
