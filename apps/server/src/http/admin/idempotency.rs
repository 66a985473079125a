//! `Idempotency-Key`: a request that is sent again is carried out once, and gets the same answer.
//!
//! A row is written before the request is carried out, and replaced by the answer. If the process dies in between, the outcome is
//! unknown: after the time limit of a request, the same request may be sent again.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use konstruct_admin_api::Who;
use konstruct_core::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};

use super::{Problem, REQUEST_TIMEOUT, caller::Admitted};
use crate::{
    App,
    directory::{Answer, Kept},
    http::input::body as read,
};

const HEADER: &str = "idempotency-key";
/// The most characters of a key.
const LONGEST: usize = 200;
/// The largest answer that is kept, in bytes.
const LARGEST: usize = 256 * 1024;

/// Answers a repeated request with the first one's answer.
pub(super) async fn once(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let admitted = request.extensions().get::<Admitted>().cloned();
    let (Some(admitted), Some(key)) = (admitted, request.headers().get(HEADER)) else {
        return Ok(next.run(request).await);
    };
    if admitted.operation.method == "get" {
        return Ok(next.run(request).await);
    }
    let key = key.to_str().ok();
    let key = key.filter(|key| (1..=LONGEST).contains(&key.len()));
    let Some(key) = key.map(|key| name(&admitted.who, key)) else {
        let detail = format!("Idempotency-Key must be 1 to {LONGEST} visible ASCII characters");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let (parts, body) = request.into_parts();
    let body = read(Request::from_parts(parts.clone(), body), &app).await?;
    let asked = fingerprint(&admitted, parts.uri.query().unwrap_or_default(), &body);
    let tenant = admitted.tenant;
    // A request still runs for this long at most.
    let expired = SystemClock.now() + REQUEST_TIMEOUT;
    match app
        .directory
        .begin_once(tenant, &key, &asked, expired)
        .await?
    {
        Kept::New => {}
        Kept::Other => {
            let detail = "this Idempotency-Key belongs to another request; use a new one";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        Kept::Running => {
            let detail = "the first request with this Idempotency-Key is still running";
            let problem = Problem::new(StatusCode::CONFLICT, detail);
            return Err(problem.with_retry_after(Duration::from_secs(1)));
        }
        Kept::Answered(answer) => return Ok(replayed(answer)),
    }
    let request = Request::from_parts(parts, Body::from(body));
    let response = next.run(request).await;
    let (parts, body) = response.into_parts();
    // Bodies of the admin API's writes are complete in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let private = parts.headers.get(CACHE_CONTROL).is_some();
    let header = |name| {
        let value: &HeaderValue = parts.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: header(CONTENT_TYPE),
        etag: header(ETAG),
        body: (!private && body.len() <= LARGEST)
            .then(|| String::from_utf8_lossy(&body).into_owned()),
    };
    // After a failure of the server, the request may be sent again.
    let answer = (!parts.status.is_server_error()).then_some(answer);
    if let Err(error) = app.directory.end_once(tenant, &key, &asked, answer).await {
        tracing::error!(%error, "could not keep an answer for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replayed(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let Some(body) = answer.body else {
        let detail = format!(
            "the request with this Idempotency-Key was carried out with status {}, and its answer is not kept",
            answer.status
        );
        return Problem::new(StatusCode::CONFLICT, detail).into_response();
    };
    let mut response = (status, body).into_response();
    for (name, value) in [(CONTENT_TYPE, answer.content_type), (ETAG, answer.etag)] {
        response.headers_mut().remove(&name);
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    let replayed = HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert("idempotent-replayed", replayed);
    response
}

/// Returns the row of a caller's key. The key itself may say something about a person.
fn name(who: &Who, key: &str) -> String {
    let who = match who {
        Who::Operator | Who::Schedule => String::new(),
        Who::ApiToken { id, .. } => id.clone(),
        Who::Member { id, .. } => id.to_string(),
    };
    hex::encode(Sha256::digest(format!("{who}\n{key}")))
}

/// Returns what identifies the content of a request.
fn fingerprint(admitted: &Admitted, query: &str, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    let path = admitted.target.values().map(String::as_str);
    for part in [admitted.operation.id, query].into_iter().chain(path) {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(body);
    hex::encode(hash.finalize())
}
