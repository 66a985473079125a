//! `/sign-in`: signing in with a password, and changing it.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect},
    routing::{get, post},
};
use konstruct_core::{Error, ErrorKind, Secret, id::MemberId};
use serde::Deserialize;

use super::{
    Answer, Asked, Page, Submitted, Visitor,
    page::{alert, escape, hidden, password, sentence},
    session::{self, Notice},
    throttle::{Attempt, limited},
};
use crate::{
    App,
    directory::{Email, Login, Principal},
};

/// The id of no login, which is read in the place of one.
const NOBODY: MemberId = MemberId::from_bytes([0; 16]);
/// The page that follows, unless the form names another.
const HOME: &str = "/sign-in";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-in", get(show).post(submit))
        .route("/sign-in/password", post(change))
}

/// The page to show after signing in.
#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

impl Next {
    /// Returns a page of this server. Another one is not followed.
    fn page(&self) -> &str {
        let page = self.next.as_str();
        let ours = ["/sign-in/", "/console/"];
        let known = page == "/console" || ours.iter().any(|prefix| page.starts_with(prefix));
        let plain = page
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if known && plain && !page.contains("//") {
            page
        } else {
            HOME
        }
    }
}

async fn show(State(app): State<Arc<App>>, visitor: Visitor, Asked(next): Asked<Next>) -> Answer {
    match &visitor.signed_in {
        Some(_) if next.page() != HOME => Ok(Redirect::to(next.page()).into_response()),
        Some((principal, current)) => session::show(&app, principal, current, Notice::None).await,
        None => Ok(form(&app, "", next.page(), None).into_response()),
    }
}

fn form(app: &App, email: &str, next: &str, refused: Option<&str>) -> Page {
    let alert = refused.map(alert).unwrap_or_default();
    let forgot = if app.mail.is_some() {
        "<p><a href=\"/sign-in/forgot\">Forgot the password?</a></p>"
    } else {
        "<p>Forgot the password? Ask the operator of this server for a link.</p>"
    };
    let page = Page::new(
        "Sign in",
        format!(
            "{alert}\n<form method=\"post\" action=\"/sign-in\">\n{next}\n\
             <label for=\"email\">E-mail address</label>\n\
             <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" value=\"{email}\" required>\n\
             {password}\n<button>Sign in</button>\n</form>\n{forgot}",
            next = hidden("next", next),
            email = escape(email),
            password = password("password", "Password"),
        ),
    );
    match refused {
        Some(_) => page.with_status(StatusCode::FORBIDDEN),
        None => page,
    }
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: Secret,
    #[serde(flatten)]
    next: Next,
}

async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(given): Submitted<Credentials>,
) -> Answer {
    match verified(&app, &visitor, &given.email, given.password).await? {
        Some(login) => {
            visitor
                .sign_in(&app, login.id.into(), given.next.page())
                .await
        }
        None => {
            let refused = Some("The e-mail address or the password is wrong.");
            Ok(form(&app, &given.email, given.next.page(), refused).into_response())
        }
    }
}

/// Returns the login with this address and password. For an address without a login, the answer takes the same steps.
pub(super) async fn verified(
    app: &App,
    visitor: &Visitor,
    email: &str,
    password: Secret,
) -> Result<Option<Login>, Page> {
    let email = Email::parse(email).ok();
    let login = match &email {
        Some(email) => {
            let key = app.directory.email_key(email).await?;
            limited(app, visitor.from, Attempt::Password(&key)).await?;
            app.directory.login_of(email).await?
        }
        None => {
            limited(app, visitor.from, Attempt::Password("none")).await?;
            None
        }
    };
    if login.is_none() {
        app.directory.login(NOBODY).await?;
    }
    let hash = login.as_ref().map(|login| login.password.clone());
    let verified = app.passwords.verify(password, hash).await?;
    Ok(login.filter(|_| verified))
}

#[derive(Deserialize)]
struct Change {
    current: Secret,
    password: Secret,
}

/// Changes the password, and ends the other sessions of the person.
async fn change(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(given): Submitted<Change>,
) -> Answer {
    let Some((Principal::Member(id), session)) = &visitor.signed_in else {
        return Err(not_signed_in());
    };
    let login = app.directory.login(*id).await?.ok_or_else(not_signed_in)?;
    let email = login.email.as_str();
    let principal = Principal::from(*id);
    if verified(&app, &visitor, email, given.current)
        .await?
        .is_none()
    {
        let wrong = Notice::Refused("The current password is wrong.");
        return session::show(&app, &principal, session, wrong).await;
    }
    let hash = match app.passwords.hash(given.password).await {
        Ok(hash) => hash,
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let refused = sentence(error.message());
            return session::show(&app, &principal, session, Notice::Refused(&refused)).await;
        }
        Err(error) => return Err(error.into()),
    };
    if !app.directory.set_password(*id, hash, Vec::new()).await? {
        let problem = "the login was changed at the same time; try again";
        return Err(Error::new(ErrorKind::Conflict, problem).into());
    }
    app.directory
        .end_sessions(&principal, Some(&session.id))
        .await?;
    let done = Notice::Done("The password was changed, and all other sessions were ended.");
    session::show(&app, &principal, session, done).await
}

pub(super) fn not_signed_in() -> Page {
    Page::refusal(StatusCode::UNAUTHORIZED, "You are not signed in.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_follow() {
        let check = |next: &str, expected: &str| {
            let next = Next { next: next.into() };
            assert_eq!(next.page(), expected);
        };
        check("/console", "/console");
        check("/console/tenants", "/console/tenants");
        check(
            "/sign-in/device?code=BCDF-GHJK",
            "/sign-in/device?code=BCDF-GHJK",
        );
        for other in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/console//evil.example",
            "/console/\\evil.example",
            "/console/\r\nSet-Cookie: a=b",
            "/consolebutnot",
        ] {
            check(other, HOME);
        }
    }
}
