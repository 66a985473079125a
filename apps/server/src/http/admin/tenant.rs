//! `/tenants`

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use konstruct_admin_api::{NewTenant, Page, Tenant};
use konstruct_core::{Depth, Erase, TenantId};

use super::{
    Caller, Input, Operator, Problem,
    input::{Paging, cut},
};
use crate::{App, directory};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants", get(list).post(add))
        .route("/tenants/{tenant}", get(read).delete(remove))
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
    Ok(Json(shown(app.directory.tenant(tenant).await?)))
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<StatusCode, Problem> {
    let _closing = app.crawls.close(tenant).await;
    let removing = app.directory.remove_tenant(tenant);
    app.erasures
        .run(tenant, Erase::Tenant, Depth::Logical, removing)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(tenant: directory::Tenant) -> Tenant {
    Tenant {
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.created_at.to_string(),
    }
}
