//! The gateway in an axum app: its routes, and the extractor and the response for handlers of one's own.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use konstruct_core::ChannelKind;

use crate::{Gateway, HttpReply, WebhookRequest, gateway::MAX_BODY};

/// Returns the routes to configure at the providers. They accept bodies up to the gateway's limit, regardless of the app's own limit.
///
/// | route | webhook |
/// |---|---|
/// | `POST /webhooks/slack/events`, `/webhooks/slack/interactions`, `/webhooks/slack/commands` | Slack |
/// | `GET` and `POST /webhooks/whatsapp` | WhatsApp |
/// | `GET` and `POST /webhooks/{kind}` | [every other kind](Gateway::with), such as `/webhooks/shop` for `ChannelKind::new("shop")` |
///
/// A kind that the gateway does not serve is answered with 404.
///
/// ```
/// use konstruct_channels::{Gateway, SlackWebhook, routes};
/// use konstruct_core::{ChannelKind, Employee, Secret, SystemClock, Workforce};
/// # use konstruct_core::testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel};
/// # use std::sync::Arc;
/// # let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
/// #     .model(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")))
/// #     .hire(Employee::builder("Ava").build()?)
/// #     .build()?;
/// let webhook = SlackWebhook::new(Secret::new("signing secret"))?;
/// let gateway = Gateway::of(&workforce).with(ChannelKind::SLACK, webhook);
/// let app: axum::Router = axum::Router::new().merge(routes(gateway.into()));
/// # Ok::<(), konstruct_core::Error>(())
/// ```
///
/// To serve a webhook under a path of your own, write the handler: [`WebhookRequest`] is an extractor and [`HttpReply`] is a response.
///
/// ```
/// use std::sync::Arc;
/// use axum::{Router, extract::State, routing::post};
/// use konstruct_channels::{Gateway, HttpReply, WebhookRequest};
/// use konstruct_core::ChannelKind;
///
/// async fn hook(State(gateway): State<Arc<Gateway>>, request: WebhookRequest) -> HttpReply {
///     gateway.handle(&ChannelKind::new("shop"), &request).await
/// }
///
/// let router: Router<Arc<Gateway>> = Router::new().route("/hooks/shop", post(hook));
/// ```
pub fn routes<S: Clone + Send + Sync + 'static>(gateway: Arc<Gateway>) -> Router<S> {
    Router::new()
        .route("/webhooks/slack/events", post(slack))
        .route("/webhooks/slack/interactions", post(slack))
        .route("/webhooks/slack/commands", post(slack))
        .route("/webhooks/{kind}", get(webhook).post(webhook))
        .with_state(gateway)
}

async fn slack(State(gateway): State<Arc<Gateway>>, request: Request) -> HttpReply {
    handle(&gateway, &ChannelKind::SLACK, request).await
}

async fn webhook(
    State(gateway): State<Arc<Gateway>>,
    Path(kind): Path<String>,
    request: Request,
) -> HttpReply {
    handle(&gateway, &ChannelKind::new(kind), request).await
}

/// Reads the body only if the headers are worth it.
async fn handle(gateway: &Gateway, kind: &ChannelKind, request: Request) -> HttpReply {
    let (parts, body) = request.into_parts();
    if let Some(refusal) = gateway.refuse_head(kind, &head(&parts)) {
        return refusal;
    }
    match WebhookRequest::from_request(Request::from_parts(parts, body), &()).await {
        Ok(request) => gateway.handle(kind, &request).await,
        Err(rejection) => rejection,
    }
}

/// Returns a request without its body.
fn head(parts: &Parts) -> WebhookRequest {
    let query = parts.uri.query().unwrap_or_default();
    let head = match parts.method {
        Method::GET | Method::HEAD => WebhookRequest::get(query),
        _ => WebhookRequest::post(Bytes::new()).with_query(query),
    };
    let texts = parts.headers.iter();
    let texts = texts.filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
    texts.fold(head, |head, (name, value)| {
        head.with_header(name.as_str(), value)
    })
}

/// Reads a body of at most the gateway's limit (3 MiB), regardless of the app's own limit. Headers that are not text are left out.
///
/// The rejection is the response to a body that is larger (413) or breaks off (400).
impl<S: Send + Sync> FromRequest<S> for WebhookRequest {
    type Rejection = HttpReply;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Self::Rejection> {
        // One byte more than the gateway's limit, so that the gateway answers and counts a larger body.
        DefaultBodyLimit::max(MAX_BODY + 1).apply(&mut request);
        let (parts, body) = request.into_parts();
        let head = head(&parts);
        if head.is_get() {
            return Ok(head);
        }
        let body = Bytes::from_request(Request::from_parts(parts, body), state).await;
        let body = body.map_err(|rejection| HttpReply::empty(rejection.status().as_u16()))?;
        Ok(head.with_body(body))
    }
}

impl IntoResponse for HttpReply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body).into_response();
        match self.content_type {
            Some(kind) => response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(kind)),
            None => response.headers_mut().remove(CONTENT_TYPE),
        };
        response
    }
}
