//! `/tenants/{tenant}/employee`

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use konstruct_admin_api::{self as api, EmployeeSettings};
use konstruct_core::{
    Employee, Error, NanoUsd, TenantId,
    employee::{OpenSpan, Phrases, TurnLimits, Unresolved, WorkingHours},
    memory::Language,
};

use super::{Input, Problem, input::InTenant};
use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(
        "/tenants/{tenant}/employee",
        get(read).post(hire).put(change),
    )
}

async fn read(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
) -> Result<Json<api::Employee>, Problem> {
    app.directory.tenant(tenant).await?;
    let found = app.directory.employee(tenant, None).await?;
    let (version, employee) = found.ok_or_else(|| Error::not_found("employee"))?;
    Ok(Json(shown(version, &employee)))
}

async fn hire(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Input(settings): Input<EmployeeSettings>,
) -> Result<(StatusCode, Json<api::Employee>), Problem> {
    app.directory.tenant(tenant).await?;
    let employee = employee(&settings)?;
    let version = app.directory.hire(tenant, &employee).await?;
    analyse(&app, tenant, &employee).await?;
    Ok((StatusCode::CREATED, Json(shown(version, &employee))))
}

async fn change(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Input(settings): Input<EmployeeSettings>,
) -> Result<Json<api::Employee>, Problem> {
    app.directory.tenant(tenant).await?;
    let employee = employee(&settings)?;
    app.directory.change_employee(tenant, &employee).await?;
    analyse(&app, tenant, &employee).await?;
    read(State(app), InTenant(tenant)).await
}

/// Sets the tenant's text analysis to the employee's first language.
async fn analyse(app: &App, tenant: TenantId, employee: &Employee) -> Result<(), Error> {
    let first = employee.languages.first();
    let language = first.and_then(|tag| Language::from_tag(tag));
    app.memory
        .set_language(tenant, language.unwrap_or_default())
        .await
}

fn employee(settings: &EmployeeSettings) -> Result<Employee, Problem> {
    let mut builder = Employee::builder(&settings.name)
        .role(&settings.role)
        .persona(&settings.persona)
        .scope(&settings.scope)
        .instructions(&settings.instructions);
    if let Some(temperature) = settings.temperature {
        builder = builder.temperature(temperature);
    }
    builder = settings
        .languages
        .iter()
        .fold(builder, |builder, language| builder.language(language));
    builder = settings
        .tools
        .iter()
        .fold(builder, |builder, tool| builder.tool(tool));
    if let Some(hours) = &settings.hours {
        builder = builder.hours(working_hours(hours)?);
    }
    if let Some(cap) = settings.monthly_cap_nano_usd {
        builder = builder.monthly_cap(NanoUsd(cap));
    }
    if let Some(fallback) = &settings.fallback {
        builder = builder.fallback(fallback);
    }
    builder = builder.phrases(Phrases::default().with(|it| {
        it.deferred = settings.deferred.clone().unwrap_or(it.deferred.clone());
        it.cap_reached = settings
            .cap_reached
            .clone()
            .unwrap_or(it.cap_reached.clone());
    }));
    let (default, chosen) = (TurnLimits::default(), &settings.limits);
    let limits = default.with(|it| {
        it.answer_tokens = chosen.answer_tokens.unwrap_or(default.answer_tokens);
        it.deadline_secs = chosen.deadline_secs.unwrap_or(default.deadline_secs);
        it.question_age_secs = chosen
            .question_age_secs
            .unwrap_or(default.question_age_secs);
        it.reply_parts = chosen.reply_parts.unwrap_or(default.reply_parts);
        it.unresolved = match settings.unresolved {
            api::Unresolved::Ask => Unresolved::Ask,
            api::Unresolved::Resend => Unresolved::Resend,
        };
    });
    Ok(builder.limits(limits).build()?)
}

fn working_hours(hours: &api::WorkingHours) -> Result<WorkingHours, Problem> {
    let mut open = Vec::with_capacity(hours.open.len());
    for (i, span) in hours.open.iter().enumerate() {
        let time = |field: &str, text: &str| {
            text.parse().map_err(|_| {
                Problem::field(
                    &format!("hours.open[{i}].{field}"),
                    "must be a time, `HH:MM`",
                )
            })
        };
        open.push(OpenSpan {
            weekday: span.weekday,
            from: time("from", &span.from)?,
            to: time("to", &span.to)?,
        });
    }
    let mut made = WorkingHours::new(&hours.time_zone).closed_message(&hours.closed_message);
    made.open = open;
    Ok(made)
}

fn shown(version: u32, employee: &Employee) -> api::Employee {
    let hours = employee.hours.as_ref().map(|hours| api::WorkingHours {
        time_zone: hours.time_zone.clone(),
        open: hours
            .open
            .iter()
            .map(|span| api::OpenSpan {
                weekday: span.weekday,
                from: span.from.to_string(),
                to: span.to.to_string(),
            })
            .collect(),
        closed_message: hours.closed_message.clone(),
    });
    api::Employee {
        id: employee.id,
        version,
        settings: EmployeeSettings {
            name: employee.name.clone(),
            role: employee.role.clone(),
            persona: employee.persona.clone(),
            scope: employee.scope.clone(),
            instructions: employee.instructions.clone(),
            temperature: employee.temperature,
            languages: employee.languages.clone(),
            hours,
            tools: employee.tools.clone(),
            monthly_cap_nano_usd: employee.monthly_cap.map(|cap| cap.0),
            fallback: Some(employee.fallback.clone()),
            deferred: Some(employee.phrases.deferred.clone()),
            cap_reached: Some(employee.phrases.cap_reached.clone()),
            limits: api::EmployeeLimits {
                answer_tokens: Some(employee.limits.answer_tokens),
                deadline_secs: Some(employee.limits.deadline_secs),
                question_age_secs: Some(employee.limits.question_age_secs),
                reply_parts: Some(employee.limits.reply_parts),
            },
            unresolved: match employee.limits.unresolved {
                Unresolved::Resend => api::Unresolved::Resend,
                _ => api::Unresolved::Ask,
            },
        },
    }
}
