//! `/tenants/{tenant}/websites`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use konstruct_admin_api::{
    self as api, CrawlCount, CrawlProblem, CrawlReport, CrawledAddress, NewWebsite, Page, Website,
    WebsiteSettings,
};
use konstruct_core::{Error, Result, TenantId, id::WebsiteId};
use konstruct_memory::crawl::{Outcome, Report};
use serde::Serialize;

use super::{
    Caller, Input, Problem,
    input::{Paging, id, page},
    name_of,
};
use crate::{
    App, crawls,
    directory::{self, CrawlState},
};

/// The hours between two crawls that may be set.
const HOURS: std::ops::RangeInclusive<u16> = 24..=720;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/websites", get(list).post(add))
        .route(
            "/tenants/{tenant}/websites/{website}",
            get(read).put(change).delete(remove),
        )
        .route(
            "/tenants/{tenant}/websites/{website}/crawl",
            post(crawl).delete(cancel),
        )
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<Website>>, Problem> {
    let mut websites = Vec::new();
    for website in app.directory.websites(tenant).await? {
        let mut shown = shown(&app, tenant, website).await?;
        shown.crawl.report.addresses.clear();
        websites.push(shown);
    }
    page(websites, &paging, |website| website.id.to_string()).map(Json)
}

async fn add(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<NewWebsite>,
) -> Result<(StatusCode, Json<Website>), Problem> {
    let every_hours = checked_interval(new.every_hours)?;
    let url = app.crawls.check(&new.url).await?;
    let website = app.directory.add_website(tenant, &url, every_hours).await?;
    app.crawls.wake();
    let shown = shown(&app, tenant, website).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, website)): Path<(String, String)>,
) -> Result<Json<Website>, Problem> {
    let website = app.directory.website(tenant, id(&website, "website")?);
    Ok(Json(shown(&app, tenant, website.await?).await?))
}

async fn change(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, website)): Path<(String, String)>,
    Input(settings): Input<WebsiteSettings>,
) -> Result<Json<Website>, Problem> {
    let every_hours = checked_interval(settings.every_hours)?;
    let website = app
        .directory
        .change_website(tenant, id(&website, "website")?, |website| {
            website.every_hours = every_hours;
            Ok(())
        })
        .await?;
    // The new time may be earlier than the one that is waited for.
    app.crawls.wake();
    Ok(Json(shown(&app, tenant, website).await?))
}

/// Checks the hours between two crawls.
fn checked_interval(every_hours: Option<u16>) -> Result<Option<u16>> {
    match every_hours {
        Some(hours) if !HOURS.contains(&hours) => {
            let problem = format!("must be {} to {}", HOURS.start(), HOURS.end());
            Err(Error::invalid("every_hours", problem))
        }
        hours => Ok(hours),
    }
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, website)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    crawls::remove(&app, tenant, id(&website, "website")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn crawl(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, website)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Website>), Problem> {
    let website = crawls::request(&app, tenant, id(&website, "website")?).await?;
    let shown = shown(&app, tenant, website).await?;
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

async fn cancel(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, website)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let website: WebsiteId = id(&website, "website")?;
    crawls::cancel(&app, tenant, website).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn shown(app: &App, tenant: TenantId, website: directory::Website) -> Result<Website> {
    let next = website.next_crawl(tenant);
    let crawl = website.crawl;
    let running = (crawl.state == CrawlState::Running)
        .then(|| app.crawls.progress(website.id))
        .flatten();
    let pages = app.directory.website_pages(tenant, website.id).await?;
    Ok(Website {
        id: website.id,
        url: website.url,
        created_at: website.created_at.to_string(),
        every_hours: website.every_hours,
        next_crawl_at: next
            .filter(|next| next.due != crawl.requested_at)
            .map(|next| next.due.to_string()),
        pages: pages.len(),
        crawl: api::Crawl {
            state: match crawl.state {
                CrawlState::Waiting => api::CrawlState::Waiting,
                CrawlState::Running => api::CrawlState::Running,
                CrawlState::Interrupted => api::CrawlState::Interrupted,
                CrawlState::Finished => api::CrawlState::Finished,
                CrawlState::Failed => api::CrawlState::Failed,
                CrawlState::Cancelled => api::CrawlState::Cancelled,
            },
            requested_at: crawl.requested_at.to_string(),
            started_at: crawl.started_at.map(|at| at.to_string()),
            ended_at: crawl.ended_at.map(|at| at.to_string()),
            interruptions: crawl.interruptions,
            report: shown_report(running.unwrap_or(crawl.report)),
        },
    })
}

fn shown_report(report: Report) -> CrawlReport {
    let problem = report.problem.map(|problem| CrawlProblem {
        reason: name_of(&problem).unwrap_or_default(),
        text: crawls::advice(problem).to_owned(),
    });
    let addresses = report.entries.into_iter().map(|entry| CrawledAddress {
        url: entry.url,
        outcome: match entry.outcome {
            Outcome::Read => "read",
            Outcome::Unchanged => "unchanged",
            Outcome::Ended => "ended",
            Outcome::Skipped(_) => "skipped",
            _ => "failed",
        }
        .to_owned(),
        reason: match entry.outcome {
            Outcome::Skipped(reason) => Some(name_of(&reason).unwrap_or_default()),
            Outcome::Failed(reason) => Some(name_of(&reason).unwrap_or_default()),
            _ => None,
        },
        detail: entry.detail,
    });
    CrawlReport {
        requests: report.requests,
        bytes: report.bytes,
        waiting: report.waiting,
        read: report.read,
        unchanged: report.unchanged,
        ended: report.ended,
        skipped: counts(&report.skipped),
        failed: counts(&report.failed),
        complete: report.is_complete,
        problem,
        addresses: addresses.collect(),
    }
}

fn counts<T: Serialize>(counts: &BTreeMap<T, usize>) -> Vec<CrawlCount> {
    let counts = counts.iter().map(|(reason, count)| CrawlCount {
        reason: name_of(reason).unwrap_or_default(),
        count: *count,
    });
    counts.collect()
}
