//! `/tenants/{tenant}/invitations`

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL},
    routing::{delete, get},
};
use konstruct_admin_api::{Invitation, IssuedInvitation, NewInvitation, Page};
use konstruct_core::{
    Error, TenantId,
    limit::{Decision, LimitKey, Quota},
};

use super::{
    Caller, Input, Problem,
    input::{Paging, page},
};
use crate::{App, directory::Email, mail};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// The most invitations of a tenant in an hour, and of one address.
const TENANTS_MOST: u32 = 100;
const ADDRESS_MOST: u32 = 5;

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
    limited(&app, tenant, &Email::parse(&new.email)?).await?;
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

/// Counts an invitation, so that nobody fills other people's mailboxes. Returns the refusal of one too many.
async fn limited(app: &App, tenant: TenantId, email: &Email) -> Result<(), Problem> {
    let address = app.directory.email_key(email).await?;
    let of = |of: String, count: u32| {
        let quota = Quota::new(count, HOUR, count)?;
        Ok::<_, Error>((LimitKey { tenant, of }, quota))
    };
    let keys = [
        of("invite".into(), TENANTS_MOST)?,
        of(format!("invite:{address}"), ADDRESS_MOST)?,
    ];
    match app.limiter.check(&keys).await? {
        Decision::Allowed => Ok(()),
        Decision::Limited { retry_after, .. } => Err(Problem::too_many(retry_after)),
    }
}

async fn revoke(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, invitation)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory.revoke_invitation(tenant, &invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}
