//! Erasing messages and persons, moving a tenant, and charges outside of conversations.

use std::collections::BTreeSet;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{World, record, records},
};
use crate::{
    ConversationId, Depth, Erase, ErrorKind, NanoUsd, PersonId, Timestamp,
    limit::BudgetKey,
    message::{Actor, IdKind, RoutedEvent},
    money::{Basis, LedgerRow, Usage},
    store::{
        Accepted, Append, AppendOutcome, Charge, Charged, Claim, Exported, LedgerQuery, Settle,
        Stored, rules,
    },
    turn::Record,
};

/// Returns a record that is encrypted for these persons.
fn words(text: &str, persons: &[PersonId]) -> Record {
    Record {
        persons: persons.iter().copied().collect::<BTreeSet<_>>(),
        ..record(text)
    }
}

fn from(mut routed: RoutedEvent, user: &str) -> RoutedEvent {
    routed.event.sender = Actor::human(IdKind::SlackUser, user);
    routed
}

/// Returns the texts of a log, with `-` for records that can no longer be read.
async fn read(
    subject: &StoreSubject,
    world: &World,
    conversation: ConversationId,
) -> Result<Vec<String>, Failed> {
    let log = subject
        .store
        .read(world.tenant, conversation, 0..100)
        .await?;
    let text = |stored: Stored| {
        stored
            .record
            .map_or_else(|| "-".to_owned(), |record| super::world::text_of(&record))
    };
    Ok(log.into_iter().map(text).collect())
}

pub(super) async fn a_message_is_forgotten(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let append = records(&["one", "two", "three"]);
    subject.append(&claim, 0, append).await?;
    let what = Erase::Message {
        conversation: claim.conversation,
        index: 1,
    };
    let erase = async || {
        subject
            .store
            .erase(world.tenant, what, Depth::Logical)
            .await
    };
    ensure_eq!(erase().await?.records, 1, "erased records");
    ensure_eq!(erase().await?.records, 0, "records of a repeated erasure");
    ensure_eq!(
        read(subject, &world, claim.conversation).await?,
        ["one", "-", "three"],
        "the log"
    );
    let outcome = subject.store.append(&claim, 3, records(&["no"])).await?;
    ensure_eq!(outcome, AppendOutcome::Lost, "an append by its claim");
    let fed = subject.store.feed(world.tenant, 0, 10).await?;
    let cursors: Vec<_> = fed.iter().map(|fed| fed.stored.record.is_some()).collect();
    ensure_eq!(
        cursors,
        [true, false, true],
        "the readable records of the feed"
    );
    Ok(())
}

/// Creates a conversation of two persons, and one in which only the second wrote. Returns both claims and both persons.
async fn two_persons(
    subject: &StoreSubject,
    world: &World,
) -> Result<([Claim; 2], [PersonId; 2]), Failed> {
    let event = |place, id, user| from(world.message(place, id), user);
    subject
        .accept_new(world, event("C1", "a1", "U-ann"))
        .await?;
    subject
        .accept_new(world, event("C1", "b1", "U-bob"))
        .await?;
    let first = subject.claim().await?;
    let loaded = subject.load(&first).await?;
    let persons: Vec<PersonId> = loaded
        .inbox
        .iter()
        .flat_map(|item| item.persons.clone())
        .collect();
    let [ann, bob] = persons[..] else {
        return Err(format!("two events belong to {persons:?}").into());
    };
    ensure!(ann != bob, "two persons have one id");
    let append = Append {
        consume_to: Some(1),
        records: vec![
            words("ann", &[ann]),
            words("both", &[ann, bob]),
            words("bob", &[bob]),
        ],
        ..Append::default()
    };
    subject.append(&first, 0, append).await?;
    subject
        .accept_new(world, event("C2", "b2", "U-bob"))
        .await?;
    let second = subject.claim().await?;
    subject
        .append(
            &second,
            0,
            Append {
                records: vec![words("bob alone", &[bob])],
                ..Append::default()
            },
        )
        .await?;
    Ok(([first, second], [ann, bob]))
}

pub(super) async fn a_persons_conversations_are_listed(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let ([first, second], [ann, bob]) = two_persons(subject, &world).await?;
    let (first, second) = (first.conversation, second.conversation);
    let of = async |tenant, person, after, limit| {
        let found = subject.store.conversations_of(tenant, person, after, limit);
        found.await
    };
    let both = [first.min(second), first.max(second)];
    ensure_eq!(of(world.tenant, ann, None, 9).await?, [first], "Ann's");
    ensure_eq!(of(world.tenant, bob, None, 9).await?, both, "Bob's");
    ensure_eq!(of(world.tenant, bob, None, 1).await?, both[..1], "a page");
    let rest = of(world.tenant, bob, Some(both[0]), 9).await?;
    ensure_eq!(rest, both[1..], "the page after it");
    let none = of(World::new().tenant, bob, None, 9).await?;
    ensure!(none.is_empty(), "another tenant has {none:?}");
    let what = Erase::Person { person: bob };
    subject
        .store
        .erase(world.tenant, what, Depth::Logical)
        .await?;
    let none = of(world.tenant, bob, None, 9).await?;
    ensure!(none.is_empty(), "an erased person has {none:?}");
    Ok(())
}

pub(super) async fn a_person_is_forgotten(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let ([first, second], [_, bob]) = two_persons(subject, &world).await?;
    // A delivery key, and an unconsumed event of another person.
    let waiting = from(world.message("C1", "a2"), "U-ann");
    subject.accept_new(&world, waiting).await?;
    subject
        .clock
        .advance(std::time::Duration::from_secs(31_536_000));
    let what = Erase::Person { person: bob };
    let receipt = subject
        .store
        .erase(world.tenant, what, Depth::Logical)
        .await?;
    // Three records, and two events of the inboxes.
    ensure_eq!(receipt.records, 5, "erased records and events");
    ensure_eq!(
        read(subject, &world, first.conversation).await?,
        ["ann", "-", "-"],
        "the log of both"
    );
    ensure_eq!(
        read(subject, &world, second.conversation).await?,
        ["-"],
        "the log of one"
    );
    for claim in [&first, &second] {
        let outcome = subject.store.append(claim, 3, records(&["no"])).await?;
        ensure_eq!(outcome, AppendOutcome::Lost, "a late append");
    }
    for (id, when) in [("b1", "redelivered"), ("b3", "delivered late")] {
        let event = from(world.message("C1", id), "U-bob");
        let outcome = subject.accept(&world, event).await?;
        ensure_eq!(outcome, Accepted::Duplicate, "an earlier message, {when}");
    }
    let mut claim = subject.claim().await?;
    if claim.conversation == second.conversation {
        // Its open turn can no longer be read. It may be processed first.
        subject.store.release(&claim, 9).await?;
        claim = subject.claim().await?;
    }
    ensure_eq!(
        claim.conversation,
        first.conversation,
        "the ready conversation"
    );
    let loaded = subject.load(&claim).await?;
    let inbox: Vec<_> = loaded
        .inbox
        .iter()
        .map(|item| item.event.as_ref().map(|routed| routed.event.id.as_str()))
        .collect();
    ensure_eq!(inbox, [Some("a2")], "the events left in the inbox");
    subject.append(&claim, 3, records(&["after"])).await?;
    // Later messages belong to a new person and are kept.
    let mut again = from(world.message("C2", "b4"), "U-bob");
    again.event.occurred_at = crate::Clock::now(&subject.clock) + std::time::Duration::from_secs(1);
    let (conversation, _) = subject.accept_new(&world, again).await?;
    ensure_eq!(
        conversation,
        second.conversation,
        "the conversation of the new message"
    );
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(loaded.inbox.len(), 1, "the unconsumed events of the person");
    ensure!(
        loaded.inbox[0].event.is_some(),
        "a message after the erasure cannot be read"
    );
    subject
        .append(
            &claim,
            1,
            Append {
                records: vec![words("bob again", &[bob])],
                ..Append::default()
            },
        )
        .await?;
    ensure_eq!(
        read(subject, &world, second.conversation).await?,
        ["-", "bob again"],
        "the log after"
    );
    Ok(())
}

pub(super) async fn an_import_restores(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let ([first, second], [_, bob]) = two_persons(subject, &world).await?;
    let forget = Erase::Message {
        conversation: first.conversation,
        index: 0,
    };
    subject
        .store
        .erase(world.tenant, forget, Depth::Logical)
        .await?;
    let charge = Charge {
        reserve: Some(super::append::reservation("open", 70, None)),
        ledger: vec![row("open")],
        ..Charge::default()
    };
    ensure!(
        subject.store.charge(world.tenant, charge).await? == Charged::Granted,
        "the charge without a cap"
    );
    let exported = subject.exported(world.tenant).await?;
    let before = shown(&exported);
    // This could be another instance. A completely erased tenant is equivalent.
    subject
        .store
        .erase(world.tenant, Erase::Tenant, Depth::Logical)
        .await?;
    subject.store.import(world.tenant, exported).await?;
    ensure_eq!(
        shown(&subject.exported(world.tenant).await?),
        before,
        "the export after the import"
    );
    ensure_eq!(
        read(subject, &world, first.conversation).await?,
        ["-", "both", "bob"],
        "the log"
    );
    // Unconsumed events keep their numbers, and later events are numbered after them.
    let mut ready = BTreeSet::new();
    while let Some(claim) = subject.try_claim().await? {
        let loaded = subject.load(&claim).await?;
        ready.insert((claim.conversation, loaded.len, loaded.inbox[0].seq));
        subject.store.release(&claim, 9).await?;
    }
    ensure_eq!(
        ready,
        BTreeSet::from([(first.conversation, 3, 2), (second.conversation, 1, 1)]),
        "the ready conversation"
    );
    let (_, seq) = subject
        .accept_new(&world, from(world.message("C1", "a9"), "U-ann"))
        .await?;
    ensure_eq!(seq, 3, "the next number");
    // The persons are the same.
    let what = Erase::Person { person: bob };
    let erased = subject.store.erase(world.tenant, what, Depth::Logical);
    ensure_eq!(erased.await?.records, 5, "erased records and events");
    Ok(())
}

/// Returns an export as text, without what an import may renumber.
fn shown(items: &[Exported]) -> Vec<String> {
    let mut shown: Vec<_> = items
        .iter()
        .map(|item| match item {
            Exported::Conversation(summary) => {
                format!("{} {:?} {}", summary.id, summary.place, summary.len)
            }
            other => format!("{other:?}"),
        })
        .collect();
    shown.sort();
    shown
}

pub(super) async fn a_bad_import_changes_nothing(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    subject.append(&claim, 0, records(&["one", "two"])).await?;
    let exported = subject.exported(world.tenant).await?;
    let again = subject.store.import(world.tenant, exported.clone()).await;
    let kind = again.map_err(|error| error.kind());
    ensure_eq!(
        kind,
        Err(ErrorKind::Conflict),
        "an import of an existing record"
    );
    let other = World::new();
    let without = |gone: fn(&Exported) -> bool| {
        let kept = exported.iter().filter(|item| !gone(item));
        kept.cloned().collect::<Vec<_>>()
    };
    let gap = without(|item| matches!(item, Exported::Record(stored) if stored.index == 0));
    let homeless = without(|item| matches!(item, Exported::Conversation(_)));
    for (items, what) in [(gap, "a gap"), (homeless, "no conversation")] {
        let imported = subject.store.import(other.tenant, items).await;
        let kind = imported.map_err(|error| error.kind());
        ensure_eq!(kind, Err(ErrorKind::InvalidInput), "an import with {what}");
    }
    let left = subject.exported(other.tenant).await?;
    ensure!(left.is_empty(), "a refused import left {left:?}");
    Ok(())
}

fn row(call: &str) -> LedgerRow {
    LedgerRow::new(call, Timestamp::from_secs(1), "p", "m").costing(
        NanoUsd(1),
        Usage::default(),
        Basis::Reported,
    )
}

pub(super) async fn a_charge_counts_against_the_cap(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let charge = async |charge| subject.store.charge(world.tenant, charge).await;
    let set_aside = |call, amount, cap| Charge {
        reserve: Some(super::append::reservation(call, amount, Some(cap))),
        ..Charge::default()
    };
    ensure!(
        charge(set_aside("one", 60, 100)).await? == Charged::Granted,
        "a reservation of 60 under a cap of 100"
    );
    let too_much = set_aside("two", 41, 100);
    ensure!(
        charge(too_much).await? == Charged::OverBudget(BudgetKey::MONTH),
        "a reservation of 41 with 40 left"
    );
    let reserved = async |call| subject.store.reserved(world.tenant, call).await;
    ensure_eq!(
        reserved("one").await?,
        Some(NanoUsd(60)),
        "the amount reserved"
    );
    ensure_eq!(reserved("two").await?, None, "the refused reservation");
    let settle = Charge {
        settle: vec![Settle {
            call: "one".into(),
            cost: NanoUsd(30),
        }],
        ledger: vec![row("one")],
        ..Charge::default()
    };
    ensure!(charge(settle).await? == Charged::Granted, "settling");
    ensure_eq!(reserved("one").await?, None, "the settled reservation");
    ensure!(
        charge(set_aside("three", 70, 100)).await? == Charged::Granted,
        "a reservation of 70 with 70 left"
    );
    let budgets = subject.budgets(world.tenant).await?;
    let sums: Vec<_> = budgets
        .iter()
        .map(|it| (it.sum.spent.0, it.sum.reserved.0))
        .collect();
    ensure_eq!(sums, [(30, 70)], "spent and reserved");
    let exported = subject.exported(world.tenant).await?;
    let rows: Vec<_> = exported
        .iter()
        .filter_map(|item| match item {
            Exported::Ledger(row) => Some(row.call.as_str()),
            _ => None,
        })
        .collect();
    ensure_eq!(rows, ["one"], "rows of the ledger");
    Ok(())
}

/// Messages of one person, and content that was produced without them, stay when another person is erased.
pub(super) async fn content_of_others_is_kept(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let ([first, _], [ann, bob]) = two_persons(subject, &world).await?;
    // 300 other persons write in the conversation. No record is sealed to all persons of the conversation.
    for n in 0..300 {
        let event = from(world.message("C1", &format!("o{n}")), &format!("U-{n}"));
        subject.accept_new(&world, event).await?;
    }
    let loaded = subject.load(&first).await?;
    let others: Vec<PersonId> = loaded
        .inbox
        .iter()
        .flat_map(|item| item.persons.clone())
        .filter(|person| ![ann, bob].contains(person))
        .collect();
    let shown = words("for all of them", &others);
    ensure!(shown.persons.len() > 200, "{} persons", shown.persons.len());
    let append = Append {
        records: vec![shown],
        ..Append::default()
    };
    subject.append(&first, 3, append).await?;
    let what = Erase::Person { person: bob };
    let erased = subject.store.erase(world.tenant, what, Depth::Logical);
    erased.await?;
    ensure_eq!(
        read(subject, &world, first.conversation).await?,
        ["ann", "-", "-", "for all of them"],
        "the log"
    );
    Ok(())
}

/// The address of a direct conversation belongs to its person. After the erasure it is not listed, exported or loaded.
pub(super) async fn a_direct_place_is_forgotten(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "4915112345678").await?;
    let person = subject.load(&claim).await?.inbox[0].persons[0];
    subject.append(&claim, 0, records(&["one"])).await?;
    let listed = async || -> Result<_, Failed> {
        let listed = subject.store.list(world.tenant, None, 9).await?;
        Ok(listed.into_iter().map(|own| own.place).collect::<Vec<_>>())
    };
    let place = listed().await?;
    ensure!(place.iter().all(Option::is_some), "before: {place:?}");
    let what = Erase::Person { person };
    subject
        .store
        .erase(world.tenant, what, Depth::Logical)
        .await?;
    ensure_eq!(listed().await?, [None], "the place in the list");
    let exported = format!("{:?}", subject.exported(world.tenant).await?);
    ensure!(
        !exported.contains("4915112345678"),
        "the address is exported: {exported}"
    );
    // A person who writes again can be answered again.
    subject.clock.advance(std::time::Duration::from_secs(60));
    let mut again = world.message("4915112345678", "again");
    again.event.occurred_at = crate::Clock::now(&subject.clock);
    let (conversation, _) = subject.accept_new(&world, again).await?;
    ensure_eq!(
        conversation,
        claim.conversation,
        "the conversation of the new message"
    );
    let claim = subject.claim().await?;
    let place = subject.load(&claim).await?.place;
    ensure_eq!(
        place.map(|place| place.id),
        Some("4915112345678".to_owned()),
        "the place of the new message"
    );
    Ok(())
}

/// For providers with a precision of seconds: a message in the second of an erasure may have been sent after it.
pub(super) async fn messages_in_the_second_of_an_erasure_are_kept(
    subject: &StoreSubject,
) -> Outcome {
    let world = World::new();
    let now = crate::Clock::now(&subject.clock);
    let second = Timestamp::from_secs(now.as_micros() / 1_000_000 + 1);
    let claim = subject.claimed(&world, "C1").await?;
    let person = subject.load(&claim).await?.inbox[0].persons[0];
    subject
        .clock
        .advance(second.since(now) + std::time::Duration::from_millis(400));
    let what = Erase::Person { person };
    subject
        .store
        .erase(world.tenant, what, Depth::Logical)
        .await?;
    let mut event = world.message("C1", "same second");
    event.event.occurred_at = second;
    subject.accept_new(&world, event).await?;
    let mut event = world.message("C1", "second before");
    event.event.occurred_at = Timestamp::from_micros(second.as_micros() - 1_000_000);
    let outcome = subject.accept(&world, event).await?;
    ensure_eq!(outcome, Accepted::Duplicate, "an earlier message");
    Ok(())
}

pub(super) async fn a_refused_charge_settles(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let charge = async |charge| subject.store.charge(world.tenant, charge).await;
    let first = Charge {
        reserve: Some(super::append::reservation("one", 60, Some(100))),
        ..Charge::default()
    };
    ensure!(
        charge(first).await? == Charged::Granted,
        "a reservation of 60 under a cap of 100"
    );
    let refused = Charge {
        reserve: Some(super::append::reservation("two", 81, Some(100))),
        settle: vec![Settle {
            call: "one".into(),
            cost: NanoUsd(20),
        }],
        ledger: vec![row("one")],
    };
    ensure!(
        charge(refused).await? == Charged::OverBudget(BudgetKey::MONTH),
        "a charge of 81 with 80 left"
    );
    let page = subject.store.ledger(
        world.tenant,
        LedgerQuery::new(rules::month(crate::Clock::now(&subject.clock))).limit(9),
    );
    let page = page.await?;
    ensure_eq!(
        (page.spent, page.reserved),
        (NanoUsd(20), NanoUsd(0)),
        "spent and reserved"
    );
    let rows: Vec<_> = page.rows.iter().map(|(_, row)| row.call.as_str()).collect();
    ensure_eq!(rows, ["one"], "rows of the ledger");
    Ok(())
}
