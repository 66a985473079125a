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
    limit::{Decision, LimitKey, Quota},
};
use subtle::ConstantTimeEq as _;

use super::{Problem, input::id};
use crate::{App, directory::Audited};

/// A caller of a route of a tenant. The tenant exists, and the caller's role suffices for the operation.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: Who,
    pub(super) tenant: TenantId,
}

impl Caller {
    /// Returns an event with the caller's name as its sender's.
    pub(super) fn sends(&self, mut event: Inbound) -> Inbound {
        event.sender.name = match &self.who {
            Who::Operator | Who::Schedule => None,
            Who::ApiToken { name, .. } => Some(name.clone()),
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
    /// The ids in the path.
    pub(super) target: BTreeMap<String, String>,
}

impl Admitted {
    fn of(parts: &Parts) -> Result<&Self, Problem> {
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

/// Who a bearer token belongs to.
struct Identity {
    who: Who,
    role: Role,
    /// The tenant of an API token.
    tenant: Option<TenantId>,
}

/// Admits requests whose caller has the role that the operation needs.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let identity = match bearer(request.headers()) {
        Some(token) => identify(&app, token).await?,
        None => None,
    };
    // All who guess share one limit, which those with a token do not.
    let (tenant, limited_as) = match &identity {
        None => (None, "nobody"),
        Some(Identity { who, tenant, .. }) => match who {
            Who::Operator | Who::Schedule => (None, "operator"),
            Who::ApiToken { id, .. } => (*tenant, id.as_str()),
        },
    };
    if let Some(problem) = limited(&app, tenant, limited_as).await {
        return Err(problem);
    }
    let Some(Identity { who, role, tenant }) = identity else {
        let detail =
            "the token is missing, wrong, revoked or expired; send it as `Authorization: Bearer …`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return Ok(next.run(request).await);
    };
    let Some(operation) = operation(request.method(), path.as_str()) else {
        return Ok(unsupported().into_response());
    };
    let target = parameters(&mut request).await?;
    let of_path = match target.get("tenant") {
        Some(text) => Some(id::<TenantId>(text, "tenant")?),
        None => None,
    };
    // A foreign tenant answers like one that does not exist, and both before the role does.
    let mut is_cancelled = false;
    if let Some(of_path) = of_path {
        if tenant.is_some_and(|own| own != of_path) {
            return Err(Error::not_found("tenant").into());
        }
        let found = app.directory.tenant(of_path).await?;
        is_cancelled = found.cancellation.is_some();
    }
    if role < operation.role {
        let detail = format!(
            "this needs the role `{}`, and the token has the role `{role}`",
            operation.role
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if is_cancelled && !operation.is_open_when_cancelled() {
        let detail = "the tenant is cancelled, so it can only be read, exported and erased; withdraw the cancellation first";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    request.extensions_mut().insert(Admitted {
        who,
        role,
        operation,
        tenant: of_path,
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

async fn identify(app: &App, token: &str) -> Result<Option<Identity>, Error> {
    if is_operator(&app.operator_token, token) {
        return Ok(Some(Identity {
            who: Who::Operator,
            role: Role::Operator,
            tenant: None,
        }));
    }
    let known = app.directory.bearer(token).await?;
    Ok(known.map(|(tenant, token)| Identity {
        who: Who::ApiToken {
            id: token.id,
            name: token.name,
        },
        role: token.role,
        tenant: Some(tenant),
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
