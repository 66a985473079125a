//! Liveness, and readiness to process requests.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use konstruct_core::{Clock as _, SystemClock, TenantId};
use serde_json::{Value, json};

use crate::App;

/// How long a failed write counts before the store is probed again.
const FAILURE_AGE: Duration = Duration::from_secs(5);
/// The time limit of the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
}

/// Checks the essential parts: the store, for reading and writing, and the tasks.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let nobody = TenantId::from_bytes([0; 16]);
    let read = app.journal.items(nobody, None, 1).await.is_ok();
    let failed = app.store.failed_write();
    let stale = failed
        .as_ref()
        .is_some_and(|failed| failed.at + FAILURE_AGE <= SystemClock.now());
    let written = if stale || !read {
        let probed = tokio::time::timeout(PROBE_TIMEOUT, app.store.probe()).await;
        probed.is_ok_and(|probed| probed.is_ok())
    } else {
        failed.is_none()
    };
    let (store, ended) = (read && written, app.health.ended());
    let draining = app.health.is_draining();
    let well = store && ended.is_none() && !draining;
    let word = |ok: bool| if ok { "ok" } else { "failed" };
    let mut body = json!({
        "status": word(well),
        "checks": {
            "store": word(store),
            "tasks": ended.as_deref().map_or("ok", |_| "failed"),
            "serving": if draining { "draining" } else { "ok" },
        },
    });
    if let Some(failed) = failed {
        body["last_failed_write"] =
            json!({ "at": failed.at.to_string(), "problem": failed.message });
    }
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body))
}
