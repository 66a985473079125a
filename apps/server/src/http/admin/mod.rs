//! The admin API, version 1, with one file per resource.

mod account;
mod attachment;
mod audit;
mod backup;
mod budget;
mod caller;
mod connection;
mod conversation;
mod conversation_list;
mod document;
mod employee;
mod event;
mod export;
mod holder;
mod idempotency;
mod input;
mod invitation;
mod member;
mod memory;
mod model;
mod preview;
mod question;
mod retention;
mod spend;
mod tenant;
mod token;
mod website;

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::from_fn_with_state,
    routing::get,
};
use serde::Serialize;

use self::caller::{Caller, Operator};
pub(crate) use self::event::Streams;
use super::{Input, Problem, REQUEST_TIMEOUT, REWRITE_TIMEOUT, cookie, within};
use crate::App;

/// The description of the API. All responses share it: clients that ask for it and do not read it take no memory.
static OPENAPI: LazyLock<Bytes> =
    LazyLock::new(|| konstruct_admin_api::openapi().to_string().into());

/// Returns the name under which a variant without fields is serialized.
fn name_of(value: &impl Serialize) -> Option<String> {
    let value = serde_json::to_value(value).ok()?;
    value.as_str().map(str::to_owned)
}

pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let api = Router::new()
        .merge(tenant::routes())
        .merge(retention::routes())
        .merge(employee::routes())
        .merge(connection::routes())
        .merge(model::routes())
        .merge(document::routes())
        .merge(website::routes())
        .merge(conversation::routes())
        .merge(conversation_list::routes())
        .merge(event::routes())
        .merge(export::routes())
        .merge(budget::routes())
        .merge(spend::routes())
        .merge(holder::routes())
        .merge(question::routes())
        .merge(memory::routes())
        .merge(token::routes())
        .merge(member::routes())
        .merge(invitation::routes())
        .merge(account::routes())
        .merge(audit::routes());
    let api = within(api, REQUEST_TIMEOUT)
        .merge(within(
            memory::erasures()
                .merge(audit::verifications())
                .merge(backup::routes()),
            REWRITE_TIMEOUT,
        ))
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no such resource; see /api/openapi.json for the paths",
            )
        })
        .method_not_allowed_fallback(async || caller::unsupported())
        .layer(from_fn_with_state(Arc::clone(app), caller::audit))
        .layer(from_fn_with_state(Arc::clone(app), idempotency::once))
        .layer(from_fn_with_state(Arc::clone(app), caller::admit));
    Router::new()
        .route(
            "/api/openapi.json",
            get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI.clone()) }),
        )
        .nest("/api/v1", api)
}
