//! The `Directory` trait: from an account to its tenant, and from a tenant to its employee and channels.

mod local;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::local::LocalDirectory;
pub(crate) use self::local::connection_id;
use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Employee, ErrorKind, LlmBackend, Result,
    TenantId, Timestamp, tool::Toolbox,
};

/// Whose account an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

/// Finds tenants, employees and channels.
///
/// [`LocalDirectory`] keeps them in memory; the hosted service implements the trait over its database. A directory of your own finds
/// each tenant's employee wherever you keep it:
///
/// ```
/// use std::sync::Arc;
/// use konstruct_core::{
///     AccountId, Channel, ChannelKind, ConnectionId, Directory, Employee, Error, LlmBackend, Result, TenantId,
///     async_trait, directory::{ConnectionState, ConnectionStates, Route, Staff}, tool::Toolbox,
/// };
///
/// /// Every WhatsApp number belongs to the shop of the same row of a table.
/// #[derive(Debug)]
/// struct Shops {
///     rows: Vec<(TenantId, AccountId, ConnectionId, Arc<dyn Channel>, Employee)>,
///     model: Arc<dyn LlmBackend>,
///     states: ConnectionStates,
/// }
///
/// #[async_trait]
/// impl Directory for Shops {
///     async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
///         let row = self.rows.iter().find(|row| row.1 == *account && *channel == ChannelKind::WHATSAPP);
///         Ok(row.map(|row| Route { tenant: row.0, connection: row.2 }))
///     }
///
///     async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
///         // One version only: a change needs a new version, and turns that are open are finished with the old one.
///         let row = self.rows.iter().find(|row| row.0 == tenant && version.is_none_or(|version| version == 1));
///         let row = row.ok_or_else(|| Error::not_found("employee"))?;
///         Ok(Staff {
///             employee: Arc::new(row.4.clone()),
///             version: 1,
///             model: Arc::clone(&self.model),
///             tools: Arc::new(Toolbox::default()),
///         })
///     }
///
///     async fn channel(&self, tenant: TenantId, connection: ConnectionId) -> Result<Arc<dyn Channel>> {
///         let row = self.rows.iter().find(|row| row.0 == tenant && row.2 == connection);
///         Ok(Arc::clone(&row.ok_or_else(|| Error::not_found("connection"))?.3))
///     }
///
///     async fn connection_state(&self, tenant: TenantId, connection: ConnectionId) -> Result<ConnectionState> {
///         Ok(self.states.get(tenant, connection))
///     }
///
///     async fn set_connection_state(
///         &self, tenant: TenantId, connection: ConnectionId, state: ConnectionState,
///     ) -> Result<()> {
///         self.states.set(tenant, connection, state);
///         Ok(())
///     }
/// }
/// ```
///
/// # Contract
/// A version of an employee never changes: what a turn was pinned to can be had for as long as its log.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// Returns whose account this is; `None` when nobody's here.
    ///
    /// # Errors
    /// Those of the store; the caller must not acknowledge then.
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>>;

    /// Returns the tenant's employee: the newest version, or the one that a turn is pinned to.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, or those of the store.
    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff>;

    /// Returns the channel of a connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, or those of the store.
    async fn channel(&self, tenant: TenantId, connection: ConnectionId)
    -> Result<Arc<dyn Channel>>;

    /// Returns whether a connection can be used at the moment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, or those of the store.
    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState>;

    /// Records whether a connection can be used: [`Directory::connection_state`] returns it from then on, also after a restart
    /// if the directory is stored. An equal state changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such connection, or those of the store.
    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()>;
}

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// The vendor has not confirmed yet that the account belongs to the tenant: no event is routed to the connection.
    Pending,
    /// Events are accepted and messages are sent.
    #[default]
    Active,
    /// Events are accepted. Nothing is sent and no model is called until the connection is active again.
    Paused {
        /// Why: [`ErrorKind::Unauthorized`] for a refused token, [`ErrorKind::QuotaExhausted`] for an unpaid account, and so
        /// on.
        reason: ErrorKind,
        /// Since when.
        since: Timestamp,
    },
    /// The vendor has ended the connection, for example because the app was uninstalled. Only a new token revives it.
    Disconnected {
        /// Since when.
        since: Timestamp,
    },
}

impl ConnectionState {
    /// Returns whether messages can be sent.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// The states of connections in memory, for a directory that is not stored. A connection is active until told otherwise.
///
/// ```
/// use konstruct_core::{
///     ConnectionId, ErrorKind, TenantId, Timestamp,
///     directory::{ConnectionState, ConnectionStates},
/// };
///
/// let (states, tenant, connection) = (ConnectionStates::default(), TenantId::new(), ConnectionId::new());
/// assert!(states.get(tenant, connection).is_active());
/// let paused = ConnectionState::Paused {
///     reason: ErrorKind::Unauthorized,
///     since: Timestamp::from_secs(1),
/// };
/// states.set(tenant, connection, paused);
/// assert_eq!(states.get(tenant, connection), paused);
/// ```
#[derive(Debug, Default)]
pub struct ConnectionStates(Mutex<HashMap<(TenantId, ConnectionId), ConnectionState>>);

impl ConnectionStates {
    /// Returns the state of a connection.
    pub fn get(&self, tenant: TenantId, connection: ConnectionId) -> ConnectionState {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states
            .get(&(tenant, connection))
            .copied()
            .unwrap_or_default()
    }

    /// Sets the state of a connection.
    pub fn set(&self, tenant: TenantId, connection: ConnectionId, state: ConnectionState) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.insert((tenant, connection), state);
    }
}

/// An employee with what it works with.
#[derive(Clone, Debug)]
pub struct Staff {
    /// Who it is.
    pub employee: Arc<Employee>,
    /// Which version of it, from 1.
    pub version: u32,
    /// The model that it thinks with.
    pub model: Arc<dyn LlmBackend>,
    /// The tools that exist; which of them it may use, the employee says.
    pub tools: Arc<Toolbox>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Directory + ?Sized> Directory for Arc<D> {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        (**self).route(channel, account).await
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        (**self).staff(tenant, version).await
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        (**self).channel(tenant, connection).await
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        (**self).connection_state(tenant, connection).await
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        (**self)
            .set_connection_state(tenant, connection, state)
            .await
    }
}
