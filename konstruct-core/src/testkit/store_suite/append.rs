//! Appends: atomic, with exact accounting.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{
    Failed, Outcome, StoreSubject, ensure, ensure_eq,
    world::{LEASE, World, records, text_of},
};
use crate::{
    Clock as _, NanoUsd, PersonId, TenantId, Timestamp, TurnId,
    limit::{AppliedCap, BudgetKey, BudgetSum, Period},
    money::{Basis, LedgerRow, Usage},
    store::{
        Append, AppendOutcome, Claim, Exported, ItemChange, LARGEST_LOAD, Reserve, Settle,
        TimerChange, TimerName,
    },
    turn::{ConversationState, FallbackReason, ItemId, ItemKind, OpenItem, Unread, UnreadNotice},
};

pub(super) async fn a_wrong_length_changes_nothing(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    subject.append(&claim, 0, records(&["a", "b"])).await?;
    for wrong in [0, 1, 3, u64::MAX] {
        let append = everything(subject, None);
        let outcome = subject.store.append(&claim, wrong, append).await?;
        ensure_eq!(
            outcome,
            AppendOutcome::Lost,
            "an append at length {wrong} of 2"
        );
    }
    unchanged(subject, &world, &claim, &["a", "b"]).await
}

pub(super) async fn over_budget_changes_nothing(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    subject.append(&claim, 0, records(&["a"])).await?;
    let append = everything(subject, Some(99));
    let outcome = subject.store.append(&claim, 1, append).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::OverBudget(BudgetKey::MONTH),
        "100 under a cap of 99"
    );
    unchanged(subject, &world, &claim, &["a"]).await?;
    // The claim is still valid, and the same append fits under a cap of 100.
    subject
        .append(&claim, 1, everything(subject, Some(100)))
        .await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        (loaded.len, loaded.inbox.len(), !loaded.due.is_empty()),
        (2, 0, true),
        "the appended records"
    );
    let exported = subject.exported(world.tenant).await?;
    let ledger = exported
        .iter()
        .filter(|item| matches!(item, Exported::Ledger(_)))
        .count();
    ensure_eq!(ledger, 1, "rows of the ledger");
    Ok(())
}

/// Returns an append that changes everything, with a reservation of 100 under an optional cap.
fn everything(subject: &StoreSubject, cap: Option<u64>) -> Append {
    Append {
        consume_to: Some(1),
        timers: vec![TimerChange::set(TimerName::turn(), subject.clock.now())],
        delivery_keys: super::accept::sends(&["new"]).delivery_keys,
        reserve: cap.map(|cap| reservation("new", 100, Some(cap))),
        ledger: vec![ledger_row("new")],
        checkpoint: true,
        ..records(&["new"])
    }
}

/// Fails if anything of [`everything`] was written.
async fn unchanged(subject: &StoreSubject, world: &World, claim: &Claim, log: &[&str]) -> Outcome {
    let loaded = subject.load(claim).await?;
    ensure_eq!(
        (loaded.len, loaded.records.len()),
        (log.len() as u64, log.len()),
        "length of the log, and from the last checkpoint"
    );
    ensure_eq!(
        (loaded.inbox.len(), !loaded.due.is_empty()),
        (1, false),
        "inbox and timer"
    );
    ensure_eq!(
        subject.texts(world.tenant, claim.conversation).await?,
        log,
        "the log"
    );
    let fed = subject.store.feed(world.tenant, 0, 10).await?;
    ensure_eq!(fed.len(), log.len(), "records in the feed");
    let read = subject.store.read(world.tenant, claim.conversation, 0..9);
    for stored in read.await? {
        ensure_eq!(stored.delivery, None, "a delivery state");
    }
    for item in subject.exported(world.tenant).await? {
        match item {
            Exported::Ledger(row) => return Err(format!("{row:?} is in the ledger").into()),
            Exported::Budget(BudgetSum { sum, .. }) => {
                ensure_eq!(sum.reserved, NanoUsd(0), "the amount reserved");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns a reservation, with a cap of the tenant's month.
pub(super) fn reservation(call: &str, amount: u64, cap: Option<u64>) -> Reserve {
    let month = |cap| AppliedCap {
        budget: BudgetKey::MONTH,
        cap: NanoUsd(cap),
    };
    Reserve {
        call: call.into(),
        amount: NanoUsd(amount),
        caps: cap.map(month).into_iter().collect(),
    }
}

fn ledger_row(call: &str) -> LedgerRow {
    LedgerRow::new(call, Timestamp::from_secs(1), "p", "m").costing(
        NanoUsd(30),
        Usage::default(),
        Basis::Reported,
    )
}

/// Reserves an amount under a cap of 100. Returns whether it fits.
async fn reserve(
    subject: &StoreSubject,
    claim: &Claim,
    call: &str,
    amount: u64,
) -> Result<bool, Failed> {
    let append = Append {
        reserve: Some(reservation(call, amount, Some(100))),
        ..Append::default()
    };
    match subject.store.append(claim, 0, append).await? {
        AppendOutcome::Appended => Ok(true),
        AppendOutcome::OverBudget(_) => Ok(false),
        other => Err(format!("the outcome of a reservation is {other:?}").into()),
    }
}

async fn settle(subject: &StoreSubject, claim: &Claim, call: &str, cost: u64) -> Outcome {
    let append = Append {
        settle: vec![Settle {
            call: call.into(),
            cost: NanoUsd(cost),
        }],
        ..Append::default()
    };
    subject.append(claim, 0, append).await
}

/// Returns the amounts spent and reserved in all months.
async fn total(subject: &StoreSubject, tenant: TenantId) -> Result<(u64, u64), Failed> {
    let budgets = subject.budgets(tenant).await?;
    let months = budgets
        .iter()
        .filter(|it| it.budget == BudgetKey::MONTH)
        .map(|it| it.sum);
    Ok(months.fold((0, 0), |(spent, reserved), sum| {
        (spent + sum.spent.0, reserved + sum.reserved.0)
    }))
}

pub(super) async fn money_adds_up(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let fits = async |call, amount| reserve(subject, &claim, call, amount).await;
    let total = async || total(subject, world.tenant).await;
    ensure!(fits("a", 60).await?, "60 do not fit under 100");
    ensure!(!fits("b", 41).await?, "60 + 41 fit under 100");
    ensure!(fits("b", 40).await?, "60 + 40 do not fit under 100");
    ensure_eq!(total().await?, (0, 100), "spent and reserved");
    ensure!(fits("a", 50).await?, "an existing reservation is refused");
    ensure_eq!(total().await?, (0, 100), "after the same reservation again");
    settle(subject, &claim, "a", 25).await?;
    ensure_eq!(total().await?, (25, 40), "after a call that cost 25");
    ensure!(!fits("c", 36).await?, "25 + 40 + 36 fit under 100");
    ensure!(fits("c", 35).await?, "25 + 40 + 35 do not fit under 100");
    settle(subject, &claim, "b", 0).await?;
    settle(subject, &claim, "c", 35).await?;
    ensure_eq!(total().await?, (60, 0), "after all calls were settled");
    // A cost without a reservation is spent as well.
    settle(subject, &claim, "unknown", 7).await?;
    ensure_eq!(total().await?, (67, 0), "after a call without reservation");
    // Without a cap, every reservation fits and counts.
    let append = Append {
        reserve: Some(reservation("free", 1000, None)),
        ..Append::default()
    };
    subject.append(&claim, 0, append).await?;
    ensure_eq!(total().await?, (67, 1000), "without a cap");
    let other = World::new();
    let claim = subject.claimed(&other, "C1").await?;
    ensure!(
        reserve(subject, &claim, "a", 100).await?,
        "one tenant's spending counts against another"
    );
    Ok(())
}

pub(super) async fn a_cap_holds_under_concurrency(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let mut claims = Vec::new();
    for n in 0..8 {
        claims.push(subject.claimed(&world, &format!("C{n}")).await?);
    }
    for round in 0..4 {
        let calls: Vec<_> = (0..claims.len()).map(|n| format!("{round}.{n}")).collect();
        let tries = claims
            .iter()
            .zip(&calls)
            .map(|(claim, call)| reserve(subject, claim, call, 30));
        let fits = try_join_all(tries).await?;
        let (spent, reserved) = total(subject, world.tenant).await?;
        ensure!(
            spent + reserved <= 100,
            "{spent} spent and {reserved} reserved under a cap of 100"
        );
        let fitting = fits.iter().filter(|fits| **fits).count() as u64;
        ensure_eq!(
            fitting,
            (100 - spent) / 30,
            "granted reservations of 30 with {spent} spent"
        );
        for ((claim, call), _) in claims
            .iter()
            .zip(&calls)
            .zip(&fits)
            .filter(|(_, fits)| **fits)
        {
            settle(subject, claim, call, 10).await?;
        }
    }
    Ok(())
}

pub(super) async fn months_have_their_own_budget(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let mut claim = subject.claimed(&world, "C1").await?;
    let month = || Period::Month.end(subject.clock.now());
    let first = month();
    ensure!(
        reserve(subject, &claim, "a", 90).await?,
        "90 do not fit under 100"
    );
    // Longer than any month.
    subject.clock.advance(Duration::from_secs(31 * 86_400));
    let second = month();
    claim = subject
        .try_claim()
        .await?
        .filter(|next| next.conversation == claim.conversation)
        .ok_or("nothing is ready after the end of the lease")?;
    ensure!(
        reserve(subject, &claim, "b", 100).await?,
        "last month's spending counts against this month"
    );
    settle(subject, &claim, "a", 80).await?;
    let budgets = subject.budgets(world.tenant).await?;
    let mut sums: Vec<_> = budgets
        .iter()
        .map(|it| (it.until, it.sum.spent.0, it.sum.reserved.0))
        .collect();
    sums.sort();
    ensure_eq!(
        sums,
        [(first, 80, 0), (second, 0, 100)],
        "a call does not count in the month of its reservation"
    );
    Ok(())
}

pub(super) async fn consumed_events_are_removed(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    for id in ["2", "3"] {
        subject.accept_new(&world, world.message("C1", id)).await?;
    }
    let consume = |to| Append {
        consume_to: Some(to),
        ..Append::default()
    };
    for (to, left) in [(1, vec![2, 3]), (2, vec![3]), (1, vec![3]), (9, vec![])] {
        subject.append(&claim, 0, consume(to)).await?;
        let inbox = subject.load(&claim).await?.inbox;
        let numbers: Vec<u64> = inbox.iter().map(|item| item.seq).collect();
        ensure_eq!(numbers, left, "the inbox after {to} was consumed");
    }
    // Numbers continue, regardless of what was consumed.
    let (_, seq) = subject.accept_new(&world, world.message("C1", "4")).await?;
    ensure_eq!(seq, 4, "the next number");
    Ok(())
}

pub(super) async fn loading_begins_at_the_checkpoint(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let loaded = async || {
        let loaded = subject.load(&claim).await?;
        let texts = loaded
            .records
            .iter()
            .filter_map(|stored| stored.record.as_deref().map(text_of))
            .collect::<Vec<_>>();
        let first = loaded.records.first().map(|stored| stored.index);
        Ok::<_, Failed>((loaded.len, first, texts.join(" ")))
    };
    let checkpoint = |texts: &[&str]| Append {
        checkpoint: true,
        ..records(texts)
    };
    ensure_eq!(loaded().await?, (0, None, String::new()), "an empty log");
    subject.append(&claim, 0, records(&["a", "b"])).await?;
    ensure_eq!(
        loaded().await?,
        (2, Some(0), "a b".into()),
        "without a checkpoint"
    );
    subject.append(&claim, 2, checkpoint(&["c", "d"])).await?;
    ensure_eq!(
        loaded().await?,
        (4, Some(3), "d".into()),
        "right after a checkpoint"
    );
    subject.append(&claim, 4, records(&["e"])).await?;
    ensure_eq!(
        loaded().await?,
        (5, Some(3), "d e".into()),
        "a record after a checkpoint"
    );
    subject.append(&claim, 5, Append::default()).await?;
    ensure_eq!(
        loaded().await?,
        (5, Some(3), "d e".into()),
        "after an empty append"
    );
    Ok(())
}

pub(super) async fn an_append_extends_the_lease(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    for n in 0..4_u64 {
        subject.clock.advance(LEASE / 2);
        let append = Append {
            lease: Some(LEASE),
            ..records(&["step"])
        };
        subject.append(&claim, n, append).await?;
    }
    subject.clock.advance(LEASE / 2);
    // Without a lease in the append, the end of the claim is unchanged.
    subject.append(&claim, 4, records(&["last"])).await?;
    subject.clock.advance(LEASE / 2);
    let outcome = subject.store.append(&claim, 5, records(&["no"])).await?;
    ensure_eq!(outcome, AppendOutcome::Lost, "an append after the lease");
    Ok(())
}

/// Returns an open item with an id.
pub(super) fn item(id: &str) -> OpenItem {
    OpenItem {
        id: ItemId(id.into()),
        kind: ItemKind::Question {
            reason: FallbackReason::Model,
        },
        turn: TurnId::from_bytes([7; 16]),
        record: 0,
        opened_at: Timestamp::from_secs(1_794_657_600),
        tries: 0,
        retry_at: None,
        expires_at: None,
        private: false,
    }
}

pub(super) async fn conversation_state_is_kept(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        (loaded.state, loaded.items),
        (ConversationState::default(), Vec::new()),
        "the state of a new conversation"
    );
    let state = ConversationState {
        unread: Some(UnreadNotice {
            reason: Unread::TooLarge,
            at: Timestamp::from_secs(8),
        }),
        latest: Timestamp::from_secs(5),
        bot_turns: 2,
        spoke: true,
        unreadable: true,
        busy_at: Some(Timestamp::from_secs(9)),
        person: None,
        held_since: Some(Timestamp::from_secs(7)),
    };
    let append = Append {
        state: Some(state.clone()),
        items: vec![ItemChange::Put(item("a")), ItemChange::Put(item("b"))],
        ..records(&["one"])
    };
    subject.append(&claim, 0, append).await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        loaded.items,
        [item("a"), item("b")],
        "the items of one append"
    );
    let again = OpenItem {
        tries: 3,
        ..item("b")
    };
    let changes = Append {
        items: vec![
            ItemChange::Put(again.clone()),
            ItemChange::Close(item("a").id),
            ItemChange::Close(item("never opened").id),
        ],
        ..records(&["two"])
    };
    subject.append(&claim, 1, changes).await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(loaded.state, state, "the state");
    ensure_eq!(loaded.items, std::slice::from_ref(&again), "the open items");
    // Later events and records leave them unchanged.
    let done = Append {
        consume_to: Some(1),
        checkpoint: true,
        ..records(&["three"])
    };
    subject.append(&claim, 2, done).await?;
    subject.store.release(&claim, 1).await?;
    subject.accept_new(&world, world.message("C1", "b")).await?;
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    ensure_eq!(
        (loaded.state, loaded.items),
        (state, vec![again]),
        "the state of the next turn"
    );
    Ok(())
}

pub(super) async fn an_unknown_person_is_refused(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let claim = subject.claimed(&world, "C1").await?;
    let stranger = PersonId::from_bytes([9; 16]);
    let mut append = everything(subject, Some(100));
    for record in &mut append.records {
        record.persons.insert(stranger);
    }
    let outcome = subject.store.append(&claim, 0, append).await?;
    ensure_eq!(
        outcome,
        AppendOutcome::Forgotten(vec![stranger]),
        "a record of an unknown person"
    );
    unchanged(subject, &world, &claim, &[]).await
}

pub(super) async fn loading_is_bounded(subject: &StoreSubject) -> Outcome {
    let world = World::new();
    let many = LARGEST_LOAD + 10;
    let events = (0..many).map(|n| world.message("C1", &n.to_string()));
    subject.store.accept(world.tenant, events.collect()).await?;
    let claim = subject.claim().await?;
    let loaded = subject.load(&claim).await?;
    let numbers: Vec<u64> = loaded.inbox.iter().map(|item| item.seq).collect();
    ensure_eq!(
        numbers,
        (1..=LARGEST_LOAD as u64).collect::<Vec<_>>(),
        "the loaded events"
    );
    ensure_eq!(
        loaded.newest(),
        LARGEST_LOAD as u64,
        "the newest loaded number"
    );
    // Events that were not loaded were not seen, so the conversation is ready again.
    subject.store.release(&claim, loaded.newest()).await?;
    let claim = subject.claim().await?;
    let consume = Append {
        consume_to: Some(loaded.newest()),
        ..records(&["first"])
    };
    subject.append(&claim, 0, consume).await?;
    let left = subject.load(&claim).await?.inbox.len();
    ensure_eq!(left, 10, "the events of the second load");
    Ok(())
}
