//! `/sign-in/device`: the desktop program is signed in by a code that it shows (RFC 8628).

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Form, Query, State},
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use konstruct_core::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Code, Page, Submitted, Visitor,
    page::{escape, hidden, status},
    password::not_signed_in,
    throttle::{Attempt, count, limited},
};
use crate::{
    App,
    directory::{DEVICE_CODE_LIFETIME, DeviceCode, Polled, Principal},
    http::client_address::ClientAddress,
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

#[derive(Deserialize)]
struct Begin {
    /// What the program calls itself.
    #[serde(default)]
    client_id: String,
}

async fn begin(
    State(app): State<Arc<App>>,
    from: ClientAddress,
    Form(given): Form<Begin>,
) -> Answer {
    limited(&app, from, Attempt::Device).await?;
    let begun = app.directory.begin_device(&given.client_id).await;
    let (device_code, user_code) = begun?;
    let page = app.links.page("/sign-in/device");
    Ok(answer(
        StatusCode::OK,
        json!({
            "device_code": device_code.expose(),
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?code={user_code}"),
            "expires_in": DEVICE_CODE_LIFETIME.as_secs(),
            "interval": INTERVAL_SECS,
        }),
    ))
}

#[derive(Deserialize)]
struct Poll {
    #[serde(default)]
    grant_type: String,
    device_code: Secret,
}

async fn poll(State(app): State<Arc<App>>, from: ClientAddress, Form(given): Form<Poll>) -> Answer {
    if given.grant_type != "urn:ietf:params:oauth:grant-type:device_code" {
        return Ok(refusal("unsupported_grant_type"));
    }
    let code = given.device_code.expose();
    let polled = app.directory.poll_device(code).await?;
    if let Polled::Session(token) = polled {
        let body = json!({ "access_token": token.expose(), "token_type": "Bearer" });
        return Ok(answer(StatusCode::OK, body));
    }
    let attempt = match polled {
        // The part that is not secret.
        Polled::Waiting => Attempt::Poll(&code[..code.len().min(36)]),
        _ => Attempt::Code,
    };
    if count(&app, from, attempt).await.is_err() {
        return Ok(refusal("slow_down"));
    }
    Ok(refusal(match polled {
        Polled::Waiting => "authorization_pending",
        Polled::Refused => "access_denied",
        _ => "expired_token",
    }))
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
    Query(Code { code }): Query<Code>,
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
