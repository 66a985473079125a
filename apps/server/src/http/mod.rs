//! The routes.

mod admin;
mod guard;
mod health;
mod input;
mod json;
mod listen;
mod metrics;
mod problem;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, routing::get};

use self::guard::{Hosts, guarded, within};
pub(crate) use self::{
    input::Input,
    listen::{Limits, serve},
    problem::Problem,
};
use crate::App;

/// The largest body of a request to the admin API: a document of 1 MiB, escaped.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// How long a webhook may take. The vendors give up earlier, and deliver again.
const WEBHOOK: Duration = Duration::from_secs(8);
/// How long another request may take, and one that rewrites the store's file.
const REQUEST: Duration = Duration::from_secs(60);
const REWRITE: Duration = Duration::from_secs(3_600);

/// What `/` shows where there is no page to lead to.
const ROOT: &str = "Konstruct runs here. Admin API: /api/v1, described by /api/openapi.json\n";

/// Returns the public routes, for a listener at this address.
pub(crate) fn routes(app: Arc<App>, address: IpAddr) -> Router {
    let webhooks = konstruct_channels::routes(Arc::clone(&app.gateway));
    let mut router = Router::new()
        .merge(within(webhooks, WEBHOOK))
        .merge(within(health::routes(), REQUEST))
        .merge(admin::routes(&app));
    router = match &app.simulator {
        Some(simulator) => router.merge(within(simulator.routes(), REQUEST)),
        None => router.route("/", get(|| async { ROOT })),
    };
    let hosts = Hosts::new(&app.config, address);
    let router = router.layer(DefaultBodyLimit::max(LARGEST_BODY));
    guarded(router.with_state(app), hosts)
}

/// Returns the routes of the metrics listener.
pub(crate) fn metrics_routes(app: Arc<App>, address: IpAddr) -> Router {
    let hosts = Hosts::new(&app.config, address);
    guarded(within(metrics::routes(), REQUEST).with_state(app), hosts)
}
