//! `/tenants/{tenant}/tokens`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL},
    routing::{delete, get},
};
use konstruct_admin_api::{ApiToken, IssuedApiToken, NewApiToken, Page};

use super::{
    Caller, Input, Problem,
    input::{Paging, page},
};
use crate::App;

/// The answer with a new token, which must be in no cache, and in no store of answers.
type Issued = (
    StatusCode,
    [(HeaderName, &'static str); 1],
    Json<IssuedApiToken>,
);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/tokens", get(list).post(add))
        .route("/tenants/{tenant}/tokens/{token}", delete(revoke))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let tokens = app.directory.tokens(tenant).await?;
    let tokens = tokens.iter().map(|token| token.shown()).collect();
    page(tokens, &paging, |token: &ApiToken| token.id.clone()).map(Json)
}

async fn add(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<NewApiToken>,
) -> Result<Issued, Problem> {
    let (token, stored) = app.directory.add_token(tenant, &new).await?;
    let issued = IssuedApiToken {
        token: token.expose().to_owned(),
        details: stored.shown(),
    };
    let once = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, once, Json(issued)))
}

async fn revoke(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, token)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory.revoke_token(tenant, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
