//! The memory's conformance suite, on the reference and on redb.

use std::sync::Arc;

use konstruct_core::{
    Timestamp,
    testkit::{
        BrokenMemory, MEMORY_CASES, MemoryFlaw, MemorySubject, StoreSubject, VirtualClock,
        memories_agree, memory_case, memory_suite, store_suite,
    },
};
use konstruct_memory::{Oracle, Redb};

fn oracle() -> MemorySubject {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let oracle = Oracle::new(Arc::new(clock.clone()), None).unwrap();
    MemorySubject {
        store: Arc::new(oracle.clone()),
        memory: Arc::new(oracle),
        clock,
    }
}

#[tokio::test]
async fn the_reference_passes() {
    memory_suite(async || oracle()).await;
}

#[tokio::test]
async fn the_reference_is_a_store() {
    store_suite(async || {
        let MemorySubject { store, clock, .. } = oracle();
        StoreSubject { store, clock }
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
        store: Arc::new(store.clone()),
        memory: Arc::new(store),
        clock,
    }
}

#[tokio::test]
async fn redb_passes() {
    memory_suite(async || redb()).await;
}

/// Each injected flaw fails the cases about it; without one, none fails.
#[tokio::test]
async fn the_suite_bites() {
    for (flaw, cases) in [
        (MemoryFlaw::Nothing, &[][..]),
        (
            MemoryFlaw::SharesAudiences,
            &["nobody_sees_what_is_not_theirs"],
        ),
        (
            MemoryFlaw::SharesTenants,
            &["nobody_sees_what_is_not_theirs"],
        ),
        (MemoryFlaw::FiltersLate, &["limits_and_times_are_kept"]),
        (
            MemoryFlaw::KeepsDeleted,
            &["documents_are_found_until_they_are_deleted"],
        ),
        (
            MemoryFlaw::KeepsForgotten,
            &[
                "a_message_is_forgotten",
                "a_conversation_is_forgotten",
                "a_person_is_forgotten",
                "a_tenant_is_forgotten",
                "late_writers_do_not_bring_it_back",
                "an_export_answers_alike",
            ],
        ),
        (
            MemoryFlaw::TakesLateWrites,
            &["late_writers_do_not_bring_it_back"],
        ),
        (
            MemoryFlaw::KeepsSuperseded,
            &["facts_are_remembered_and_superseded"],
        ),
    ] {
        for case in MEMORY_CASES {
            let make = async || {
                let subject = oracle();
                MemorySubject {
                    memory: Arc::new(BrokenMemory::new(subject.memory, flaw)),
                    ..subject
                }
            };
            let outcome = memory_case(case, &make).await;
            let expected = cases.contains(case);
            let sure = expected || flaw == MemoryFlaw::Nothing;
            assert!(
                !sure || outcome.is_err() == expected,
                "{flaw:?}, {case}: {outcome:?}"
            );
        }
    }
}

/// Random histories of five hundred operations, ten in all.
async fn agree(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        memories_agree(&redb(), &oracle(), seed, 500).await;
    }
}

#[tokio::test]
async fn redb_agrees_with_the_reference() {
    agree(0..5).await;
}

#[tokio::test]
async fn redb_agrees_with_the_reference_again() {
    agree(5..10).await;
}
