//! A directory in memory that can change while turns are running.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;

use super::{ConnectionState, ConnectionStates, Directory, Route, Staff};
use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Employee, EmployeeId, Error, ErrorKind,
    LlmBackend, Result, TenantId, Transcriber, limit::PlanRates, tool::Toolbox,
};

/// A directory of tenants, employees and channels in memory. Every change applies immediately to turns that begin afterwards.
///
/// Each change to an employee creates a new version. Earlier versions are kept as long as the directory, so that open turns
/// finish with the version that they began with. The version is derived from the settings, so an equal employee has the same
/// version after a restart. Add versions from before a restart with [`earlier_employee`](Self::earlier_employee).
///
/// Nothing is stored. Save each tenant's id and its [`Employee`] (it is `Serialize`) after a change. At the next start, before the
/// workforce runs, `connect` the channels and `hire` the newest version again. With several processes, make each change in all of
/// them, or implement [`Directory`] over your database.
///
/// ```
/// use konstruct_core::{Directory as _, Employee, LocalDirectory, TenantId};
/// # use konstruct_core::{SystemClock, channel::Find, testkit::{ScriptedAnswer, ScriptedChannel, ScriptedModel, World}};
/// # let model = ScriptedModel::new(|_| ScriptedAnswer::text("Hi."));
/// # let slack = ScriptedChannel::new(World::default(), std::sync::Arc::new(SystemClock), Find::Query);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let directory = LocalDirectory::new(model);
/// let (acme, zenith) = (TenantId::new(), TenantId::new());
/// directory.hire(acme, Employee::builder("Ava").build()?)?;
/// directory.hire(zenith, Employee::builder("Zoe").build()?)?;
/// directory.connect(acme, "T-ACME", slack)?;
///
/// let before = directory.staff(acme, None).await?;
/// directory.change(acme, |ava| ava.persona = "formal".into())?;
/// let after = directory.staff(acme, None).await?;
/// assert_eq!(after.employee.persona, "formal");
/// // The version that an open turn began with is still available.
/// let pinned = directory.staff(acme, Some(before.version)).await?;
/// assert_eq!(pinned.employee, before.employee);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
pub struct LocalDirectory {
    model: Arc<dyn LlmBackend>,
    tools: Arc<Toolbox>,
    transcriber: Option<Arc<dyn Transcriber>>,
    tenants: RwLock<Tenants>,
    states: ConnectionStates,
}

#[derive(Default)]
struct Tenants {
    tenants: HashMap<TenantId, Tenant>,
    accounts: HashMap<(ChannelKind, AccountId), Route>,
}

#[derive(Default)]
struct Tenant {
    /// The version of the current employee.
    current: Option<u32>,
    versions: HashMap<u32, Arc<Employee>>,
    model: Option<Arc<dyn LlmBackend>>,
    transcriber: Option<Arc<dyn Transcriber>>,
    tools: Option<Arc<Toolbox>>,
    plan: PlanRates,
    channels: HashMap<ConnectionId, Arc<dyn Channel>>,
}

impl Tenant {
    fn employee(&self) -> Option<&Arc<Employee>> {
        self.versions.get(&self.current?)
    }

    fn keep(&mut self, mut employee: Employee) -> u32 {
        if let Some(current) = self.employee() {
            // A tenant has one employee. Only its settings change.
            employee.id = current.id;
        }
        let version = version(&employee);
        let kept = self.versions.entry(version);
        kept.or_insert_with(|| Arc::new(employee));
        version
    }
}

impl fmt::Debug for LocalDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenants = self.read();
        f.debug_struct("LocalDirectory")
            .field("tenants", &tenants.tenants.len())
            .field("accounts", &tenants.accounts.len())
            .finish_non_exhaustive()
    }
}

impl LocalDirectory {
    /// Creates a directory without tenants. Employees use this model, unless their tenant has its [own](Self::set_model).
    pub fn new(model: impl LlmBackend) -> Self {
        Self {
            model: Arc::new(model),
            tools: Arc::default(),
            transcriber: None,
            tenants: RwLock::default(),
            states: ConnectionStates::default(),
        }
    }

    /// Sets the tools of tenants without their [own](Self::set_tools). Each employee may use those that it was granted.
    #[must_use]
    pub fn with_tools(mut self, tools: Toolbox) -> Self {
        self.tools = Arc::new(tools);
        self
    }

    /// Sets the transcriber of tenants without their [own](Self::set_transcriber), with which employees understand voice messages.
    #[must_use]
    pub fn with_transcriber(mut self, transcriber: impl Transcriber) -> Self {
        self.transcriber = Some(Arc::new(transcriber));
        self
    }

    /// Hires a tenant's employee, or replaces its settings. Returns the version.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for invalid settings, or for a granted tool that does not exist.
    pub fn hire(&self, tenant: TenantId, employee: Employee) -> Result<u32> {
        employee.validate()?;
        let mut tenants = self.write();
        let tools = tenants
            .tenants
            .get(&tenant)
            .and_then(|own| own.tools.clone());
        granted(&employee, &tools.unwrap_or_else(|| Arc::clone(&self.tools)))?;
        let own = tenants.tenants.entry(tenant).or_default();
        let version = own.keep(employee);
        own.current = Some(version);
        Ok(version)
    }

    /// Changes the settings of a tenant's employee. Returns the new version.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the tenant has no employee, and those of [`hire`](Self::hire). Nothing is changed then.
    pub fn change(&self, tenant: TenantId, change: impl FnOnce(&mut Employee)) -> Result<u32> {
        let employee = self.employee(tenant);
        let mut employee = (*employee.ok_or_else(|| Error::not_found("employee"))?).clone();
        change(&mut employee);
        self.hire(tenant, employee)
    }

    /// Adds a version of the employee from before a restart, so that open turns can finish with it. Returns the version.
    pub fn earlier_employee(&self, tenant: TenantId, employee: Employee) -> u32 {
        let mut tenants = self.write();
        tenants.tenants.entry(tenant).or_default().keep(employee)
    }

    /// Returns a tenant's current employee.
    pub fn employee(&self, tenant: TenantId) -> Option<Arc<Employee>> {
        self.read().tenants.get(&tenant)?.employee().cloned()
    }

    /// Sets a tenant's own model, such as a pool with the tenant's own key.
    pub fn set_model(&self, tenant: TenantId, model: impl LlmBackend) {
        let mut tenants = self.write();
        tenants.tenants.entry(tenant).or_default().model = Some(Arc::new(model));
    }

    /// Sets a tenant's own transcriber, such as one with the tenant's own key.
    pub fn set_transcriber(&self, tenant: TenantId, transcriber: impl Transcriber) {
        let mut tenants = self.write();
        tenants.tenants.entry(tenant).or_default().transcriber = Some(Arc::new(transcriber));
    }

    /// Sets the limits of a tenant's plan.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a rate outside of its range. Nothing is changed then.
    pub fn set_plan(&self, tenant: TenantId, plan: PlanRates) -> Result<()> {
        plan.validate("plan")?;
        self.write().tenants.entry(tenant).or_default().plan = plan;
        Ok(())
    }

    /// Sets a tenant's own tools.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the employee is granted a tool that is not among them. Nothing is changed then.
    pub fn set_tools(&self, tenant: TenantId, tools: Toolbox) -> Result<()> {
        let mut tenants = self.write();
        let own = tenants.tenants.entry(tenant).or_default();
        if let Some(employee) = own.employee() {
            granted(employee, &tools)?;
        }
        own.tools = Some(Arc::new(tools));
        Ok(())
    }

    /// Connects the channel of an account: a Slack team or a WhatsApp phone number id. If the tenant has already connected the
    /// account, the channel is replaced, for example by one with a new token, and the connection becomes active.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for an account of another tenant, and [`ErrorKind::InvalidInput`] for a channel of the built-in
    /// kind [`ChannelKind::APP`].
    pub fn connect(
        &self,
        tenant: TenantId,
        account: impl Into<String>,
        channel: impl Channel,
    ) -> Result<ConnectionId> {
        let (kind, account) = (channel.kind(), AccountId(account.into()));
        if kind == ChannelKind::APP {
            let message = "`app` is the kind of the built-in channel; give yours another name";
            return Err(Error::invalid("channel", message));
        }
        let connection = connection_id(&kind, &account);
        let mut tenants = self.write();
        let route = Route { tenant, connection };
        let known = tenants.accounts.entry((kind, account)).or_insert(route);
        if known.tenant != tenant {
            return Err(Error::new(
                ErrorKind::Conflict,
                "account: already connected to another tenant",
            ));
        }
        let own = tenants.tenants.entry(tenant).or_default();
        own.channels.insert(connection, Arc::new(channel));
        self.states.set(tenant, connection, ConnectionState::Active);
        Ok(connection)
    }

    /// Removes a connection. Its events are no longer accepted, and replies that are not sent yet become open items. Returns
    /// whether it existed.
    pub fn disconnect(&self, tenant: TenantId, connection: ConnectionId) -> bool {
        let mut tenants = self.write();
        let route = Route { tenant, connection };
        tenants.accounts.retain(|_, own| *own != route);
        let own = tenants.tenants.get_mut(&tenant);
        own.is_some_and(|own| own.channels.remove(&connection).is_some())
    }

    /// Removes a tenant with its employee and connections. Its data stays in the store until it is erased. Returns whether the
    /// tenant existed.
    pub fn remove(&self, tenant: TenantId) -> bool {
        let mut tenants = self.write();
        tenants.accounts.retain(|_, own| own.tenant != tenant);
        tenants.tenants.remove(&tenant).is_some()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that every tool granted to the employee exists.
fn granted(employee: &Employee, tools: &Toolbox) -> Result<()> {
    let missing = |grant: &&String| !tools.names().any(|name| name == **grant);
    match employee.tools.iter().find(missing) {
        None => Ok(()),
        Some(missing) => Err(Error::invalid(
            "tools",
            format!("`{missing}` is granted, but there is no tool with this name"),
        )),
    }
}

/// Derives the id of a connection from its kind and account, so that it is the same at every start, independent of the order in
/// which channels are added.
pub(crate) fn connection_id(kind: &ChannelKind, account: &AccountId) -> ConnectionId {
    let name = format!("{}\n{}", kind.as_str(), account.0);
    ConnectionId::from_bytes(hash(name.as_bytes()).to_be_bytes())
}

/// Derives the version of an employee from its settings without its id.
fn version(employee: &Employee) -> u32 {
    let employee = Employee {
        id: EmployeeId::from_bytes([0; 16]),
        ..employee.clone()
    };
    let settings = serde_json::to_vec(&employee).unwrap_or_default();
    let [a, b, c, d, ..] = hash(&settings).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Computes a 128-bit FNV-1a hash, which is stable across builds and platforms. Accidental collisions within one app are
/// negligible.
fn hash(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let next = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(BASIS, next)
}

#[async_trait]
impl Directory for LocalDirectory {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        let key = (channel.clone(), account.clone());
        Ok(self.read().accounts.get(&key).copied())
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        let tenants = self.read();
        let own = tenants.tenants.get(&tenant);
        let found = own.and_then(|own| {
            let version = version.or(own.current)?;
            Some(Staff {
                employee: own.versions.get(&version)?.clone(),
                version,
                model: Arc::clone(own.model.as_ref().unwrap_or(&self.model)),
                tools: Arc::clone(own.tools.as_ref().unwrap_or(&self.tools)),
                transcriber: own
                    .transcriber
                    .as_ref()
                    .or(self.transcriber.as_ref())
                    .cloned(),
                plan: own.plan,
            })
        });
        found.ok_or_else(|| Error::not_found("employee"))
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        let tenants = self.read();
        let own = tenants.tenants.get(&tenant);
        let channel = own.and_then(|own| own.channels.get(&connection).cloned());
        channel.ok_or_else(|| Error::not_found("connection"))
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
