//! The data that a durable store must keep when its process ends, cleanly or not.

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{LEASE, World, records},
};
use crate::{
    Clock as _,
    store::{Accepted, Append, AppendOutcome, ItemChange, TimerChange, TimerName},
};

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// The store was dropped and is opened again.
    Closed,
    /// The process was killed. The store opens what was on disk at that moment.
    Killed,
}

/// Runs every case against stores that are opened again.
///
/// `make` opens an empty store. `again` receives the store, ends it in the given way, and opens what is left on the same clock.
///
/// # Panics
/// If a case fails. The message lists all failures.
pub async fn store_restart_suite(
    make: impl AsyncFn() -> StoreSubject,
    again: impl AsyncFn(StoreSubject, Restart) -> StoreSubject,
) {
    let mut failures = Vec::new();
    for restart in [Restart::Closed, Restart::Killed] {
        let again = async |subject| again(subject, restart).await;
        let cases = [
            (
                "answers_survive",
                Box::pin(answers_survive(make().await, &again)).await,
            ),
            (
                "ready_again",
                Box::pin(ready_again(make().await, &again)).await,
            ),
            (
                "waiting_still",
                Box::pin(waiting_still(make().await, &again)).await,
            ),
        ];
        for (name, outcome) in cases {
            if let Err(error) = outcome {
                failures.push(format!("{name}, {restart:?}: {error}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Checks that everything that was acknowledged is kept: events and their ids, records, the feed, keys, money.
async fn answers_survive(
    subject: StoreSubject,
    again: &impl AsyncFn(StoreSubject) -> StoreSubject,
) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let append = Append {
        consume_to: Some(1),
        delivery_keys: super::accept::sends(&["key"]).delivery_keys,
        items: vec![ItemChange::Put(super::append::item("open"))],
        reserve: Some(super::append::reservation("call", 70, Some(100))),
        ..records(&["one", "two"])
    };
    subject.append(&claim, 0, append).await?;
    subject
        .accept_new(&world, world.logical_event("C1", "e2", "l2", false))
        .await?;
    let before = state(&subject, &world).await?;
    let subject = again(subject).await;
    ensure_eq!(state(&subject, &world).await?, before, "the kept data");
    for event in [
        world.message("C1", "first of C1"),
        world.logical_event("C1", "e2", "", false),
        world.logical_event("C1", "other", "l2", false),
    ] {
        let outcome = subject.accept(&world, event).await?;
        ensure_eq!(outcome, Accepted::Duplicate, "a known event");
    }
    let items = subject.store.items(world.tenant, None, 9).await?;
    ensure_eq!(items.len(), 1, "open items");
    let next = take_over(&subject).await?;
    ensure!(next.fence > claim.fence, "a later fence is not higher");
    let loaded = subject.load(&next).await?;
    ensure_eq!((loaded.len, loaded.inbox.len()), (2, 1), "log and inbox");
    let reserve = |amount| Append {
        reserve: Some(super::append::reservation("second", amount, Some(100))),
        ..Append::default()
    };
    let outcome = subject.store.append(&next, 2, reserve(31)).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::OverBudget(crate::limit::BudgetKey::MONTH),
        "a reservation of 31 with 70 reserved under a cap of 100"
    );
    subject.append(&next, 2, reserve(30)).await
}

/// Returns everything of a tenant as text.
async fn state(subject: &StoreSubject, world: &World) -> Result<Vec<String>, Failed> {
    let exported = subject.exported(world.tenant).await?;
    let feed = subject.store.feed(world.tenant, 0, 100).await?;
    Ok(exported
        .iter()
        .map(|item| format!("{item:?}"))
        .chain(feed.iter().map(|fed| format!("{fed:?}")))
        .collect())
}

/// Claims what is ready after the claims of the ended process have expired.
async fn take_over(subject: &StoreSubject) -> Result<crate::store::Claim, Failed> {
    if let Some(claim) = subject.try_claim().await? {
        return Ok(claim);
    }
    subject.clock.advance(LEASE);
    subject.claim().await
}

/// Checks that a conversation with an unconsumed event and one with an open turn are ready, and finished ones are not.
async fn ready_again(
    subject: StoreSubject,
    again: &impl AsyncFn(StoreSubject) -> StoreSubject,
) -> Outcome {
    let world = World::new();
    let finished = subject.claimed(&world, "finished").await?;
    let done = Append {
        consume_to: Some(1),
        checkpoint: true,
        ..records(&["done"])
    };
    subject.append(&finished, 0, done).await?;
    subject.store.release(&finished, 1).await?;
    let middle = subject.claimed(&world, "middle").await?;
    let open = Append {
        consume_to: Some(1),
        ..records(&["intent"])
    };
    subject.append(&middle, 0, open).await?;
    let unconsumed = subject.claimed(&world, "unconsumed").await?;
    let subject = again(subject).await;
    let mut ready = vec![take_over(&subject).await?.conversation];
    while let Some(claim) = subject.try_claim().await? {
        ready.push(claim.conversation);
    }
    ready.sort();
    let mut expected = vec![middle.conversation, unconsumed.conversation];
    expected.sort();
    ensure_eq!(ready, expected, "the ready conversations");
    Ok(())
}

/// Checks that a conversation that waits for its timer is ready only when the timer is due.
async fn waiting_still(
    subject: StoreSubject,
    again: &impl AsyncFn(StoreSubject) -> StoreSubject,
) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let when = subject.clock.now() + 3 * LEASE;
    let wait = Append {
        consume_to: Some(1),
        timers: vec![TimerChange::set(TimerName::turn(), when)],
        ..records(&["wait"])
    };
    subject.append(&claim, 0, wait).await?;
    subject.store.release(&claim, 1).await?;
    let subject = again(subject).await;
    subject.claim_nothing("before the timer").await?;
    ensure_eq!(subject.next_due().await?, Some(when), "the timer");
    subject.clock.advance(3 * LEASE);
    let claim = subject.claim().await?;
    ensure!(
        subject.load(&claim).await?.due == [TimerName::turn()],
        "the timer is not due"
    );
    Ok(())
}
