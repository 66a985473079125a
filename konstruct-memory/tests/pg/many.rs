//! Several processes on one database, simulated by several stores that share nothing else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use konstruct_core::{
    ConnectionId, ConversationId, TenantId,
    id::WorkerId,
    store::{Append, AppendOutcome, ClaimRequest, History as _, Mailbox as _},
};
use konstruct_memory::Postgres;

use crate::{
    common::{claimed, message},
    database::Database,
};

const LEASE: Duration = Duration::from_secs(60);
/// Shorter than the interval at which a worker polls.
const SOON: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn an_accept_in_one_process_wakes_another() {
    Database::with(async |database| {
        let one = database.builder().connect().await.unwrap();
        let other = database.builder().connect().await.unwrap();
        assert_eq!(claimed(&other, LEASE).await, None);
        let from = Instant::now();
        let event = message(ConnectionId::new(), "C1", "1", "hello");
        let (accepted, ()) = tokio::join!(
            one.accept(TenantId::new(), vec![event]),
            // It may wake up without cause.
            async {
                while claimed(&other, LEASE).await.is_none() {
                    other.changed().await
                }
            }
        );
        accepted.unwrap();
        assert!(from.elapsed() < SOON, "woken after {:?}", from.elapsed());
    })
    .await;
}

/// Consumes everything that is ready, and records the ids.
async fn work(store: Postgres, tenants: Vec<TenantId>) {
    let worker = WorkerId::new();
    loop {
        let Some(claim) = store
            .claim(ClaimRequest::new(worker, LEASE))
            .await
            .unwrap()
            .conversation()
        else {
            let mut left = 0;
            for tenant in &tenants {
                let listed = store.list(*tenant, None, 100).await.unwrap();
                left += listed.iter().map(|one| one.unconsumed).sum::<u64>();
            }
            if left == 0 {
                return;
            }
            store.changed().await;
            continue;
        };
        let loaded = store.load(&claim).await.unwrap().unwrap();
        let seen = loaded.inbox.last().map_or(0, |item| item.seq);
        let append = Append {
            records: loaded
                .inbox
                .iter()
                .map(|item| crate::event::record(&item.event.as_ref().unwrap().event.id))
                .collect(),
            consume_to: Some(seen),
            checkpoint: true,
            ..Append::default()
        };
        let outcome = store.append(&claim, loaded.len, append).await.unwrap();
        assert_eq!(outcome, AppendOutcome::Appended);
        store.release(&claim, seen).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_work_on_the_same_tenants() {
    const EVENTS: u64 = 240;
    Database::with(async |database| {
        let tenants: Vec<_> = (0..3).map(|_| TenantId::new()).collect();
        let connection = ConnectionId::new();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let store = database.builder().connect().await.unwrap();
            for part in 0..2 {
                let (store, tenants) = (store.clone(), tenants.clone());
                workers.spawn(async move {
                    for n in (0..EVENTS).filter(|n| n % 2 == part) {
                        let tenant = tenants[usize::try_from(n % 3).unwrap()];
                        // Each of the three accepts all events: two of three are redeliveries.
                        let event = message(connection, &format!("C{}", n % 5), &n.to_string(), "");
                        store.accept(tenant, vec![event]).await.unwrap();
                    }
                    work(store, tenants).await;
                });
            }
        }
        workers.join_all().await;
        let store = database.builder().connect().await.unwrap();
        let mut logs: BTreeMap<ConversationId, u64> = BTreeMap::new();
        for tenant in &tenants {
            let mut cursor = 0;
            for fed in store.feed(*tenant, 0, 1000).await.unwrap() {
                assert!(fed.cursor > cursor, "cursors do not rise");
                cursor = fed.cursor;
                let len = logs.entry(fed.conversation).or_default();
                assert_eq!(fed.stored.index, *len, "the feed leaves a record out");
                *len += 1;
            }
        }
        assert_eq!(logs.values().sum::<u64>(), EVENTS, "each event once");
    })
    .await;
}
