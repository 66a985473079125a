//! The id and the span of each request.

use std::time::Duration;

use axum::{
    body::Body,
    extract::MatchedPath,
    http::{HeaderValue, Request, Response},
};
use tower_http::request_id::{MakeRequestId, RequestId};
use tracing::Span;
use uuid::Uuid;

use super::proxy::ClientAddress;

/// Makes ids whose order is that of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewId;

impl MakeRequestId for NewId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = Uuid::now_v7().to_string();
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}

/// Returns the span of a request: its route, never its path or query, which can contain names and tokens.
pub(super) fn span(request: &Request<Body>) -> Span {
    let extensions = request.extensions();
    let route = extensions
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let id = extensions.get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok());
    let client = extensions.get::<ClientAddress>();
    tracing::info_span!(
        "request",
        method = %request.method(),
        route,
        id,
        client = client.map(|client| tracing::field::display(client.0)),
    )
}

/// Logs a response.
pub(super) fn responded<B>(response: &Response<B>, latency: Duration, _: &Span) {
    let status = response.status().as_u16();
    tracing::debug!(status, ?latency, "responded");
}
