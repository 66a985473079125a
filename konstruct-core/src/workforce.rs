//! The workforce: an employee in an app of your own, made of a store, a model and channels.

use std::{collections::HashMap, fmt, future::Future, sync::Arc};

use async_trait::async_trait;

use crate::{
    AccountId, Channel, ChannelKind, Clock, ConnectionId, Directory, Employee, Error, ErrorKind,
    Inbound, LlmBackend, MemoryStore, PaidEmbedder, Result, Route, RoutedEvent, Staff, SystemClock,
    TenantId,
    tool::{Tool, Toolbox, ToolboxBuilder},
    turn::{Accepted, Driver, Journal, Worker},
};

/// One tenant, its employee and its channels, for an app that embeds them. The hosted service has a directory in a store.
#[derive(Clone, Debug)]
pub struct Workforce {
    tenant: TenantId,
    journal: Arc<dyn Journal>,
    directory: Arc<dyn Directory>,
    worker: Worker,
}

impl Workforce {
    /// Starts with the store that keeps the journal and the memory.
    pub fn builder<S: Journal + MemoryStore + Clone>(store: S) -> WorkforceBuilder {
        WorkforceBuilder {
            tenant: TenantId::from_bytes([0; 16]),
            journal: Arc::new(store.clone()),
            memory: Arc::new(store),
            clock: Arc::new(SystemClock),
            model: None,
            employees: Vec::new(),
            tools: Toolbox::builder(),
            channels: Vec::new(),
            embedder: None,
        }
    }

    /// Returns the tenant that everything is kept under.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the directory, for a gateway.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory)
    }

    /// Returns the journal, for a gateway.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal)
    }

    /// Takes an event in. When it returns, the event is durable, and [`Workforce::run`] will work it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an account that no channel was added for, and those of the journal.
    pub async fn accept(&self, event: Inbound) -> Result<Accepted> {
        let route = self.directory.route(&event.channel, &event.account).await?;
        let Route { tenant, connection } = route.ok_or_else(|| Error::not_found("account"))?;
        let outcomes = self
            .journal
            .accept(tenant, vec![RoutedEvent { connection, event }])
            .await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("the journal gave no outcome"))
    }

    /// Works until `shutdown` is ready.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.worker.run(shutdown).await;
    }

    /// Works what is ready now, and returns.
    ///
    /// # Errors
    /// Those of the journal.
    pub async fn run_until_idle(&self) -> Result<()> {
        self.worker.run_until_idle().await
    }
}

/// Builds a [`Workforce`].
#[derive(Debug)]
pub struct WorkforceBuilder {
    tenant: TenantId,
    journal: Arc<dyn Journal>,
    memory: Arc<dyn MemoryStore>,
    clock: Arc<dyn Clock>,
    model: Option<Arc<dyn LlmBackend>>,
    employees: Vec<Employee>,
    tools: ToolboxBuilder,
    channels: Vec<(AccountId, Arc<dyn Channel>)>,
    embedder: Option<Arc<PaidEmbedder>>,
}

impl WorkforceBuilder {
    /// Says under which tenant everything is kept. The default is the nil tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Gives the employee a model to think with.
    #[must_use]
    pub fn model(mut self, model: impl LlmBackend) -> Self {
        self.model = Some(Arc::new(model));
        self
    }

    /// Adds a tool. The employee may use it if it is [granted](crate::EmployeeBuilder::tool).
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools = self.tools.tool(tool);
        self
    }

    /// Adds a channel, and the account whose events come through it: a Slack team, a WhatsApp phone number id.
    #[must_use]
    pub fn channel(mut self, account: impl Into<String>, channel: impl Channel) -> Self {
        self.channels
            .push((AccountId(account.into()), Arc::new(channel)));
        self
    }

    /// Pays for the embedder that the store was opened with: from the journal, under the employee's cap.
    #[must_use]
    pub fn pay_for(mut self, embedder: Arc<PaidEmbedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Hires the employee.
    #[must_use]
    pub fn hire(mut self, employee: Employee) -> Self {
        self.employees.push(employee);
        self
    }

    /// Takes the time from another clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Finishes the workforce.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the model, the employee or a channel is missing, or a tool is granted that was not
    /// added; [`ErrorKind::Conflict`] for a second employee or an account that is there twice.
    pub fn build(self) -> Result<Workforce> {
        let model = self
            .model
            .ok_or_else(|| Error::invalid("model", "give the employee one to think with"))?;
        let mut employees = self.employees.into_iter();
        let employee = employees
            .next()
            .ok_or_else(|| Error::invalid("hire", "hire an employee"))?;
        if let Some(second) = employees.next() {
            let message = format!(
                "hire: a tenant has one employee; `{}` would be a second",
                second.name
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let tools = self.tools.build()?;
        if let Some(missing) = employee
            .tools
            .iter()
            .find(|grant| !tools.names().any(|name| name == *grant))
        {
            return Err(Error::invalid(
                "tools",
                format!("`{missing}` is granted, and no such tool was added"),
            ));
        }
        if self.channels.is_empty() {
            return Err(Error::invalid("channel", "add a channel"));
        }
        let mut channels = HashMap::new();
        for (number, (account, channel)) in (1_u8..).zip(self.channels) {
            // The connection's id has to be the same at every start: the channel's place in the list.
            let mut id = [0; 16];
            id[15] = number;
            let connection = ConnectionId::from_bytes(id);
            let key = (channel.kind(), account);
            if channels.insert(key, (connection, channel)).is_some() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "channel: an account is there twice",
                ));
            }
        }
        let staff = Staff {
            employee: Arc::new(employee),
            version: 1,
            model,
            tools: Arc::new(tools),
        };
        let directory: Arc<dyn Directory> = Arc::new(Single {
            tenant: self.tenant,
            staff,
            channels,
        });
        if let Some(embedder) = self.embedder {
            embedder.pay_from(&self.journal, &directory);
        }
        let driver = Driver::new(
            Arc::clone(&self.journal),
            Arc::clone(&directory),
            Some(self.memory),
            self.clock,
        );
        Ok(Workforce {
            tenant: self.tenant,
            journal: self.journal,
            directory,
            worker: Worker::new(driver),
        })
    }
}

/// The directory of one tenant.
struct Single {
    tenant: TenantId,
    staff: Staff,
    channels: HashMap<(ChannelKind, AccountId), (ConnectionId, Arc<dyn Channel>)>,
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

    async fn staff(&self, tenant: TenantId, _version: Option<u32>) -> Result<Staff> {
        if tenant == self.tenant {
            Ok(self.staff.clone())
        } else {
            Err(Error::not_found("employee"))
        }
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
}
