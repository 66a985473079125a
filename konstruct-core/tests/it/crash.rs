//! The crash suite passes on the reference store, and fails on every deliberately broken double.

use std::sync::{Arc, Mutex};

use konstruct_core::{
    store::Store,
    testkit::{
        BrokenStore, Flaw, ReferenceStore, StoreSubject, VirtualClock, turn_suite, turn_suite_with,
    },
};

/// Opens stores in memory. A kill invalidates the claims, like reopening a store of one process.
#[derive(Default)]
struct Stores(Mutex<Option<ReferenceStore>>);

impl Stores {
    fn make(&self, flaw: Option<Flaw>) -> StoreSubject {
        let clock = VirtualClock::default();
        let store = ReferenceStore::new(Arc::new(clock.clone()));
        *self.0.lock().unwrap() = Some(store.clone());
        StoreSubject {
            store: broken(store, flaw),
            clock,
        }
    }

    fn again(&self, subject: StoreSubject, flaw: Option<Flaw>) -> StoreSubject {
        let store = self.0.lock().unwrap().clone().unwrap();
        store.void_claims();
        StoreSubject {
            store: broken(store, flaw),
            clock: subject.clock,
        }
    }
}

fn broken(store: ReferenceStore, flaw: Option<Flaw>) -> Arc<dyn Store> {
    match flaw {
        Some(flaw) => Arc::new(BrokenStore::new(Arc::new(store), flaw)),
        None => Arc::new(store),
    }
}

async fn run(flaw: Option<Flaw>, blind: bool) -> Result<usize, String> {
    let stores = Stores::default();
    let make = async || stores.make(flaw);
    let again = async |subject| stores.again(subject, flaw);
    turn_suite_with(make, again, blind).await
}

#[tokio::test]
async fn the_laws_hold_wherever_the_process_is_killed() {
    let stores = Stores::default();
    let kills = turn_suite(
        async || stores.make(None),
        async |subject| stores.again(subject, None),
    )
    .await
    .unwrap();
    assert!(kills > 60, "only {kills} kills");
}

#[tokio::test]
async fn the_laws_hold_where_claims_expire() {
    let stores = Stores::default();
    turn_suite(async || stores.make(None), async |subject| subject)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_suite_detects_broken_stores() {
    for (flaw, blind, law) in [
        (
            Some(Flaw::NoDedupe),
            false,
            "law 2 (once): event e1 was input to 2 turns",
        ),
        (Some(Flaw::NoFence), false, "law 3 (order)"),
        (Some(Flaw::IntentAfter), false, "law 2 (once)"),
        (None, true, "law 2 (once)"),
    ] {
        let found = run(flaw, blind).await.unwrap_err();
        println!("{found}");
        assert!(found.starts_with(law), "{flaw:?}, blind {blind}: {found}");
    }
}
