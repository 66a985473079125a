//! Connections: which accounts at the providers are a tenant's, and with what they are spoken for.

use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, Error, ErrorKind, Result, Route, Secret, TenantId,
};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, encode};

const TABLE: &str = "connections";
const ROUTES: &str = "routes";
/// The account of a connection whose own is not known yet: it takes what no other connection does.
pub(crate) const ANY: &str = "*";

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
    pub token: Secret,
    /// Where its API is, if that is not where the server's configuration says.
    #[serde(default)]
    pub api_url: Option<String>,
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

#[derive(Serialize, Deserialize)]
struct RouteRow {
    tenant: TenantId,
    connection: ConnectionId,
}

fn route_key(channel: &ChannelKind, account: &AccountId) -> String {
    format!("{}/{}", channel.as_str(), account.0)
}

/// Reads a new connection, or says which of its fields cannot be.
fn checked(id: ConnectionId, new: NewConnection) -> Result<Connection> {
    if ![ChannelKind::SLACK, ChannelKind::WHATSAPP].contains(&new.channel) {
        return Err(Error::invalid("channel", "must be `slack` or `whatsapp`"));
    }
    let account = new.account.0.trim();
    if !(1..=100).contains(&account.len())
        || !account
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    {
        return Err(Error::invalid(
            "account",
            "must be a team id or phone number id of 1 to 100 characters",
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
    })
}

/// Leads a connection's account to it.
fn route(tenant: TenantId, connection: &Connection, expect: Expect) -> Result<RowChange> {
    let route = RouteRow {
        tenant,
        connection: connection.id,
    };
    Ok(RowChange {
        tenant: None,
        table: ROUTES.into(),
        key: route_key(&connection.channel, &connection.account),
        expect,
        value: Some(encode(&route)?),
    })
}

fn row(tenant: TenantId, connection: &Connection, expect: Expect) -> Result<RowChange> {
    Ok(RowChange {
        tenant: Some(tenant),
        table: TABLE.into(),
        key: connection.id.to_string(),
        expect,
        value: Some(encode(connection)?),
    })
}

impl Connection {
    fn same_as(&self, known: &Self) -> bool {
        self.channel == known.channel
            && self.account == known.account
            && self.token == known.token
            && self.api_url == known.api_url
    }
}

impl ServerDirectory {
    /// Adds a connection: from then on, events of its account are the tenant's.
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
        let changes = vec![
            route(tenant, &connection, Expect::Absent)?,
            row(tenant, &connection, Expect::Absent)?,
        ];
        self.write_connection(changes).await?;
        Ok(connection)
    }

    async fn write_connection(&self, changes: Vec<RowChange>) -> Result<()> {
        if self.store.write_rows(changes).await? {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::Conflict,
                "account: it is connected already",
            ))
        }
    }

    /// Adds a connection, or changes the one of this id: at no instant is its account nobody's.
    ///
    /// # Errors
    /// Those of [`ServerDirectory::connect`].
    pub async fn keep_connection(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        new: NewConnection,
    ) -> Result<Connection> {
        let known = match self.connection(tenant, id).await {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.connect(tenant, id, new).await;
            }
            Err(error) => return Err(error),
        };
        let connection = checked(id, new)?;
        if connection.same_as(&known) {
            return Ok(known);
        }
        let mut changes = vec![row(tenant, &connection, Expect::Any)?];
        if route_key(&connection.channel, &connection.account)
            != route_key(&known.channel, &known.account)
        {
            changes.push(route(tenant, &connection, Expect::Absent)?);
            changes.push(RowChange {
                value: None,
                ..route(tenant, &known, Expect::Any)?
            });
        }
        self.write_connection(changes).await?;
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
        self.read(Some(tenant), TABLE, &id.to_string())
            .await?
            .ok_or_else(|| Error::not_found("connection"))
    }

    /// Removes a connection: events of its account are unknown from then on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn disconnect(&self, tenant: TenantId, id: ConnectionId) -> Result<()> {
        let connection = self.connection(tenant, id).await?;
        let row = |tenant, table: &str, key| RowChange {
            tenant,
            table: table.into(),
            key,
            expect: Expect::Any,
            value: None,
        };
        let changes = vec![
            row(
                None,
                ROUTES,
                route_key(&connection.channel, &connection.account),
            ),
            row(Some(tenant), TABLE, id.to_string()),
        ];
        self.store.write_rows(changes).await?;
        self.forget_channel(tenant, id);
        Ok(())
    }

    pub(super) async fn find_route(
        &self,
        channel: &ChannelKind,
        account: &AccountId,
    ) -> Result<Option<Route>> {
        let any = AccountId(ANY.into());
        let mut row: Option<RouteRow> = None;
        // The account again at last: it may have been learned between the two looks before.
        for account in [account, &any, account] {
            row = self
                .read(None, ROUTES, &route_key(channel, account))
                .await?;
            if row.is_some() {
                break;
            }
        }
        Ok(row.map(|row| Route {
            tenant: row.tenant,
            connection: row.connection,
        }))
    }
}
