//! The conformance suite of the durable turn: its guarantees hold on a store whose process is killed at any write.

mod laws;
mod scene;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use self::{
    laws::{Violation, laws},
    scene::{Scene, Setting},
};
use super::{CrashPoint, Gate, Moment, StoreSubject, Write, message};
use crate::{
    Clock as _, channel::Find, employee::Unresolved, id::WorkerId, message::DeliveryState,
    store::ClaimRequest, turn::WorkOutcome,
};

/// Runs a turn with tools of every effect and a reply of two parts, and kills its process at each of its writes, before and after
/// the write took effect, with every way in which a channel can report arrivals. Then redelivers events, and lets a lease end
/// while its worker continues. After each run, the log, the ledger and the outside world must satisfy the guarantees.
///
/// `make` opens an empty store on its clock. `again` receives the store of a killed process, and opens what is left of it on the
/// same clock.
///
/// Returns the number of kills.
///
/// # Errors
/// The violated guarantee, and where.
pub async fn turn_suite(
    make: impl AsyncFn() -> StoreSubject,
    again: impl AsyncFn(StoreSubject) -> StoreSubject,
) -> Result<usize, String> {
    turn_suite_with(make, again, false).await
}

/// Runs [`turn_suite`]. With `blind`, the channel reports that nothing ever arrives, and the suite must fail.
///
/// # Errors
/// The same as for [`turn_suite`].
pub async fn turn_suite_with(
    make: impl AsyncFn() -> StoreSubject,
    again: impl AsyncFn(StoreSubject) -> StoreSubject,
    blind: bool,
) -> Result<usize, String> {
    let mut kills = 0;
    for find in [Find::Query, Find::Event, Find::None] {
        let setting = Setting { find, blind };
        for moment in [Moment::Before, Moment::After] {
            let mut at = 1;
            while Box::pin(killed(&make, &again, setting, moment, at))
                .await
                .map_err(|violation| {
                    format!("{violation}; killed {moment:?} write {at}, with a channel that reports by {find:?}")
                })?
            {
                at += 1;
                kills += 1;
            }
        }
        let named = |what| {
            move |violation: Violation| {
                format!("{violation}; {what}, with a channel that reports by {find:?}")
            }
        };
        Box::pin(redelivered(&make, setting))
            .await
            .map_err(named("after redelivery out of order"))?;
        Box::pin(fenced(&make, setting))
            .await
            .map_err(named("after a lease ended during a turn"))?;
    }
    Ok(kills)
}

/// Kills the process at a write. Returns whether the turn had that many writes.
async fn killed(
    make: &impl AsyncFn() -> StoreSubject,
    again: &impl AsyncFn(StoreSubject) -> StoreSubject,
    setting: Setting,
    moment: Moment,
    at: u64,
) -> Result<bool, Violation> {
    let subject = make().await;
    let mut scene = Scene::new(&subject, setting);
    let events = [message(
        "P1",
        "e1",
        "Is my bike ready?",
        subject.clock.now(),
    )];
    let counted = [Write::Accept, Write::Append, Write::Renew, Write::Release];
    let crash = Arc::new(CrashPoint::new(
        Arc::clone(&subject.store),
        &counted,
        at,
        moment,
    ));
    // Every error here is caused by the end of the process.
    if scene.accept(&*crash, &events).await.is_ok() {
        let _ = scene.settle(crash.clone(), &subject.clock).await;
    }
    let died = crash.died();
    let subject = if died { again(subject).await } else { subject };
    // The provider received no response, or delivers the event again anyway.
    scene.accept(&*subject.store, &events).await?;
    scene.settle(subject.store.clone(), &subject.clock).await?;
    laws(&scene, &*subject.store, &events, setting).await?;
    Ok(died)
}

/// Delivers a burst many times, in random order.
async fn redelivered(
    make: &impl AsyncFn() -> StoreSubject,
    setting: Setting,
) -> Result<(), Violation> {
    let subject = make().await;
    let mut scene = Scene::new(&subject, setting);
    let now = subject.clock.now();
    let events: Vec<_> = (0..6_u64)
        .map(|n| {
            let (place, id) = (format!("P{}", n % 2), format!("e{n}"));
            message(&place, &id, "Hello?", now + Duration::from_millis(n))
        })
        .collect();
    for round in 0..50_usize {
        let event = events[(round * 5 + 3) % events.len()].clone();
        scene.accept(&*subject.store, &[event]).await?;
    }
    scene.settle(subject.store.clone(), &subject.clock).await?;
    scene.accept(&*subject.store, &events).await?;
    scene.settle(subject.store.clone(), &subject.clock).await?;
    laws(&scene, &*subject.store, &events, setting).await
}

/// Lets a lease end while its worker waits for the model. Another worker finishes the turn, and the first one continues.
async fn fenced(make: &impl AsyncFn() -> StoreSubject, setting: Setting) -> Result<(), Violation> {
    let subject = make().await;
    let gate = Gate::default();
    let mut scene = Scene::new(&subject, setting);
    scene.hold_first_answer(gate.clone());
    let events = [message(
        "P1",
        "e1",
        "Is my bike ready?",
        subject.clock.now(),
    )];
    scene.accept(&*subject.store, &events).await?;
    let driver = scene.driver(subject.store.clone(), &subject.clock);
    let claim = subject
        .store
        .claim(ClaimRequest::new(WorkerId::new(), scene::LEASE))
        .await?
        .conversation();
    let claim = claim.ok_or_else(|| {
        Violation::law(1, "an accepted event did not make its conversation ready")
    })?;
    let slow = driver.work(claim);
    futures_util::pin_mut!(slow);
    while scene.model.calls().is_empty() {
        if slow.as_mut().now_or_never().is_some() {
            return Err(Violation::law(
                2,
                "a turn ended before its model was called",
            ));
        }
        tokio::task::yield_now().await;
    }
    subject.clock.advance(scene::LEASE + Duration::from_secs(1));
    scene.settle(subject.store.clone(), &subject.clock).await?;
    gate.open();
    let worked = slow.await;
    if !matches!(worked, Ok(WorkOutcome::Lost)) {
        return Err(Violation::law(
            3,
            format!("a worker continued after its lease ended: {worked:?}"),
        ));
    }
    scene.settle(subject.store.clone(), &subject.clock).await?;
    laws(&scene, &*subject.store, &events, setting).await
}

/// The delivery status that the suite's provider reports.
const STATUS: DeliveryState = DeliveryState::Sent;
/// The setting for sends with an unknown outcome. The suite requires that they are never repeated without a decision.
const UNRESOLVED: Unresolved = Unresolved::Ask;
