//! Taking in: once each, in order, whole, and to the right conversation.

use futures_util::future::try_join_all;

use super::{JournalSubject, Outcome, ensure, ensure_eq, world::World};
use crate::{
    Body, Clock as _, Decision, DeliveryState,
    turn::{Accepted, Append},
};

pub(super) async fn redelivery_is_taken_once(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn twins_fold(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn a_consumed_twin_does_not_hide_a_mention(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn empty_ids_are_no_keys(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn a_batch_is_deduped_within(subject: &JournalSubject) -> Outcome {
    let world = World::new();
    let events = vec![
        world.message("C1", "a"),
        world.message("C1", "a"),
        world.twin("C2", "b", "L", false),
        world.twin("C2", "c", "L", true),
        world.message("C1", "d"),
    ];
    let outcomes = subject.journal.accept(world.tenant, events).await?;
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
    let none = subject.journal.accept(world.tenant, Vec::new()).await?;
    ensure!(none.is_empty(), "no events have outcomes");
    Ok(())
}

pub(super) async fn ids_are_a_connections_own(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn numbers_count_up_in_order(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn events_are_kept_whole(subject: &JournalSubject) -> Outcome {
    let world = World::new();
    let now = subject.clock.now();
    let mut event = world.twin("C1", "e1", "l1", true);
    event.event.sender.name = Some("Übermäßig 🎉 \u{0} \"quoted\"".into());
    event.event.redelivery = 3;
    subject.accept_new(&world, event.clone()).await?;
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(loaded.connection, world.connection, "the connection");
    ensure_eq!(
        Some(&loaded.place),
        event.event.conversation.as_ref(),
        "the place"
    );
    ensure_eq!((loaded.len, loaded.due), (0, false), "length and timer");
    ensure_eq!(loaded.now, now, "the time");
    let item = &loaded.inbox[0];
    ensure_eq!(item.accepted_at, now, "when it was accepted");
    ensure_eq!(item.persons.len(), 1, "whose words it holds");
    ensure_eq!(item.event.as_ref(), Some(&event), "the event");
    Ok(())
}

pub(super) async fn what_has_no_place_has_one(subject: &JournalSubject) -> Outcome {
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

pub(super) async fn delivery_keys_route_events(subject: &JournalSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let append = Append {
        delivery_keys: vec!["k.1".into(), "k.2".into()],
        ..Append::default()
    };
    subject.append(&claim, 0, append).await?;
    for key in ["k.1", "k.2"] {
        let found = subject.journal.resolve(world.tenant, key).await?;
        ensure_eq!(found, Some(claim.conversation), "the conversation of {key}");
    }
    let delivery = |id: &str, key: Option<&str>| {
        let mut event = world.message("somewhere else", id);
        event.event.body = Body::Delivery {
            message: "m".into(),
            state: DeliveryState::Sent,
            key: key.map(Into::into),
            errors: Vec::new(),
            billed: None,
        };
        event
    };
    let (conversation, seq) = subject
        .accept_new(&world, delivery("d1", Some("k.1")))
        .await?;
    ensure_eq!(
        (conversation, seq),
        (claim.conversation, 2),
        "where a status went"
    );
    let mut decision = world.message("somewhere else", "d2");
    decision.event.conversation = None;
    decision.event.body = Body::Decision {
        key: "k.2".into(),
        decision: Decision::Drop,
    };
    let (conversation, _) = subject.accept_new(&world, decision).await?;
    ensure_eq!(conversation, claim.conversation, "where a decision went");
    for (id, key) in [("d3", Some("unknown")), ("d4", None)] {
        let (conversation, _) = subject.accept_new(&world, delivery(id, key)).await?;
        ensure!(
            conversation != claim.conversation,
            "a status with the key {key:?} went to the conversation"
        );
    }
    let found = subject.journal.resolve(world.tenant, "unknown").await?;
    ensure_eq!(found, None, "the conversation of an unknown key");
    Ok(())
}
