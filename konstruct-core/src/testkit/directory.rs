//! A directory for tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Directory, Employee, Error, LlmBackend, Result,
    TenantId, Transcriber,
    directory::{ConnectionState, ConnectionStates, Route, Staff},
    limit::PlanRates,
    tool::Toolbox,
};

/// Tenants, employees and channels in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ScriptedDirectory(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    staff: HashMap<TenantId, Vec<Staff>>,
    gone: Vec<TenantId>,
    transcriber: Option<Arc<dyn Transcriber>>,
    channels: HashMap<(TenantId, ConnectionId), Arc<dyn Channel>>,
    states: ConnectionStates,
}

impl ScriptedDirectory {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hires an employee, or adds a new version of it. Returns the version.
    pub fn hire(
        &self,
        tenant: TenantId,
        employee: Employee,
        model: Arc<dyn LlmBackend>,
        tools: Toolbox,
    ) -> u32 {
        let mut known = self.lock();
        known.gone.retain(|gone| *gone != tenant);
        let transcriber = known.transcriber.clone();
        let versions = known.staff.entry(tenant).or_default();
        let version = u32::try_from(versions.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        versions.push(Staff {
            employee: Arc::new(employee),
            version,
            model,
            tools: Arc::new(tools),
            transcriber,
            plan: PlanRates::default(),
        });
        version
    }

    /// Sets the transcriber of employees that are hired from now on.
    pub fn listen_with(&self, transcriber: impl Transcriber) {
        self.lock().transcriber = Some(Arc::new(transcriber));
    }

    /// Removes a tenant's employee.
    pub fn dismiss(&self, tenant: TenantId) {
        self.lock().gone.push(tenant);
    }

    /// Connects a channel.
    pub fn connect(&self, tenant: TenantId, connection: ConnectionId, channel: impl Channel) {
        let channel: Arc<dyn Channel> = Arc::new(channel);
        self.lock().channels.insert((tenant, connection), channel);
    }

    /// Removes a channel.
    pub fn disconnect(&self, tenant: TenantId, connection: ConnectionId) {
        self.lock().channels.remove(&(tenant, connection));
    }
}

#[async_trait]
impl Directory for ScriptedDirectory {
    async fn route(&self, channel: &ChannelKind, _: &AccountId) -> Result<Option<Route>> {
        let known = self.lock();
        let mut channels = known.channels.iter();
        let found = channels.find(|(_, connected)| connected.kind() == *channel);
        Ok(found.map(|((tenant, connection), _)| Route {
            tenant: *tenant,
            connection: *connection,
        }))
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        let known = self.lock();
        let mut versions = known.staff.get(&tenant).into_iter().flatten().rev();
        versions
            .find(|staff| version.is_none_or(|version| version == staff.version))
            .filter(|_| !known.gone.contains(&tenant))
            .cloned()
            .ok_or_else(|| Error::not_found("employee"))
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        let known = self.lock();
        let found = known.channels.get(&(tenant, connection)).cloned();
        found.ok_or_else(|| Error::not_found("connection"))
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        self.channel(tenant, connection).await?;
        Ok(self.lock().states.get(tenant, connection))
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        self.channel(tenant, connection).await?;
        self.lock().states.set(tenant, connection, state);
        Ok(())
    }
}
