//! The providers' webhooks: the gateway answers, this only carries.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use konstruct_channels::{HttpReply, WebhookRequest};
use konstruct_core::ChannelKind;

use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/webhooks/slack/events", post(slack))
        .route("/webhooks/slack/interactions", post(slack))
        .route("/webhooks/slack/commands", post(slack))
        .route("/webhooks/whatsapp", get(verify_whatsapp).post(whatsapp))
}

async fn slack(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    reply(
        app.gateway
            .handle(&ChannelKind::SLACK, &request(&headers, body))
            .await,
    )
}

async fn whatsapp(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    reply(
        app.gateway
            .handle(&ChannelKind::WHATSAPP, &request(&headers, body))
            .await,
    )
}

async fn verify_whatsapp(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let request = WebhookRequest::get(query.unwrap_or_default());
    reply(app.gateway.handle(&ChannelKind::WHATSAPP, &request).await)
}

fn request(headers: &HeaderMap, body: Bytes) -> WebhookRequest {
    headers.iter().fold(
        WebhookRequest::post(body),
        |request, (name, value)| match value.to_str() {
            Ok(value) => request.with_header(name.as_str(), value),
            Err(_) => request,
        },
    )
}

fn reply(reply: HttpReply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, reply.body).into_response();
    match reply.content_type {
        Some(kind) => response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind)),
        None => response.headers_mut().remove(CONTENT_TYPE),
    };
    response
}
