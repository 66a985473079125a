//! The metrics in Prometheus's text format, on a separate listener.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{
    Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};

use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (events, turns) = (app.gateway.counts(), app.driver.stats());
    let mut text = String::new();
    let mut counter = |name: &str, help: &str, rows: &[(&str, u64)]| {
        // Writing to a `String` does not fail.
        let _ = writeln!(
            text,
            "# HELP konstruct_{name} {help}\n# TYPE konstruct_{name} counter"
        );
        for (labels, value) in rows {
            let _ = writeln!(text, "konstruct_{name}{labels} {value}");
        }
    };
    counter(
        "events_total",
        "Webhook events by outcome.",
        &[
            ("{outcome=\"accepted\"}", events.accepted),
            ("{outcome=\"duplicate\"}", events.duplicate),
            ("{outcome=\"upgraded\"}", events.upgraded),
            ("{outcome=\"folded\"}", events.folded),
            ("{outcome=\"unknown_account\"}", events.unknown_account),
            ("{outcome=\"undecodable\"}", events.undecodable),
        ],
    );
    counter(
        "events_unsupported_total",
        "Stored events of unknown kinds.",
        &[("", events.unsupported)],
    );
    counter(
        "webhooks_refused_total",
        "Rejected webhook requests by reason.",
        &[
            ("{reason=\"signature\"}", events.rejected_signature),
            ("{reason=\"failure\"}", events.failed),
        ],
    );
    counter(
        "turns_total",
        "Turns by outcome.",
        &[
            ("{outcome=\"replied\"}", turns.replied.load(Relaxed)),
            ("{outcome=\"silent\"}", turns.silent.load(Relaxed)),
            ("{outcome=\"asked\"}", turns.asked.load(Relaxed)),
        ],
    );
    counter(
        "claims_total",
        "Claims of conversations by workers.",
        &[("", turns.claims.load(Relaxed))],
    );
    counter(
        "model_calls_total",
        "Calls to language models.",
        &[("", turns.model_calls.load(Relaxed))],
    );
    counter(
        "limited_total",
        "Times that a rate limit delayed a turn or a model call.",
        &[("", turns.limited.load(Relaxed))],
    );
    let [eighty, ninety_five, reached] = &turns.budget_alerts;
    counter(
        "budget_alerts_total",
        "Times that 80, 95 or 100 % of a cap was spent.",
        &[
            ("{percent=\"80\"}", eighty.load(Relaxed)),
            ("{percent=\"95\"}", ninety_five.load(Relaxed)),
            ("{percent=\"100\"}", reached.load(Relaxed)),
        ],
    );
    counter(
        "tool_calls_total",
        "Calls to tools.",
        &[("", turns.tool_calls.load(Relaxed))],
    );
    counter(
        "sends_total",
        "Requests to send a message.",
        &[("", turns.sends.load(Relaxed))],
    );
    counter(
        "failures_total",
        "Claims that failed.",
        &[("", turns.failures.load(Relaxed))],
    );
    let http = &app.counts;
    counter(
        "accept_failures_total",
        "Failed accepts for lack of descriptors or memory.",
        &[("", http.exhaustions())],
    );
    counter(
        "panics_total",
        "Requests whose handler panicked.",
        &[("", http.panics())],
    );
    let mut by_reason = |name, help, counted: &mut dyn Iterator<Item = (&'static str, u64)>| {
        let rows: Vec<_> = counted
            .map(|(reason, value)| (format!("{{reason=\"{reason}\"}}"), value))
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .map(|(labels, value)| (labels.as_str(), *value))
            .collect();
        counter(name, help, &rows);
    };
    by_reason(
        "connections_closed_total",
        "Connections that the server closed by reason.",
        &mut http.closed_by_reason(),
    );
    by_reason(
        "requests_refused_total",
        "Requests that were refused before their handler ran, by reason.",
        &mut http.refused_by_reason(),
    );
    for (name, help, value) in [
        (
            "connections",
            "Open connections of all listeners.",
            http.open_connections(),
        ),
        (
            "body_bytes",
            "Bytes of request bodies in memory.",
            http.bytes_of_bodies(),
        ),
    ] {
        let _ = writeln!(
            text,
            "# HELP konstruct_{name} {help}\n# TYPE konstruct_{name} gauge\nkonstruct_{name} {value}"
        );
    }
    let _ = writeln!(
        text,
        "# HELP konstruct_first_claim_seconds Time from the process start to its first claim.\n\
         # TYPE konstruct_first_claim_seconds gauge"
    );
    if let Some(micros) = turns.first_claim() {
        let seconds = micros.duration_since(app.started).as_secs_f64();
        let _ = writeln!(text, "konstruct_first_claim_seconds {seconds:.6}");
    }
    text.push_str(&app.directory.models().metrics().prometheus());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
