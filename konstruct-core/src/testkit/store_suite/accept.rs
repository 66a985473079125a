//! Taking in: once each, in order, whole, and to the right conversation.

use futures_util::future::try_join_all;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{World, records},
};
use crate::{
    Clock as _, ConversationId,
    message::{Actor, Body, Decision, DeliveryState, RoutedEvent},
    store::{Accepted, Append, DeliveryKey, rules::QUIET_EVENTS},
    turn::ItemId,
};

pub(super) async fn redelivery_is_taken_once(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    // All at once, as when a provider loses patience; the ids differ from event to event.
    for round in 0..3 {
        let event = world.twin("C1", &format!("e{round}"), &format!("l{round}"), false);
        let outcomes = try_join_all((0..50).map(|_| subject.accept(&world, event.clone()))).await?;
        let new = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Accepted::New { .. }))
            .count();
        ensure_eq!(new, 1, "how many of 50 deliveries of one event are new");
        let rest = outcomes
            .iter()
            .filter(|outcome| **outcome == Accepted::Duplicate)
            .count();
        ensure_eq!(rest, 49, "how many of 50 deliveries are duplicates");
    }
    let claim = subject.claim().await?;
    let inbox = subject.load(&claim).await?.inbox;
    ensure_eq!(inbox.len(), 3, "events in the inbox");
    // What was consumed is known as well.
    let consume = Append {
        consume_to: Some(3),
        ..Append::default()
    };
    subject.append(&claim, 0, consume).await?;
    let again = subject
        .accept(&world, world.twin("C1", "e0", "l0", false))
        .await?;
    ensure_eq!(again, Accepted::Duplicate, "a consumed event again");
    Ok(())
}

pub(super) async fn twins_fold(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    subject
        .accept_new(&world, world.twin("C1", "message", "L1", false))
        .await?;
    let mention = world.twin("C1", "mention", "L1", true);
    let outcome = subject.accept(&world, mention.clone()).await?;
    ensure_eq!(outcome, Accepted::Upgraded, "a mention after its message");
    let outcome = subject.accept(&world, mention).await?;
    ensure_eq!(outcome, Accepted::Duplicate, "the mention again");
    subject
        .accept_new(&world, world.twin("C1", "mention 2", "L2", true))
        .await?;
    let message = world.twin("C1", "message 2", "L2", false);
    let outcome = subject.accept(&world, message).await?;
    ensure_eq!(outcome, Accepted::Duplicate, "a message after its mention");
    let claim = subject.claim().await?;
    let inbox = subject.load(&claim).await?.inbox;
    ensure_eq!(inbox.len(), 2, "events in the inbox");
    for item in inbox {
        let event = item.event.ok_or("an event cannot be read")?.event;
        ensure!(
            event.addressed.mention,
            "{} does not name the employee",
            event.id
        );
    }
    Ok(())
}

pub(super) async fn a_consumed_twin_does_not_hide_a_mention(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    subject
        .accept_new(&world, world.twin("C1", "message", "L1", false))
        .await?;
    let claim = subject.claim().await?;
    let consume = Append {
        consume_to: Some(1),
        ..Append::default()
    };
    subject.append(&claim, 0, consume).await?;
    let mention = world.twin("C1", "mention", "L1", true);
    let (conversation, seq) = subject.accept_new(&world, mention.clone()).await?;
    ensure_eq!(
        (conversation, seq),
        (claim.conversation, 2),
        "where it went"
    );
    let outcome = subject.accept(&world, mention).await?;
    ensure_eq!(outcome, Accepted::Duplicate, "the mention again");
    let other = world.twin("C1", "mention 2", "L1", true);
    let outcome = subject.accept(&world, other).await?;
    ensure_eq!(outcome, Accepted::Duplicate, "another mention of the same");
    Ok(())
}

pub(super) async fn empty_ids_are_no_keys(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    for n in 1..=3 {
        let (_, seq) = subject.accept_new(&world, world.message("C1", "")).await?;
        ensure_eq!(seq, n, "the number of an event without ids");
    }
    // Without an event id, the logical one is a key alone.
    subject
        .accept_new(&world, world.twin("C1", "", "L1", false))
        .await?;
    let outcome = subject
        .accept(&world, world.twin("C1", "", "L1", false))
        .await?;
    ensure_eq!(outcome, Accepted::Duplicate, "an equal logical id");
    Ok(())
}

pub(super) async fn a_batch_is_deduped_within(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let events = vec![
        world.message("C1", "a"),
        world.message("C1", "a"),
        world.twin("C2", "b", "L", false),
        world.twin("C2", "c", "L", true),
        world.message("C1", "d"),
    ];
    let outcomes = subject.store.accept(world.tenant, events).await?;
    let [
        Accepted::New {
            conversation: one,
            seq: 1,
        },
        Accepted::Duplicate,
        Accepted::New {
            conversation: two,
            seq: 1,
        },
        Accepted::Upgraded,
        Accepted::New {
            conversation: three,
            seq: 2,
        },
    ] = outcomes[..]
    else {
        return Err(format!("the outcomes are {outcomes:?}").into());
    };
    ensure!(
        one == three && one != two,
        "the conversations are mixed up: {outcomes:?}"
    );
    let none = subject.store.accept(world.tenant, Vec::new()).await?;
    ensure!(none.is_empty(), "no events have outcomes");
    Ok(())
}

pub(super) async fn ids_are_a_connections_own(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let elsewhere = World {
        tenant: world.tenant,
        ..World::new()
    };
    let event = |world: &World| world.twin("C1", "e1", "l1", false);
    let (here, _) = subject.accept_new(&world, event(&world)).await?;
    let (there, seq) = subject.accept_new(&elsewhere, event(&elsewhere)).await?;
    ensure_eq!(seq, 1, "the number in another connection's conversation");
    ensure!(
        here != there,
        "one place of two connections is one conversation"
    );
    Ok(())
}

pub(super) async fn numbers_count_up_in_order(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    for n in 1..=20u64 {
        let place = if n % 2 == 0 { "even" } else { "odd" };
        let event = world.message(place, &n.to_string());
        let (_, seq) = subject.accept_new(&world, event).await?;
        ensure_eq!(seq, n.div_ceil(2), "the number of event {n}");
    }
    for _ in 0..2 {
        let claim = subject.claim().await?;
        let inbox = subject.load(&claim).await?.inbox;
        let numbers: Vec<_> = inbox.iter().map(|item| item.seq).collect();
        ensure_eq!(numbers, (1..=10).collect::<Vec<_>>(), "the inbox's numbers");
        let ids: Vec<u64> = inbox
            .iter()
            .filter_map(|item| item.event.as_ref()?.event.id.parse().ok())
            .collect();
        ensure!(
            ids.len() == 10 && ids.is_sorted(),
            "events are out of order: {ids:?}"
        );
    }
    Ok(())
}

pub(super) async fn events_are_kept_whole(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let now = subject.clock.now();
    let mut event = world.twin("C1", "e1", "l1", true);
    event.event.sender.name = Some("Übermäßig 🎉 \u{0} \"quoted\"".into());
    event.event.redelivery = 3;
    subject.accept_new(&world, event.clone()).await?;
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(loaded.connection, world.connection, "the connection");
    ensure_eq!(loaded.place, event.event.conversation, "the place");
    ensure_eq!(
        (loaded.len, !loaded.due.is_empty()),
        (0, false),
        "length and timer"
    );
    ensure_eq!(loaded.now, now, "the time");
    let item = &loaded.inbox[0];
    ensure_eq!(item.accepted_at, now, "when it was accepted");
    ensure_eq!(item.persons.len(), 1, "whose words it holds");
    ensure_eq!(item.event.as_ref(), Some(&event), "the event");
    Ok(())
}

pub(super) async fn what_has_no_place_has_one(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let mut conversations = Vec::new();
    for id in ["a", "b"] {
        let mut event = world.message("C1", id);
        event.event.conversation = None;
        conversations.push(subject.accept_new(&world, event).await?.0);
    }
    ensure_eq!(
        conversations[0],
        conversations[1],
        "the connection's own conversation"
    );
    let (place, _) = subject.accept_new(&world, world.message("C1", "c")).await?;
    ensure!(
        place != conversations[0],
        "a place is the connection's own conversation"
    );
    Ok(())
}

/// A status of a delivery key.
fn status(world: &World, id: &str, key: Option<&str>, state: DeliveryState) -> RoutedEvent {
    let mut event = world.message("somewhere else", id);
    event.event.body = Body::Delivery {
        message: "m".into(),
        state,
        key: key.map(Into::into),
        errors: Vec::new(),
        billed: None,
    };
    event
}

/// Registers delivery keys as the first record of a conversation does.
pub(super) fn sends(keys: &[&str]) -> Append {
    let key = |key: &&str| DeliveryKey {
        key: (*key).into(),
        index: 0,
    };
    Append {
        delivery_keys: keys.iter().map(key).collect(),
        ..records(&["send"])
    }
}

pub(super) async fn statuses_are_folded(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    subject.append(&claim, 0, sends(&["k.1"])).await?;
    let accept = async |id, key, state| {
        let event = status(&world, id, key, state);
        subject.accept(&world, event).await
    };
    let state = async || -> Result<_, Failed> {
        let read = subject.store.read(world.tenant, claim.conversation, 0..1);
        Ok(read.await?.first().and_then(|stored| stored.delivery))
    };
    ensure_eq!(state().await?, None, "the state before any status");
    for (id, key) in [("s1", Some("unknown")), ("s2", None)] {
        let outcome = accept(id, key, DeliveryState::Failed).await?;
        ensure_eq!(outcome, Accepted::Folded, "a status with the key {key:?}");
    }
    // Until its send is settled, a status is the answer that somebody may wait for.
    let outcome = accept("s3", Some("k.1"), DeliveryState::Sent).await?;
    let news = Accepted::New {
        conversation: claim.conversation,
        seq: 2,
    };
    ensure_eq!(outcome, news, "a status of a send that is open");
    let settled = Append {
        settled: vec!["k.1".into()],
        consume_to: Some(2),
        ..Append::default()
    };
    subject.append(&claim, 1, settled).await?;
    subject.store.release(&claim, 2).await?;
    for (id, told, known) in [
        ("s4", DeliveryState::Read, DeliveryState::Read),
        ("s5", DeliveryState::Delivered, DeliveryState::Read),
        ("s6", DeliveryState::Failed, DeliveryState::Read),
    ] {
        let outcome = accept(id, Some("k.1"), told).await?;
        ensure_eq!(outcome, Accepted::Folded, "{told:?} of what is settled");
        ensure_eq!(state().await?, Some(known), "the state after {told:?}");
    }
    subject
        .claim_nothing("after statuses that are folded")
        .await?;
    // A message that fails after it was accepted is news.
    let claim = subject.claimed(&world, "C2").await?;
    let sent = Append {
        settled: vec!["k.2".into()],
        ..sends(&["k.2"])
    };
    subject.append(&claim, 0, sent).await?;
    let outcome = accept("s7", Some("k.2"), DeliveryState::Sent).await?;
    ensure_eq!(outcome, Accepted::Folded, "a status of what is settled");
    let outcome = accept("s8", Some("k.2"), DeliveryState::Failed).await?;
    ensure!(
        matches!(outcome, Accepted::New { conversation, .. } if conversation == claim.conversation),
        "a failure of what was accepted is {outcome:?}"
    );
    Ok(())
}

pub(super) async fn decisions_find_their_conversation(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let decision = |id: &str, target| {
        let mut event = world.message("somewhere else", id);
        event.event.conversation = None;
        event.event.sender = Actor::default();
        event.event.body = Body::Decision {
            target,
            item: ItemId("i".into()),
            decision: Decision::Drop,
        };
        event
    };
    let event = decision("d1", claim.conversation);
    let (conversation, seq) = subject.accept_new(&world, event).await?;
    ensure_eq!(
        (conversation, seq),
        (claim.conversation, 2),
        "where a decision went"
    );
    let event = decision("d2", ConversationId::from_bytes([1; 16]));
    let outcome = subject.accept(&world, event).await?;
    ensure_eq!(outcome, Accepted::Folded, "a decision about nothing");
    Ok(())
}

pub(super) async fn reactions_wait(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let reaction = |id: &str| {
        let mut event = world.message("C1", id);
        event.event.body = Body::Reaction {
            message: "m".into(),
            emoji: "+1".into(),
            added: true,
        };
        event
    };
    for n in 1..QUIET_EVENTS {
        let event = reaction(&format!("r{n}"));
        subject.accept_new(&world, event).await?;
    }
    subject.claim_nothing("after a few reactions").await?;
    subject.accept_new(&world, reaction("the last")).await?;
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        loaded.inbox.len() as u64,
        QUIET_EVENTS,
        "reactions that are input"
    );
    Ok(())
}
