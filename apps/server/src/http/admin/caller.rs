//! Who calls, and what they may do: every request is admitted by the table of operations before its handler runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use konstruct_admin_api::{OPERATIONS, Operation, Role, Who};
use konstruct_core::{
    Error, Inbound, Secret, TenantId,
    id::MemberId,
    limit::{Decision, LimitKey, Quota},
};
use subtle::ConstantTimeEq as _;

use super::{Problem, cookie, input::id};
use crate::{
    App,
    directory::{ApiToken, Audited, Login, Principal, Session, SessionKind},
};

/// A caller of a route of a tenant. The tenant exists, and the caller's role suffices for the operation.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: Who,
    pub(super) role: Role,
    pub(super) tenant: TenantId,
}

impl Caller {
    /// Returns an event with the caller's name as its sender's.
    pub(super) fn sends(&self, mut event: Inbound) -> Inbound {
        event.sender.name = match &self.who {
            Who::Operator | Who::Schedule => None,
            Who::ApiToken { name, .. } | Who::Member { name, .. } => Some(name.clone()),
        };
        event
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let admitted = Admitted::of(parts)?;
        Ok(Self {
            tenant: admitted.tenant.ok_or_else(Admitted::missing)?,
            who: admitted.who.clone(),
            role: admitted.role,
        })
    }
}

/// The operator, on routes that belong to no tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator;

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Admitted::of(parts)?.role {
            Role::Operator => Ok(Self),
            _ => Err(Admitted::missing()),
        }
    }
}

/// A request that was admitted.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) who: Who,
    pub(super) role: Role,
    pub(super) operation: &'static Operation,
    pub(super) tenant: Option<TenantId>,
    /// Who is signed in; `None` for an API token.
    pub(super) principal: Option<Principal>,
    /// The id of the session, if there is one.
    pub(super) session: Option<String>,
    /// The ids in the path.
    pub(super) target: BTreeMap<String, String>,
}

impl Admitted {
    pub(super) fn of(parts: &Parts) -> Result<&Self, Problem> {
        parts.extensions.get().ok_or_else(Self::missing)
    }

    /// A handler that nobody admitted anyone to must not run.
    fn missing() -> Problem {
        Error::internal("a handler asks for another caller than its operation has").into()
    }

    /// Returns whose audit log names the request. A tenant's own would go with the tenant.
    pub(super) fn log(&self) -> Option<TenantId> {
        self.tenant
            .filter(|_| self.operation.role != Role::Operator)
    }

    pub(super) fn audited(&self) -> Audited {
        let mut target = self.target.clone();
        if self.log().is_some() {
            target.remove("tenant");
        }
        Audited {
            who: self.who.clone(),
            role: self.role,
            operation: self.operation.id,
            target,
        }
    }
}

/// Who a token or a cookie belongs to.
enum Identity {
    /// The operator, with the token or signed in.
    Operator(Option<Session>),
    /// The bearer of an API token of this tenant.
    ApiToken(TenantId, ApiToken),
    /// A person who is signed in.
    Member(MemberId, Session),
}

impl Identity {
    /// Returns the tenant and the name under which requests are counted.
    fn limited_as(&self) -> (Option<TenantId>, String) {
        match self {
            Self::Operator(_) => (None, "operator".into()),
            Self::ApiToken(tenant, token) => (Some(*tenant), token.id.clone()),
            Self::Member(id, _) => (None, id.to_string()),
        }
    }

    /// Returns who calls a route of this tenant, or one that belongs to none, and in which role.
    ///
    /// # Errors
    /// A foreign tenant answers like one that does not exist.
    async fn caller(&self, app: &App, tenant: Option<TenantId>) -> Result<(Who, Role), Problem> {
        let foreign = || Error::not_found("tenant");
        if let Self::ApiToken(own, _) = self
            && tenant.is_some_and(|tenant| tenant != *own)
        {
            return Err(foreign().into());
        }
        match (self, tenant) {
            (Self::Operator(_), _) => Ok((Who::Operator, Role::Operator)),
            (Self::ApiToken(_, token), _) => {
                let (id, name) = (token.id.clone(), token.name.clone());
                Ok((Who::ApiToken { id, name }, token.role))
            }
            (Self::Member(id, _), Some(tenant)) => {
                let member = app.directory.member(tenant, *id).await?;
                let member = member.ok_or_else(foreign)?;
                let (id, name) = (member.id, member.name);
                Ok((Who::Member { id, name }, member.role))
            }
            (Self::Member(id, _), None) => {
                let login = app.directory.login(*id).await?;
                let Login { id, name, .. } = login.ok_or_else(unknown)?;
                Ok((Who::Member { id, name }, Role::Viewer))
            }
        }
    }

    fn into_session(self) -> (Option<Principal>, Option<String>) {
        match self {
            Self::Operator(session) => (Some(Principal::Operator), session.map(|it| it.id)),
            Self::ApiToken(..) => (None, None),
            Self::Member(id, session) => (Some(id.into()), Some(session.id)),
        }
    }
}

fn unknown() -> Problem {
    let detail = "the token is missing, wrong, revoked or expired; send it as `Authorization: Bearer …`, or sign in at /sign-in";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// Admits requests whose caller has the role that the operation needs.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let identity = identify(&app, request.headers()).await?;
    // All who guess share one limit, which those with a token do not.
    let (tenant, limited_as) = match &identity {
        None => (None, "nobody".into()),
        Some(identity) => identity.limited_as(),
    };
    if let Some(problem) = limited(&app, tenant, &limited_as).await {
        return Err(problem);
    }
    let identity = identity.ok_or_else(unknown)?;
    // A bearer token is sent by a program, and a cookie by any page that a browser shows.
    if bearer(request.headers()).is_none() && !cookie::is_ours(request.method(), request.headers())
    {
        let detail = "a page of another origin, or no page, sent this request with a cookie; programs send a bearer token";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return Ok(next.run(request).await);
    };
    let Some(operation) = operation(request.method(), path.as_str()) else {
        return Ok(unsupported().into_response());
    };
    let target = parameters(&mut request).await?;
    let tenant = match target.get("tenant") {
        Some(text) => Some(id::<TenantId>(text, "tenant")?),
        None => None,
    };
    // A foreign tenant answers like one that does not exist, and both before the role does.
    let (who, role) = identity.caller(&app, tenant).await?;
    let mut is_cancelled = false;
    if let Some(tenant) = tenant {
        is_cancelled = app.directory.tenant(tenant).await?.cancellation.is_some();
    }
    if role < operation.role {
        let detail = format!(
            "this needs the role `{}`, and the caller has the role `{role}`",
            operation.role
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if is_cancelled && !operation.is_open_when_cancelled() {
        let detail = "the tenant is cancelled, so it can only be read, exported and erased; withdraw the cancellation first";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let (principal, session) = identity.into_session();
    request.extensions_mut().insert(Admitted {
        who,
        role,
        operation,
        tenant,
        principal,
        session,
        target,
    });
    Ok(next.run(request).await)
}

/// Writes a request that changes something, or takes data away, to the audit log before it is carried out, and its refusal afterwards.
pub(super) async fn audit(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let admitted = request.extensions().get::<Admitted>();
    let Some(admitted) = admitted.filter(|it| it.operation.is_audited()).cloned() else {
        return Ok(next.run(request).await);
    };
    let (log, audited) = (admitted.log(), admitted.audited());
    let number = app
        .directory
        .audit_log()
        .append(log, audited.clone(), None)
        .await?;
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let refusal = Some((number, status.as_u16()));
        if let Err(error) = app
            .directory
            .audit_log()
            .append(log, audited, refusal)
            .await
        {
            tracing::error!(%error, number, %status, "could not write a refusal to the audit log");
        }
    }
    Ok(response)
}

pub(super) fn unsupported() -> Problem {
    let detail = "the resource does not support this method; see /api/openapi.json";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Returns the operation of a method and a route. Handlers of GET serve HEAD too.
fn operation(method: &Method, path: &str) -> Option<&'static Operation> {
    let method = match *method {
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    OPERATIONS.iter().find(|operation| {
        operation.path == path && operation.method.eq_ignore_ascii_case(method.as_str())
    })
}

/// Returns the ids in the path. An id that is not UTF-8 does not exist.
async fn parameters(request: &mut Request) -> Result<BTreeMap<String, String>, Problem> {
    use axum::RequestExt as _;
    let found = request.extract_parts::<RawPathParams>().await;
    let found = found.map_err(|_| Error::not_found("tenant"))?;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Ok(found.iter().map(owned).collect())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Returns who sent a request: by its bearer token or, without one, by its cookie. A browser's session is no bearer token, and the
/// desktop program's is no cookie.
async fn identify(app: &App, headers: &HeaderMap) -> Result<Option<Identity>, Error> {
    let (token, kind) = match bearer(headers) {
        Some(token) => (token, SessionKind::Device),
        None => match cookie::token(headers, app.links.are_secure()) {
            Some(token) => (token, SessionKind::Browser),
            None => return Ok(None),
        },
    };
    if kind == SessionKind::Device {
        if is_operator(&app.operator_token, token) {
            return Ok(Some(Identity::Operator(None)));
        }
        if let Some((tenant, token)) = app.directory.bearer(token).await? {
            return Ok(Some(Identity::ApiToken(tenant, token)));
        }
    }
    let session = app.directory.session(token).await?;
    let session = session.filter(|(_, session)| session.kind == kind);
    Ok(session.map(|(principal, session)| match principal {
        Principal::Operator => Identity::Operator(Some(session)),
        Principal::Member(id) => Identity::Member(id, session),
    }))
}

fn is_operator(token: &Secret, given: &str) -> bool {
    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

/// Counts a request. Returns the refusal of one that exceeds the limit.
async fn limited(app: &App, tenant: Option<TenantId>, who: &str) -> Option<Problem> {
    let count = app.config.limits.api_requests_per_minute;
    let quota = Quota::new(count, Duration::from_secs(60), count).ok()?;
    let key = LimitKey {
        tenant: tenant.unwrap_or(TenantId::from_bytes([0; 16])),
        of: format!("api:{who}"),
    };
    match app.limiter.check(&[(key, quota)]).await.ok()? {
        Decision::Allowed => None,
        Decision::Limited { retry_after, .. } => Some(Problem::too_many(retry_after)),
    }
}
