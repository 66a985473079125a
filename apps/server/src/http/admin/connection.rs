//! `/tenants/{tenant}/connections`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get},
};
use konstruct_admin_api::{Connection, NewConnection, Page};
use konstruct_core::{AccountId, ChannelKind, ConnectionId, Secret};

use super::{
    Problem,
    input::{InTenant, Input, Paging, id, page},
};
use crate::{App, directory};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/connections", get(list).post(add))
        .route("/tenants/{tenant}/connections/{connection}", delete(remove))
}

async fn list(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    paging: Paging,
) -> Result<Json<Page<Connection>>, Problem> {
    app.directory.tenant(tenant).await?;
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
    InTenant(tenant): InTenant,
    Input(new): Input<NewConnection>,
) -> Result<(StatusCode, Json<Connection>), Problem> {
    app.directory.tenant(tenant).await?;
    if new.account.contains(directory::ANY) {
        return Err(Problem::field("account", "must be the provider's id"));
    }
    let new = directory::NewConnection {
        channel: ChannelKind::new(new.channel),
        account: AccountId(new.account),
        name: new.name,
        token: Secret::new(new.token),
        api_url: None,
    };
    let connection = app
        .directory
        .connect(tenant, ConnectionId::new(), new)
        .await?;
    Ok((StatusCode::CREATED, Json(shown(connection))))
}

async fn remove(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Path((_, connection)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory
        .disconnect(tenant, id(&connection, "connection")?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(connection: directory::Connection) -> Connection {
    Connection {
        id: connection.id,
        channel: connection.channel.as_str().to_owned(),
        account: connection.account.0,
        name: connection.name,
        token_end: connection.token.end().to_owned(),
    }
}
