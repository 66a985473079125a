//! Connections: a tenant's accounts at the providers, and their tokens.
//!
//! An account belongs to a tenant only after the vendor has confirmed it ([`confirm`](super::confirm)). A separate row, the
//! route, exists once per account and is written with the confirmation, not before.

use konstruct_core::{
    AccountId, ChannelKind, Clock as _, ConnectionId, Error, ErrorKind, Result, Secret,
    SystemClock, TenantId, Timestamp,
    directory::{ConnectionState, Route},
};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{Disconnection, ServerDirectory, decode, encode};

const TABLE: &str = "connections";
const ROUTES: &str = "routes";
/// The connections that must be confirmed in the background.
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
    /// The URL of its API, if it differs from the server's configuration.
    #[serde(default)]
    pub api_url: Option<String>,
    /// Whether it can be used.
    #[serde(default)]
    pub state: ConnectionState,
    /// Whether the vendor has confirmed that the account belongs to the tenant. Only then are the account's events routed here.
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
    /// The URL of its API. Only the server itself sets this.
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

/// Validates a new connection.
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

    /// Returns whether the connection must be confirmed in the background. Of the reasons for a pause, only a rejected token and
    /// an unreachable vendor show in the vendor's response.
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

/// Returns the changes that store a connection: its row, and its entry among the unconfirmed ones.
fn rows(tenant: TenantId, connection: &Connection, expect: Expect) -> Result<Vec<RowChange>> {
    let id = connection.id;
    let key = unconfirmed_key(tenant, id);
    Ok(vec![
        RowChange::put(Some(tenant), TABLE, id.to_string(), encode(connection)?).expecting(expect),
        if connection.is_unconfirmed() {
            let route = RouteRow {
                tenant,
                connection: id,
            };
            RowChange::put(None, UNCONFIRMED, key, encode(&route)?)
        } else {
            RowChange::delete(None, UNCONFIRMED, key)
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
    let change = RowChange::put(None, ROUTES, connection.route_key(), encode(&route)?);
    Ok(change.expecting(Expect::Absent))
}

fn taken() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "account: it is already connected; disconnect it there first",
    )
    .with_field("account")
}

impl ServerDirectory {
    /// Adds a connection whose account the vendor has confirmed. From then on, events of the account belong to the tenant.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the field, [`ErrorKind::Conflict`] for an account that is already connected to any
    /// tenant, and those of the store.
    pub async fn connect(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let connection = checked(id, new)?;
        let mut changes = rows(tenant, &connection, Expect::Absent)?;
        changes.push(route(tenant, &connection)?);
        if self.rows.write_rows(changes).await? {
            self.unless_cancelled(tenant, id).await?;
            Ok(connection)
        } else {
            Err(taken())
        }
    }

    /// Does the same as [`ServerDirectory::connect`], except that an inactive connection of the tenant with this account gets the
    /// new token and becomes active again, with its conversations.
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

    /// Adds a connection while the vendor is unreachable. It does not claim the account: events are routed to it once the vendor
    /// has confirmed it, unless another connection was confirmed first.
    ///
    /// # Errors
    /// Those of [`ServerDirectory::connect`].
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
        if !self.rows.write_rows(changes).await? {
            return Err(Error::new(
                ErrorKind::Conflict,
                "id: a connection with this id already exists",
            ));
        }
        self.unless_cancelled(tenant, id).await?;
        self.unconfirmed.notify_one();
        Ok(connection)
    }

    /// Adds a confirmed connection, or changes the one with this id, without an interval in which the account is unassigned.
    ///
    /// # Errors
    /// Those of [`ServerDirectory::connect`].
    pub async fn keep_connection(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let connection = checked(id, new)?;
        let mut stored = self.stored(tenant, id).await?;
        loop {
            let known = stored.as_ref().map(|(_, known)| known);
            if known == Some(&connection) {
                return Ok(connection);
            }
            let expect = match &stored {
                Some((row, _)) => Expect::Exact(row.clone()),
                None => Expect::Absent,
            };
            let mut changes = rows(tenant, &connection, expect)?;
            let routed = known.filter(|known| known.confirmed);
            let routed = routed.map(Connection::route_key);
            if routed.as_ref() != Some(&connection.route_key()) {
                changes.push(route(tenant, &connection)?);
                changes.extend(routed.map(|key| RowChange::delete(None, ROUTES, key)));
            }
            if self.rows.write_rows(changes).await? {
                self.forget_channel(tenant, id);
                self.unless_cancelled(tenant, id).await?;
                return Ok(connection);
            }
            // Another process may have written the connection; otherwise another connection has the account.
            let now = self.stored(tenant, id).await?;
            if now.as_ref().map(|(row, _)| row) == stored.as_ref().map(|(row, _)| row) {
                return Err(taken());
            }
            stored = now;
        }
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

    /// Returns one connection with its stored row.
    pub(super) async fn stored(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<Option<(Vec<u8>, Connection)>> {
        let key = id.to_string();
        let row = self.rows.get_row(Some(tenant), TABLE, &key).await?;
        row.map(|row| Ok((row.clone(), decode(&row)?))).transpose()
    }

    /// Lists the unconfirmed connections of all tenants.
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
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Forbidden`] for activating a connection that the vendor has never confirmed;
    /// [`ErrorKind::Conflict`] if the account was meanwhile confirmed for another connection; and those of the store.
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
            if self.rows.write_rows(changes).await? {
                if state.is_active() {
                    self.unless_cancelled(tenant, id).await?;
                }
                if connection.is_unconfirmed() {
                    self.unconfirmed.notify_one();
                }
                return Ok(());
            }
            // Either the connection was changed meanwhile, and it is read again, or its account is taken.
            if self.connection(tenant, id).await? == known {
                return Err(taken());
            }
        }
    }

    /// Disconnects what was connected while its tenant was being cancelled. The cancellation is written before the connections are
    /// listed, and checked here after the connection is written, so that one of the two sees the other.
    async fn unless_cancelled(&self, tenant: TenantId, id: ConnectionId) -> Result<()> {
        if !self.is_cancelled(tenant).await? {
            return Ok(());
        }
        self.cut(tenant, id, SystemClock.now()).await?;
        let problem = "the tenant is cancelled; withdraw the cancellation first";
        Err(Error::new(ErrorKind::Conflict, problem))
    }

    /// Ends a connection, which is then to be disconnected at the vendor. Its account is unknown from then on. Has no effect on one
    /// that has ended.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn cut(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        since: Timestamp,
    ) -> Result<()> {
        loop {
            let Some((row, known)) = self.stored(tenant, id).await? else {
                return Ok(());
            };
            if matches!(known.state, ConnectionState::Disconnected { .. }) {
                return Ok(());
            }
            let connection = Connection {
                state: ConnectionState::Disconnected { since },
                confirmed: false,
                ..known.clone()
            };
            let mut changes = rows(tenant, &connection, Expect::Exact(row))?;
            if known.confirmed {
                changes.push(RowChange::delete(None, ROUTES, known.route_key()));
            }
            changes.push(Disconnection::of(&known).put(tenant)?);
            if self.rows.write_rows(changes).await? {
                self.forget_channel(tenant, id);
                return Ok(());
            }
        }
    }

    /// Removes a connection. From then on, its account is unknown.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn disconnect(&self, tenant: TenantId, id: ConnectionId) -> Result<()> {
        loop {
            let stored = self.stored(tenant, id).await?;
            let (row, known) = stored.ok_or_else(|| Error::not_found("connection"))?;
            let expect = Expect::Exact(row);
            let mut changes = vec![
                RowChange::delete(Some(tenant), TABLE, id.to_string()).expecting(expect),
                RowChange::delete(None, UNCONFIRMED, unconfirmed_key(tenant, id)),
            ];
            // The route of an unconfirmed connection's account, if it exists, belongs to another connection.
            if known.confirmed {
                changes.push(RowChange::delete(None, ROUTES, known.route_key()));
            }
            if self.rows.write_rows(changes).await? {
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
        // Checked first, because the route is written before the connection stops being awaited.
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
