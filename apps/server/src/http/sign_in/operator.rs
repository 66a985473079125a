//! `/sign-in/operator`: the link that the server prints at its start.

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse as _, routing::get};
use konstruct_core::{Error, ErrorKind};

use super::{Answer, Asked, Code, Page, Submitted, Visitor, page::hidden, wrong_code};
use crate::{
    App,
    directory::{OneTime, Principal},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/sign-in/operator", get(show).post(submit))
}

async fn found(app: &App, visitor: &Visitor, code: &str) -> Result<OneTime, Page> {
    let found = app.directory.one_time_code(code).await?;
    match found.filter(|found| found.principal == Principal::Operator) {
        Some(found) => Ok(found),
        None => Err(wrong_code(app, visitor.from, unknown()).await),
    }
}

fn unknown() -> Error {
    let problem = "this link was used or has expired; start the server again, or ask the API for another link";
    Error::new(ErrorKind::NotFound, problem)
}

async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Asked(Code { code }): Asked<Code>,
) -> Answer {
    found(&app, &visitor, &code).await?;
    let body = format!(
        "<p>This link signs you in as the operator of this server, once.</p>\n\
         <form method=\"post\" action=\"/sign-in/operator\">{}<button>Sign in</button></form>",
        hidden("code", &code)
    );
    Ok(Page::new("Sign in as the operator", body).into_response())
}

async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(Code { code }): Submitted<Code>,
) -> Answer {
    let found = found(&app, &visitor, &code).await?;
    if !app.directory.use_code(found).await? {
        return Err(unknown().into());
    }
    tracing::info!("the operator signed in with a link");
    visitor.sign_in(&app, Principal::Operator, "/sign-in").await
}
