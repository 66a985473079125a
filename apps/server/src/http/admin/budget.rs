//! `/tenants/{tenant}/budgets` and `/tenants/{tenant}/caps`: what is spent under the caps, and how a cap is raised.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use konstruct_admin_api::{self as api, Budget, Budgets, Question, RaisedCap};
use konstruct_core::{
    Clock as _, Employee, Error, ErrorKind, NanoUsd, Result, SystemClock, TenantId,
    limit::{AlertLevel, BudgetKey, BudgetScope, BudgetSum, Cap, CapScope, Period, Sum},
    store::{LedgerQuery, rules::month},
    turn::{FallbackReason, ItemKind},
};

use super::{Caller, Input, Problem, question::send_decision};
use crate::{App, directory::Replaces};

/// The most sums that are shown.
const MOST: usize = 100;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/budgets", get(list))
        .route("/tenants/{tenant}/caps", post(raise_cap))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Json<Budgets>, Problem> {
    let (employee, sums) = current(&app, tenant).await?;
    let budgets = sums.iter().filter_map(|sum| shown(&employee, sum));
    Ok(Json(Budgets {
        budgets: budgets.collect(),
    }))
}

async fn raise_cap(
    State(app): State<Arc<App>>,
    caller: Caller,
    Input(wanted): Input<RaisedCap>,
) -> Result<Json<api::Cap>, Problem> {
    raise(&app, &caller, wanted).await.map(Json)
}

/// Returns the employee, and the sums of the current periods: also those in which nothing was spent yet, except of persons and
/// channels.
async fn current(app: &App, tenant: TenantId) -> Result<(Employee, Vec<BudgetSum>)> {
    let found = app.directory.employee(tenant, None).await?;
    let (_, employee) = found.ok_or_else(|| Error::not_found("employee"))?;
    let now = SystemClock.now();
    let query = LedgerQuery::new(month(now)).limit(0).budgets(MOST);
    let mut sums = app.journal.ledger(tenant, query).await?.budgets;
    for cap in &employee.caps {
        let scope = match cap.scope {
            CapScope::Tenant => BudgetScope::Tenant,
            CapScope::Employee => BudgetScope::Employee(employee.id),
            _ => continue,
        };
        let budget = BudgetKey {
            scope,
            period: cap.period,
        };
        if sums.iter().all(|sum| sum.budget != budget) {
            sums.push(BudgetSum {
                budget,
                until: cap.period.end(now),
                sum: Sum::default(),
            });
        }
    }
    Ok((employee, sums))
}

/// Returns the cap of a sum, and how much of it is spent. A cap that was raised or lowered since the last call applies at once.
fn applied(employee: &Employee, sum: &BudgetSum) -> Option<(NanoUsd, Option<AlertLevel>)> {
    let cap = employee.cap(sum.budget.scope.kind(), sum.budget.period)?;
    let refused = sum.sum.alert.filter(|_| sum.sum.cap >= Some(cap));
    Some((cap, refused.max(AlertLevel::of(sum.sum.spent, cap))))
}

fn shown(employee: &Employee, sum: &BudgetSum) -> Option<Budget> {
    let (cap, alert) = applied(employee, sum)?;
    let of = match sum.budget.scope {
        BudgetScope::Employee(id) => Some(id.to_string()),
        BudgetScope::Channel(id) => Some(id.to_string()),
        BudgetScope::Person(id) => Some(id.to_string()),
        _ => None,
    };
    Some(Budget {
        scope: shown_scope(sum.budget.scope.kind()),
        of,
        period: shown_period(sum.budget.period),
        until: sum.until.to_string(),
        cap_nano_usd: cap.0,
        spent_nano_usd: sum.sum.spent.0,
        reserved_nano_usd: sum.sum.reserved.0,
        alert_percent: alert.map(AlertLevel::percent),
    })
}

/// Returns the caps that are reached, as questions to the owner.
pub(super) async fn reached(app: &App, tenant: TenantId) -> Result<Vec<Question>> {
    let (employee, sums) = match current(app, tenant).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let full = sums.iter().filter_map(|sum| {
        let (cap, alert) = applied(&employee, sum)?;
        (alert == Some(AlertLevel::Reached)).then(|| Question {
            key: key(sum),
            kind: "cap_reached".into(),
            conversation: None,
            text: format!(
                "{}: {} of {cap} spent; the period ends at {}",
                sum.budget, sum.sum.spent, sum.until
            ),
            since: None,
            choices: vec!["raise".into()],
        })
    });
    Ok(full.collect())
}

/// Raises the cap that a question is about. Returns whether the question exists.
pub(super) async fn decide(
    app: &App,
    caller: &Caller,
    question: &str,
    decision: &api::Decision,
) -> Result<bool, Problem> {
    if !question.starts_with(KEY) {
        return Ok(false);
    }
    let (employee, sums) = current(app, caller.tenant).await?;
    let full = sums.iter().find(|sum| {
        let level = applied(&employee, sum).and_then(|(_, alert)| alert);
        level == Some(AlertLevel::Reached) && key(sum) == question
    });
    let Some(full) = full else {
        return Ok(false);
    };
    if decision.decision != "raise" {
        return Err(Problem::field("decision", "must be `raise`"));
    }
    let wanted = RaisedCap {
        scope: shown_scope(full.budget.scope.kind()),
        period: shown_period(full.budget.period),
        nano_usd: decision.nano_usd,
    };
    raise(app, caller, wanted).await?;
    Ok(true)
}

const KEY: &str = "cap.";

fn key(sum: &BudgetSum) -> String {
    let budget = sum.budget.to_string().replace('/', ".");
    format!("{KEY}{budget}.{}", sum.until.as_secs())
}

/// Raises a cap in a new version of the employee, and lets it answer the questions that waited for money.
async fn raise(app: &App, caller: &Caller, wanted: RaisedCap) -> Result<api::Cap, Problem> {
    if caller.role < api::Role::Admin {
        let detail = "raising a cap needs the role `admin`";
        return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, detail));
    }
    let (scope, period) = (scope_of(wanted.scope), period_of(wanted.period));
    let amount = loop {
        let found = app.directory.employee(caller.tenant, None).await?;
        let (version, mut employee) = found.ok_or_else(|| Error::not_found("employee"))?;
        let mut caps = employee.caps.iter_mut();
        let cap = caps
            .find(|cap| (cap.scope, cap.period) == (scope, period))
            .ok_or_else(|| Error::not_found("cap"))?;
        let NanoUsd(present) = cap.amount;
        let amount = wanted
            .nano_usd
            .unwrap_or_else(|| present.saturating_mul(2).max(1));
        if amount <= present {
            let problem = format!("must be more than the present cap, {present}");
            return Err(Problem::field("nano_usd", &problem));
        }
        cap.amount = NanoUsd(amount);
        let replaces = Replaces::Version(version);
        let changed = app
            .directory
            .change_employee(caller.tenant, &employee, replaces)
            .await;
        match changed {
            Ok(_) => break amount,
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    };
    answer_waiting(app, caller).await?;
    Ok(api::Cap {
        scope: wanted.scope,
        period: wanted.period,
        nano_usd: amount,
    })
}

/// Lets the employee answer the questions that it had no money for.
async fn answer_waiting(app: &App, caller: &Caller) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let page = app.journal.items(caller.tenant, after, 100).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.item.id.clone());
        for entry in page {
            let waits = matches!(
                entry.item.kind,
                ItemKind::Question {
                    reason: FallbackReason::Budget
                }
            );
            if waits {
                send_decision(app, caller, entry, "answer").await?;
            }
        }
    }
}

/// Returns the caps of an employee's settings.
pub(super) fn caps(settings: &[api::Cap]) -> impl Iterator<Item = Cap> {
    settings.iter().map(|cap| {
        Cap::new(
            scope_of(cap.scope),
            period_of(cap.period),
            NanoUsd(cap.nano_usd),
        )
    })
}

pub(super) fn shown_caps(employee: &Employee) -> Vec<api::Cap> {
    let caps = employee.caps.iter();
    caps.map(|cap| api::Cap {
        scope: shown_scope(cap.scope),
        period: shown_period(cap.period),
        nano_usd: cap.amount.0,
    })
    .collect()
}

fn scope_of(scope: api::CapScope) -> CapScope {
    match scope {
        api::CapScope::Tenant => CapScope::Tenant,
        api::CapScope::Employee => CapScope::Employee,
        api::CapScope::Channel => CapScope::Channel,
        api::CapScope::Person => CapScope::Person,
    }
}

fn shown_scope(scope: CapScope) -> api::CapScope {
    match scope {
        CapScope::Employee => api::CapScope::Employee,
        CapScope::Channel => api::CapScope::Channel,
        CapScope::Person => api::CapScope::Person,
        _ => api::CapScope::Tenant,
    }
}

fn period_of(period: api::Period) -> Period {
    match period {
        api::Period::Hour => Period::Hour,
        api::Period::Day => Period::Day,
        api::Period::Month => Period::Month,
    }
}

fn shown_period(period: Period) -> api::Period {
    match period {
        Period::Hour => api::Period::Hour,
        Period::Day => api::Period::Day,
        _ => api::Period::Month,
    }
}
