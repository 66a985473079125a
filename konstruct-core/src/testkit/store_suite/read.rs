//! Reading, exporting and erasing, and the isolation of tenants.

use super::{
    Outcome, StoreSubject,
    append::item,
    ensure, ensure_eq,
    world::{World, record, records, text_of},
};
use crate::{
    ConversationId, Depth, Erase, NanoUsd, Outgoing, Timestamp,
    limit::BudgetSum,
    money::{Basis, LedgerRow, Usage},
    store::{
        Accepted, Append, AppendOutcome, Claim, Exported, ItemChange, Stored, TimerChange,
        TimerName,
    },
    turn::{Entry, Event, ItemId, Record, ReplyPart},
};

pub(super) async fn ranges_are_truncated(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let append = Append {
        records: texts.iter().map(|text| record(text)).collect(),
        ..Append::default()
    };
    subject.append(&claim, 0, append).await?;
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "an empty range must be handled"
    )]
    let ranges = [
        (0..u64::MAX, 0..10),
        (0..10, 0..10),
        (3..5, 3..5),
        (9..100, 9..10),
        (10..20, 0..0),
        (u64::MAX..u64::MAX, 0..0),
        (4..4, 0..0),
        (5..2, 0..0),
    ];
    for (range, expected) in ranges {
        let read = subject
            .store
            .read(world.tenant, claim.conversation, range.clone())
            .await?;
        let indices: Vec<u64> = read.iter().map(|stored| stored.index).collect();
        ensure_eq!(
            indices,
            expected.collect::<Vec<_>>(),
            "the indices of {range:?}"
        );
        for stored in read {
            let expected = record(&stored.index.to_string());
            ensure_eq!(
                stored.record.as_deref(),
                Some(&expected),
                "a record of {range:?}"
            );
        }
    }
    let nothing = subject
        .store
        .read(world.tenant, ConversationId::from_bytes([1; 16]), 0..10)
        .await?;
    ensure!(
        nothing.is_empty(),
        "a conversation that does not exist has a log"
    );
    Ok(())
}

pub(super) async fn messages_are_read(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let says = |text: &str| Record {
        entry: Entry::Event(Event::Rendered {
            parts: vec![ReplyPart {
                key: text.into(),
                what: Outgoing::markdown(text),
            }],
            rest: None,
        }),
        ..record(text)
    };
    // Messages in appends of their own, together with other records, and on both sides of the range's ends.
    let appends = [
        vec![record("0"), says("1")],
        vec![says("2")],
        vec![record("3")],
        vec![says("4"), record("5"), says("6")],
    ];
    let mut log = Vec::new();
    for records in appends {
        let append = Append {
            records: records.clone(),
            ..Append::default()
        };
        let len = log.len() as u64;
        subject.append(&claim, len, append).await?;
        log.extend(records);
    }
    for range in [0..u64::MAX, 0..4, 2..6, 4..5, 5..9] {
        let read = subject
            .store
            .read_said(world.tenant, claim.conversation, range.clone())
            .await?;
        let all = subject
            .store
            .read(world.tenant, claim.conversation, range.clone())
            .await?;
        let indices = |read: &[Stored]| -> Vec<u64> { read.iter().map(|it| it.index).collect() };
        ensure_eq!(indices(&read), indices(&all), "the indices of {range:?}");
        for stored in read {
            let expected = &log[stored.index as usize];
            match stored.record.as_deref() {
                None if !expected.says_something() => {}
                found => {
                    ensure_eq!(found, Some(expected), "record {}", stored.index);
                }
            }
        }
    }
    Ok(())
}

pub(super) async fn a_conversation_is_found(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    let (id, _) = subject.accept_new(&world, world.message("C1", "1")).await?;
    subject.accept_new(&world, world.message("C2", "2")).await?;
    let listed = subject.store.list(world.tenant, None, 9).await?;
    let listed = listed.into_iter().find(|found| found.id == id);
    let found = subject.store.conversation(world.tenant, id).await?;
    ensure!(found.is_some(), "a conversation is not found");
    ensure_eq!(found, listed, "the conversation");
    let foreign = subject.store.conversation(other.tenant, id).await?;
    ensure!(foreign.is_none(), "another tenant finds it");
    subject.accept_new(&other, other.message("C1", "1")).await?;
    let foreign = subject.store.conversation(other.tenant, id).await?;
    ensure!(foreign.is_none(), "another tenant finds it");
    Ok(())
}

pub(super) async fn the_feed_is_in_order(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claims = [
        subject.claimed(&world, "C1").await?,
        subject.claimed(&world, "C2").await?,
    ];
    let mut expected = Vec::new();
    for n in 0..10u64 {
        let claim = &claims[usize::from(n % 3 == 0)];
        let log = subject.texts(world.tenant, claim.conversation).await?.len() as u64;
        let texts = [format!("{n}a"), format!("{n}b")];
        subject
            .append(claim, log, records(&[&texts[0], &texts[1]]))
            .await?;
        for (index, text) in (log..).zip(texts) {
            expected.push((claim.conversation, index, text));
        }
    }
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = subject.store.feed(world.tenant, after, 3).await?;
        ensure!(page.len() <= 3, "a page of 3 has {}", page.len());
        if page.is_empty() {
            break;
        }
        for fed in page {
            ensure!(
                fed.cursor > after,
                "cursor {} comes after {after}",
                fed.cursor
            );
            after = fed.cursor;
            let record = fed.stored.record.ok_or("a record cannot be read")?;
            found.push((fed.conversation, fed.stored.index, text_of(&record)));
        }
    }
    ensure_eq!(found, expected, "the feed");
    let none = subject.store.feed(world.tenant, u64::MAX, 3).await?;
    ensure!(none.is_empty(), "the feed continues after the last cursor");
    Ok(())
}

pub(super) async fn conversations_are_listed(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let mut expected = Vec::new();
    for n in 0..7 {
        let place = format!("C{n}");
        let event = world.message(&place, &place);
        expected.push((subject.accept_new(&world, event).await?.0, place));
        subject.clock.advance(std::time::Duration::from_secs(1));
    }
    // The most recently active conversation comes first.
    let event = world.message("C2", "again");
    subject.accept_new(&world, event).await?;
    let active = expected.remove(2);
    expected.push(active);
    expected.reverse();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = subject.store.list(world.tenant, after, 3).await?;
        ensure!(page.len() <= 3, "a page of 3 has {}", page.len());
        if page.is_empty() {
            break;
        }
        for summary in page {
            after = Some(summary.cursor());
            ensure_eq!(summary.connection, world.connection, "the connection");
            ensure_eq!(summary.len, 0, "the length");
            let place = summary.place.ok_or("a place cannot be read")?;
            found.push((summary.id, place.id));
        }
    }
    ensure_eq!(found, expected, "the conversations by activity");
    Ok(())
}

pub(super) async fn items_are_listed(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let mut expected = Vec::new();
    for n in 0..3 {
        let claim = subject.claimed(&world, &format!("C{n}")).await?;
        let ids = [format!("i{n}"), format!("j{n}")];
        let append = Append {
            items: ids.iter().map(|id| ItemChange::Put(item(id))).collect(),
            ..Append::default()
        };
        subject.append(&claim, 0, append).await?;
        expected.extend(ids.into_iter().map(|id| (id, claim.conversation)));
    }
    expected.sort();
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|(id, _): &(String, _)| ItemId(id.clone()));
        let page = subject.store.items(world.tenant, after, 2).await?;
        ensure!(page.len() <= 2, "a page of 2 has {}", page.len());
        if page.is_empty() {
            break;
        }
        found.extend(
            page.into_iter()
                .map(|entry| (entry.item.id.0, entry.conversation)),
        );
    }
    ensure_eq!(found, expected, "the open items of a tenant");
    let other = subject.store.items(World::new().tenant, None, 9).await?;
    ensure!(other.is_empty(), "another tenant's items are {other:?}");
    Ok(())
}

/// Creates two conversations of a tenant: one with an unconsumed event, one with a log, a timer, money and a delivery key.
async fn furnish(subject: &StoreSubject, world: &World) -> Result<Claim, super::Failed> {
    let claim = subject.claimed(world, "C1").await?;
    let append = Append {
        consume_to: Some(1),
        timers: vec![TimerChange::set(TimerName::turn(), Timestamp::from_secs(0))],
        delivery_keys: super::accept::sends(&["key"]).delivery_keys,
        items: vec![ItemChange::Put(item("open"))],
        reserve: Some(super::append::reservation("call", 50, None)),
        ledger: vec![
            LedgerRow::new("before", Timestamp::from_secs(1), "p", "m")
                .costing(None, Usage::default(), Basis::Estimated)
                .in_conversation(claim.conversation),
        ],
        ..records(&["one", "two"])
    };
    subject.append(&claim, 0, append).await?;
    subject.accept_new(world, world.message("C2", "2")).await?;
    Ok(claim)
}

pub(super) async fn an_export_is_complete(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = furnish(subject, &world).await?;
    let (mut conversations, mut logs, mut inboxes, mut ledger) = (vec![], vec![], vec![], 0);
    for exported in subject.exported(world.tenant).await? {
        match exported {
            Exported::Conversation(summary) => conversations.push(summary),
            Exported::Record(stored) => {
                let owner = conversations
                    .last()
                    .ok_or("a record comes before any conversation")?;
                let text = stored.record.as_deref().map(text_of);
                logs.push((owner.id, stored.index, text));
            }
            Exported::Inbox(item) => {
                let owner = conversations
                    .last()
                    .ok_or("an event comes before any conversation")?;
                let id = item.event.map(|event| event.event.id);
                let place = owner.place.as_ref().map(|place| place.id.clone());
                inboxes.push((place, id));
            }
            Exported::State(_) => {}
            Exported::Item(open) => {
                let owner = conversations.last().map(|owner| owner.id);
                ensure_eq!(
                    owner,
                    Some(claim.conversation),
                    "the conversation of the item"
                );
                ensure_eq!(open, item("open"), "the open item");
            }
            Exported::Ledger(row) => {
                ledger += 1;
                ensure_eq!(row.call, "before", "the row of the ledger");
            }
            Exported::Budget(BudgetSum { sum, .. }) => {
                let found = (sum.spent, sum.reserved);
                ensure_eq!(found, (NanoUsd(0), NanoUsd(50)), "the budget");
            }
        }
    }
    ensure_eq!(conversations.len(), 2, "conversations");
    let own = claim.conversation;
    ensure_eq!(
        logs,
        [(own, 0, Some("one".into())), (own, 1, Some("two".into()))],
        "the logs"
    );
    ensure_eq!(
        inboxes,
        [(Some("C2".into()), Some("2".into()))],
        "the inboxes"
    );
    ensure_eq!(ledger, 1, "rows of the ledger");
    let nobody = subject.exported(World::new().tenant).await?;
    ensure!(
        nobody.is_empty(),
        "the export of an unknown tenant has {nobody:?}"
    );
    Ok(())
}

pub(super) async fn a_conversation_is_erased(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = furnish(subject, &world).await?;
    let erase = Erase::Conversation {
        conversation: claim.conversation,
    };
    let erased = async || {
        subject
            .store
            .erase(world.tenant, erase, Depth::Logical)
            .await
    };
    ensure_eq!(erased().await?.records, 2, "erased records");
    ensure_eq!(erased().await?.records, 0, "records of a repeated erasure");
    let outcome = subject.store.append(&claim, 2, records(&["no"])).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::Lost,
        "an append to an erased conversation"
    );
    ensure!(
        subject.store.load(&claim).await?.is_none(),
        "an erased conversation can be loaded"
    );
    ensure!(
        subject
            .texts(world.tenant, claim.conversation)
            .await?
            .is_empty(),
        "an erased conversation can be read"
    );
    let fed = subject.store.feed(world.tenant, 0, 10).await?;
    ensure!(fed.is_empty(), "an erased conversation is in the feed");
    let items = subject.store.items(world.tenant, None, 9).await?;
    ensure!(
        items.is_empty(),
        "an erased conversation has open items: {items:?}"
    );
    let left = subject.store.list(world.tenant, None, 10).await?;
    ensure_eq!(left.len(), 1, "conversations left");
    // The other conversation is unchanged, and nothing else is ready.
    let other = subject.claim().await?;
    ensure_eq!(other.conversation, left[0].id, "the ready conversation");
    subject.claim_nothing("after the erasure").await?;
    subject.store.release(&other, 1).await?;
    ensure_eq!(
        subject.next_due().await?,
        None,
        "a timer of an erased conversation"
    );
    // The place can be used again.
    let (again, seq) = subject
        .accept_new(&world, world.message("C1", "again"))
        .await?;
    ensure_eq!(
        (again, seq),
        (claim.conversation, 1),
        "the id of the new conversation"
    );
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        (loaded.len, loaded.inbox.len(), !loaded.due.is_empty()),
        (0, 1, false),
        "length, inbox and timer after the erasure"
    );
    Ok(())
}

pub(super) async fn a_tenant_is_erased(subject: &StoreSubject) -> Outcome {
    let (world, other) = (World::new(), World::new());
    let claim = furnish(subject, &world).await?;
    let ready = subject.claim().await?;
    subject.store.release(&ready, 0).await?;
    let others = furnish_after(subject, &other, &world).await?;
    let erased = subject
        .store
        .erase(world.tenant, Erase::Tenant, Depth::Logical);
    ensure_eq!(erased.await?.records, 2, "erased records");
    let left = subject.exported(world.tenant).await?;
    ensure!(left.is_empty(), "an erased tenant still has {left:?}");
    let outcome = subject.store.append(&claim, 2, records(&["no"])).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::Lost,
        "an append to an erased tenant"
    );
    while let Some(next) = subject.try_claim().await? {
        ensure_eq!(
            next.tenant,
            other.tenant,
            "the tenant of the ready conversation"
        );
    }
    ensure_eq!(
        subject.texts(other.tenant, others.conversation).await?,
        ["one", "two"],
        "another tenant's log"
    );
    // Nothing of the tenant is known, so a duplicate is a new event.
    let event = world.message("C1", "first of C1");
    let outcome = subject.accept(&world, event).await?;
    ensure!(
        matches!(outcome, Accepted::New { seq: 1, .. }),
        "an event of an erased tenant is {outcome:?}"
    );
    Ok(())
}

/// Does the same as [`furnish`], while another tenant has a ready conversation.
async fn furnish_after(
    subject: &StoreSubject,
    world: &World,
    other: &World,
) -> Result<Claim, super::Failed> {
    let blocker = subject.claim().await?;
    ensure_eq!(
        blocker.tenant,
        other.tenant,
        "the tenant of the ready conversation"
    );
    let claim = furnish(subject, world).await?;
    subject.store.release(&blocker, 0).await?;
    Ok(claim)
}

pub(super) async fn tenants_do_not_see_each_other(subject: &StoreSubject) -> Outcome {
    let (world, mut other) = (World::new(), World::new());
    // The connections and names are equal; only the tenants differ.
    other.connection = world.connection;
    let claim = furnish(subject, &world).await?;
    let other_tenant = other.tenant;
    let blocked = subject.claim().await?;
    let blind = async |when: &str| -> Outcome {
        let journal = &subject.store;
        let id = claim.conversation;
        let read = journal.read(other_tenant, id, 0..10).await?;
        ensure!(read.is_empty(), "{when}: another tenant's log can be read");
        let items = journal.items(other_tenant, None, 9).await?;
        ensure!(
            items.is_empty(),
            "{when}: another tenant's items are listed"
        );
        let fed = journal.feed(other_tenant, 0, 10).await?;
        ensure!(fed.is_empty(), "{when}: another tenant's feed can be read");
        let listed = journal.list(other_tenant, None, 10).await?;
        ensure!(
            listed.iter().all(|conversation| conversation.id != id),
            "{when}: another tenant's conversation is listed"
        );
        Ok(())
    };
    blind("before anything was written").await?;
    ensure!(
        subject.exported(other_tenant).await?.is_empty(),
        "another tenant is exported"
    );
    let mut stolen = claim.clone();
    stolen.tenant = other_tenant;
    ensure!(
        subject.store.load(&stolen).await?.is_none(),
        "another tenant's conversation can be loaded"
    );
    ensure!(
        !subject.store.renew(&stolen, super::world::LEASE).await?,
        "another tenant's claim can be renewed"
    );
    let outcome = subject.store.append(&stolen, 2, records(&["no"])).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::Lost,
        "an append to another tenant's conversation"
    );
    let erase = Erase::Conversation {
        conversation: claim.conversation,
    };
    let erased = subject.store.erase(other_tenant, erase, Depth::Logical);
    ensure_eq!(erased.await?.records, 0, "erased records of another tenant");
    // The same event is new to the other tenant, with its own conversation id and numbers.
    let event = other.message("C1", "first of C1");
    let (conversation, seq) = subject.accept_new(&other, event).await?;
    ensure_eq!(seq, 1, "the number in another tenant's conversation");
    ensure!(
        conversation != claim.conversation,
        "equal names of two tenants have the same id"
    );
    blind("after the same event was accepted").await?;
    ensure_eq!(
        subject.texts(world.tenant, claim.conversation).await?,
        ["one", "two"],
        "the log"
    );
    subject.store.release(&blocked, 0).await?;
    Ok(())
}
