//! The admin API, version 1, with one file per resource.

mod attachment;
mod connection;
mod conversation;
mod document;
mod employee;
mod holder;
mod input;
mod memory;
mod model;
mod preview;
mod question;
mod tenant;
mod website;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use konstruct_core::{
    Secret, TenantId,
    limit::{Decision, LimitKey, Quota},
};
use subtle::ConstantTimeEq as _;

use super::{Input, Problem, REQUEST_TIMEOUT, REWRITE_TIMEOUT, within};
use crate::App;

pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let api = Router::new()
        .merge(tenant::routes())
        .merge(employee::routes())
        .merge(connection::routes())
        .merge(model::routes())
        .merge(document::routes())
        .merge(website::routes())
        .merge(conversation::routes())
        .merge(holder::routes())
        .merge(question::routes())
        .merge(memory::routes());
    let api = within(api, REQUEST_TIMEOUT)
        .merge(within(memory::erasures(), REWRITE_TIMEOUT))
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no such resource; see /api/openapi.json for the paths",
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the resource does not support this method; see /api/openapi.json",
            )
        })
        .layer(from_fn_with_state(Arc::clone(app), authorize));
    Router::new()
        .route(
            "/api/openapi.json",
            get(|| async { Json(konstruct_admin_api::openapi()) }),
        )
        .nest("/api/v1", api)
}

/// Admits only requests with the operator's token.
async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let operator = token.is_some_and(|(_, token)| is_operator(&app.operator_token, token.trim()));
    // All who guess share one limit, which the operator does not.
    if let Some(problem) = limited(&app, if operator { "operator" } else { "nobody" }).await {
        return problem.into_response();
    }
    if operator {
        next.run(request).await
    } else {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "the operator's token is missing or wrong; send it as `Authorization: Bearer …`",
        )
        .into_response()
    }
}

/// Counts a request. Returns the refusal of one that exceeds the limit.
async fn limited(app: &App, who: &str) -> Option<Problem> {
    let count = app.config.limits.api_requests_per_minute;
    let quota = Quota::new(count, Duration::from_secs(60), count).ok()?;
    let key = LimitKey {
        tenant: TenantId::from_bytes([0; 16]),
        of: format!("api:{who}"),
    };
    match app.limiter.check(&[(key, quota)]).await.ok()? {
        Decision::Allowed => None,
        Decision::Limited { retry_after, .. } => Some(Problem::too_many(retry_after)),
    }
}

fn is_operator(token: &Secret, given: &str) -> bool {
    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
}
