//! `/tenants/{tenant}/employee`

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use konstruct_admin_api::{self as api, EmployeeSettings};
use konstruct_core::{
    Employee, EmployeeBuilder, Error, ErrorKind, TenantId,
    employee::{
        HoursException, OpenSpan, Phrases, TimeOfDay, TimeSpan, TurnLimits, Unresolved,
        WorkingHours,
    },
    limit::{Rate, RateLimits, ScopeRates},
    memory::Language,
};

use super::{Caller, Input, Problem, budget, input::Tagged};
use crate::{App, directory::Replaces};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(
        "/tenants/{tenant}/employee",
        get(read).post(hire).put(change),
    )
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Tagged<api::Employee>, Problem> {
    let found = app.directory.employee(tenant, None).await?;
    let (version, employee) = found.ok_or_else(|| Error::not_found("employee"))?;
    Ok(Tagged(version, shown(version, &employee)))
}

async fn hire(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(settings): Input<EmployeeSettings>,
) -> Result<(StatusCode, Tagged<api::Employee>), Problem> {
    let employee = employee(&settings)?;
    let version = app.directory.hire(tenant, &employee).await?;
    analyse(&app, tenant, &employee).await?;
    Ok((
        StatusCode::CREATED,
        Tagged(version, shown(version, &employee)),
    ))
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    replaces: Replaces,
    Input(settings): Input<EmployeeSettings>,
) -> Result<Tagged<api::Employee>, Problem> {
    let tenant = caller.tenant;
    let employee = employee(&settings)?;
    let changed = app
        .directory
        .change_employee(tenant, &employee, replaces)
        .await;
    match changed {
        Ok(_) => analyse(&app, tenant, &employee).await?,
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let Tagged(_, current) = read(State(app), caller).await?;
            return Err(Problem::stale(replaces, &current, &settings));
        }
        Err(error) => return Err(error.into()),
    }
    read(State(app), caller).await
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
    builder = budget::caps(&settings.caps).fold(builder, EmployeeBuilder::cap);
    if let Some(fallback) = &settings.fallback {
        builder = builder.fallback(fallback);
    }
    builder = builder.phrases(Phrases::default().with(|it| {
        it.deferred = settings.deferred.clone().unwrap_or(it.deferred.clone());
        it.cap_reached = settings
            .cap_reached
            .clone()
            .unwrap_or(it.cap_reached.clone());
        it.busy = settings.busy.clone().unwrap_or(it.busy.clone());
        it.unreadable = settings.unreadable.clone().unwrap_or(it.unreadable.clone());
        let own = &settings.attachments;
        for (phrase, own) in [
            (&mut it.cannot_listen, &own.cannot_listen),
            (&mut it.nothing_heard, &own.nothing_heard),
            (&mut it.cannot_see, &own.cannot_see),
            (&mut it.cannot_read, &own.cannot_read),
            (&mut it.too_large, &own.too_large),
            (&mut it.not_received, &own.not_received),
        ] {
            if let Some(own) = own {
                phrase.clone_from(own);
            }
        }
    }));
    let (default, chosen) = (TurnLimits::default(), &settings.limits);
    let limits = default.with(|it| {
        it.answer_tokens = chosen.answer_tokens.unwrap_or(default.answer_tokens);
        it.deadline_secs = chosen.deadline_secs.unwrap_or(default.deadline_secs);
        it.question_age_secs = chosen
            .question_age_secs
            .unwrap_or(default.question_age_secs);
        it.hold_secs = chosen.hold_secs.unwrap_or(default.hold_secs);
        it.reply_parts = chosen.reply_parts.unwrap_or(default.reply_parts);
        it.unresolved = match settings.unresolved {
            api::Unresolved::Ask => Unresolved::Ask,
            api::Unresolved::Resend => Unresolved::Resend,
        };
    });
    // In the API, the phrases are not a group of their own.
    let built = builder
        .limits(limits)
        .rates(rates(&settings.rates))
        .build()
        .map_err(|error| {
            let phrase = error.field().and_then(|it| it.strip_prefix("phrases."));
            match (phrase, error.message().split_once(": ")) {
                (Some(field), Some((_, problem))) => Error::invalid(field, problem),
                _ => error,
            }
        });
    Ok(built?)
}

fn rates(chosen: &api::RateLimits) -> RateLimits {
    RateLimits::default().with(|it| {
        for (own, chosen) in [
            (&mut it.turns, &chosen.turns),
            (&mut it.model_calls, &chosen.model_calls),
        ] {
            for (rate, chosen) in [
                (&mut own.person, chosen.person),
                (&mut own.conversation, chosen.conversation),
                (&mut own.channel, chosen.channel),
                (&mut own.tenant, chosen.tenant),
            ] {
                if let Some(chosen) = chosen {
                    *rate = (chosen.count > 0).then(|| Rate::new(chosen.count, chosen.per_secs));
                }
            }
        }
        it.patience_secs = chosen.patience_secs.unwrap_or(it.patience_secs);
        it.notice_secs = chosen.notice_secs.unwrap_or(it.notice_secs);
    })
}

fn shown_rates(rates: &RateLimits) -> api::RateLimits {
    let rate = |rate: Option<Rate>| {
        let none = Rate::new(0, 60);
        let Rate { count, per_secs } = rate.unwrap_or(none);
        Some(api::Rate { count, per_secs })
    };
    let scopes = |rates: &ScopeRates| api::ScopeRates {
        person: rate(rates.person),
        conversation: rate(rates.conversation),
        channel: rate(rates.channel),
        tenant: rate(rates.tenant),
    };
    api::RateLimits {
        turns: scopes(&rates.turns),
        model_calls: scopes(&rates.model_calls),
        patience_secs: Some(rates.patience_secs),
        notice_secs: Some(rates.notice_secs),
    }
}

fn working_hours(hours: &api::WorkingHours) -> Result<WorkingHours, Problem> {
    let mut made = WorkingHours::new(&hours.time_zone).closed_message(&hours.closed_message);
    for (i, span) in hours.open.iter().enumerate() {
        let TimeSpan { from, to } = span_of(&format!("hours.open[{i}]"), &span.from, &span.to)?;
        made.open.push(OpenSpan {
            weekday: span.weekday,
            from,
            to,
        });
    }
    for (i, exception) in hours.exceptions.iter().enumerate() {
        let field = format!("hours.exceptions[{i}]");
        let mut day = HoursException::new(&exception.date, &exception.name).map_err(|_| {
            Problem::field(&format!("{field}.date"), "must be a date, `YYYY-MM-DD`")
        })?;
        for (n, span) in exception.open.iter().enumerate() {
            let field = format!("{field}.open[{n}]");
            day.open.push(span_of(&field, &span.from, &span.to)?);
        }
        made = made.exception(day);
    }
    Ok(made)
}

fn span_of(field: &str, from: &str, to: &str) -> Result<TimeSpan, Problem> {
    let time = |name: &str, text: &str| {
        text.parse::<TimeOfDay>().map_err(|_| {
            let field = format!("{field}.{name}");
            Problem::field(&field, "must be a time as `HH:MM`, 00:00 to 24:00")
        })
    };
    Ok(TimeSpan {
        from: time("from", from)?,
        to: time("to", to)?,
    })
}

fn shown_hours(hours: &WorkingHours) -> api::WorkingHours {
    let open = hours.open.iter().map(|span| api::OpenSpan {
        weekday: span.weekday,
        from: span.from.to_string(),
        to: span.to.to_string(),
    });
    let span = |span: &TimeSpan| api::TimeSpan {
        from: span.from.to_string(),
        to: span.to.to_string(),
    };
    let exceptions = hours.exceptions.iter().map(|day| api::HoursException {
        date: day.date.to_string(),
        open: day.open.iter().map(span).collect(),
        name: day.name.clone(),
    });
    api::WorkingHours {
        time_zone: hours.time_zone.clone(),
        open: open.collect(),
        exceptions: exceptions.collect(),
        closed_message: hours.closed_message.clone(),
    }
}

fn shown(version: u32, employee: &Employee) -> api::Employee {
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
            hours: employee.hours.as_ref().map(shown_hours),
            tools: employee.tools.clone(),
            caps: budget::shown_caps(employee),
            fallback: Some(employee.fallback.clone()),
            deferred: Some(employee.phrases.deferred.clone()),
            busy: Some(employee.phrases.busy.clone()),
            cap_reached: Some(employee.phrases.cap_reached.clone()),
            unreadable: Some(employee.phrases.unreadable.clone()),
            attachments: api::AttachmentPhrases {
                cannot_listen: Some(employee.phrases.cannot_listen.clone()),
                nothing_heard: Some(employee.phrases.nothing_heard.clone()),
                cannot_see: Some(employee.phrases.cannot_see.clone()),
                cannot_read: Some(employee.phrases.cannot_read.clone()),
                too_large: Some(employee.phrases.too_large.clone()),
                not_received: Some(employee.phrases.not_received.clone()),
            },
            limits: api::EmployeeLimits {
                answer_tokens: Some(employee.limits.answer_tokens),
                deadline_secs: Some(employee.limits.deadline_secs),
                question_age_secs: Some(employee.limits.question_age_secs),
                hold_secs: Some(employee.limits.hold_secs),
                reply_parts: Some(employee.limits.reply_parts),
            },
            rates: shown_rates(&employee.rates),
            unresolved: match employee.limits.unresolved {
                Unresolved::Resend => api::Unresolved::Resend,
                _ => api::Unresolved::Ask,
            },
        },
    }
}
