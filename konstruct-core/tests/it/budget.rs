//! Budgets: the cap is never exceeded, and every call has its ledger row.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use konstruct_core::{
    ErrorKind, NanoUsd, SystemClock, TenantId,
    channel::Find,
    limit::{AlertLevel, Attempt, Budget as _, BudgetObserver, BudgetSum, Cap, CapScope, Period},
    llm::ModelRequest,
    money::{Basis, Price, Rates, Usage},
    store::{Charge, Charged, Store},
    testkit::{CrashPoint, Moment, ReferenceStore, ScriptedAnswer, ScriptedModel, Write},
    turn::{CallBudget, Entry, Event, FallbackReason, Outcome, Worker},
};

use crate::{
    altered::{Alteration, Altered},
    office::{Office, limits, says},
};

const PRICE: Price = Price {
    rates: Rates {
        input: 3_000_000,
        cache_read: 1_000_000,
        cache_write_5m: 4_000_000,
        cache_write_1h: 6_000_000,
        output: 15_000_000,
    },
    tiers: Vec::new(),
};
/// The cost of the scripted model's 100 input and 20 output tokens.
const COST: NanoUsd = NanoUsd(600);

#[tokio::test]
async fn every_call_has_its_row_however_it_ended() {
    let nothing = Some(NanoUsd(0));
    for (answer, usage, basis, cost) in [
        (
            ScriptedAnswer::text("Hi."),
            true,
            Basis::Reported,
            Some(COST),
        ),
        (ScriptedAnswer::text("Hi."), false, Basis::WorstCase, None),
        (
            ScriptedAnswer::Refuses(ErrorKind::Unauthorized),
            true,
            Basis::Estimated,
            nothing,
        ),
        (
            ScriptedAnswer::Refuses(ErrorKind::Ambiguous),
            true,
            Basis::WorstCase,
            None,
        ),
        (
            ScriptedAnswer::Breaks(ErrorKind::Forbidden),
            true,
            Basis::WorstCase,
            None,
        ),
        (ScriptedAnswer::Truncated, true, Basis::WorstCase, None),
    ] {
        let script = answer.clone();
        let mut model = ScriptedModel::new(move |_| script.clone()).with_price(PRICE);
        if !usage {
            model = model.with_usage(None);
        }
        let office = Office::with(Find::Query, model, |employee| {
            employee
                .monthly_cap(NanoUsd::from_usd_micros(1_000_000))
                .limits(limits().with(|it| it.model_calls = 1))
        });
        office.say("P1", "e1", "hello").await;
        office.settle().await;
        let (key, request) = office.model.calls().remove(0);
        let worst = PRICE.worst_case(request.input_bound(), u64::from(request.max_tokens));
        let rows = office.ledger().await;
        assert_eq!(rows.len(), 1, "{answer:?}");
        assert_eq!((rows[0].basis, &rows[0].call), (basis, &key), "{answer:?}");
        // If the usage is unknown, the row contains the worst case.
        assert_eq!(rows[0].cost, cost.or(Some(worst)), "{answer:?}");
        let spent = rows[0].cost.unwrap();
        assert_eq!(office.budget().await, (spent, NanoUsd(0)), "{answer:?}");
    }
}

#[tokio::test]
async fn an_unknown_price_is_unknown_and_refused_under_a_cap() {
    let office = Office::new(Find::Query, says("Hi."));
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    let rows = office.ledger().await;
    assert_eq!((rows[0].cost, rows[0].basis), (None, Basis::Reported));
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.monthly_cap(NanoUsd(u64::MAX))
    });
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    assert!(office.model.calls().is_empty() && office.ledger().await.is_empty());
    assert_eq!(office.world.texts(), ["Cap reached."]);
}

#[tokio::test]
async fn spent_and_reserved_never_exceed_the_cap() {
    let cap = NanoUsd(200_000);
    let office = Office::with(Find::Query, says("Hi.").with_price(PRICE), |employee| {
        employee
            .monthly_cap(cap)
            .limits(limits().with(|it| it.answer_tokens = 1_000))
    });
    for n in 0..400 {
        office
            .say(&format!("P{}", n % 40), &format!("e{n}"), "hello")
            .await;
    }
    let worker = Worker::new(office.driver()).with_concurrency(16.try_into().unwrap());
    let run = tokio::spawn(worker.run(std::future::pending()));
    for n in 400..1_200 {
        tokio::task::yield_now().await;
        let (spent, reserved) = office.budget().await;
        assert!(
            spent.saturating_add(reserved) <= cap,
            "{spent} and {reserved}"
        );
        office
            .say(&format!("P{}", n % 40), &format!("e{n}"), "hello")
            .await;
    }
    run.abort();
    let _ = run.await;
    office.memory.void_claims();
    office.settle().await;
    let (spent, reserved) = office.budget().await;
    assert!(spent <= cap && reserved == NanoUsd(0));
    let budget = Outcome::Replied {
        parts: 1,
        fallback: Some(FallbackReason::Budget),
    };
    let outcomes = office.outcomes().await;
    assert!(outcomes.contains(&budget), "the cap was reached");
    assert!(outcomes.contains(&Outcome::Replied {
        parts: 1,
        fallback: None
    }));
    let rows = office.ledger().await;
    let total: u64 = rows
        .iter()
        .filter_map(|row| row.cost)
        .map(|cost| cost.0)
        .sum();
    assert_eq!(NanoUsd(total), spent);
    assert_eq!(rows.len(), office.model.calls().len());
    office.replays().await;
}

#[tokio::test]
async fn a_lost_call_is_settled_at_its_worst_case() {
    let office = Office::with(Find::Query, says("Hi.").with_price(PRICE), |employee| {
        employee.monthly_cap(NanoUsd::from_usd_micros(1_000_000))
    });
    office.say("P1", "e1", "hello").await;
    // The second append follows the answer: the process ends before it.
    let crash = CrashPoint::new(
        Arc::clone(&office.store),
        &[Write::Append],
        2,
        Moment::Before,
    );
    let worker = Worker::new(office.driver_on(Arc::new(crash)));
    assert!(worker.run_until_idle().await.is_err());
    let (spent, reserved) = office.budget().await;
    assert!(spent == NanoUsd(0) && reserved > NanoUsd(0));
    office.memory.void_claims();
    office.settle().await;
    let rows = office.ledger().await;
    let (lost, made) = (&rows[0], &rows[1]);
    assert_eq!((lost.cost, lost.basis), (Some(reserved), Basis::WorstCase));
    assert_eq!((lost.usage, made.cost), (Usage::default(), Some(COST)));
    assert_eq!(
        office.budget().await,
        (reserved.saturating_add(COST), NanoUsd(0))
    );
    let calls: Vec<(String, ModelRequest)> = office.model.calls();
    assert_eq!(
        calls[0].1, calls[1].1,
        "the request after a crash equals the one before it"
    );
    assert_ne!(calls[0].0, calls[1].0);
    office.replays().await;
}

#[tokio::test]
async fn each_attempt_of_a_pool_has_its_row_and_a_crash_leaves_none_open() {
    let pool = || says("Hi.").with_price(PRICE).with_attempts(3);
    let office = Office::with(Find::Query, pool(), |employee| employee);
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    let rows = office.ledger().await;
    let endings: Vec<&str> = rows
        .iter()
        .map(|row| &row.call[row.call.len() - 3..])
        .collect();
    assert_eq!(endings[1..], [".a1", ".a2"], "{rows:?}");
    assert_eq!(rows[2].cost, Some(COST));
    let spent = office.budget().await;
    assert_eq!(spent.1, NanoUsd(0));

    // The appends are the intent and the answer; the charges of the attempts in between are not appends.
    let office = Office::with(Find::Query, pool(), |employee| employee);
    office.say("P1", "e1", "hello").await;
    let crash = CrashPoint::new(
        Arc::clone(&office.store),
        &[Write::Append],
        2,
        Moment::Before,
    );
    let worker = Worker::new(office.driver_on(Arc::new(crash)));
    assert!(worker.run_until_idle().await.is_err());
    let (_, reserved) = office.budget().await;
    office.memory.void_claims();
    office.settle().await;
    let rows = office.ledger().await;
    let lost: Vec<NanoUsd> = rows[..3].iter().filter_map(|row| row.cost).collect();
    assert!(rows[..3].iter().all(|row| row.basis == Basis::WorstCase));
    let sum = lost
        .iter()
        .fold(NanoUsd(0), |sum, cost| sum.saturating_add(*cost));
    assert_eq!(
        (sum, lost.len()),
        (reserved, 3),
        "the reservation equals the cost"
    );
    assert_eq!(rows.len(), 6);
    assert_eq!(office.budget().await.1, NanoUsd(0));
    office.replays().await;
}

#[tokio::test]
async fn an_attempt_that_does_not_fit_under_the_cap_is_not_made() {
    let model = says("Hi.").with_price(PRICE).with_attempts(2);
    let request_and_a_half = NanoUsd(40_000);
    let office = Office::with(Find::Query, model, |employee| {
        employee
            .monthly_cap(request_and_a_half)
            .limits(limits().with(|it| {
                it.answer_tokens = 1_000;
                it.model_calls = 1;
            }))
    });
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    let rows = office.ledger().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(office.world.texts(), ["Cap reached."]);
    let (spent, reserved) = office.budget().await;
    assert!(spent <= request_and_a_half && reserved == NanoUsd(0));
}

#[tokio::test]
async fn dropping_a_reservation_frees_it() {
    let journal: Arc<dyn Store> = Arc::new(ReferenceStore::new(Arc::new(SystemClock)));
    let unheard: Arc<dyn Store> = Arc::new(Altered::new(Arc::clone(&journal), Alteration::Unheard));
    let tenant = TenantId::new();
    let budget = CallBudget::new(&unheard, tenant, "call", (None, Vec::new()));
    let attempt = |number| Attempt {
        call: "call".into(),
        number,
        provider: "p".into(),
        model: "m".into(),
        worst: Some(NanoUsd(100)),
    };
    for number in 0..2 {
        assert!(budget.reserve(&attempt(number)).now_or_never().is_none());
    }
    let held = async |call: &str| journal.reserved(tenant, call).await.unwrap();
    assert_eq!(held("call.a0").await, Some(NanoUsd(100)));
    assert_eq!(held("call.a1").await, Some(NanoUsd(100)));
    let paid = budget.close(konstruct_core::Timestamp::from_secs(1));
    assert!(paid.rows.iter().all(|row| row.cost == Some(NanoUsd(0))));
    let charge = Charge {
        reserve: None,
        settle: paid.settle,
        ledger: paid.rows,
    };
    let charged = journal.charge(tenant, charge).await.unwrap();
    assert_eq!(charged, Charged::Granted);
    assert_eq!((held("call.a0").await, held("call.a1").await), (None, None));
}

#[tokio::test]
async fn a_model_without_token_counts_costs_the_worst_case() {
    let model = ScriptedModel::new(|_| ScriptedAnswer::text("Hi."))
        .with_price(PRICE)
        .with_usage(Some(Usage::default()));
    let office = Office::with(Find::Query, model, |employee| employee.limits(limits()));
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    let rows = office.ledger().await;
    assert_eq!(rows[0].basis, Basis::WorstCase);
    assert!(rows[0].cost > Some(COST), "{rows:?}");
}

#[derive(Clone, Debug, Default)]
struct Observed(Arc<Mutex<Vec<BudgetSum>>>);

#[konstruct_core::async_trait]
impl BudgetObserver for Observed {
    async fn reached(&self, _: TenantId, sum: BudgetSum) {
        self.0.lock().unwrap().push(sum);
    }
}

#[tokio::test]
async fn a_burst_of_one_person_leaves_the_others_their_answers() {
    let office = Office::with(Find::Query, says("Hi.").with_price(PRICE), |employee| {
        // Two calls, but not three.
        let hour = Cap::new(CapScope::Person, Period::Hour, NanoUsd(60_000));
        employee
            .monthly_cap(NanoUsd::from_usd_micros(1_000_000))
            .cap(hour)
            .limits(limits().with(|it| {
                it.answer_tokens = 1_000;
                it.model_calls = 1;
                it.question_age_secs = 0;
            }))
    });
    let observed = Observed::default();
    let driver = office
        .driver()
        .with_budget_observer(Arc::new(observed.clone()));
    let answered = async |place: &str, id: &str| {
        office.say(place, id, "hello").await;
        let before = office.world.texts().len();
        let worker = Worker::new(driver.clone());
        worker.run_until_idle().await.unwrap();
        office.world.texts()[before..].join(" ")
    };
    let mut told = 0;
    for n in 0..100 {
        if answered("P1", &format!("a{n}")).await == "Cap reached." {
            told += 1;
        }
    }
    assert!(told > 0, "one person spent without limit");
    assert_eq!(answered("P2", "b1").await, "Hi.", "another person");
    let levels: Vec<_> = observed.0.lock().unwrap().clone();
    let of_person: Vec<_> = levels.iter().map(|sum| sum.sum.alert).collect();
    assert_eq!(
        of_person.last(),
        Some(&Some(AlertLevel::Reached)),
        "{levels:?}"
    );
    assert!(levels.len() <= 3, "a level is reported once: {levels:?}");
    office.clock.advance(Duration::from_secs(3_600));
    assert_eq!(answered("P1", "c1").await, "Hi.", "in the next hour");
    let refused = office
        .turns()
        .await
        .concat()
        .into_iter()
        .find_map(|record| match record.entry {
            Entry::Event(Event::CallRefused { cap, .. }) => cap,
            _ => None,
        });
    let refused = refused.expect("the record names the cap");
    assert_eq!(
        (refused.scope.kind(), refused.period),
        (CapScope::Person, Period::Hour)
    );
    office.replays().await;
}
