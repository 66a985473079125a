//! Budgets: several caps hold at the same time, each in its own period.

use std::time::Duration;

use super::{Failed, Outcome, StoreSubject, ensure, ensure_eq, world::World};
use crate::{
    Clock as _, ConnectionId, EmployeeId, NanoUsd, PersonId, TenantId,
    limit::{AlertLevel, AppliedCap, BudgetKey, BudgetScope, BudgetSum, Period},
    store::{Charge, Charged, LedgerQuery, Reserve, Settle, rules},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn key(scope: BudgetScope, period: Period) -> BudgetKey {
    BudgetKey { scope, period }
}

fn person() -> PersonId {
    PersonId::from_bytes(*ConnectionId::new().as_bytes())
}

/// Reserves an amount under caps. Returns the sum that refuses it.
async fn reserve(
    subject: &StoreSubject,
    tenant: TenantId,
    (call, amount): (&str, u64),
    caps: &[(BudgetKey, u64)],
) -> Result<Option<BudgetKey>, Failed> {
    let caps = caps.iter().map(|(budget, cap)| AppliedCap {
        budget: *budget,
        cap: NanoUsd(*cap),
    });
    let reserve = Reserve {
        call: call.into(),
        amount: NanoUsd(amount),
        caps: caps.collect(),
    };
    let charge = Charge {
        reserve: Some(reserve),
        ..Charge::default()
    };
    Ok(match subject.store.charge(tenant, charge).await? {
        Charged::Granted => None,
        Charged::OverBudget(budget) => Some(budget),
    })
}

async fn settle(subject: &StoreSubject, tenant: TenantId, call: &str, cost: u64) -> Outcome {
    let charge = Charge {
        settle: vec![Settle {
            call: call.into(),
            cost: NanoUsd(cost),
        }],
        ..Charge::default()
    };
    subject.store.charge(tenant, charge).await?;
    Ok(())
}

/// Returns the sums of the current periods.
async fn current(subject: &StoreSubject, tenant: TenantId) -> Result<Vec<BudgetSum>, Failed> {
    let month = rules::month(subject.clock.now());
    let query = LedgerQuery::new(month).limit(0).budgets(100);
    Ok(subject.store.ledger(tenant, query).await?.budgets)
}

/// Returns what is spent and reserved in a current period, and how much of its cap that is.
async fn sum(
    subject: &StoreSubject,
    tenant: TenantId,
    budget: BudgetKey,
) -> Result<(u64, u64, Option<AlertLevel>), Failed> {
    let all = current(subject, tenant).await?;
    let found = all.iter().find(|it| it.budget == budget);
    Ok(found.map_or((0, 0, None), |it| {
        (it.sum.spent.0, it.sum.reserved.0, it.sum.alert)
    }))
}

pub(super) async fn every_cap_holds(subject: &StoreSubject) -> Outcome {
    let tenant = World::new().tenant;
    let day = |scope| key(scope, Period::Day);
    let (ann, bob) = (
        day(BudgetScope::Person(person())),
        day(BudgetScope::Person(person())),
    );
    let employee = key(BudgetScope::Employee(EmployeeId::new()), Period::Month);
    let channel = day(BudgetScope::Channel(ConnectionId::new()));
    let caps = |person| {
        [
            (BudgetKey::MONTH, 200),
            (employee, 150),
            (channel, 120),
            (person, 50),
        ]
    };
    let reserved =
        async |call, person, amount| reserve(subject, tenant, (call, amount), &caps(person)).await;
    let sum = async |budget| sum(subject, tenant, budget).await;
    ensure_eq!(reserved("a1", ann, 50).await?, None, "50 of 50");
    ensure_eq!(reserved("a2", ann, 1).await?, Some(ann), "51 of 50");
    ensure_eq!(
        sum(channel).await?.1,
        50,
        "what a refused reservation left in another sum"
    );
    ensure_eq!(
        reserved("b1", bob, 50).await?,
        None,
        "one person's spending counts against another"
    );
    ensure_eq!(reserved("b2", bob, 20).await?, Some(bob), "70 of 50");
    let third = day(BudgetScope::Person(person()));
    ensure_eq!(
        reserved("c1", third, 30).await?,
        Some(channel),
        "130 of the channel's 120"
    );
    ensure_eq!(reserved("c1", third, 20).await?, None, "120 of 120");
    // A call is settled in all sums of its reservation.
    settle(subject, tenant, "a1", 10).await?;
    for (budget, expected) in [
        (ann, (10, 0)),
        (bob, (0, 50)),
        (channel, (10, 70)),
        (employee, (10, 70)),
        (BudgetKey::MONTH, (10, 70)),
    ] {
        let (spent, reserved, _) = sum(budget).await?;
        ensure_eq!(
            (spent, reserved),
            expected,
            "spent and reserved of {budget}"
        );
    }
    // The same call again changes nothing.
    ensure_eq!(reserved("b1", bob, 50).await?, None, "the same reservation");
    ensure_eq!(sum(bob).await?.1, 50, "after the same reservation");
    let other = World::new().tenant;
    ensure_eq!(
        reserve(subject, other, ("a1", 120), &caps(ann)[..3]).await?,
        None,
        "one tenant's spending counts against another"
    );
    ensure!(
        current(subject, other)
            .await?
            .iter()
            .all(|it| it.budget != bob),
        "another tenant's sums are visible"
    );
    Ok(())
}

pub(super) async fn a_refusal_is_marked_until_the_cap_is_raised(subject: &StoreSubject) -> Outcome {
    let tenant = World::new().tenant;
    let hour = key(BudgetScope::Tenant, Period::Hour);
    let alert = async || Ok::<_, Failed>(sum(subject, tenant, hour).await?.2);
    let reserve =
        async |call, amount, cap| reserve(subject, tenant, (call, amount), &[(hour, cap)]).await;
    for (n, (spent, expected)) in [
        (79, None),
        (80, Some(AlertLevel::Eighty)),
        (95, Some(AlertLevel::NinetyFive)),
    ]
    .into_iter()
    .enumerate()
    {
        let before = sum(subject, tenant, hour).await?.0;
        let call = ["first", "second", "third"][n];
        ensure_eq!(reserve(call, spent - before, 100).await?, None, "{spent}");
        settle(subject, tenant, call, spent - before).await?;
        ensure_eq!(alert().await?, expected, "the level at {spent} of 100");
    }
    ensure_eq!(reserve("more", 6, 100).await?, Some(hour), "101 of 100");
    ensure_eq!(
        alert().await?,
        Some(AlertLevel::Reached),
        "the level after a refusal"
    );
    let first = current(subject, tenant).await?;
    let first = first.first().ok_or("no sum is listed")?;
    ensure_eq!(first.budget, hour, "the sum with the highest level");
    ensure_eq!(first.sum.cap, Some(NanoUsd(100)), "the cap that refused");
    ensure_eq!(reserve("more", 6, 200).await?, None, "101 of 200");
    ensure_eq!(alert().await?, None, "the level after the cap was raised");
    Ok(())
}

pub(super) async fn a_short_period_starts_again(subject: &StoreSubject) -> Outcome {
    let tenant = World::new().tenant;
    let hour = key(BudgetScope::Person(person()), Period::Hour);
    let reserve =
        async |call, amount| reserve(subject, tenant, (call, amount), &[(hour, 100)]).await;
    ensure_eq!(reserve("early", 100).await?, None, "100 of 100");
    subject.clock.advance(HOUR);
    ensure_eq!(
        reserve("late", 60).await?,
        None,
        "60 of the next hour's 100"
    );
    // A call is settled in the hour of its reservation.
    settle(subject, tenant, "early", 90).await?;
    let (spent, reserved, _) = sum(subject, tenant, hour).await?;
    ensure_eq!(
        (spent, reserved),
        (0, 60),
        "spent and reserved in this hour"
    );
    ensure_eq!(reserve("more", 41).await?, Some(hour), "101 of 100");
    settle(subject, tenant, "late", 60).await?;
    // What is kept does not grow with the hours that have passed.
    for n in 0..100 {
        subject.clock.advance(2 * HOUR);
        ensure_eq!(reserve("call", 100).await?, None, "100 of hour {n}");
        settle(subject, tenant, "call", 1).await?;
    }
    let kept = subject.budgets(tenant).await?;
    let hours = kept.iter().filter(|it| it.budget == hour).count();
    ensure!(hours < 50, "the sums of {hours} hours are kept");
    Ok(())
}

pub(super) async fn sums_move_with_the_tenant(subject: &StoreSubject) -> Outcome {
    let tenant = World::new().tenant;
    let day = key(BudgetScope::Person(person()), Period::Day);
    let caps = [(day, 100)];
    reserve(subject, tenant, ("a", 100), &caps).await?;
    settle(subject, tenant, "a", 85).await?;
    let exported = subject.exported(tenant).await?;
    let other = World::new().tenant;
    subject.store.import(other, exported).await?;
    ensure_eq!(
        sum(subject, other, day).await?,
        (85, 0, Some(AlertLevel::Eighty)),
        "the imported sum"
    );
    ensure_eq!(
        reserve(subject, other, ("b", 16), &caps).await?,
        Some(day),
        "101 of 100 after the import"
    );
    Ok(())
}
