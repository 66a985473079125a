//! The embedded store under the conformance suites.

use std::{collections::HashMap, path::PathBuf, sync::Arc, sync::Mutex, time::Duration};

use konstruct_core::{
    Clock as _, ConnectionId, TenantId,
    id::WorkerId,
    store::{Accepted, Append, AppendOutcome, ClaimRequest, Store, TimerChange, TimerName},
    testkit::{
        ReferenceStore, Restart, StoreSubject, VirtualClock, store_restart_suite, store_suite,
        turn_suite,
    },
};
use konstruct_memory::Redb;
use tempfile::TempDir;

use crate::common::{claimed, message};

pub(crate) fn in_memory() -> StoreSubject {
    let clock = VirtualClock::default();
    let store = Redb::builder()
        .clock(Arc::new(clock.clone()))
        .in_memory()
        .unwrap();
    StoreSubject {
        store: Arc::new(store),
        clock,
    }
}

#[tokio::test]
async fn redb_is_a_store() {
    store_suite(async || in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_is_a_store_on_many_threads() {
    store_suite(async || in_memory()).await;
}

#[tokio::test]
async fn the_reference_passes_its_own_suite() {
    store_suite(async || {
        let clock = VirtualClock::default();
        StoreSubject {
            store: Arc::new(ReferenceStore::new(Arc::new(clock.clone()))),
            clock,
        }
    })
    .await;
}

/// Files of stores under test, found by the address of their clock, because the suite returns a subject and not its file.
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

    fn open(&self, path: PathBuf, clock: VirtualClock) -> StoreSubject {
        let store = Redb::builder()
            .clock(Arc::new(clock.clone()))
            .open(&path)
            .unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let address = Arc::as_ptr(&store).cast::<()>() as usize;
        self.open.lock().unwrap().insert(address, path);
        StoreSubject { store, clock }
    }

    fn fresh(&self, clock: VirtualClock) -> StoreSubject {
        let path = self.folder.path().join(WorkerId::new().to_string());
        self.open(path, clock)
    }

    fn again(&self, subject: StoreSubject, restart: Restart) -> StoreSubject {
        let address = Arc::as_ptr(&subject.store).cast::<()>() as usize;
        let path = self.open.lock().unwrap().remove(&address).unwrap();
        let clock = subject.clock.clone();
        if restart == Restart::Closed {
            drop(subject);
            return self.open(path, clock);
        }
        // As a kill would leave it: the file on the disk while the store is open.
        let copy = self.folder.path().join(WorkerId::new().to_string());
        std::fs::copy(&path, &copy).unwrap();
        drop(subject);
        self.open(copy, clock)
    }
}

#[tokio::test]
async fn redb_keeps_what_it_answered() {
    let files = Files::new();
    store_restart_suite(
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

/// A worker that loaded a message before its mention was known must not consume it without the mention.
#[tokio::test]
async fn a_mention_that_comes_late_is_not_consumed_unseen() {
    let reference: Arc<dyn Store> =
        Arc::new(ReferenceStore::new(Arc::new(VirtualClock::default())));
    for store in [in_memory().store, reference] {
        late_mention(store).await;
    }
}

async fn late_mention(store: Arc<dyn Store>) {
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let plain = message(connection, "C1", "message", "hello");
    let mut mention = message(connection, "C1", "mention", "hello");
    mention.event.logical_id = plain.event.logical_id.clone();
    mention.event.addressed.mention = true;
    store.accept(tenant, vec![plain]).await.unwrap();
    let lease = Duration::from_secs(30);
    let claim = claimed(&*store, lease).await.unwrap();
    let loaded = store.load(&claim).await.unwrap().unwrap();
    assert!(
        !loaded.inbox[0]
            .event
            .as_ref()
            .unwrap()
            .event
            .addressed
            .mention
    );
    let outcome = store.accept(tenant, vec![mention]).await.unwrap();
    assert_eq!(outcome, [Accepted::Upgraded]);
    let consume = Append {
        consume_to: Some(1),
        ..Append::default()
    };
    let outcome = store.append(&claim, 0, consume.clone()).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Lost);
    let claim = claimed(&*store, lease).await.unwrap();
    let loaded = store.load(&claim).await.unwrap().unwrap();
    assert!(
        loaded.inbox[0]
            .event
            .as_ref()
            .unwrap()
            .event
            .addressed
            .mention
    );
    let outcome = store.append(&claim, 0, consume).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Appended);
}

/// Ten thousand waiting conversations are found by their timers, each once.
#[tokio::test]
async fn many_wait_for_their_timers() {
    let StoreSubject { store, clock } = in_memory();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let events = (0..10_000)
        .map(|n| message(connection, &format!("C{n}"), &n.to_string(), ""))
        .collect();
    store.accept(tenant, events).await.unwrap();
    let lease = Duration::from_secs(3600);
    let (worker, now) = (WorkerId::new(), clock.now());
    let mut waits = tokio::task::JoinSet::new();
    while let Some(claim) = store
        .claim(ClaimRequest::new(worker, lease))
        .await
        .unwrap()
        .conversation()
    {
        let store = Arc::clone(&store);
        waits.spawn(async move {
            let wait = Append {
                consume_to: Some(1),
                timers: vec![TimerChange::set(
                    TimerName::turn(),
                    now + Duration::from_secs(60),
                )],
                ..Append::default()
            };
            store.append(&claim, 0, wait).await.unwrap();
            store.release(&claim, 1).await.unwrap();
        });
    }
    assert_eq!(waits.join_all().await.len(), 10_000);
    assert!(
        store
            .claim(ClaimRequest::new(worker, lease))
            .await
            .unwrap()
            .conversation()
            .is_none()
    );
    clock.advance(Duration::from_secs(60));
    let mut claimed = std::collections::HashSet::new();
    while let Some(claim) = store
        .claim(ClaimRequest::new(worker, lease))
        .await
        .unwrap()
        .conversation()
    {
        assert!(claimed.insert(claim.conversation));
    }
    assert_eq!(claimed.len(), 10_000);
}
