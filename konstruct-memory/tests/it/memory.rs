//! The memory's conformance suite, on the reference and on redb.

use std::sync::Arc;

use konstruct_core::{
    Timestamp,
    testkit::{JournalSubject, MemorySubject, VirtualClock, journal_suite, memory_suite},
};
use konstruct_memory::{Oracle, Redb};

fn oracle() -> MemorySubject {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let oracle = Oracle::new(Arc::new(clock.clone()), None).unwrap();
    MemorySubject {
        journal: Arc::new(oracle.clone()),
        memory: Arc::new(oracle),
        clock,
    }
}

#[tokio::test]
async fn the_reference_passes() {
    memory_suite(async || oracle()).await;
}

#[tokio::test]
async fn the_reference_is_a_journal() {
    journal_suite(async || {
        let MemorySubject { journal, clock, .. } = oracle();
        JournalSubject { journal, clock }
    })
    .await;
}

fn redb() -> MemorySubject {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let store = Redb::builder()
        .clock(Arc::new(clock.clone()))
        .in_memory()
        .unwrap();
    MemorySubject {
        journal: Arc::new(store.clone()),
        memory: Arc::new(store),
        clock,
    }
}

#[tokio::test]
async fn redb_passes() {
    memory_suite(async || redb()).await;
}
