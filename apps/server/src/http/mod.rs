//! The HTTP routes.

mod admin;
mod bodies;
mod called_from;
mod connection;
mod cookie;
mod counts;
mod descriptors;
mod guard;
mod health;
mod input;
mod json;
mod listen;
mod metrics;
mod problem;
mod proxy;
mod sign_in;
mod trace;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, routing::get};

pub use self::descriptors::raise_descriptor_limit;
pub(crate) use self::{
    admin::Streams,
    counts::Counts,
    descriptors::{Descriptors, descriptor_limit},
    input::Input,
    listen::{Limits, serve},
    problem::Problem,
};
use self::{
    bodies::BodyBudget,
    guard::{Guard, within},
};
use crate::App;

/// The maximum body size of an admin API request: a document of 1 MiB, escaped.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The time limit of a webhook. The vendors give up earlier and deliver again.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(8);
/// The part of it in which the body must arrive.
const WEBHOOK_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limits of other requests, and of those that rewrite the store's file.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const REWRITE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The response of `/` without the demo.
const ROOT: &str =
    "Konstruct runs here. Sign in: /sign-in. Admin API: /api/v1, described by /api/openapi.json\n";

/// Returns the public routes for a listener at this address.
pub(crate) fn routes(app: Arc<App>, address: IpAddr) -> Router {
    let budget = BodyBudget::new(app.config.http.body_bytes, Arc::clone(&app.counts));
    let webhooks = konstruct_channels::routes(Arc::clone(&app.gateway));
    let webhooks = within(
        budget.metered(webhooks, WEBHOOK_BODY_TIMEOUT),
        WEBHOOK_TIMEOUT,
    );
    let mut router = Router::new()
        .merge(within(health::routes(), REQUEST_TIMEOUT))
        .merge(within(sign_in::routes(), REQUEST_TIMEOUT))
        .merge(admin::routes(&app));
    router = match &app.simulator {
        Some(simulator) => router.merge(within(simulator.routes(), REQUEST_TIMEOUT)),
        None => router.route("/", get(|| async { ROOT })),
    };
    let router = router.layer(DefaultBodyLimit::max(MAX_BODY));
    let body_timeout = Duration::from_secs(app.config.http.body_secs.get());
    let router = budget.metered(router, body_timeout).merge(webhooks);
    guard(&app, address).protect(router.with_state(app))
}

/// Returns the public routes of a process that only works.
pub(crate) fn health_routes(app: Arc<App>, address: IpAddr) -> Router {
    let router = within(health::routes(), REQUEST_TIMEOUT);
    guard(&app, address).protect(router.with_state(app))
}

/// Returns the routes of the metrics listener.
pub(crate) fn metrics_routes(app: Arc<App>, address: IpAddr) -> Router {
    let router = within(metrics::routes(), REQUEST_TIMEOUT);
    guard(&app, address).protect(router.with_state(app))
}

fn guard(app: &App, address: IpAddr) -> Guard {
    Guard::new(&app.config, address, &app.counts)
}
