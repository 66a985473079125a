//! `/account` and `/sign-in-links`: who is signed in, and where.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL, request::Parts},
    routing::{delete, get, post},
};
use konstruct_admin_api::{Account, NewSignInLink, Session, SignInLink, TenantAccess};
use konstruct_core::{Error, ErrorKind};

use super::{Input, Operator, Problem, caller::Admitted};
use crate::{
    App,
    directory::{Email, Principal},
};

/// The answer with a new link, which must be in no cache, and in no store of answers.
type Issued = (
    StatusCode,
    [(HeaderName, &'static str); 1],
    Json<SignInLink>,
);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/account", get(read))
        .route("/account/sessions", get(sessions))
        .route("/account/sessions/{session}", delete(end))
        .route("/sign-in-links", post(add_link))
}

/// A caller who can be signed in: a person or the operator, but no API token.
struct SignedIn {
    principal: Principal,
    /// The session that asks; `None` for the operator's token.
    session: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let admitted = Admitted::of(parts)?;
        Ok(Self {
            principal: admitted
                .principal
                .ok_or_else(|| Error::not_found("account; an API token has none"))?,
            session: admitted.session.clone(),
        })
    }
}

async fn read(State(app): State<Arc<App>>, caller: SignedIn) -> Result<Json<Account>, Problem> {
    let Principal::Member(id) = caller.principal else {
        return Ok(Json(Account {
            id: None,
            email: None,
            name: "Operator".into(),
            tenants: Vec::new(),
        }));
    };
    let login = app.directory.login(id).await?;
    let login = login.ok_or_else(|| Error::not_found("account"))?;
    let mut tenants = Vec::new();
    for (tenant, member) in app.directory.memberships(id).await? {
        match app.directory.tenant(tenant).await {
            Ok(found) => tenants.push(TenantAccess {
                tenant,
                name: found.name,
                role: member.role,
            }),
            // It is being removed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(Account {
        id: Some(id),
        email: Some(login.email.to_string()),
        name: login.name,
        tenants,
    }))
}

async fn sessions(
    State(app): State<Arc<App>>,
    caller: SignedIn,
) -> Result<Json<Vec<Session>>, Problem> {
    let sessions = app.directory.sessions(&caller.principal).await?;
    let current = caller.session.as_deref();
    let shown = sessions.iter().map(|session| session.shown(current));
    Ok(Json(shown.collect()))
}

async fn end(
    State(app): State<Arc<App>>,
    caller: SignedIn,
    Path(session): Path<String>,
) -> Result<StatusCode, Problem> {
    app.directory
        .end_session(&caller.principal, &session)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_link(
    State(app): State<Arc<App>>,
    _: Operator,
    Input(new): Input<NewSignInLink>,
) -> Result<Issued, Problem> {
    let principal = match &new.email {
        None => Principal::Operator,
        Some(email) => {
            let login = app.directory.login_of(&Email::parse(email)?).await?;
            let login = login.ok_or_else(|| Error::not_found("login with this address"))?;
            Principal::Member(login.id)
        }
    };
    let (code, expires_at) = app.directory.issue_code(principal).await?;
    let link = SignInLink {
        link: app.links.one_time(principal, &code),
        expires_at: expires_at.to_string(),
    };
    let once = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, once, Json(link)))
}
