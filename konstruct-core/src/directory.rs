//! The `Directory` trait: from an account to its tenant, and from a tenant to who works there.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Employee, LlmBackend, Result, TenantId,
    tool::Toolbox,
};

/// Whose account an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

/// Finds tenants, employees and channels. Static for embedders, a store for the hosted service.
///
/// # Contract
/// A version of an employee never changes: what a turn was pinned to can be had for as long as its journal.
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
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is none, or those of the store.
    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff>;

    /// Returns the channel of a connection.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is none, or those of the store.
    async fn channel(&self, tenant: TenantId, connection: ConnectionId)
    -> Result<Arc<dyn Channel>>;
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
