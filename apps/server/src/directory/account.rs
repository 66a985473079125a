//! Connections: which accounts at the providers are a tenant's, and the tokens to use them with.
//!
//! An account belongs to a tenant only after the vendor has confirmed it ([`confirm`](super::confirm)): a row of its own, the
//! route, which exists once an account, is written with the confirmation and not before.

use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, Error, ErrorKind, Result, Secret, TenantId,
    directory::{ConnectionState, Route},
};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, decode, encode};

const TABLE: &str = "connections";
const ROUTES: &str = "routes";
/// Which connections are to be confirmed in the background.
const UNCONFIRMED: &str = "unconfirmed";

/// One Slack workspace or one WhatsApp number of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The kind of channel.
    pub channel: ChannelKind,
    /// The provider's id: a Slack team, a WhatsApp phone number id.
    pub account: AccountId,
    /// The name to show.
    pub name: String,
    /// The bot token or access token.
    #[serde(serialize_with = "crate::secrets::seal")]
    pub token: Secret,
    /// Where its API is, if that is not where the server's configuration says.
    #[serde(default)]
    pub api_url: Option<String>,
    /// Whether it can be used.
    #[serde(default)]
    pub state: ConnectionState,
    /// Whether the vendor has confirmed that the account is the tenant's: only then are the account's events routed here.
    #[serde(default)]
    pub confirmed: bool,
}

/// A connection to add.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// The kind of channel: `slack` or `whatsapp`.
    pub channel: ChannelKind,
    /// The provider's id.
    pub account: AccountId,
    /// The name to show.
    pub name: String,
    /// The bot token or access token.
    pub token: Secret,
    /// Where its API is. Only the server itself sets this.
    pub api_url: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct RouteRow {
    tenant: TenantId,
    connection: ConnectionId,
}

fn route_key(channel: &ChannelKind, account: &AccountId) -> String {
    format!("{}/{}", channel.as_str(), account.0)
}

/// Reads a new connection.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] that names the field.
pub(crate) fn checked(id: ConnectionId, new: NewConnection) -> Result<Connection> {
    if ![ChannelKind::SLACK, ChannelKind::WHATSAPP].contains(&new.channel) {
        return Err(Error::invalid("channel", "must be `slack` or `whatsapp`"));
    }
    let account = new.account.0.trim();
    if !(1..=100).contains(&account.len())
        || !account
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(Error::invalid(
            "account",
            "must be the provider's team id or phone number id",
        ));
    }
    if new.token.is_empty() {
        return Err(Error::invalid("token", "must not be empty"));
    }
    Ok(Connection {
        id,
        channel: new.channel,
        account: AccountId(account.into()),
        name: new.name,
        token: new.token,
        api_url: new.api_url,
        state: ConnectionState::Active,
        confirmed: true,
    })
}

impl Connection {
    fn route_key(&self) -> String {
        route_key(&self.channel, &self.account)
    }

    /// Whether the vendor is to be asked in the background whether the connection works. Of the reasons for a pause, only a
    /// refused token and an unreachable vendor are visible in the vendor's answer.
    fn is_unconfirmed(&self) -> bool {
        match self.state {
            ConnectionState::Pending => true,
            ConnectionState::Paused { reason, .. } => {
                matches!(reason, ErrorKind::Unauthorized | ErrorKind::Unavailable)
            }
            _ => false,
        }
    }
}

/// Returns the changes that store a connection: its row, and whether it is to be confirmed.
fn rows(tenant: TenantId, connection: &Connection, expect: Expect) -> Result<Vec<RowChange>> {
    let unconfirmed = connection.is_unconfirmed();
    Ok(vec![
        RowChange {
            tenant: Some(tenant),
            table: TABLE.into(),
            key: connection.id.to_string(),
            expect,
            value: Some(encode(connection)?),
        },
        RowChange {
            tenant: None,
            table: UNCONFIRMED.into(),
            key: unconfirmed_key(tenant, connection.id),
            expect: Expect::Any,
            value: match unconfirmed {
                true => Some(encode(&RouteRow {
                    tenant,
                    connection: connection.id,
                })?),
                false => None,
            },
        },
    ])
}

fn unconfirmed_key(tenant: TenantId, connection: ConnectionId) -> String {
    format!("{tenant}/{connection}")
}

/// Returns the change that routes a connection's account to it.
fn route(tenant: TenantId, connection: &Connection) -> Result<RowChange> {
    let route = RouteRow {
        tenant,
        connection: connection.id,
    };
    Ok(RowChange {
        tenant: None,
        table: ROUTES.into(),
        key: connection.route_key(),
        expect: Expect::Absent,
        value: Some(encode(&route)?),
    })
}

/// Returns the change that deletes a row.
fn delete(tenant: Option<TenantId>, table: &str, key: String, expect: Expect) -> RowChange {
    RowChange {
        tenant,
        table: table.into(),
        key,
        expect,
        value: None,
    }
}

fn taken() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "account: it is connected already; disconnect it there first",
    )
    .with_field("account")
}

impl ServerDirectory {
    /// Adds a connection whose account the vendor has confirmed: from then on, events of the account are the tenant's.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the field, [`ErrorKind::Conflict`] for an account that is connected already,
    /// whoever's it is, and those of the store.
    pub async fn connect(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let connection = checked(id, new)?;
        let mut changes = rows(tenant, &connection, Expect::Absent)?;
        changes.push(route(tenant, &connection)?);
        if self.store.write_rows(changes).await? {
            Ok(connection)
        } else {
            Err(taken())
        }
    }

    /// As [`ServerDirectory::connect`]. If the tenant has a connection with the account that is not active, it gets the new token
    /// and is active again, with its conversations.
    ///
    /// # Errors
    /// Those of [`ServerDirectory::connect`].
    pub(crate) async fn connect_or_revive(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let account = checked(id, new.clone())?.account;
        let known = self.connections(tenant).await?.into_iter().find(|known| {
            known.channel == new.channel && known.account == account && !known.state.is_active()
        });
        match known {
            Some(known) => self.keep_connection(tenant, known.id, new).await,
            None => self.connect(tenant, id, new).await,
        }
    }

    /// Adds a connection that the vendor could not be asked about. It claims no account: events are routed to it once the
    /// vendor has confirmed it, if no other connection was confirmed before.
    ///
    /// # Errors
    /// As [`ServerDirectory::connect`].
    pub async fn connect_later(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let mut connection = checked(id, new)?;
        connection.state = ConnectionState::Pending;
        connection.confirmed = false;
        let changes = rows(tenant, &connection, Expect::Absent)?;
        if !self.store.write_rows(changes).await? {
            return Err(Error::new(ErrorKind::Conflict, "id: it exists already"));
        }
        self.unconfirmed.notify_one();
        Ok(connection)
    }

    /// Adds a confirmed connection, or changes the one of this id: at no instant is its account nobody's.
    ///
    /// # Errors
    /// Those of [`ServerDirectory::connect`].
    pub async fn keep_connection(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let Some((row, known)) = self.stored(tenant, id).await? else {
            return self.connect(tenant, id, new).await;
        };
        let connection = checked(id, new)?;
        if connection == known {
            return Ok(known);
        }
        let mut changes = rows(tenant, &connection, Expect::Exact(row))?;
        let moved = connection.route_key() != known.route_key();
        if moved || !known.confirmed {
            changes.push(route(tenant, &connection)?);
        }
        if moved && known.confirmed {
            changes.push(delete(None, ROUTES, known.route_key(), Expect::Any));
        }
        if !self.store.write_rows(changes).await? {
            return Err(taken());
        }
        self.forget_channel(tenant, id);
        Ok(connection)
    }

    /// Lists a tenant's connections.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn connections(&self, tenant: TenantId) -> Result<Vec<Connection>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Returns one connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn connection(&self, tenant: TenantId, id: ConnectionId) -> Result<Connection> {
        let stored = self.stored(tenant, id).await?;
        stored
            .map(|(_, connection)| connection)
            .ok_or_else(|| Error::not_found("connection"))
    }

    /// Returns one connection with its row.
    pub(super) async fn stored(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<Option<(Vec<u8>, Connection)>> {
        let key = id.to_string();
        let row = self.store.get_row(Some(tenant), TABLE, &key).await?;
        row.map(|row| Ok((row.clone(), decode(&row)?))).transpose()
    }

    /// Lists the connections that the vendor is to be asked about, of all tenants.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn unconfirmed(&self) -> Result<Vec<(TenantId, ConnectionId)>> {
        let listed: Vec<RouteRow> = self.list(None, UNCONFIRMED).await?;
        let ids = listed.into_iter().map(|row| (row.tenant, row.connection));
        Ok(ids.collect())
    }

    /// Changes the state of a connection. Its account's events are routed to it from the first confirmation on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Forbidden`] for activating a connection that the vendor has never confirmed,
    /// [`ErrorKind::Conflict`] for confirming one whose account was confirmed for another one meanwhile, and those of the store.
    pub(crate) async fn change_state(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        state: ConnectionState,
        confirmed: bool,
    ) -> Result<()> {
        loop {
            let stored = self.stored(tenant, id).await?;
            let (row, known) = stored.ok_or_else(|| Error::not_found("connection"))?;
            if known.state == state {
                return Ok(());
            }
            let connection = Connection {
                state,
                confirmed: known.confirmed || confirmed,
                ..known.clone()
            };
            if state.is_active() && !connection.confirmed {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    "the vendor has not confirmed the connection's account",
                ));
            }
            let mut changes = rows(tenant, &connection, Expect::Exact(row))?;
            if connection.confirmed && !known.confirmed {
                changes.push(route(tenant, &connection)?);
            }
            if self.store.write_rows(changes).await? {
                if connection.is_unconfirmed() {
                    self.unconfirmed.notify_one();
                }
                return Ok(());
            }
            // Either somebody changed the connection meanwhile, and it is read again, or its account is taken.
            if self.connection(tenant, id).await? == known {
                return Err(taken());
            }
        }
    }

    /// Removes a connection: events of its account are unknown from then on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn disconnect(&self, tenant: TenantId, id: ConnectionId) -> Result<()> {
        loop {
            let stored = self.stored(tenant, id).await?;
            let (row, known) = stored.ok_or_else(|| Error::not_found("connection"))?;
            let expect = Expect::Exact(row);
            let mut changes = vec![
                delete(Some(tenant), TABLE, id.to_string(), expect),
                delete(None, UNCONFIRMED, unconfirmed_key(tenant, id), Expect::Any),
            ];
            // The route of an unconfirmed connection's account, if there is one, leads to another connection.
            if known.confirmed {
                changes.push(delete(None, ROUTES, known.route_key(), Expect::Any));
            }
            if self.store.write_rows(changes).await? {
                self.forget_channel(tenant, id);
                return Ok(());
            }
        }
    }

    pub(super) async fn find_route(
        &self,
        channel: &ChannelKind,
        account: &AccountId,
    ) -> Result<Option<Route>> {
        // Asked first: the route is written before the connection is no longer awaited.
        let awaited = self.is_awaited(channel, account);
        let key = route_key(channel, account);
        let row: Option<RouteRow> = self.read(None, ROUTES, &key).await?;
        if row.is_none() && awaited {
            let channel = channel.as_str();
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the vendor has not confirmed the configured {channel} connection yet"),
            ));
        }
        Ok(row.map(|row| Route {
            tenant: row.tenant,
            connection: row.connection,
        }))
    }
}
