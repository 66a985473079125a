//! The directory of one tenant.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Directory, Employee, EmployeeId, Error, Result,
    TenantId,
    directory::{ConnectionState, ConnectionStates, Route, Staff},
};

/// Derives the id of a connection from its kind and account, so that it is the same at every start, in whatever order the
/// channels were added.
pub(super) fn connection_id(kind: &ChannelKind, account: &AccountId) -> ConnectionId {
    let name = format!("{}\n{}", kind.as_str(), account.0);
    ConnectionId::from_bytes(hash(name.as_bytes()).to_be_bytes())
}

/// Derives the version of an employee from its settings, so that an equal employee has an equal version at every start.
pub(super) fn version(employee: &Employee) -> u32 {
    let employee = Employee {
        // Made anew with every build.
        id: EmployeeId::from_bytes([0; 16]),
        ..employee.clone()
    };
    let settings = serde_json::to_vec(&employee).unwrap_or_default();
    let [a, b, c, d, ..] = hash(&settings).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// FNV-1a with 128 bits: stable across builds and platforms. Two names of one app do not collide by chance.
fn hash(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let next = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(BASIS, next)
}

/// The directory of one tenant.
pub(super) struct Single {
    pub(super) tenant: TenantId,
    pub(super) staff: Staff,
    /// Earlier versions of the employee.
    pub(super) earlier: Vec<Staff>,
    pub(super) channels: HashMap<(ChannelKind, AccountId), (ConnectionId, Arc<dyn Channel>)>,
    pub(super) states: ConnectionStates,
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single")
            .field("tenant", &self.tenant)
            .field("channels", &self.channels.len())
            .finish()
    }
}

#[async_trait]
impl Directory for Single {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        let found = self.channels.get(&(channel.clone(), account.clone()));
        Ok(found.map(|(connection, _)| Route {
            tenant: self.tenant,
            connection: *connection,
        }))
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        let mut all = std::iter::once(&self.staff).chain(&self.earlier);
        all.find(|staff| tenant == self.tenant && version.is_none_or(|own| staff.version == own))
            .cloned()
            .ok_or_else(|| Error::not_found("employee"))
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        self.channels
            .values()
            .find(|(id, _)| tenant == self.tenant && *id == connection)
            .map(|(_, channel)| Arc::clone(channel))
            .ok_or_else(|| Error::not_found("connection"))
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        self.channel(tenant, connection).await?;
        Ok(self.states.get(tenant, connection))
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        self.channel(tenant, connection).await?;
        self.states.set(tenant, connection, state);
        Ok(())
    }
}
