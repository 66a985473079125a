//! Disconnections: what became of the connections of a cancelled tenant at their vendors.

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, Error, ErrorKind, Result, TenantId, Timestamp,
};
use konstruct_memory::RowChange;
use serde::{Deserialize, Serialize};

use super::{Connection, ServerDirectory, encode};

const TABLE: &str = "disconnections";

/// A connection of a cancelled tenant that is to be disconnected at the vendor, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disconnection {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelKind,
    pub(crate) account: AccountId,
    /// Whether the account belonged to the tenant.
    pub(crate) confirmed: bool,
    pub(crate) progress: Progress,
    /// The requests so far.
    pub(crate) attempts: u32,
    /// The vendor's last refusal, or why nothing was asked of it.
    pub(crate) detail: Option<String>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
}

/// How far a disconnection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// The vendor is asked until it answers.
    Waiting,
    /// The vendor has disconnected it, or had before.
    Done,
    /// Another tenant uses the same business account, so it stays subscribed.
    Shared,
    /// The vendor refused, or the tenant is erased before it answered.
    Failed,
}

impl Disconnection {
    /// Returns that of a connection.
    pub(super) fn of(connection: &Connection) -> Self {
        Self {
            connection: connection.id,
            channel: connection.channel.clone(),
            account: connection.account.clone(),
            confirmed: connection.confirmed,
            progress: Progress::Waiting,
            attempts: 0,
            detail: None,
            ended_at: None,
        }
    }

    pub(super) fn put(&self, tenant: TenantId) -> Result<RowChange> {
        let key = self.connection.to_string();
        Ok(RowChange::put(Some(tenant), TABLE, key, encode(self)?))
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.progress == Progress::Waiting
    }
}

impl ServerDirectory {
    /// Lists the disconnections of a tenant.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn disconnections(&self, tenant: TenantId) -> Result<Vec<Disconnection>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Writes a disconnection.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn keep_disconnection(
        &self,
        tenant: TenantId,
        disconnection: &Disconnection,
    ) -> Result<()> {
        let change = disconnection.put(tenant)?;
        self.rows.write_rows(vec![change]).await.map(drop)
    }

    /// Forgets the disconnections of a tenant whose cancellation was withdrawn.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn drop_disconnections(&self, tenant: TenantId) -> Result<()> {
        for known in self.disconnections(tenant).await? {
            let key = known.connection.to_string();
            self.rows.delete_row(Some(tenant), TABLE, &key).await?;
        }
        Ok(())
    }

    /// Ends all connections of a tenant: no event is routed to it, and nothing is sent.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn cut_all(&self, tenant: TenantId, since: Timestamp) -> Result<()> {
        for connection in self.connections(tenant).await? {
            self.cut(tenant, connection.id, since).await?;
        }
        Ok(())
    }

    /// Disconnects an account at its vendor. Repeating it has no further effect.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a connection that was removed, and those of the vendor and the store.
    pub(crate) async fn disconnect_at_vendor(
        &self,
        tenant: TenantId,
        disconnection: &Disconnection,
    ) -> Result<Progress> {
        let known = self.connection(tenant, disconnection.connection).await?;
        let endpoints = &self.endpoints;
        if known.channel == ChannelKind::SLACK {
            let url = known.api_url.as_ref().unwrap_or(&endpoints.slack);
            let slack = Slack::builder(known.token).api_url(url).build()?;
            return match slack.revoke().await {
                // A token that is not valid is revoked.
                Err(error) if error.kind() != ErrorKind::Unauthorized => Err(error),
                _ => Ok(Progress::Done),
            };
        }
        if !disconnection.confirmed {
            // Nothing says that the account is the tenant's.
            return Ok(Progress::Done);
        }
        let url = known.api_url.as_ref().unwrap_or(&endpoints.graph);
        let graph = WhatsApp::builder(&known.account.0, known.token)
            .api_url(url)
            .api_version(&endpoints.graph_version)
            .build()?;
        let account = graph.business_account().await?;
        for number in graph.numbers_of(&account).await? {
            let route = self.find_route(&known.channel, &AccountId(number)).await?;
            if route.is_some_and(|route| route.tenant != tenant) {
                return Ok(Progress::Shared);
            }
        }
        match graph.unsubscribe(&account).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(Progress::Done),
        }
    }
}

/// Returns whether the vendor may answer differently later. The request can be repeated even if it may have had its effect.
pub(crate) fn may_succeed_later(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::Unsupported
    )
}
