//! `/tenants`

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use konstruct_admin_api::{NewTenant, Page, Tenant};
use konstruct_core::TenantId;

use super::{
    Input, Problem,
    input::{InTenant, Paging},
};
use crate::{App, directory};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants", get(list).post(add))
        .route("/tenants/{tenant}", get(read).delete(remove))
}

async fn list(State(app): State<Arc<App>>, paging: Paging) -> Result<Json<Page<Tenant>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after()?);
    // One more shows whether there is a next page.
    let mut tenants = app.directory.tenants(after, limit + 1).await?;
    let more = tenants.len() > limit;
    tenants.truncate(limit);
    let next = tenants.last().filter(|_| more);
    Ok(Json(Page {
        next: next.map(|tenant| tenant.id.to_string()),
        items: tenants.into_iter().map(shown).collect(),
    }))
}

async fn add(
    State(app): State<Arc<App>>,
    Input(new): Input<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Problem> {
    let tenant = app.directory.add_tenant(TenantId::new(), &new.name).await?;
    Ok((StatusCode::CREATED, Json(shown(tenant))))
}

async fn read(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
) -> Result<Json<Tenant>, Problem> {
    Ok(Json(shown(app.directory.tenant(tenant).await?)))
}

async fn remove(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
) -> Result<StatusCode, Problem> {
    let _closing = app.crawls.close(tenant).await;
    app.directory.remove_tenant(tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(tenant: directory::Tenant) -> Tenant {
    Tenant {
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.created_at.to_string(),
    }
}
