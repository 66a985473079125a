//! The `Directory` trait, which finds the tenant of an account, and the employee and channels of a tenant.

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
    TenantId, Timestamp, Transcriber, limit::PlanRates, tool::Toolbox,
};

/// The tenant and connection of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

/// Looks up tenants, employees and channels.
///
/// [`LocalDirectory`] keeps them in memory; the hosted service implements the trait on its database. Implement it yourself to
/// look up employees in your own storage:
///
/// ```
/// use std::sync::Arc;
/// use konstruct_core::{
///     AccountId, Channel, ChannelKind, ConnectionId, Directory, Employee, Error, LlmBackend, Result, TenantId,
///     async_trait, directory::{ConnectionState, ConnectionStates, Route, Staff}, limit::PlanRates, tool::Toolbox,
/// };
///
/// /// Each row contains a shop and its WhatsApp number.
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
///         // There is one version only. A change would need a new version, and open turns would still need the old one.
///         let row = self.rows.iter().find(|row| row.0 == tenant && version.is_none_or(|version| version == 1));
///         let row = row.ok_or_else(|| Error::not_found("employee"))?;
///         Ok(Staff {
///             employee: Arc::new(row.4.clone()),
///             version: 1,
///             model: Arc::clone(&self.model),
///             tools: Arc::new(Toolbox::default()),
///             transcriber: None,
///             plan: PlanRates::default(),
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
/// A version of an employee never changes. The version that a turn is pinned to is available for as long as the turn's log.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// Returns the tenant and connection of an account; `None` if the account is unknown.
    ///
    /// # Errors
    /// Any error of the store. The caller must not acknowledge the event then.
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>>;

    /// Returns the tenant's employee in the given version, or in the newest one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, and those of the store.
    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff>;

    /// Returns the channel of a connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, and those of the store.
    async fn channel(&self, tenant: TenantId, connection: ConnectionId)
    -> Result<Arc<dyn Channel>>;

    /// Returns the state of a connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the connection does not exist, and those of the store.
    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState>;

    /// Sets the state of a connection, which [`Directory::connection_state`] then returns. A directory with persistent storage
    /// keeps it across restarts. Setting an equal state has no effect.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the connection does not exist, and those of the store.
    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()>;
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// The provider has not confirmed yet that the account belongs to the tenant. No events are routed to the connection.
    Pending,
    /// Events are accepted and messages are sent.
    #[default]
    Active,
    /// Events are accepted. Nothing is sent and no model is called until the connection is active again.
    Paused {
        /// The reason: [`ErrorKind::Unauthorized`] for a refused token, [`ErrorKind::QuotaExhausted`] for an unpaid account, and
        /// so on.
        reason: ErrorKind,
        /// The start of the pause.
        since: Timestamp,
    },
    /// The provider ended the connection, for example because the app was uninstalled. Only a new token restores it.
    Disconnected {
        /// When the connection ended.
        since: Timestamp,
    },
}

impl ConnectionState {
    /// Returns whether messages can be sent.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// The states of connections in memory for a directory without persistent storage. A connection is active by default.
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

/// An employee with its model and tools.
#[derive(Clone, Debug)]
pub struct Staff {
    /// The employee.
    pub employee: Arc<Employee>,
    /// The version of the employee.
    pub version: u32,
    /// The employee's model.
    pub model: Arc<dyn LlmBackend>,
    /// All tools that exist. The employee lists those that it may use.
    pub tools: Arc<Toolbox>,
    /// What the employee understands voice messages with; `None` if it cannot listen.
    pub transcriber: Option<Arc<dyn Transcriber>>,
    /// The limits of the tenant's plan, in addition to those of the employee.
    pub plan: PlanRates,
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
