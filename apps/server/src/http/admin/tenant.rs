//! `/tenants`, and the cancellation of one

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use konstruct_admin_api::{Disconnection, DisconnectionState, NewTenant, Page, Tenant};
use konstruct_core::{Clock as _, Error, ErrorKind, SystemClock, TenantId};

use super::{
    Caller, Input, Operator, Problem,
    input::{Paging, cut},
};
use crate::{
    App, demo,
    directory::{self, Progress},
    offboarding,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants", get(list).post(add))
        .route("/tenants/{tenant}", get(read).delete(remove))
        .route(
            "/tenants/{tenant}/cancellation",
            post(cancel).delete(withdraw),
        )
}

async fn list(
    State(app): State<Arc<App>>,
    _: Operator,
    paging: Paging,
) -> Result<Json<Page<Tenant>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after()?);
    let tenants = app.directory.tenants(after, limit + 1).await?;
    let tenants = tenants.into_iter().map(shown).collect();
    let page = cut(tenants, limit, |tenant: &Tenant| tenant.id.to_string());
    Ok(Json(page))
}

async fn add(
    State(app): State<Arc<App>>,
    _: Operator,
    Input(new): Input<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Problem> {
    let tenant = app.directory.add_tenant(TenantId::new(), &new.name).await?;
    Ok((StatusCode::CREATED, Json(shown(tenant))))
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Json<Tenant>, Problem> {
    let tenant = app.directory.tenant(tenant).await?;
    with_disconnections(&app, tenant).await
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<StatusCode, Problem> {
    offboarding::remove(&app, tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn cancel(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Json<Tenant>, Problem> {
    if tenant == demo::TENANT {
        let problem = "the demo cannot be cancelled; switch it off with KONSTRUCT_DEMO=off";
        return Err(Error::new(ErrorKind::Conflict, problem).into());
    }
    let tenant = offboarding::cancel(&app, tenant, SystemClock.now()).await?;
    with_disconnections(&app, tenant).await
}

async fn withdraw(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<StatusCode, Problem> {
    offboarding::withdraw(&app, tenant, SystemClock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns a tenant with what became of its connections at the vendors.
async fn with_disconnections(
    app: &App,
    tenant: directory::Tenant,
) -> Result<Json<Tenant>, Problem> {
    let disconnections = match tenant.cancellation {
        Some(_) => app.directory.disconnections(tenant.id).await?,
        None => Vec::new(),
    };
    Ok(Json(Tenant {
        disconnections: disconnections.into_iter().map(disconnection).collect(),
        ..shown(tenant)
    }))
}

fn disconnection(of: directory::Disconnection) -> Disconnection {
    Disconnection {
        connection: of.connection,
        channel: of.channel.as_str().to_owned(),
        account: of.account.0,
        state: match of.progress {
            Progress::Waiting => DisconnectionState::Waiting,
            Progress::Done => DisconnectionState::Done,
            Progress::Shared => DisconnectionState::Shared,
            Progress::Failed => DisconnectionState::Failed,
        },
        attempts: of.attempts,
        detail: of.detail,
        ended_at: of.ended_at.map(|at| at.to_string()),
    }
}

fn shown(tenant: directory::Tenant) -> Tenant {
    Tenant {
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.created_at.to_string(),
        cancelled_at: tenant.cancellation.map(|it| it.at.to_string()),
        erase_at: tenant.cancellation.map(|it| it.erase_at.to_string()),
        disconnections: Vec::new(),
    }
}
