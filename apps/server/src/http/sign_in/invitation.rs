//! `/sign-in/invitation`: accepting an invitation, with a new password, with the password of an existing login, or signed in.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect},
    routing::get,
};
use konstruct_core::{Error, ErrorKind, Secret, TenantId, id::MemberId};
use serde::Deserialize;

use super::{
    Answer, Asked, Code, Page, Submitted, Visitor,
    page::{address, alert, escape, hidden, new_password, password, sentence},
    password::verified,
    wrong_code,
};
use crate::{
    App,
    directory::{Invitation, Joining, Principal, checked_name},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/sign-in/invitation", get(show).post(submit))
}

/// Who may accept an invitation.
enum Invited {
    /// The owner of the address is signed in.
    SignedIn(MemberId),
    /// Somebody else is signed in.
    Other,
    /// The address has a login, whose password is needed.
    Known,
    /// The address has no login yet.
    New,
}

async fn found(
    app: &App,
    visitor: &Visitor,
    code: &str,
) -> Result<(TenantId, Invitation, Invited), Page> {
    let (tenant, invitation) = match app.directory.invitation(code).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(wrong_code(app, visitor.from, error).await);
        }
        Err(error) => return Err(error.into()),
    };
    let login = app.directory.login_of(&invitation.email).await?;
    let invited = match (visitor.principal(), login) {
        (Some(Principal::Member(id)), Some(login)) if login.id == id => Invited::SignedIn(id),
        (Some(Principal::Member(_)), _) => Invited::Other,
        (_, Some(_)) => Invited::Known,
        (_, None) => Invited::New,
    };
    Ok((tenant, invitation, invited))
}

async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Asked(Code { code }): Asked<Code>,
) -> Answer {
    let (tenant, invitation, invited) = found(&app, &visitor, &code).await?;
    page(&app, tenant, &invitation, &invited, &code, None).await
}

async fn page(
    app: &App,
    tenant: TenantId,
    invitation: &Invitation,
    invited: &Invited,
    code: &str,
    refused: Option<&str>,
) -> Answer {
    let tenant = app.directory.tenant(tenant).await?;
    let (name, role) = (escape(&tenant.name), invitation.role);
    let email = escape(invitation.email.as_str());
    let fields = match invited {
        Invited::Other => return Ok(for_another(&email).into_response()),
        Invited::SignedIn(_) => String::new(),
        Invited::Known => format!(
            "<p>This address has a password on this server already. Enter it to join.</p>\n{}\n{}",
            address(invitation.email.as_str()),
            password("password", "Password")
        ),
        Invited::New => format!(
            "<label for=\"name\">Your name, as the team sees it</label>\n\
             <input id=\"name\" name=\"name\" autocomplete=\"name\" maxlength=\"100\" value=\"{}\" required>\n{}\n{}",
            escape(invitation.email.local_part()),
            address(invitation.email.as_str()),
            new_password()
        ),
    };
    let body = format!(
        "{alert}\n<p>You are invited to {name} as {role}, with the address {email}.</p>\n\
         <form method=\"post\" action=\"/sign-in/invitation\">\n{code}\n{fields}\n<button>Join</button>\n</form>",
        alert = refused.map(alert).unwrap_or_default(),
        code = hidden("code", code),
    );
    let page = Page::new(format!("Join {}", tenant.name), body);
    let status = match refused {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    Ok(page.with_status(status).into_response())
}

fn for_another(email: &str) -> Page {
    let body = format!(
        "<p role=\"alert\">This invitation is for {email}, and somebody else is signed in here. Sign out, and open the link again.</p>\n\
         <form method=\"post\" action=\"/sign-out\"><button class=\"second\">Sign out</button></form>"
    );
    Page::new("This invitation is for another address", body).with_status(StatusCode::CONFLICT)
}

#[derive(Deserialize)]
struct Accepted {
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default = "no_password")]
    password: Secret,
}

fn no_password() -> Secret {
    Secret::new("")
}

async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Submitted(given): Submitted<Accepted>,
) -> Answer {
    let code = given.code.as_str();
    let (tenant, invitation, invited) = found(&app, &visitor, code).await?;
    let joining = match invited {
        Invited::Other => return Err(for_another(&escape(invitation.email.as_str()))),
        Invited::SignedIn(id) => Joining::Login(id),
        Invited::Known => {
            let email = invitation.email.as_str();
            match verified(&app, &visitor, email, given.password).await? {
                Some(login) => Joining::Login(login.id),
                None => {
                    let refused = Some("The password is wrong.");
                    return page(&app, tenant, &invitation, &invited, code, refused).await;
                }
            }
        }
        Invited::New => {
            let joining = async {
                let name = checked_name(&given.name)?;
                let hash = app.passwords.hash(given.password).await?;
                Ok::<_, Error>(Joining::New(name, hash))
            };
            match joining.await {
                Ok(joining) => joining,
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    let refused = sentence(error.message());
                    return page(&app, tenant, &invitation, &invited, code, Some(&refused)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let (_, login) = app.directory.accept_invitation(code, &joining).await?;
    if visitor.principal() == Some(login.id.into()) {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    visitor.sign_in(&app, login.id.into(), "/sign-in").await
}
