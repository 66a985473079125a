//! The pages of people who sign in, below `/sign-in`: passwords, the operator's link, invitations, new passwords, and devices.
//!
//! Every form is refused unless a page of this server sent it. A link with a code only shows a form, because programs that check
//! mails open links too.

mod device;
mod invitation;
mod operator;
mod page;
mod password;
mod reset;
mod session;
mod throttle;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Form, FromRequest, FromRequestParts, Query, Request},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, SET_COOKIE, USER_AGENT},
        request::Parts,
    },
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use konstruct_core::{Error, Result};
use serde::{Deserialize, de::DeserializeOwned};

use self::page::Page;
use super::{called_from::CalledFrom, cookie};
use crate::{
    App,
    directory::{Principal, Session, SessionKind},
};

/// The largest form.
const MAX_FORM: usize = 16 * 1024;

/// What a handler answers.
type Answer = std::result::Result<Response, Page>;

pub(super) fn routes() -> Router<Arc<App>> {
    let style = get(|| async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE) });
    Router::new()
        .route("/sign-in/page.css", style)
        .merge(password::routes())
        .merge(session::routes())
        .merge(operator::routes())
        .merge(invitation::routes())
        .merge(reset::routes())
        .merge(device::routes())
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

/// The code in a link.
#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
}

/// The query string of a link.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Page> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|_| Page::refusal(StatusCode::BAD_REQUEST, "The link is not complete."))
    }
}

/// A form that a page of this server sent.
struct Submitted<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Submitted<T> {
    type Rejection = Page;

    async fn from_request(request: Request, state: &S) -> Result<Self, Page> {
        if !cookie::is_ours(request.method(), request.headers()) {
            let detail = "Only this server's own pages may send this form.";
            return Err(Page::refusal(StatusCode::FORBIDDEN, detail));
        }
        let form = Form::from_request(request, state).await;
        form.map(|form| Self(form.0)).map_err(|refused| {
            Page::refusal(
                refused.into_response().status(),
                "The form is not complete.",
            )
        })
    }
}

/// Who opened a page: the principal of the session in the cookie, if there is one.
#[derive(Clone, Debug)]
struct Visitor {
    signed_in: Option<(Principal, Session)>,
    /// What the browser calls itself.
    program: String,
    from: CalledFrom,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Page> {
        let Ok(from) = CalledFrom::from_request_parts(parts, app)
            .await
            .map_err(|never: Infallible| never);
        let signed_in = match cookie::token(&parts.headers, app.links.are_secure()) {
            Some(token) => app.directory.session(token).await?,
            None => None,
        };
        let program = parts.headers.get(USER_AGENT);
        let program = program.and_then(|value| value.to_str().ok());
        Ok(Self {
            signed_in: signed_in.filter(|(_, session)| session.kind == SessionKind::Browser),
            program: program.unwrap_or_default().to_owned(),
            from,
        })
    }
}

impl Visitor {
    fn principal(&self) -> Option<Principal> {
        self.signed_in.as_ref().map(|(principal, _)| *principal)
    }

    /// Starts a session, and leads to a page. A session that the browser had before ends.
    async fn sign_in(&self, app: &App, principal: Principal, to: &str) -> Answer {
        if let Some((before, session)) = &self.signed_in {
            match app.directory.end_session(before, &session.id).await {
                Err(error) if error.kind() != konstruct_core::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        let kind = SessionKind::Browser;
        let token = app.directory.start_session(principal, kind, &self.program);
        let cookie = cookie::start(&token.await?, app.links.are_secure())?;
        Ok((with_cookie(cookie), Redirect::to(to)).into_response())
    }
}

fn with_cookie(cookie: axum::http::HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(SET_COOKIE, cookie)])
}

/// Counts a code that opens nothing, and returns the page that says so.
async fn wrong_code(app: &App, from: CalledFrom, error: Error) -> Page {
    match throttle::limited(app, from, throttle::Attempt::Code).await {
        Ok(()) => error.into(),
        Err(too_many) => too_many,
    }
}
