//! A person with a new address stays the same person, if the provider reports the change.

use std::time::Duration;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{World, record},
};
use crate::{
    ChannelKind, Clock as _, ConversationId, Depth, Erase, PersonId,
    message::{Actor, Body, IdKind, Lifecycle, RoutedEvent},
    store::{Accepted, Append, Exported, InboxItem},
    turn::{Entry, Event, Input, Record},
};

/// Returns a message from an address, in a conversation of its own.
fn said(subject: &StoreSubject, world: &World, address: &str, id: &str) -> RoutedEvent {
    let mut routed = world.message(address, id);
    routed.event.sender = Actor::human(IdKind::Other, address);
    routed.event.occurred_at = subject.clock.now();
    routed
}

/// Returns the provider's report that a person has a new address.
fn changed(subject: &StoreSubject, world: &World, old: &str, new: &str) -> RoutedEvent {
    let mut routed = said(subject, world, old, &format!("{old}-{new}"));
    let change = Lifecycle::IdentityChanged {
        old: old.into(),
        new: new.into(),
    };
    routed.event.body = Body::Lifecycle { change };
    routed
}

async fn says(subject: &StoreSubject, world: &World, address: &str, id: &str) -> Outcome {
    let event = said(subject, world, address, id);
    subject.accept_new(world, event).await.map(drop)
}

async fn changes(subject: &StoreSubject, world: &World, old: &str, new: &str) -> Outcome {
    let event = changed(subject, world, old, new);
    subject.accept_new(world, event).await.map(drop)
}

/// Returns the sender of an event.
async fn who(subject: &StoreSubject, world: &World, id: &str) -> Result<PersonId, Failed> {
    let exported = subject.exported(world.tenant).await?.into_iter();
    let found = exported.filter_map(|item| match item {
        Exported::Inbox(InboxItem {
            event: Some(routed),
            persons,
            ..
        }) => (routed.event.id == id).then_some(persons),
        _ => None,
    });
    let persons = found.last().ok_or_else(|| format!("{id} does not exist"))?;
    ensure!(persons.len() == 1, "{id} belongs to {persons:?}");
    Ok(persons[0])
}

/// Exports a tenant, erases it, and imports it again, which replaces its keys.
async fn moves(subject: &StoreSubject, world: &World) -> Outcome {
    let exported = subject.exported(world.tenant).await?;
    let erased = subject
        .store
        .erase(world.tenant, Erase::Tenant, Depth::Logical);
    erased.await?;
    Ok(subject.store.import(world.tenant, exported).await?)
}

pub(super) async fn a_linked_address_belongs_to_the_person(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &world, "2", "e2").await?;
    changes(subject, &world, "2", "3").await?;
    says(subject, &world, "3", "e3").await?;
    says(subject, &world, "4", "e4").await?;
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(
        who(subject, &world, "e2").await?,
        person,
        "the person of address 2"
    );
    ensure_eq!(
        who(subject, &world, "e3").await?,
        person,
        "the person of address 3, which is linked by address 2"
    );
    let other = who(subject, &world, "e4").await?;
    ensure!(other != person, "another address belongs to the person");
    Ok(())
}

pub(super) async fn a_person_is_found_by_address(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    let find = async |of: &World, channel: &ChannelKind, address: &str| {
        subject.store.person(of.tenant, channel, address).await
    };
    let slack = ChannelKind::SLACK;
    ensure_eq!(find(&world, &slack, "1").await?, None, "before any event");
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &other, "7", "e1").await?;
    let person = who(subject, &world, "e1").await?;
    // A store may search only the senders of events in logs.
    while let Some(claim) = subject.try_claim().await? {
        let loaded = subject.load(&claim).await?;
        let consume_to = Some(loaded.newest());
        let records = loaded.inbox.into_iter().filter_map(|item| {
            let event = item.event?.event;
            let input = Input {
                seq: item.seq,
                accepted_at: item.accepted_at,
                late: false,
                persons: item.persons.clone(),
                about: None,
                undelivered: None,
                event,
            };
            Some(Record {
                persons: item.persons.into_iter().collect(),
                entry: Entry::Event(Event::Received(Box::new(input))),
                ..record("received")
            })
        });
        let append = Append {
            records: records.collect(),
            consume_to,
            checkpoint: true,
            ..Append::default()
        };
        subject.append(&claim, loaded.len, append).await?;
        subject.store.release(&claim, 0).await?;
    }
    ensure_eq!(find(&world, &slack, "1").await?, Some(person), "the sender");
    ensure_eq!(
        find(&world, &slack, "2").await?,
        Some(person),
        "a linked address"
    );
    ensure_eq!(find(&world, &slack, "3").await?, None, "an unknown address");
    ensure_eq!(
        find(&world, &ChannelKind::WHATSAPP, "1").await?,
        None,
        "another channel"
    );
    ensure_eq!(find(&other, &slack, "1").await?, None, "another tenant");
    ensure!(
        find(&other, &slack, "7").await?.is_some(),
        "the other tenant's person is lost"
    );
    let what = Erase::Person { person };
    subject
        .store
        .erase(world.tenant, what, Depth::Logical)
        .await?;
    for address in ["1", "2"] {
        ensure_eq!(
            find(&world, &slack, address).await?,
            None,
            "{address} after the erasure"
        );
    }
    Ok(())
}

/// A provider's report to one tenant does not link addresses of another.
pub(super) async fn a_link_belongs_to_one_tenant(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    says(subject, &world, "1", "e1").await?;
    says(subject, &other, "1", "e1").await?;
    changes(subject, &other, "1", "2").await?;
    says(subject, &world, "2", "e2").await?;
    let (first, second) = (
        who(subject, &world, "e1").await?,
        who(subject, &world, "e2").await?,
    );
    ensure!(first != second, "another tenant's link has an effect");
    Ok(())
}

pub(super) async fn two_known_persons_are_not_merged(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    says(subject, &world, "2", "e2").await?;
    let two = who(subject, &world, "e2").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &world, "2", "e3").await?;
    ensure_eq!(
        who(subject, &world, "e3").await?,
        two,
        "the person of address 2"
    );
    let one = who(subject, &world, "e1").await?;
    ensure!(one != two, "two persons are one");
    moves(subject, &world).await?;
    says(subject, &world, "2", "e4").await?;
    ensure_eq!(who(subject, &world, "e4").await?, two, "after a move");
    Ok(())
}

/// The events of a batch are processed in order.
pub(super) async fn a_link_applies_within_a_batch(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let batch = vec![
        said(subject, &world, "1", "e1"),
        changed(subject, &world, "1", "2"),
        said(subject, &world, "2", "e2"),
        said(subject, &world, "3", "e3"),
        changed(subject, &world, "2", "3"),
        said(subject, &world, "3", "e4"),
    ];
    let outcomes = subject.store.accept(world.tenant, batch).await?;
    let new = |it: &Accepted| matches!(it, Accepted::New { .. });
    ensure!(
        outcomes.iter().all(new),
        "the outcomes of a batch are {outcomes:?}"
    );
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(
        who(subject, &world, "e2").await?,
        person,
        "the person of address 2"
    );
    let three = who(subject, &world, "e3").await?;
    ensure!(three != person, "address 3 was used before it was linked");
    ensure_eq!(
        who(subject, &world, "e4").await?,
        three,
        "the person of address 3"
    );
    Ok(())
}

/// The provider's report may come from the new address.
pub(super) async fn a_link_may_come_from_the_new_address(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    let mut link = changed(subject, &world, "1", "2");
    link.event.sender = Actor::human(IdKind::Other, "2");
    subject.accept_new(&world, link).await?;
    says(subject, &world, "2", "e2").await?;
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(
        who(subject, &world, "1-2").await?,
        person,
        "the sender of the report"
    );
    ensure_eq!(
        who(subject, &world, "e2").await?,
        person,
        "the person of address 2"
    );
    Ok(())
}

pub(super) async fn a_person_is_forgotten_under_all_addresses(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &world, "2", "e2").await?;
    let person = who(subject, &world, "e1").await?;
    let late = ["1", "2"].map(|address| {
        let id = format!("late-{address}");
        said(subject, &world, address, &id)
    });
    subject.clock.advance(Duration::from_secs(60));
    let what = Erase::Person { person };
    let erased = subject.store.erase(world.tenant, what, Depth::Logical);
    ensure_eq!(erased.await?.records, 3, "erased events");
    let exported = subject.exported(world.tenant).await?;
    let event = |item: &Exported| matches!(item, Exported::Inbox(it) if it.event.is_some());
    ensure!(!exported.iter().any(event), "exported: {exported:?}");
    for event in late {
        let id = event.event.id.clone();
        let outcome = subject.accept(&world, event).await?;
        ensure_eq!(outcome, Accepted::Duplicate, "the delivery {id}");
    }
    says(subject, &world, "2", "e3").await?;
    let again = who(subject, &world, "e3").await?;
    ensure!(again != person, "the address is still linked");
    Ok(())
}

pub(super) async fn a_link_moves_with_the_tenant(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    let person = who(subject, &world, "e1").await?;
    moves(subject, &world).await?;
    says(subject, &world, "2", "e2").await?;
    ensure_eq!(
        who(subject, &world, "e2").await?,
        person,
        "the person of address 2"
    );
    says(subject, &world, "1", "e3").await?;
    ensure_eq!(
        who(subject, &world, "e3").await?,
        person,
        "the person of address 1"
    );
    Ok(())
}

/// Returns a message of a person with these ids, the first of which names the conversation.
fn known_as(subject: &StoreSubject, world: &World, ids: &[&str], id: &str) -> RoutedEvent {
    let mut routed = said(subject, world, ids[0], id);
    let ids = ids.iter().map(|id| (IdKind::Other, (*id).to_owned()));
    routed.event.sender.ids = ids.collect();
    routed
}

/// Accepts a message, and returns its conversation and its person.
async fn spoken(
    subject: &StoreSubject,
    world: &World,
    ids: &[&str],
    id: &str,
) -> Result<(ConversationId, PersonId), Failed> {
    let event = known_as(subject, world, ids, id);
    let Accepted::New { conversation, .. } = subject.accept(world, event).await? else {
        return Err(format!("{id} is not new").into());
    };
    Ok((conversation, who(subject, world, id).await?))
}

/// A person whom the provider reports with two ids is one person with one conversation, whichever id comes alone, and in which
/// order they come.
pub(super) async fn two_ids_are_one_person_and_conversation(subject: &StoreSubject) -> Outcome {
    for (first, second, third) in [
        (&["1", "U1"][..], &["U1"][..], &["1"][..]),
        (&["1", "U1"], &["1"], &["U1"]),
        (&["U1"], &["1", "U1"], &["1"]),
        (&["1"], &["1", "U1"], &["U1"]),
    ] {
        let world = World::new();
        let place = spoken(subject, &world, first, "e1").await?;
        for (n, ids) in [second, third, first, second].into_iter().enumerate() {
            let again = spoken(subject, &world, ids, &format!("f{n}")).await?;
            ensure_eq!(again, place, "{first:?}, {second:?}, then {ids:?}");
        }
        let other = spoken(subject, &world, &["2", "U2"], "e2").await?;
        ensure!(
            other.0 != place.0 && other.1 != place.1,
            "two persons are one"
        );
        moves(subject, &world).await?;
        for (n, ids) in [&["U1"][..], &["1"], &["1", "U1"]].into_iter().enumerate() {
            let again = spoken(subject, &world, ids, &format!("g{n}")).await?;
            ensure_eq!(again, place, "{ids:?} after a move");
        }
        subject.clock.advance(Duration::from_secs(60));
        let late = known_as(subject, &world, &["U1"], "late");
        subject.clock.advance(Duration::from_secs(60));
        let what = Erase::Person { person: place.1 };
        let erased = subject.store.erase(world.tenant, what, Depth::Logical);
        ensure_eq!(erased.await?.records, 8, "erased events");
        let outcome = subject.accept(&world, late).await?;
        ensure_eq!(outcome, Accepted::Duplicate, "a late delivery");
    }
    Ok(())
}

/// A changed identity keeps its conversation; with all ids in the report, each of them is known afterwards.
pub(super) async fn a_changed_identity_keeps_its_conversation(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let place = spoken(subject, &world, &["1", "U1"], "e1").await?;
    let mut link = changed(subject, &world, "1", "2");
    let ids = ["1", "2", "U1", "U2"].map(|id| (IdKind::Other, id.to_owned()));
    link.event.sender.ids = ids.into();
    subject.accept_new(&world, link).await?;
    for (n, ids) in [&["2", "U2"][..], &["U2"], &["2"], &["U1"]]
        .into_iter()
        .enumerate()
    {
        let again = spoken(subject, &world, ids, &format!("f{n}")).await?;
        ensure_eq!(again, place, "{ids:?}");
    }
    Ok(())
}

/// Persons and conversations that were separate before the provider reported that they are one stay separate.
pub(super) async fn two_known_conversations_are_not_merged(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let one = spoken(subject, &world, &["1"], "e1").await?;
    let two = spoken(subject, &world, &["U1"], "e2").await?;
    ensure!(one.0 != two.0 && one.1 != two.1, "they are one");
    ensure_eq!(
        spoken(subject, &world, &["1", "U1"], "e3").await?,
        one,
        "both"
    );
    ensure_eq!(
        spoken(subject, &world, &["U1"], "e4").await?,
        two,
        "the second"
    );
    // In one batch, too.
    let world = World::new();
    let batch = vec![
        known_as(subject, &world, &["3"], "b1"),
        known_as(subject, &world, &["3", "U3"], "b2"),
        known_as(subject, &world, &["U3"], "b3"),
        known_as(subject, &world, &["4", "U4"], "b4"),
        known_as(subject, &world, &["4", "U4"], "b5"),
    ];
    let outcomes = subject.store.accept(world.tenant, batch).await?;
    let places: Vec<_> = outcomes
        .iter()
        .filter_map(|it| match it {
            Accepted::New { conversation, .. } => Some(*conversation),
            _ => None,
        })
        .collect();
    ensure_eq!(places.len(), 5, "new events");
    ensure!(
        places[0] == places[1] && places[1] == places[2],
        "{places:?}"
    );
    ensure!(
        places[3] == places[4] && places[3] != places[0],
        "{places:?}"
    );
    Ok(())
}
