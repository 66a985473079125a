//! `/sign-in/device`: the desktop program is signed in by a code that it shows (RFC 8628).

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Form, State, rejection::FormRejection},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER},
    },
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use konstruct_core::{Error, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Asked, Code, Page, Submitted, Visitor,
    page::{escape, hidden, status},
    password::not_signed_in,
    throttle::{Attempt, count, limited},
};
use crate::{
    App,
    directory::{DEVICE_CODE_LIFETIME, DeviceCode, Polled, Principal},
    http::called_from::CalledFrom,
};

/// Seconds between two requests of a program that waits.
const INTERVAL_SECS: u64 = 5;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-in/device", get(show).post(decide))
        .route("/sign-in/device/code", post(begin))
        .route("/sign-in/device/token", post(poll))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn refusal(error: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, json!({ "error": error }))
}

fn too_many(wait: Duration) -> Response {
    let body = json!({ "error": "slow_down" });
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, body);
    let wait = HeaderValue::from(wait.as_secs().max(1));
    response.headers_mut().insert(RETRY_AFTER, wait);
    response
}

fn failed(error: &Error) -> Response {
    if let Some(wait) = error.retry_after() {
        return too_many(wait);
    }
    tracing::error!(%error, "a device could not be signed in");
    let body = json!({ "error": "temporarily_unavailable" });
    answer(StatusCode::SERVICE_UNAVAILABLE, body)
}

#[derive(Deserialize)]
struct Begin {
    /// What the program calls itself.
    #[serde(default)]
    client_id: String,
}

async fn begin(
    State(app): State<Arc<App>>,
    from: CalledFrom,
    given: Result<Form<Begin>, FormRejection>,
) -> Response {
    let Ok(Form(given)) = given else {
        return refusal("invalid_request");
    };
    if let Err(wait) = count(&app, from, Attempt::Device).await {
        return too_many(wait);
    }
    let (device_code, user_code) = match app.directory.begin_device(&given.client_id).await {
        Ok(begun) => begun,
        Err(error) => return failed(&error),
    };
    let page = app.links.page("/sign-in/device");
    answer(
        StatusCode::OK,
        json!({
            "device_code": device_code.expose(),
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?code={user_code}"),
            "expires_in": DEVICE_CODE_LIFETIME.as_secs(),
            "interval": INTERVAL_SECS,
        }),
    )
}

#[derive(Deserialize)]
struct Poll {
    #[serde(default)]
    grant_type: String,
    device_code: Secret,
}

async fn poll(
    State(app): State<Arc<App>>,
    from: CalledFrom,
    given: Result<Form<Poll>, FormRejection>,
) -> Response {
    let Ok(Form(given)) = given else {
        return refusal("invalid_request");
    };
    if given.grant_type != "urn:ietf:params:oauth:grant-type:device_code" {
        return refusal("unsupported_grant_type");
    }
    let code = given.device_code.expose();
    let (attempt, error) = match app.directory.poll_device(code).await {
        Ok(Polled::Session(token)) => {
            let body = json!({ "access_token": token.expose(), "token_type": "Bearer" });
            return answer(StatusCode::OK, body);
        }
        // The part of the code that is not secret.
        Ok(Polled::Waiting) => (Attempt::Poll(&code[..36]), "authorization_pending"),
        Ok(Polled::Refused) => (Attempt::Code, "access_denied"),
        Ok(Polled::Expired) => (Attempt::Code, "expired_token"),
        Err(error) => return failed(&error),
    };
    match count(&app, from, attempt).await {
        Ok(()) => refusal(error),
        Err(_) => refusal("slow_down"),
    }
}

/// Returns who decides, and the device that waits under a short code.
async fn waiting(
    app: &App,
    visitor: &Visitor,
    code: &str,
) -> Result<(Principal, Option<DeviceCode>), Page> {
    let principal = visitor.principal().ok_or_else(not_signed_in)?;
    let name = format!("{principal:?}");
    limited(app, visitor.from, Attempt::DeviceCode(&name)).await?;
    Ok((principal, app.directory.waiting_device(code).await?))
}

async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Asked(Code { code }): Asked<Code>,
) -> Answer {
    let letters: String = code
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(16)
        .collect();
    if visitor.signed_in.is_none() {
        let next = format!("/sign-in?next=%2Fsign-in%2Fdevice%3Fcode%3D{letters}");
        return Ok(Redirect::to(&next).into_response());
    }
    if letters.is_empty() {
        return Ok(Page::new("Sign in a program", ask()).into_response());
    }
    let (_, found) = waiting(&app, &visitor, &letters).await?;
    let Some(device) = found else {
        return Ok(unknown().into_response());
    };
    let body = format!(
        "<p>The program {program} wants to act for you. Continue only if you have started it, and it shows this code:</p>\n\
         <p><code>{code}</code></p>\n\
         <form method=\"post\" action=\"/sign-in/device\">{hidden}\
         <button name=\"decision\" value=\"confirm\">Sign the program in</button> \
         <button class=\"second\" name=\"decision\" value=\"refuse\">Refuse</button></form>",
        program = escape(&device.program),
        code = escape(&device.user_code),
        hidden = hidden("code", &device.user_code),
    );
    Ok(Page::new("Sign in a program", body).into_response())
}

fn ask() -> &'static str {
    "<form method=\"get\" action=\"/sign-in/device\">\n<label for=\"code\">The code that the program shows</label>\n\
     <input id=\"code\" name=\"code\" autocomplete=\"off\" autocapitalize=\"characters\" maxlength=\"16\" required>\n\
     <button>Continue</button>\n</form>"
}

fn unknown() -> Page {
    let problem = super::page::alert(
        "No program waits under this code. Compare it, or start again in the program.",
    );
    Page::new("Sign in a program", format!("{problem}\n{}", ask()))
        .with_status(StatusCode::NOT_FOUND)
}

#[derive(Deserialize)]
struct Decided {
    code: String,
    decision: Decision,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Confirm,
    Refuse,
}

async fn decide(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(decided): Submitted<Decided>,
) -> Answer {
    let (principal, found) = waiting(&app, &visitor, &decided.code).await?;
    let Some(device) = found else {
        return Ok(unknown().into_response());
    };
    let confirmed = (decided.decision == Decision::Confirm).then_some(principal);
    if !app.directory.decide_device(device, confirmed).await? {
        return Ok(unknown().into_response());
    }
    let done = match confirmed {
        Some(_) => "The program is signed in. You can close this page.",
        None => "The program was refused.",
    };
    Ok(Page::new("Sign in a program", status(done)).into_response())
}
