//! The suite of the durable turn: the laws hold on a journal wherever its process is killed.

mod laws;
mod scene;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use self::{
    laws::{Broken, laws},
    scene::{Scene, Setting},
};
use super::{CrashPoint, Gate, Moment, StoreSubject, Write, message};
use crate::{
    Clock as _, channel::Find, employee::Unresolved, id::WorkerId, message::DeliveryState,
    store::ClaimRequest, turn::Worked,
};

/// Kills a turn with tools of every effect and a reply of two parts at each of its writes, before and after they took
/// effect, under every way in which a channel can tell what arrived; then redelivers, and lets a lease run out under a worker
/// that goes on. After each, the log, the ledger and the outside world must keep the laws.
///
/// `make` opens an empty journal on its clock. `again` gets the journal of a process that was killed, and opens what is left
/// of it on the same clock.
///
/// Returns how many kills there were.
///
/// # Errors
/// The law that was broken, and where.
pub async fn turn_suite(
    make: impl AsyncFn() -> StoreSubject,
    again: impl AsyncFn(StoreSubject) -> StoreSubject,
) -> Result<usize, String> {
    turn_suite_with(make, again, false).await
}

/// Runs [`turn_suite`], with a channel that says of everything that it never arrived where `blind` is set: the suite must
/// fail then.
///
/// # Errors
/// Those of [`turn_suite`].
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
                .map_err(|broken| {
                    format!("{broken}; killed {moment:?} write {at}, the channel tells by {find:?}")
                })?
            {
                at += 1;
                kills += 1;
            }
        }
        let named =
            |what| move |broken: Broken| format!("{broken}; {what}, the channel tells by {find:?}");
        Box::pin(redelivered(&make, setting))
            .await
            .map_err(named("redelivered out of order"))?;
        Box::pin(fenced(&make, setting))
            .await
            .map_err(named("a lease ran out in mid-turn"))?;
    }
    Ok(kills)
}

/// Kills the process at a write; returns whether the turn had that many.
async fn killed(
    make: &impl AsyncFn() -> StoreSubject,
    again: &impl AsyncFn(StoreSubject) -> StoreSubject,
    setting: Setting,
    moment: Moment,
    at: u64,
) -> Result<bool, Broken> {
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
    // Whatever fails fails because the process has ended.
    if scene.accept(&*crash, &events).await.is_ok() {
        let _ = scene.settle(crash.clone(), &subject.clock).await;
    }
    let died = crash.died();
    let subject = if died { again(subject).await } else { subject };
    // The provider was not answered, or delivers again all the same.
    scene.accept(&*subject.store, &events).await?;
    scene.settle(subject.store.clone(), &subject.clock).await?;
    laws(&scene, &*subject.store, &events, setting).await?;
    Ok(died)
}

/// Delivers a burst many times, in any order.
async fn redelivered(
    make: &impl AsyncFn() -> StoreSubject,
    setting: Setting,
) -> Result<(), Broken> {
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

/// Lets a lease run out while its worker waits for the model. Another worker does the turn, and the first one goes on.
async fn fenced(make: &impl AsyncFn() -> StoreSubject, setting: Setting) -> Result<(), Broken> {
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
    let claim = claim.ok_or_else(|| Broken::law(1, "what was accepted is not ready"))?;
    let slow = driver.work(claim);
    futures_util::pin_mut!(slow);
    while scene.model.calls().is_empty() {
        if slow.as_mut().now_or_never().is_some() {
            return Err(Broken::law(2, "a turn ended before its model was asked"));
        }
        tokio::task::yield_now().await;
    }
    subject.clock.advance(scene::LEASE + Duration::from_secs(1));
    scene.settle(subject.store.clone(), &subject.clock).await?;
    gate.open();
    let worked = slow.await;
    if !matches!(worked, Ok(Worked::Lost)) {
        return Err(Broken::law(
            3,
            format!("a worker whose lease was over went on: {worked:?}"),
        ));
    }
    scene.settle(subject.store.clone(), &subject.clock).await?;
    laws(&scene, &*subject.store, &events, setting).await
}

/// Which status the suite's provider gives of what arrived.
const STATUS: DeliveryState = DeliveryState::Sent;
/// What becomes of a send that nobody can tell of: the suite holds that it is never sent again unasked.
const UNRESOLVED: Unresolved = Unresolved::Ask;
