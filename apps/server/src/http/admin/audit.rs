//! `/audit` and `/tenants/{tenant}/audit`

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use konstruct_admin_api::{AuditEntry, AuditVerification, Page};
use konstruct_core::TenantId;

use super::{
    Caller, Operator, Problem,
    input::{Paging, cut},
};
use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/audit", get(list_operators))
        .route("/tenants/{tenant}/audit", get(list))
}

/// Returns the routes that read a whole log, with their longer time limit.
pub(super) fn verifications() -> Router<Arc<App>> {
    Router::new()
        .route("/audit/verification", get(verify_operators))
        .route("/tenants/{tenant}/audit/verification", get(verify))
}

async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    entries(&app, Some(caller.tenant), &paging).await
}

async fn list_operators(
    State(app): State<Arc<App>>,
    _: Operator,
    paging: Paging,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    entries(&app, None, &paging).await
}

async fn entries(
    app: &App,
    tenant: Option<TenantId>,
    paging: &Paging,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.after::<u64>()?);
    let items = app
        .directory
        .audit_log()
        .page(tenant, before, limit + 1)
        .await?;
    Ok(Json(cut(items, limit, |entry| entry.number.to_string())))
}

async fn verify(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<AuditVerification>, Problem> {
    Ok(Json(
        app.directory
            .audit_log()
            .verify(Some(caller.tenant))
            .await?,
    ))
}

async fn verify_operators(
    State(app): State<Arc<App>>,
    _: Operator,
) -> Result<Json<AuditVerification>, Problem> {
    Ok(Json(app.directory.audit_log().verify(None).await?))
}
