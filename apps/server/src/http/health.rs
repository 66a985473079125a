//! Whether the process runs, and whether it can work.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use konstruct_core::turn::Journal as _;
use serde_json::{Value, json};

use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
}

/// Asks the store, which is all that this server cannot do without.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let store = app.store.next_due().await;
    let status = if store.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = |ok: bool| if ok { "ok" } else { "failed" };
    (
        status,
        Json(json!({ "status": word(store.is_ok()), "checks": { "store": word(store.is_ok()) } })),
    )
}
