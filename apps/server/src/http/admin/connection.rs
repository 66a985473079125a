//! `/tenants/{tenant}/connections`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get},
};
use konstruct_admin_api::{Connection, ConnectionState, NewConnection, Page};
use konstruct_core::{AccountId, ChannelKind, ConnectionId, Error, ErrorKind, Secret};

use super::{
    Caller, Input, Problem,
    input::{Paging, id, page},
    name_of,
};
use crate::{
    App,
    directory::{self, Confirmation},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/connections", get(list).post(add))
        .route("/tenants/{tenant}/connections/{connection}", delete(remove))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<Connection>>, Problem> {
    let connections = app
        .directory
        .connections(tenant)
        .await?
        .into_iter()
        .map(shown)
        .collect();
    page(connections, &paging, |connection: &Connection| {
        connection.id.to_string()
    })
    .map(Json)
}

async fn add(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Input(new): Input<NewConnection>,
) -> Result<(StatusCode, Json<Connection>), Problem> {
    let new = directory::NewConnection {
        channel: ChannelKind::new(new.channel),
        account: AccountId(new.account),
        name: new.name,
        token: Secret::new(new.token),
        api_url: None,
    };
    let id = ConnectionId::new();
    let checked = directory::checked(id, new.clone())?;
    let connection = match app.directory.confirm(&new).await {
        Confirmation::Confirmed(account) if account == checked.account => {
            app.directory.connect_or_revive(tenant, id, new).await?
        }
        Confirmation::Confirmed(_) => {
            let problem = "the token belongs to another account; use the token of this account";
            return Err(Problem::field("account", problem));
        }
        Confirmation::Refused(error) => return Err(vendor_rejection(&error)),
        Confirmation::Unknown(error) => {
            tracing::warn!(%error, %tenant, connection = %id, "could not reach the vendor; the connection stays pending");
            app.directory.connect_later(tenant, id, new).await?
        }
    };
    Ok((StatusCode::CREATED, Json(shown(connection))))
}

/// Names the field that the vendor rejected. The vendor's message is only logged.
fn vendor_rejection(error: &Error) -> Problem {
    tracing::info!(%error, "the vendor rejected a new connection");
    match error.kind() {
        ErrorKind::NotFound => Problem::field(
            "account",
            "the provider does not know this account; check the id",
        ),
        _ => Problem::field(
            "token",
            "the provider rejected this token for the account; check the token and its permissions",
        ),
    }
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, connection)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory
        .disconnect(tenant, id(&connection, "connection")?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(connection: directory::Connection) -> Connection {
    use konstruct_core::directory::ConnectionState as Core;
    let (state, reason, since) = match connection.state {
        Core::Pending => (ConnectionState::Pending, None, None),
        Core::Paused { reason, since } => (ConnectionState::Paused, name_of(&reason), Some(since)),
        Core::Disconnected { since } => (ConnectionState::Disconnected, None, Some(since)),
        _ => (ConnectionState::Active, None, None),
    };
    Connection {
        id: connection.id,
        channel: connection.channel.as_str().to_owned(),
        account: connection.account.0,
        name: connection.name,
        token_end: connection.token.end().to_owned(),
        state,
        reason,
        since: since.map(|since| since.to_string()),
    }
}
