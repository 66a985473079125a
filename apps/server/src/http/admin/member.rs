//! `/tenants/{tenant}/members`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, put},
};
use konstruct_admin_api::{self as api, MemberRole, Page};
use konstruct_core::{Error, ErrorKind};

use super::{
    Caller, Input, Problem,
    input::{Paging, Tagged, id, page},
};
use crate::{App, directory::Replaces};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/members", get(list))
        .route(
            "/tenants/{tenant}/members/{member}",
            put(change).delete(remove),
        )
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<api::Member>>, Problem> {
    let members = app.directory.members(tenant).await?;
    let members = members.iter().map(|member| member.shown()).collect();
    page(members, &paging, |member: &api::Member| {
        member.id.to_string()
    })
    .map(Json)
}

async fn change(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, member)): Path<(String, String)>,
    replaces: Replaces,
    Input(given): Input<MemberRole>,
) -> Result<Tagged<api::Member>, Problem> {
    let member = id(&member, "member")?;
    let changed = app
        .directory
        .change_role(tenant, member, given.role, replaces)
        .await;
    match changed {
        Ok(member) => Ok(Tagged(member.version, member.shown())),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let current = app.directory.member(tenant, member).await?;
            let current = current.ok_or_else(|| Error::not_found("member"))?;
            // Otherwise it is the last owner.
            if replaces.check(Some(current.version)).is_err() {
                return Err(Problem::stale(replaces, &current.shown(), &given));
            }
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, member)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let member = id(&member, "member")?;
    app.directory.remove_member(tenant, member).await?;
    Ok(StatusCode::NO_CONTENT)
}
