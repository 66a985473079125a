//! The page of somebody who is signed in: the tenants, the sessions, the password, and the way out.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Redirect},
    routing::post,
};
use konstruct_core::{ErrorKind, id::MemberId};
use serde::Deserialize;

use super::{
    Answer, Page, Submitted, Visitor,
    page::{address, alert, escape, hidden, new_password, password, status},
    password::not_signed_in,
    with_cookie,
};
use crate::{
    App,
    directory::{Principal, Session, SessionKind},
    http::cookie,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-out", post(sign_out))
        .route("/sign-in/sessions/end", post(end))
}

/// What a page says about the form that led to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice<'a> {
    None,
    Done(&'a str),
    Refused(&'a str),
}

/// Shows who is signed in.
pub(super) async fn show(
    app: &App,
    principal: &Principal,
    current: &Session,
    notice: Notice<'_>,
) -> Answer {
    let mut body = match notice {
        Notice::None => String::new(),
        Notice::Done(text) => status(text),
        Notice::Refused(text) => alert(text),
    };
    let email = match principal {
        Principal::Operator => {
            body += "<p>You are signed in as the operator of this server.</p>\n";
            None
        }
        Principal::Member(id) => {
            let login = app.directory.login(*id).await?.ok_or_else(not_signed_in)?;
            let (name, email) = (escape(&login.name), escape(login.email.as_str()));
            let _ = writeln!(body, "<p>You are signed in as {name} ({email}).</p>");
            body += &tenants(app, *id).await?;
            Some(login.email)
        }
    };
    body += &sessions(app, principal, current).await?;
    if let Some(email) = email {
        let _ = write!(
            body,
            "<h2>Password</h2>\n<form method=\"post\" action=\"/sign-in/password\">\n{}\n{}\n{}\n<button>Change password</button>\n</form>\n",
            address(email.as_str()),
            password("current", "Current password"),
            new_password(),
        );
    }
    body += "<h2>Sign out</h2>\n<form method=\"post\" action=\"/sign-out\"><button class=\"second\">Sign out</button></form>";
    Ok(Page::new("Your account", body).into_response())
}

async fn tenants(app: &App, id: MemberId) -> Result<String, Page> {
    let mut list = String::new();
    for (tenant, member) in app.directory.memberships(id).await? {
        match app.directory.tenant(tenant).await {
            Ok(found) => {
                let (name, role) = (escape(&found.name), member.role);
                let _ = writeln!(list, "<li>{name}: {role}</li>");
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    if list.is_empty() {
        list += "<li>None yet. Ask an owner to invite you.</li>";
    }
    Ok(format!("<h2>Businesses</h2>\n<ul>\n{list}</ul>\n"))
}

async fn sessions(app: &App, principal: &Principal, current: &Session) -> Result<String, Page> {
    let mut list = String::new();
    for session in app.directory.sessions(principal).await? {
        let shown = session.shown(Some(&current.id));
        let kind = match session.kind {
            SessionKind::Browser => "Browser",
            SessionKind::Device => "Desktop program",
        };
        let end = if shown.is_current {
            "<small>This session</small>".to_owned()
        } else {
            format!(
                "<form method=\"post\" action=\"/sign-in/sessions/end\">{}<button class=\"second\" aria-label=\"End the session of {}\">End this session</button></form>",
                hidden("session", &session.id),
                escape(&session.program),
            )
        };
        let _ = writeln!(
            list,
            "<li>{kind}, {program}<small>Last used {used}</small>{end}</li>",
            program = escape(&session.program),
            used = minute(&shown.last_used_at),
        );
    }
    Ok(format!(
        "<h2>Where you are signed in</h2>\n<ul>\n{list}</ul>\n"
    ))
}

/// Shows a time of RFC 3339 to the minute.
fn minute(time: &str) -> String {
    let minute = time.get(..16).unwrap_or(time).replace('T', " ");
    format!("<time datetime=\"{time}\">{minute} UTC</time>")
}

#[derive(Deserialize)]
struct Nothing {}

async fn sign_out(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(Nothing {}): Submitted<Nothing>,
) -> Answer {
    if let Some((principal, session)) = &visitor.signed_in {
        match app.directory.end_session(principal, &session.id).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let gone = cookie::end(app.links.are_secure())?;
    Ok((with_cookie(gone), Redirect::to("/sign-in")).into_response())
}

#[derive(Deserialize)]
struct Ended {
    session: String,
}

async fn end(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(ended): Submitted<Ended>,
) -> Answer {
    let (principal, current) = visitor.signed_in.as_ref().ok_or_else(not_signed_in)?;
    let done = match app.directory.end_session(principal, &ended.session).await {
        Ok(()) => Notice::Done("The session was ended."),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Notice::Done("The session had ended already.")
        }
        Err(error) => return Err(error.into()),
    };
    show(&app, principal, current, done).await
}
