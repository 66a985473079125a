//! Claims: a single holder, leases that end, fairness, and no lost wake-ups.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{LEASE, World, records},
};
use crate::{
    Clock as _,
    id::WorkerId,
    store::{Append, AppendOutcome, ClaimRequest, Share, Store, TimerChange, TimerName},
};

/// In real time: far longer than a wake-up takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn a_conversation_has_one_holder(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    subject.accept_new(&world, world.message("C1", "a")).await?;
    let claims = try_join_all((0..16).map(|_| subject.try_claim())).await?;
    let held: Vec<_> = claims.into_iter().flatten().collect();
    ensure_eq!(held.len(), 1, "claims of one conversation");
    subject.accept_new(&world, world.message("C1", "b")).await?;
    subject
        .claim_nothing("while the only conversation is claimed")
        .await?;
    subject.store.release(&held[0], 0).await?;
    let next = subject.claim().await?;
    ensure!(next.fence > held[0].fence, "a later fence is not higher");
    Ok(())
}

pub(super) async fn a_lease_ends(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let old = subject.claimed(&world, "C1").await?;
    subject.append(&old, 0, records(&["before"])).await?;
    subject.clock.advance(LEASE - Duration::from_micros(1));
    subject.append(&old, 1, records(&["in time"])).await?;
    subject.clock.advance(Duration::from_micros(1));
    let late = |text: &'static str| Append {
        consume_to: Some(1),
        timers: vec![TimerChange::set(TimerName::turn(), subject.clock.now())],
        delivery_keys: super::accept::sends(&["late"]).delivery_keys,
        ..records(&[text])
    };
    let outcome = subject.store.append(&old, 2, late("too late")).await?;
    ensure_eq!(outcome, AppendOutcome::Lost, "an append after the lease");
    let new = subject.claim().await?;
    ensure_eq!(
        new.conversation,
        old.conversation,
        "what is ready after the lease"
    );
    ensure!(new.fence > old.fence, "a later fence is not higher");
    let outcome = subject.store.append(&old, 2, late("stale")).await?;
    ensure_eq!(outcome, AppendOutcome::Lost, "an append with a stale fence");
    ensure!(
        subject.store.load(&old).await?.is_none(),
        "a stale claim loads"
    );
    ensure!(
        !subject.store.renew(&old, LEASE).await?,
        "a stale claim can be renewed"
    );
    subject.store.release(&old, 0).await?;
    subject
        .claim_nothing("after the release of a stale claim")
        .await?;
    let loaded = subject.load(&new).await?;
    ensure_eq!(
        (loaded.len, loaded.inbox.len(), !loaded.due.is_empty()),
        (2, 1, false),
        "a stale append had an effect"
    );
    ensure_eq!(
        subject.texts(world.tenant, old.conversation).await?,
        ["before", "in time"],
        "the log"
    );
    subject.append(&new, 2, records(&["after"])).await
}

pub(super) async fn a_lease_is_renewed(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    for n in 0..5 {
        subject.clock.advance(LEASE / 2);
        ensure!(
            subject.store.renew(&claim, LEASE).await?,
            "renewal {n} fails"
        );
        subject.claim_nothing("while the lease is renewed").await?;
    }
    subject.append(&claim, 0, records(&["held"])).await?;
    subject.clock.advance(LEASE);
    ensure!(
        !subject.store.renew(&claim, LEASE).await?,
        "an expired lease can be renewed"
    );
    let next = subject.claim().await?;
    ensure_eq!(
        next.conversation,
        claim.conversation,
        "what is ready after the lease"
    );
    Ok(())
}

pub(super) async fn a_release_reports_what_was_seen(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    subject.store.release(&claim, 1).await?;
    subject.claim_nothing("after all was seen").await?;
    subject.accept_new(&world, world.message("C1", "b")).await?;
    let claim = subject.claim().await?;
    ensure_eq!(
        subject.load(&claim).await?.inbox.len(),
        2,
        "the events that were seen but not consumed"
    );
    subject.accept_new(&world, world.message("C1", "c")).await?;
    subject.store.release(&claim, 2).await?;
    let claim = subject.claim().await?;
    let consume = Append {
        consume_to: Some(3),
        ..records(&["all of it"])
    };
    subject.append(&claim, 0, consume).await?;
    // Consumed events count as seen, regardless of the release.
    subject.store.release(&claim, 0).await?;
    subject.claim_nothing("after all was consumed").await?;
    // A release ends the claim.
    let outcome = subject.store.append(&claim, 1, records(&["no"])).await?;
    ensure_eq!(outcome, AppendOutcome::Lost, "an append after the release");
    subject.clock.advance(2 * LEASE);
    subject
        .claim_nothing("when the lease of a released claim is over")
        .await
}

pub(super) async fn a_timer_makes_ready(subject: &StoreSubject) -> Outcome {
    let worlds = [World::new(), World::new()];
    let now = subject.clock.now();
    let at = |secs| now + Duration::from_secs(secs);
    ensure_eq!(subject.next_due().await?, None, "the first timer of none");
    let mut claims = Vec::new();
    for (world, secs) in worlds.iter().zip([20, 10]) {
        let claim = subject.claimed(world, "C1").await?;
        let wait = Append {
            consume_to: Some(1),
            timers: vec![TimerChange::set(TimerName::turn(), at(secs))],
            ..records(&["wait"])
        };
        subject.append(&claim, 0, wait).await?;
        claims.push(claim);
    }
    // The end of a lease is a wake-up time; the timer of a claimed conversation is not.
    ensure!(
        subject
            .next_due()
            .await?
            .is_none_or(|due| due >= now + LEASE),
        "the timer of a claimed conversation is a wake-up time"
    );
    for claim in &claims {
        subject.store.release(claim, 1).await?;
    }
    subject.claim_nothing("before any timer").await?;
    ensure_eq!(
        subject.next_due().await?,
        Some(at(10)),
        "the first of two timers"
    );
    subject.clock.advance(Duration::from_secs(10));
    let second = subject.claim().await?;
    ensure_eq!(
        second.tenant,
        worlds[1].tenant,
        "the tenant of the first timer"
    );
    ensure!(
        subject.load(&second).await?.due == [TimerName::turn()],
        "a due timer does not make its conversation ready"
    );
    subject.claim_nothing("before the other timer").await?;
    ensure_eq!(
        subject.next_due().await?,
        Some(at(20)),
        "the timer of the unclaimed conversation"
    );
    // A due timer that is not cleared keeps the conversation ready; a cleared one does not.
    subject.store.release(&second, 1).await?;
    let second = subject.claim().await?;
    let clear = Append {
        timers: vec![TimerChange::clear(TimerName::turn())],
        ..Append::default()
    };
    subject.append(&second, 1, clear).await?;
    ensure!(
        subject.load(&second).await?.due.is_empty(),
        "a cleared timer is due"
    );
    subject.store.release(&second, 1).await?;
    subject.claim_nothing("after the timer was cleared").await?;
    // After a timer is moved, only the new time counts.
    subject.clock.advance(Duration::from_secs(10));
    let first = subject.claim().await?;
    let later = Append {
        timers: vec![TimerChange::set(TimerName::turn(), at(50))],
        ..Append::default()
    };
    subject.append(&first, 1, later).await?;
    subject.store.release(&first, 1).await?;
    subject.claim_nothing("before the new time").await?;
    ensure_eq!(subject.next_due().await?, Some(at(50)), "the new time");
    subject.clock.advance(Duration::from_secs(30));
    let first = subject.claim().await?;
    ensure_eq!(
        first.tenant,
        worlds[0].tenant,
        "the tenant of the moved timer"
    );
    Ok(())
}

pub(super) async fn timers_have_names(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let now = subject.clock.now();
    let claim = subject.claimed(&world, "C1").await?;
    let item = TimerName("item:one".into());
    let wait = Append {
        consume_to: Some(1),
        timers: vec![
            TimerChange::set(TimerName::turn(), now + Duration::from_secs(20)),
            TimerChange::set(item.clone(), now + Duration::from_secs(10)),
        ],
        ..records(&["wait"])
    };
    subject.append(&claim, 0, wait).await?;
    subject.store.release(&claim, 1).await?;
    subject.clock.advance(Duration::from_secs(10));
    let claim = subject.claim().await?;
    ensure_eq!(
        subject.load(&claim).await?.due,
        std::slice::from_ref(&item),
        "the due timers"
    );
    let clear = Append {
        timers: vec![TimerChange::clear(item)],
        ..Append::default()
    };
    subject.append(&claim, 1, clear).await?;
    subject.store.release(&claim, 1).await?;
    let due = subject.next_due().await?;
    ensure_eq!(due, Some(now + Duration::from_secs(20)), "the other timer");
    subject.clock.advance(Duration::from_secs(10));
    let claim = subject.claim().await?;
    ensure_eq!(
        subject.load(&claim).await?.due,
        [TimerName::turn()],
        "the timers that are due later"
    );
    Ok(())
}

pub(super) async fn every_timer_is_moved_at_once(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let now = subject.clock.now();
    let after = |secs| now + Duration::from_secs(secs);
    let claim = subject.claimed(&world, "C1").await?;
    let (one, two) = (TimerName("item:one".into()), TimerName("item:two".into()));
    let wait = Append {
        consume_to: Some(1),
        timers: vec![
            TimerChange::set(one.clone(), after(10)),
            TimerChange::set(two.clone(), after(20)),
        ],
        ..records(&["wait"])
    };
    subject.append(&claim, 0, wait).await?;
    let timers = |timers: Vec<TimerChange>| Append {
        timers,
        ..Append::default()
    };
    // A named timer in the same append keeps its own time.
    let moved = timers(vec![
        TimerChange::set(TimerName::turn(), after(60)),
        TimerChange::set(TimerName::every(), after(50)),
    ]);
    subject.append(&claim, 1, moved).await?;
    subject.store.release(&claim, 1).await?;
    ensure_eq!(subject.next_due().await?, Some(after(50)), "the next timer");
    subject.clock.advance(Duration::from_secs(50));
    let claim = subject.claim().await?;
    let due = subject.load(&claim).await?.due;
    ensure_eq!(due, [one, two], "the due timers");
    let cleared = timers(vec![TimerChange::clear(TimerName::every())]);
    subject.append(&claim, 1, cleared).await?;
    // Without timers, nothing is moved.
    let moved = timers(vec![TimerChange::set(TimerName::every(), after(50))]);
    subject.append(&claim, 1, moved).await?;
    let set = timers(vec![TimerChange::set(TimerName::turn(), after(70))]);
    subject.append(&claim, 1, set).await?;
    subject.store.release(&claim, 1).await?;
    let due = subject.next_due().await?;
    ensure_eq!(due, Some(after(70)), "the only timer");
    Ok(())
}

pub(super) async fn skipped_tenants_wait(subject: &StoreSubject) -> Outcome {
    let (slow, other) = (World::new(), World::new());
    for n in 0..3 {
        let event = slow.message(&format!("C{n}"), &n.to_string());
        subject.accept_new(&slow, event).await?;
    }
    subject.accept_new(&other, other.message("C1", "a")).await?;
    let claim = async |skip| -> Result<_, Failed> {
        let request = ClaimRequest {
            skip,
            ..ClaimRequest::new(WorkerId::new(), LEASE)
        };
        Ok(subject.store.claim(request).await?.conversation())
    };
    let first = claim(vec![slow.tenant]).await?;
    ensure_eq!(
        first.map(|claim| claim.tenant),
        Some(other.tenant),
        "the tenant of the claim"
    );
    ensure!(
        claim(vec![slow.tenant]).await?.is_none(),
        "a skipped tenant is served"
    );
    for _ in 0..3 {
        let next = claim(vec![other.tenant]).await?;
        ensure_eq!(
            next.map(|claim| claim.tenant),
            Some(slow.tenant),
            "the tenant of the next claim"
        );
    }
    Ok(())
}

pub(super) async fn a_tenant_keeps_to_its_share(subject: &StoreSubject) -> Outcome {
    const CONVERSATIONS: usize = 5;
    let (busy, other) = (World::new(), World::new());
    for n in 0..CONVERSATIONS {
        let event = busy.message(&format!("C{n}"), &n.to_string());
        subject.accept_new(&busy, event).await?;
    }
    let claim = async || {
        let request = ClaimRequest {
            share: Share {
                most: NonZeroU32::new(2),
                ..Share::default()
            },
            ..ClaimRequest::new(WorkerId::new(), LEASE)
        };
        let claimed = subject.store.claim(request).await?;
        Ok::<_, Failed>(claimed.conversation())
    };
    let claims = try_join_all((0..16).map(|_| claim())).await?;
    let mut held: Vec<_> = claims.into_iter().flatten().collect();
    // A store may return nothing while another claim of the tenant is being made.
    while let Some(next) = claim().await? {
        held.push(next);
    }
    ensure_eq!(held.len(), 2, "claims of a tenant that may have two");
    subject.accept_new(&other, other.message("C1", "a")).await?;
    let next = claim().await?.ok_or("another tenant waits as well")?;
    ensure_eq!(next.tenant, other.tenant, "the tenant of the next claim");
    // Nothing is dropped: each end of a claim admits the next, by a release or by the end of the lease.
    subject.store.release(&held[0], 1).await?;
    held[0] = claim().await?.ok_or("nothing follows a release")?;
    ensure!(claim().await?.is_none(), "a release admits two");
    subject.clock.advance(LEASE);
    let mut seen = BTreeSet::new();
    while let Some(next) = claim().await? {
        if next.tenant == busy.tenant {
            seen.insert(next.conversation);
        }
        subject.append(&next, 0, consume_all()).await?;
        subject.store.release(&next, 1).await?;
    }
    ensure_eq!(
        seen.len(),
        CONVERSATIONS - 1,
        "the conversations that were not released as seen"
    );
    Ok(())
}

fn consume_all() -> Append {
    Append {
        consume_to: Some(1),
        ..records(&["done"])
    }
}

pub(super) async fn weights_count(subject: &StoreSubject) -> Outcome {
    let worlds = [World::new(), World::new()];
    for world in &worlds {
        for n in 0..6 {
            let event = world.message(&format!("C{n}"), &n.to_string());
            subject.accept_new(world, event).await?;
        }
    }
    let mut tenants = Vec::new();
    for _ in 0..12 {
        let request = ClaimRequest {
            share: Share {
                weight: NonZeroU32::MIN.saturating_add(2),
                ..Share::default()
            },
            ..ClaimRequest::new(WorkerId::new(), LEASE)
        };
        let claim = subject.store.claim(request).await?.conversation();
        let claim = claim.ok_or("nothing is ready, expected a conversation")?;
        ensure_eq!(claim.weight.get(), 3, "the weight of the claim");
        tenants.push(claim.tenant);
    }
    let turns: Vec<_> = tenants.chunk_by(PartialEq::eq).map(<[_]>::len).collect();
    ensure_eq!(
        turns,
        [3, 3, 3, 3],
        "the conversations of each tenant's turns"
    );
    Ok(())
}

pub(super) async fn changes_wake(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let journal = &subject.store;
    let woken = |what: &'static str| async move {
        timeout(PATIENCE, journal.changed())
            .await
            .map_err(|_| format!("no waiter was woken by {what}"))
    };
    subject.claim_nothing("in an empty store").await?;
    subject.accept_new(&world, world.message("C1", "a")).await?;
    woken("an event before the call").await?;
    let claim = subject.claim().await?;
    subject.claim_nothing("while everything is claimed").await?;
    // A dropped future loses no wake-up.
    drop(timeout(Duration::ZERO, journal.changed()).await);
    let (waiting, accepted) = tokio::join!(
        woken("an event during the call"),
        subject.accept_new(&world, world.message("C2", "b"))
    );
    waiting?;
    accepted?;
    let second = subject.claim().await?;
    subject.claim_nothing("while everything is claimed").await?;
    subject.accept_new(&world, world.message("C1", "c")).await?;
    let (waiting, released) = tokio::join!(
        woken("a release with an unseen event"),
        journal.release(&claim, 1)
    );
    waiting?;
    released?;
    let again = subject.claim().await?;
    ensure_eq!(
        again.conversation,
        claim.conversation,
        "the released conversation"
    );
    subject.store.release(&second, 1).await?;
    Ok(())
}

pub(super) async fn tenants_take_turns(subject: &StoreSubject) -> Outcome {
    let worlds = [World::new(), World::new(), World::new()];
    for (world, many) in worlds.iter().zip([40, 40, 1]) {
        for n in 0..many {
            let event = world.message(&format!("C{n}"), &n.to_string());
            subject.accept_new(world, event).await?;
        }
    }
    let mut tenants = Vec::new();
    for _ in 0..81 {
        tenants.push(subject.claim().await?.tenant);
    }
    let first_of = |world: &World| tenants.iter().position(|tenant| *tenant == world.tenant);
    for world in &worlds {
        let first = first_of(world).ok_or("a tenant was never served")?;
        ensure!(
            first < 8,
            "a tenant waited for {first} conversations of others"
        );
    }
    let early = tenants[..40]
        .iter()
        .filter(|tenant| **tenant == worlds[0].tenant)
        .count();
    ensure!(
        (10..=30).contains(&early),
        "one of two equally busy tenants got {early} of the first 40 claims"
    );
    Ok(())
}

/// Events arrive while workers process them: all are consumed in order, and no conversation waits forever.
pub(super) async fn nothing_is_lost_under_load(subject: &StoreSubject) -> Outcome {
    const EVENTS: usize = 200;
    let world = World::new();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        workers.spawn(work(Arc::clone(&subject.store)));
    }
    let produce = async {
        for n in 0..EVENTS {
            let event = world.message(&format!("C{}", n % 7), &n.to_string());
            subject.accept_new(&world, event).await?;
            if n % 5 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok::<_, Failed>(())
    };
    produce.await?;
    let drained = async {
        loop {
            let left = subject.store.list(world.tenant, None, 10).await?;
            if left.iter().all(|conversation| conversation.unconsumed == 0) {
                return Ok::<_, Failed>(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, drained)
        .await
        .map_err(|_| "events are unconsumed, but no worker is woken")??;
    workers.abort_all();
    while let Some(worker) = workers.join_next().await {
        // A worker ends when it is stopped, or with an error.
        if let Ok(outcome) = worker {
            outcome?;
        }
    }
    let mut consumed = Vec::new();
    for conversation in subject.store.list(world.tenant, None, 10).await? {
        let texts = subject.texts(world.tenant, conversation.id).await?;
        let numbers: Vec<usize> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        ensure!(
            numbers.is_sorted(),
            "a conversation was processed out of order: {numbers:?}"
        );
        consumed.extend(numbers);
    }
    consumed.sort_unstable();
    ensure_eq!(
        consumed,
        (0..EVENTS).collect::<Vec<_>>(),
        "the processed events"
    );
    Ok(())
}

/// Consumes everything that is ready, and records the event ids.
async fn work(store: Arc<dyn Store>) -> Outcome {
    let worker = WorkerId::new();
    loop {
        let request = ClaimRequest::new(worker, LEASE);
        let Some(claim) = store.claim(request).await?.conversation() else {
            store.changed().await;
            continue;
        };
        let Some(loaded) = store.load(&claim).await? else {
            return Err("a new claim does not load".into());
        };
        let seen = loaded.inbox.last().map_or(0, |item| item.seq);
        let ids: Vec<&str> = loaded
            .inbox
            .iter()
            .filter_map(|item| Some(item.event.as_ref()?.event.id.as_str()))
            .collect();
        tokio::task::yield_now().await;
        let consume = Append {
            consume_to: Some(seen),
            ..records(&ids)
        };
        let outcome = store.append(&claim, loaded.len, consume).await?;
        ensure_eq!(outcome, AppendOutcome::Appended, "a worker's append");
        store.release(&claim, seen).await?;
    }
}
