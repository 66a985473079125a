//! The gateway's routes for an axum app.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use konstruct_core::ChannelKind;

use crate::{Gateway, HttpReply, WebhookRequest, gateway::MAX_BODY};

/// Returns the routes to configure at Slack and Meta: `POST /webhooks/slack/events`, `/webhooks/slack/interactions` and
/// `/webhooks/slack/commands`, and `GET|POST /webhooks/whatsapp`. They accept bodies up to the gateway's limit, regardless of the
/// app's own limit.
///
/// ```
/// use konstruct_channels::{Gateway, SlackWebhook, routes};
/// use konstruct_core::{ChannelKind, Employee, Secret, SystemClock, Workforce};
/// # use konstruct_core::testkit::{Answer, ReferenceStore, ScriptedModel};
/// # use std::sync::Arc;
/// # let workforce = Workforce::builder_on(ReferenceStore::new(Arc::new(SystemClock)))
/// #     .model(ScriptedModel::new(|_| Answer::text("Hi.")))
/// #     .hire(Employee::builder("Ava").build()?)
/// #     .build()?;
/// let webhook = SlackWebhook::new(Secret::new("signing secret"))?;
/// let gateway = Gateway::of(&workforce).with(ChannelKind::SLACK, webhook);
/// let app: axum::Router = axum::Router::new().merge(routes(gateway.into()));
/// # Ok::<(), konstruct_core::Error>(())
/// ```
pub fn routes<S: Clone + Send + Sync + 'static>(gateway: Arc<Gateway>) -> Router<S> {
    Router::new()
        .route("/webhooks/slack/events", post(slack))
        .route("/webhooks/slack/interactions", post(slack))
        .route("/webhooks/slack/commands", post(slack))
        .route("/webhooks/whatsapp", get(verify_whatsapp).post(whatsapp))
        // One byte more than the gateway's limit, so that the gateway rejects and counts larger bodies.
        .layer(DefaultBodyLimit::max(MAX_BODY + 1))
        .with_state(gateway)
}

async fn slack(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Bytes) -> Response {
    let request = request(&headers, body);
    reply(gateway.handle(&ChannelKind::SLACK, &request).await)
}

async fn whatsapp(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = request(&headers, body);
    reply(gateway.handle(&ChannelKind::WHATSAPP, &request).await)
}

async fn verify_whatsapp(
    State(gateway): State<Arc<Gateway>>,
    RawQuery(query): RawQuery,
) -> Response {
    let request = WebhookRequest::get(query.unwrap_or_default());
    reply(gateway.handle(&ChannelKind::WHATSAPP, &request).await)
}

fn request(headers: &HeaderMap, body: Bytes) -> WebhookRequest {
    let text = |(name, value): (_, &HeaderValue)| {
        value.to_str().ok().map(|value| (name, value.to_owned()))
    };
    headers
        .iter()
        .filter_map(text)
        .fold(WebhookRequest::post(body), |request, (name, value)| {
            request.with_header(name.as_str(), value)
        })
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
