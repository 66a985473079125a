//! A conversation that the store cannot read: it is paused without an effect on other conversations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use konstruct_core::{
    Clock as _,
    channel::Find,
    employee::TurnLimits,
    store::Store,
    turn::{FallbackReason, ItemKind, Worker},
};

use crate::{
    altered::{Alteration, Altered},
    office::Office,
    outage::flaky,
};

/// Returns an office with an open question that is retried later, and the switch of its model.
async fn with_a_question() -> (Office, Arc<AtomicBool>) {
    let (model, switch) = flaky();
    let limits = TurnLimits::default().with(|it| it.burst_ms = 0);
    let office = Office::with(Find::Query, model, |employee| employee.limits(limits));
    office.say("P1", "e1", "When do you open?").await;
    for _ in 0..100 {
        office.work().await;
        if !office.items().await.is_empty() {
            break;
        }
        office.clock.advance_to(office.next_due().await.unwrap());
    }
    let [item] = office.items().await.try_into().unwrap();
    assert!(
        item.item.retry_at.is_some(),
        "the timer of the question is set"
    );
    (office, switch)
}

/// Processes while the store cannot read any conversation. Returns how often one was loaded.
async fn work_unreadable(office: &Office) -> usize {
    let loads = Arc::new(AtomicUsize::new(0));
    let broken = Alteration::Unreadable(Arc::clone(&loads));
    let broken: Arc<dyn Store> = Arc::new(Altered::new(Arc::clone(&office.store), broken));
    let worker = Worker::new(office.driver_on(broken));
    worker.run_until_idle().await.unwrap();
    loads.load(Ordering::Relaxed)
}

#[tokio::test]
async fn its_timers_do_not_make_it_ready_immediately() {
    let (office, up) = with_a_question().await;
    office.clock.advance_to(office.next_due().await.unwrap());
    let now = office.clock.now();
    assert_eq!(
        work_unreadable(&office).await,
        2,
        "once, and once to back off"
    );
    let due = office.next_due().await.unwrap();
    assert_eq!(due.since(now), Duration::from_secs(3_600), "all timers");
    let reason = FallbackReason::Broken;
    let broken = ItemKind::Question { reason };
    let items = office.items().await;
    assert_eq!(items.len(), 2, "{items:?}");
    let told = items.iter().any(|entry| entry.item.kind == broken);
    assert!(told, "the owner gets an item: {items:?}");
    // Once the conversation can be read again, the question is answered.
    up.store(true, Ordering::SeqCst);
    office.clock.advance_to(due);
    office.work().await;
    assert_eq!(office.world.texts().last().unwrap(), "We open at nine.");
}

#[tokio::test]
async fn its_inbox_does_not_make_it_ready_immediately() {
    let (office, up) = with_a_question().await;
    up.store(true, Ordering::SeqCst);
    office.say("P1", "e2", "Hello?").await;
    assert_eq!(
        work_unreadable(&office).await,
        2,
        "once, and once to back off"
    );
    let said = office.world.texts().len();
    office.clock.advance_to(office.next_due().await.unwrap());
    office.work().await;
    assert_eq!(
        office.world.texts().len(),
        said + 1,
        "the message is answered later"
    );
}

/// A store that fails for a moment, because the disk is full or the database restarts, is not a conversation that cannot be read.
#[tokio::test]
async fn a_store_that_fails_for_a_moment_delays_nobody_for_long() {
    let (office, up) = with_a_question().await;
    up.store(true, Ordering::SeqCst);
    office.say("P1", "e2", "Hello?").await;
    let away = Altered::new(
        Arc::clone(&office.store),
        Alteration::Away(Arc::new(AtomicUsize::new(2))),
    );
    let store: Arc<dyn Store> = Arc::new(away);
    let worker = Worker::new(office.driver_on(store));
    worker.run_until_idle().await.unwrap();
    assert_eq!(office.items().await.len(), 1, "nobody is asked about it");
    // The claim is left to its lease.
    office.clock.advance(Duration::from_secs(60));
    worker.run_until_idle().await.unwrap();
    assert_eq!(office.world.texts().last().unwrap(), "We open at nine.");
}
