//! `/tenants/{tenant}/invitations`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL},
    routing::{delete, get},
};
use konstruct_admin_api::{Invitation, IssuedInvitation, NewInvitation, Page};

use super::{
    Caller, Input, Problem,
    input::{Paging, page},
};
use crate::{App, mail};

/// The answer with a new link, which must be in no cache, and in no store of answers.
type Issued = (
    StatusCode,
    [(HeaderName, &'static str); 1],
    Json<IssuedInvitation>,
);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/invitations", get(list).post(invite))
        .route("/tenants/{tenant}/invitations/{invitation}", delete(revoke))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<Invitation>>, Problem> {
    let open = app.directory.invitations(tenant).await?;
    let open = open.iter().map(|invitation| invitation.shown()).collect();
    page(open, &paging, |invitation: &Invitation| {
        invitation.id.clone()
    })
    .map(Json)
}

async fn invite(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<NewInvitation>,
) -> Result<Issued, Problem> {
    let (code, invitation) = app.directory.invite(tenant, &new).await?;
    let link = app.links.invitation(&code);
    let link = if app.mail.is_some() {
        let name = app.directory.tenant(tenant).await?.name;
        let (email, role) = (&invitation.email, invitation.role);
        let mail = mail::invitation(email, &name, role, &link, invitation.expires_at);
        app.directory.add_mail(mail).await?;
        app.mails_changed.notify_one();
        None
    } else {
        Some(link)
    };
    let issued = IssuedInvitation {
        link,
        details: invitation.shown(),
    };
    let once = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, once, Json(issued)))
}

async fn revoke(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, invitation)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory.revoke_invitation(tenant, &invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}
