//! `/sign-in/forgot` and `/sign-in/reset`: a new password by a link.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse as _, routing::get};
use konstruct_core::{Error, ErrorKind, Result, Secret, id::MemberId};
use serde::Deserialize;

use super::{
    Answer, Asked, Code, Page, Submitted, Visitor,
    page::{alert, hidden, new_password, sentence, status},
    throttle::{Attempt, limited},
    wrong_code,
};
use crate::{
    App,
    directory::{Email, OneTime, Principal},
    mail,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-in/forgot", get(ask).post(send))
        .route("/sign-in/reset", get(show).post(submit))
}

/// The page of a server that sends no mail.
fn no_mail() -> Page {
    let detail = "This server sends no mail. Ask its operator for a link to a new password.";
    Page::refusal(StatusCode::NOT_FOUND, detail)
}

async fn ask(State(app): State<Arc<App>>) -> Answer {
    if app.mail.is_none() {
        return Err(no_mail());
    }
    let body = "<form method=\"post\" action=\"/sign-in/forgot\">\n<label for=\"email\">E-mail address</label>\n\
                <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" required>\n\
                <button>Send a link</button>\n</form>";
    Ok(Page::new("Choose a new password", body).into_response())
}

#[derive(Deserialize)]
struct Forgot {
    email: String,
}

/// Sends a link to an address, if it has a login. The answer is the same, and does not wait for it.
async fn send(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(given): Submitted<Forgot>,
) -> Answer {
    if app.mail.is_none() {
        return Err(no_mail());
    }
    if let Ok(email) = Email::parse(&given.email) {
        let key = app.directory.email_key(&email).await?;
        limited(&app, visitor.from, Attempt::Mail(&key)).await?;
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            if let Err(error) = send_to(&app, &email).await {
                tracing::error!(%error, "could not prepare a mail with a link to a new password");
            }
        });
    }
    let done = status(
        "If this address has a login here, a mail with a link is on its way. The link can be used for an hour.",
    );
    Ok(Page::new("Choose a new password", done).into_response())
}

async fn send_to(app: &App, email: &Email) -> Result<()> {
    let Some(login) = app.directory.login_of(email).await? else {
        return Ok(());
    };
    let principal = Principal::from(login.id);
    let (code, expires_at) = app.directory.issue_code(principal).await?;
    let link = app.links.one_time(principal, &code);
    let mail = mail::new_password(email, &link, expires_at);
    app.directory.add_mail(mail).await?;
    app.mails_changed.notify_one();
    Ok(())
}

async fn found(app: &App, visitor: &Visitor, code: &str) -> Result<(MemberId, OneTime), Page> {
    let found = app.directory.one_time_code(code).await?;
    match found {
        Some(found) if let Principal::Member(id) = found.principal => Ok((id, found)),
        _ => Err(wrong_code(app, visitor.from, unknown()).await),
    }
}

fn unknown() -> Error {
    let problem = "this link was used or has expired; ask for a new one";
    Error::new(ErrorKind::NotFound, problem)
}

fn form(code: &str, refused: Option<&str>) -> Page {
    let body = format!(
        "{}\n<form method=\"post\" action=\"/sign-in/reset\">\n{}\n{}\n<button>Set password</button>\n</form>",
        refused.map(alert).unwrap_or_default(),
        hidden("code", code),
        new_password(),
    );
    Page::new("Choose a new password", body)
}

async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Asked(Code { code }): Asked<Code>,
) -> Answer {
    found(&app, &visitor, &code).await?;
    Ok(form(&code, None).into_response())
}

#[derive(Deserialize)]
struct Reset {
    code: String,
    password: Secret,
}

/// Sets the password in the transaction that uses the code up, and ends all sessions of the person.
async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(given): Submitted<Reset>,
) -> Answer {
    let (id, code) = found(&app, &visitor, &given.code).await?;
    let hash = match app.passwords.hash(given.password).await {
        Ok(hash) => hash,
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let refused = form(&given.code, Some(&sentence(error.message())));
            let refused = refused.with_status(StatusCode::UNPROCESSABLE_ENTITY);
            return Ok(refused.into_response());
        }
        Err(error) => return Err(error.into()),
    };
    if !app
        .directory
        .set_password(id, hash, vec![code.used])
        .await?
    {
        return Err(unknown().into());
    }
    let principal = Principal::from(id);
    app.directory.end_sessions(&principal, None).await?;
    visitor.sign_in(&app, principal, "/sign-in").await
}
