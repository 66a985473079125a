//! The crash matrix holds on the reference journal, and fails on every double that is broken on purpose.

use std::sync::{Arc, Mutex};

use konstruct_core::{
    testkit::{
        BrokenJournal, Flaw, JournalSubject, MemoryJournal, VirtualClock, turn_suite,
        turn_suite_with,
    },
    turn::Journal,
};

/// Opens journals in memory; a kill voids the claims, as a store of one process does when it is opened again.
#[derive(Default)]
struct Stores(Mutex<Option<MemoryJournal>>);

impl Stores {
    fn make(&self, flaw: Option<Flaw>) -> JournalSubject {
        let clock = VirtualClock::default();
        let journal = MemoryJournal::new(Arc::new(clock.clone()));
        *self.0.lock().unwrap() = Some(journal.clone());
        JournalSubject {
            journal: broken(journal, flaw),
            clock,
        }
    }

    fn again(&self, subject: JournalSubject, flaw: Option<Flaw>) -> JournalSubject {
        let journal = self.0.lock().unwrap().clone().unwrap();
        journal.void_claims();
        JournalSubject {
            journal: broken(journal, flaw),
            clock: subject.clock,
        }
    }
}

fn broken(journal: MemoryJournal, flaw: Option<Flaw>) -> Arc<dyn Journal> {
    match flaw {
        Some(flaw) => Arc::new(BrokenJournal::new(Arc::new(journal), flaw)),
        None => Arc::new(journal),
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
async fn the_laws_hold_where_claims_are_not_voided_but_run_out() {
    let stores = Stores::default();
    turn_suite(async || stores.make(None), async |subject| subject)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_suite_finds_what_is_broken() {
    for (flaw, blind, law) in [
        (
            Some(Flaw::NoDedupe),
            false,
            "law 2 (once): event e1 was input to 2 turns",
        ),
        (Some(Flaw::NoFence), false, "law 2 (once): pay ran 2 times"),
        (Some(Flaw::IntentAfter), false, "law 2 (once)"),
        (None, true, "law 2 (once)"),
    ] {
        let found = run(flaw, blind).await.unwrap_err();
        println!("{found}");
        assert!(found.starts_with(law), "{flaw:?}, blind {blind}: {found}");
    }
}
