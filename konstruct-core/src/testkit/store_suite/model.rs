//! Random operations of two tenants, which are compared step by step with a model of the contract.
//!
//! The model follows the contract: the store chooses *which* ready conversation is claimed, but it must not claim one that is not
//! ready, and may return `None` only if none is ready. Proptest shrinks failures.

use std::collections::{BTreeMap, HashSet};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use super::{
    Outcome, StoreSubject, ensure, ensure_eq,
    world::{LEASE, World, record, text_of},
};
use crate::{
    Clock as _, ConversationId, NanoUsd, TenantId, Timestamp,
    store::{Accepted, Append, AppendOutcome, Claim, Settle, TimerChange, TimerName},
};
use std::time::Duration;

/// The number of sequences.
const SEQUENCES: u32 = 48;
/// The cap of the model's tenants.
const CAP: u64 = 100;

/// One operation.
#[derive(Clone, Debug)]
enum Step {
    Accept {
        tenant: usize,
        place: u8,
        event: u8,
        logical: Option<u8>,
    },
    Claim,
    Append {
        claim: usize,
        off_by: u64,
        records: u8,
        consume: Option<u64>,
        timer: Option<Option<u64>>,
        checkpoint: bool,
        money: Option<Money>,
    },
    Release {
        claim: usize,
        seen_all: bool,
    },
    Renew {
        claim: usize,
    },
    Advance {
        secs: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Money {
    Reserve { call: u8, amount: u64 },
    Settle { call: u8, cost: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let accept = (0..2usize, 0..3u8, 0..12u8, proptest::option::of(0..6u8)).prop_map(
        |(tenant, place, event, logical)| Step::Accept {
            tenant,
            place,
            event,
            logical,
        },
    );
    let money = prop_oneof![
        2 => (0..6u8, 10..90u64).prop_map(|(call, amount)| Money::Reserve { call, amount }),
        1 => (0..6u8, 0..40u64).prop_map(|(call, cost)| Money::Settle { call, cost }),
    ];
    let append = (
        one_of_the_claims(),
        prop_oneof![9 => Just(0), 1 => 1..3u64],
        0..3u8,
        proptest::option::of(0..6u64),
        proptest::option::of(proptest::option::of(0..90u64)),
        any::<bool>(),
        proptest::option::of(money),
    )
        .prop_map(
            |(claim, off_by, records, consume, timer, checkpoint, money)| Step::Append {
                claim,
                off_by,
                records,
                consume,
                timer,
                checkpoint,
                money,
            },
        );
    let release = (one_of_the_claims(), any::<bool>())
        .prop_map(|(claim, seen_all)| Step::Release { claim, seen_all });
    let step = prop_oneof![
        4 => accept,
        3 => Just(Step::Claim),
        6 => append,
        2 => release,
        1 => one_of_the_claims().prop_map(|claim| Step::Renew { claim }),
        1 => (1..40u64).prop_map(|secs| Step::Advance { secs }),
    ];
    proptest::collection::vec(step, 1..80)
}

/// How many claims back. The newest ones are valid most often.
fn one_of_the_claims() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..3usize, 1 => any::<usize>()]
}

/// Runs the sequences and shrinks a failure.
pub(super) async fn agrees(make: &impl AsyncFn() -> StoreSubject) -> Outcome {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    for _ in 0..SEQUENCES {
        let mut tree = steps()
            .new_tree(&mut runner)
            .map_err(|reason| reason.to_string())?;
        let Err(mut error) = run(&make().await, &tree.current()).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut more = tree.simplify();
        for _ in 0..200 {
            if !more {
                break;
            }
            match run(&make().await, &tree.current()).await {
                Ok(()) => more = tree.complicate(),
                Err(smaller) => {
                    (error, smallest) = (smaller, tree.current());
                    more = tree.simplify();
                }
            }
        }
        return Err(format!("{error}, after {smallest:#?}").into());
    }
    Ok(())
}

#[derive(Default)]
struct Model {
    tenants: BTreeMap<TenantId, Tenant>,
    /// All claims ever made, including invalid ones.
    claims: Vec<Claim>,
    fence: u64,
}

#[derive(Default)]
struct Tenant {
    conversations: BTreeMap<ConversationId, Conversation>,
    places: BTreeMap<u8, ConversationId>,
    events: HashSet<u8>,
    logical: HashSet<u8>,
    feed: Vec<(ConversationId, u64)>,
    spent: u64,
    reserved: BTreeMap<u8, u64>,
}

#[derive(Default)]
struct Conversation {
    last: u64,
    consumed: u64,
    log: Vec<String>,
    checkpoint: usize,
    timer: Option<Timestamp>,
    /// Whether events, or a claim that ended without a release, make it ready.
    queued: bool,
    claim: Option<(u64, Timestamp)>,
}

impl Conversation {
    fn held(&self, now: Timestamp) -> bool {
        self.claim.is_some_and(|(_, until)| now < until)
    }

    fn due(&self, now: Timestamp) -> bool {
        self.timer.is_some_and(|when| when <= now)
    }

    /// Ends a claim whose lease has ended.
    fn expire(&mut self, now: Timestamp) {
        if self.claim.is_some() && !self.held(now) {
            self.claim = None;
            self.queued = true;
        }
    }
}

impl Model {
    fn valid(&mut self, claim: &Claim, now: Timestamp) -> Option<&mut Conversation> {
        self.tenants
            .get_mut(&claim.tenant)?
            .conversations
            .get_mut(&claim.conversation)
            .filter(|own| {
                own.claim
                    .is_some_and(|(fence, until)| fence == claim.fence && now < until)
            })
    }
}

async fn run(subject: &StoreSubject, steps: &[Step]) -> Outcome {
    let worlds = [World::new(), World::new()];
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        let now = subject.clock.now();
        for tenant in model.tenants.values_mut() {
            for conversation in tenant.conversations.values_mut() {
                conversation.expire(now);
            }
        }
        perform(subject, &worlds, &mut model, step, now)
            .await
            .map_err(|error| format!("step {at}: {error}"))?;
    }
    for world in &worlds {
        compare(subject, &model, world.tenant).await?;
    }
    timers(subject, &model).await
}

async fn perform(
    subject: &StoreSubject,
    worlds: &[World; 2],
    model: &mut Model,
    step: &Step,
    now: Timestamp,
) -> Outcome {
    match *step {
        Step::Accept {
            tenant,
            place,
            event,
            logical,
        } => {
            let world = &worlds[tenant];
            let logical_id = logical.map_or(String::new(), |n| format!("l{n}"));
            let routed = world.logical_event(
                &format!("C{place}"),
                &format!("e{event}"),
                &logical_id,
                false,
            );
            let outcome = subject.accept(world, routed).await?;
            accepted(model, world.tenant, (place, event, logical), outcome)
        }
        Step::Claim => {
            let claim = subject.try_claim().await?;
            claimed(model, claim, now)
        }
        Step::Append { claim, .. } => {
            let Some(claim) = pick(model, claim) else {
                return Ok(());
            };
            appended(subject, model, step, &claim, now).await
        }
        Step::Release { claim, seen_all } => {
            let Some(claim) = pick(model, claim) else {
                return Ok(());
            };
            let valid = model.valid(&claim, now);
            let seen = valid
                .as_ref()
                .map_or(0, |own| if seen_all { own.last } else { 0 });
            subject.store.release(&claim, seen).await?;
            if let Some(own) = valid {
                own.claim = None;
                own.queued = own.last > seen.max(own.consumed);
            }
            Ok(())
        }
        Step::Renew { claim } => {
            let Some(claim) = pick(model, claim) else {
                return Ok(());
            };
            let renewed = subject.store.renew(&claim, LEASE).await?;
            let valid = model.valid(&claim, now);
            ensure_eq!(renewed, valid.is_some(), "a renewal");
            if let Some(own) = valid {
                own.claim = Some((claim.fence, now + LEASE));
            }
            Ok(())
        }
        Step::Advance { secs } => {
            subject.clock.advance(Duration::from_secs(secs));
            Ok(())
        }
    }
}

fn pick(model: &Model, claim: usize) -> Option<Claim> {
    let many = model.claims.len();
    (many > 0).then(|| model.claims[many - 1 - claim % many].clone())
}

fn accepted(
    model: &mut Model,
    tenant: TenantId,
    (place, event, logical): (u8, u8, Option<u8>),
    outcome: Accepted,
) -> Outcome {
    let own = model.tenants.entry(tenant).or_default();
    let known = !own.events.insert(event) || logical.is_some_and(|n| !own.logical.insert(n));
    match outcome {
        Accepted::Duplicate if known => Ok(()),
        Accepted::New { conversation, seq } if !known => {
            let id = *own.places.entry(place).or_insert(conversation);
            ensure_eq!(conversation, id, "the conversation of place {place}");
            let conversation = own.conversations.entry(id).or_default();
            conversation.last += 1;
            ensure_eq!(seq, conversation.last, "the number of event {event}");
            conversation.queued |= conversation.claim.is_none();
            Ok(())
        }
        other => Err(format!("event {event} is {other:?}; known: {known}").into()),
    }
}

fn claimed(model: &mut Model, claim: Option<Claim>, now: Timestamp) -> Outcome {
    let ready: HashSet<_> = model
        .tenants
        .iter()
        .flat_map(|(tenant, own)| {
            own.conversations
                .iter()
                .filter(|(_, own)| own.claim.is_none() && (own.queued || own.due(now)))
                .map(|(id, _)| (*tenant, *id))
        })
        .collect();
    let Some(claim) = claim else {
        ensure!(
            ready.is_empty(),
            "no conversation was claimed, but {ready:?} are ready"
        );
        return Ok(());
    };
    ensure!(
        ready.contains(&(claim.tenant, claim.conversation)),
        "{claim:?} was not ready"
    );
    ensure!(claim.fence > model.fence, "a later fence is not higher");
    model.fence = claim.fence;
    if let Some(own) = model
        .tenants
        .get_mut(&claim.tenant)
        .and_then(|own| own.conversations.get_mut(&claim.conversation))
    {
        own.queued = false;
        own.claim = Some((claim.fence, now + LEASE));
    }
    model.claims.push(claim);
    Ok(())
}

async fn appended(
    subject: &StoreSubject,
    model: &mut Model,
    step: &Step,
    claim: &Claim,
    now: Timestamp,
) -> Outcome {
    let Step::Append {
        off_by,
        records,
        consume,
        timer,
        checkpoint,
        money,
        ..
    } = *step
    else {
        return Ok(());
    };
    let tenant = model.tenants.entry(claim.tenant).or_default();
    let len = tenant
        .conversations
        .get(&claim.conversation)
        .map_or(0, |own| own.log.len() as u64);
    let timer_change = |secs: Option<u64>| TimerChange {
        name: TimerName::turn(),
        at: secs.map(|secs| now + Duration::from_secs(secs)),
    };
    let texts: Vec<_> = (0..u64::from(records))
        .map(|n| format!("{}.{}", claim.fence, len + n))
        .collect();
    let append = Append {
        records: texts.iter().map(|text| record(text)).collect(),
        consume_to: consume,
        timers: timer.map(timer_change).into_iter().collect(),
        reserve: money.and_then(|money| match money {
            Money::Reserve { call, amount } => {
                let call = call.to_string();
                Some(super::append::reservation(&call, amount, Some(CAP)))
            }
            Money::Settle { .. } => None,
        }),
        settle: money
            .and_then(|money| match money {
                Money::Settle { call, cost } => Some(Settle {
                    call: call.to_string(),
                    cost: NanoUsd(cost),
                }),
                Money::Reserve { .. } => None,
            })
            .into_iter()
            .collect(),
        checkpoint: checkpoint && records > 0,
        ..Append::default()
    };
    let outcome = subject
        .store
        .append(claim, len + off_by, append.clone())
        .await?;
    let valid = (off_by == 0 || records == 0) && model.valid(claim, now).is_some();
    let tenant = model.tenants.entry(claim.tenant).or_default();
    let set_aside: u64 = tenant.reserved.values().sum();
    let fits = match money {
        Some(Money::Reserve { call, amount }) => {
            tenant.reserved.contains_key(&call) || tenant.spent + set_aside + amount <= CAP
        }
        _ => true,
    };
    let expected = match (valid, fits) {
        (false, _) => AppendOutcome::Lost,
        (true, false) => AppendOutcome::OverBudget(crate::limit::BudgetKey::MONTH),
        (true, true) => AppendOutcome::Appended,
    };
    ensure_eq!(outcome, expected, "an append by {claim:?}");
    if outcome != AppendOutcome::Appended {
        return Ok(());
    }
    match money {
        Some(Money::Reserve { call, amount }) => {
            tenant.reserved.entry(call).or_insert(amount);
        }
        Some(Money::Settle { call, cost }) => {
            tenant.reserved.remove(&call);
            tenant.spent += cost;
        }
        None => {}
    }
    let own = tenant.conversations.entry(claim.conversation).or_default();
    for text in texts {
        tenant.feed.push((claim.conversation, own.log.len() as u64));
        own.log.push(text);
    }
    if append.checkpoint {
        own.checkpoint = own.log.len() - 1;
    }
    own.consumed = own.consumed.max(consume.unwrap_or(0).min(own.last));
    for change in &append.timers {
        own.timer = change.at;
    }
    let loaded = subject.load(claim).await?;
    ensure_eq!(loaded.len, own.log.len() as u64, "the loaded length");
    ensure_eq!(
        loaded.records.len(),
        own.log.len() - own.checkpoint,
        "the loaded records"
    );
    ensure_eq!(
        !loaded.due.is_empty(),
        own.due(now),
        "whether the timer is due"
    );
    let numbers: Vec<_> = loaded.inbox.iter().map(|item| item.seq).collect();
    ensure_eq!(
        numbers,
        (own.consumed + 1..=own.last).collect::<Vec<_>>(),
        "the loaded inbox"
    );
    Ok(())
}

/// Compares everything that can be read of a tenant.
async fn compare(subject: &StoreSubject, model: &Model, tenant: TenantId) -> Outcome {
    let empty = Tenant::default();
    let own = model.tenants.get(&tenant).unwrap_or(&empty);
    let listed = subject.store.list(tenant, None, 100).await?;
    let cursors = listed.iter().map(|summary| summary.cursor());
    ensure!(
        cursors.is_sorted_by(|a, b| a > b),
        "the list is not sorted by activity"
    );
    let mut found: Vec<_> = listed
        .iter()
        .map(|summary| (summary.id, summary.len, summary.unconsumed))
        .collect();
    found.sort_unstable();
    let expected: Vec<_> = own
        .conversations
        .iter()
        .map(|(id, own)| (*id, own.log.len() as u64, own.last - own.consumed))
        .collect();
    ensure_eq!(found, expected, "the conversations of {tenant}");
    for (id, conversation) in &own.conversations {
        let texts = subject.texts(tenant, *id).await?;
        ensure_eq!(texts, conversation.log, "the log of {id}");
        for other in model.tenants.keys().filter(|other| **other != tenant) {
            let foreign = subject.store.read(*other, *id, 0..100).await?;
            ensure!(foreign.is_empty(), "{other} reads the log of {id}");
        }
    }
    let feed = subject.store.feed(tenant, 0, 1000).await?;
    ensure!(
        feed.iter().map(|fed| fed.cursor).is_sorted_by(|a, b| a < b),
        "the cursors do not increase"
    );
    let found: Vec<_> = feed
        .iter()
        .map(|fed| (fed.conversation, fed.stored.index))
        .collect();
    ensure_eq!(found, own.feed, "the feed of {tenant}");
    for fed in feed {
        let expected = &own.conversations[&fed.conversation].log[fed.stored.index as usize];
        let found = fed.stored.record.as_deref().map(text_of);
        ensure_eq!(found.as_ref(), Some(expected), "a record of the feed");
    }
    let spent = subject.budgets(tenant).await?;
    let found: (u64, u64) = spent.iter().fold((0, 0), |(spent, reserved), it| {
        (spent + it.sum.spent.0, reserved + it.sum.reserved.0)
    });
    ensure_eq!(
        found,
        (own.spent, own.reserved.values().sum()),
        "spent and reserved"
    );
    Ok(())
}

/// Compares the next timer, unless the end of a claim's lease was not observed yet.
async fn timers(subject: &StoreSubject, model: &Model) -> Outcome {
    let now = subject.clock.now();
    let conversations: Vec<_> = model
        .tenants
        .values()
        .flat_map(|own| own.conversations.values())
        .collect();
    if conversations
        .iter()
        .any(|own| own.claim.is_some() && !own.held(now) || own.queued || own.due(now))
    {
        return Ok(());
    }
    let expected = conversations
        .iter()
        .filter(|own| own.claim.is_none())
        .filter_map(|own| own.timer)
        .min();
    let found = subject.next_due().await?;
    // A store may return an earlier time, such as the end of a lease.
    ensure!(
        expected.is_none_or(|expected| found.is_some_and(|found| found <= expected)),
        "the next timer is {expected:?}, found {found:?}"
    );
    Ok(())
}
