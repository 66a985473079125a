//! A person who gets another address stays the same person, if the vendor says so.

use std::time::Duration;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{World, record},
};
use crate::{
    ChannelKind, Clock as _, Depth, Erase, PersonId,
    message::{Actor, Body, IdKind, Lifecycle, RoutedEvent},
    store::{Accepted, Append, Exported, InboxItem},
    turn::{Entry, Event, Input, Record},
};

/// Something said from an address, in a conversation of its own.
fn said(subject: &StoreSubject, world: &World, address: &str, id: &str) -> RoutedEvent {
    let mut routed = world.message(address, id);
    routed.event.sender = Actor::human(IdKind::Other, address);
    routed.event.occurred_at = subject.clock.now();
    routed
}

/// The vendor says that a person has another address.
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

/// Who said it, by the id of the event.
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
    let persons = found.last().ok_or_else(|| format!("{id} is gone"))?;
    ensure!(persons.len() == 1, "{id} is {persons:?}'s");
    Ok(persons[0])
}

/// Exports a tenant, erases it, and imports it again: its keys are others then.
async fn moves(subject: &StoreSubject, world: &World) -> Outcome {
    let exported = subject.exported(world.tenant).await?;
    let erased = subject
        .store
        .erase(world.tenant, Erase::Tenant, Depth::Logical);
    erased.await?;
    Ok(subject.store.import(world.tenant, exported).await?)
}

pub(super) async fn a_linked_address_is_the_persons(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &world, "2", "e2").await?;
    changes(subject, &world, "2", "3").await?;
    says(subject, &world, "3", "e3").await?;
    says(subject, &world, "4", "e4").await?;
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(who(subject, &world, "e2").await?, person, "whose 2 is");
    ensure_eq!(who(subject, &world, "e3").await?, person, "by way of 2");
    let other = who(subject, &world, "e4").await?;
    ensure!(other != person, "somebody else is the person");
    Ok(())
}

pub(super) async fn a_person_is_found_by_address(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    let find = async |of: &World, channel: &ChannelKind, address: &str| {
        subject.store.person(of.tenant, channel, address).await
    };
    let slack = ChannelKind::SLACK;
    ensure_eq!(find(&world, &slack, "1").await?, None, "before anything");
    says(subject, &world, "1", "e1").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &other, "7", "e1").await?;
    let person = who(subject, &world, "e1").await?;
    // A store may find only the senders of what is in a log.
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
    ensure_eq!(find(&world, &slack, "3").await?, None, "a stranger");
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

/// What a vendor says to one tenant links nothing of another.
pub(super) async fn a_link_is_the_tenants(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    says(subject, &world, "1", "e1").await?;
    says(subject, &other, "1", "e1").await?;
    changes(subject, &other, "1", "2").await?;
    says(subject, &world, "2", "e2").await?;
    let (first, second) = (
        who(subject, &world, "e1").await?,
        who(subject, &world, "e2").await?,
    );
    ensure!(first != second, "another tenant's link holds");
    Ok(())
}

pub(super) async fn two_who_were_heard_stay_two_persons(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    says(subject, &world, "2", "e2").await?;
    let two = who(subject, &world, "e2").await?;
    changes(subject, &world, "1", "2").await?;
    says(subject, &world, "2", "e3").await?;
    ensure_eq!(who(subject, &world, "e3").await?, two, "whose 2 is");
    let one = who(subject, &world, "e1").await?;
    ensure!(one != two, "two persons are one");
    moves(subject, &world).await?;
    says(subject, &world, "2", "e4").await?;
    ensure_eq!(who(subject, &world, "e4").await?, two, "after a move");
    Ok(())
}

/// The order of events is that of their batch.
pub(super) async fn a_link_holds_within_a_batch(subject: &StoreSubject) -> Outcome {
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
    ensure!(outcomes.iter().all(new), "a batch is {outcomes:?}");
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(who(subject, &world, "e2").await?, person, "whose 2 is");
    let three = who(subject, &world, "e3").await?;
    ensure!(three != person, "3 was heard before it was linked");
    ensure_eq!(who(subject, &world, "e4").await?, three, "whose 3 is");
    Ok(())
}

/// The vendor's word may come from the new address.
pub(super) async fn a_link_may_come_from_the_new_address(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    says(subject, &world, "1", "e1").await?;
    let mut link = changed(subject, &world, "1", "2");
    link.event.sender = Actor::human(IdKind::Other, "2");
    subject.accept_new(&world, link).await?;
    says(subject, &world, "2", "e2").await?;
    let person = who(subject, &world, "e1").await?;
    ensure_eq!(who(subject, &world, "1-2").await?, person, "who says so");
    ensure_eq!(who(subject, &world, "e2").await?, person, "whose 2 is");
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
    ensure_eq!(erased.await?.records, 3, "events that went");
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
    ensure_eq!(who(subject, &world, "e2").await?, person, "whose 2 is");
    says(subject, &world, "1", "e3").await?;
    ensure_eq!(who(subject, &world, "e3").await?, person, "whose 1 is");
    Ok(())
}
