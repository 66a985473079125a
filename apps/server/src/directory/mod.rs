//! Who is who: tenants, their employees with every version, their connections, and what was passed on to them.

mod account;
mod channels;
mod employee;
mod model;
mod question;
mod tenant;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use konstruct_core::{
    AccountId, Channel, ChannelKind, ConnectionId, Directory, Error, ErrorKind, Result, Route,
    Staff, TenantId, tool::Toolbox,
};
use konstruct_memory::Redb;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::account::ANY;
pub use self::{
    account::{Connection, NewConnection},
    channels::Endpoints,
    question::PassedOn,
    tenant::Tenant,
};
use crate::model::Models;

/// The directory of the hosted service, kept in the embedded store. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ServerDirectory {
    store: Redb,
    endpoints: Arc<Endpoints>,
    models: Arc<Models>,
    tools: Arc<Toolbox>,
    channels: Arc<RwLock<OpenChannels>>,
}

impl ServerDirectory {
    /// Makes a directory on a store; employees think with these models.
    ///
    /// # Errors
    /// Those of the toolbox.
    pub fn new(store: Redb, endpoints: Endpoints, models: Models) -> Result<Self> {
        let tools = Toolbox::builder()
            .shared(Arc::new(question::PassOn::new(store.clone())))
            .build()?;
        Ok(Self {
            store,
            endpoints: Arc::new(endpoints),
            models: Arc::new(models),
            tools: Arc::new(tools),
            channels: Arc::default(),
        })
    }

    /// Returns the tools that an employee can be granted.
    pub fn tools(&self) -> &Arc<Toolbox> {
        &self.tools
    }

    /// Returns the models that employees think with.
    pub fn models(&self) -> &Models {
        &self.models
    }

    async fn read<T: DeserializeOwned>(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<T>> {
        self.store
            .get_row(tenant, table, key)
            .await?
            .map(|bytes| decode(&bytes))
            .transpose()
    }

    async fn list<T: DeserializeOwned>(
        &self,
        tenant: Option<TenantId>,
        table: &str,
    ) -> Result<Vec<T>> {
        let rows = self.store.rows(tenant, table, None, usize::MAX).await?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
    }
}

/// The channels that were opened so far.
type OpenChannels = HashMap<(TenantId, ConnectionId), Arc<dyn Channel>>;

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("a row cannot be written").with_source(error))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "a row cannot be read").with_source(error))
}

#[async_trait]
impl Directory for ServerDirectory {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        self.find_route(channel, account).await
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        let (version, employee) = self
            .employee(tenant, version)
            .await?
            .ok_or_else(|| Error::not_found("employee"))?;
        let own = async || self.own_models(tenant).await;
        Ok(Staff {
            employee: Arc::new(employee),
            version,
            model: self.models.of(tenant, own).await?,
            tools: Arc::clone(&self.tools),
        })
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        self.open_channel(tenant, connection).await
    }
}
