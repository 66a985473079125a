//! The routes.

mod admin;
mod health;
mod metrics;
mod problem;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit};

pub(crate) use self::problem::Problem;
use crate::App;

/// The largest body of a request to the admin API: a document of 1 MiB, escaped.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// Returns the public routes.
pub(crate) fn routes(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .merge(konstruct_channels::routes(Arc::clone(&app.gateway)))
        .merge(health::routes())
        .merge(admin::routes(&app));
    if let Some(simulator) = &app.simulator {
        router = router.merge(simulator.routes());
    }
    router
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

/// Returns the routes of the metrics listener.
pub(crate) fn metrics_routes(app: Arc<App>) -> Router {
    metrics::routes().with_state(app)
}
