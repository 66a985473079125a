//! The builder of a workforce.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use super::{Memory, RunCounter, Workforce, app::WithApp};
use crate::{
    Channel, Clock, Directory, DocumentReader, Employee, Error, ErrorKind, LlmBackend,
    LocalDirectory, MemoryStore, Result, SystemClock, TenantId, Transcriber,
    embed::PaidEmbedder,
    learn::Learner,
    limit::{BudgetObserver, LocalLimiter, RateLimiter},
    store::Store,
    tool::{Tool, Toolbox, ToolboxBuilder},
    turn::{Driver, Worker},
};

/// Builds a [`Workforce`].
///
/// ```
/// use std::time::Duration;
/// use konstruct_core::{Employee, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}};
/// # use std::sync::Arc;
/// # let store = ReferenceStore::new(Arc::new(konstruct_core::SystemClock));
///
/// let workforce = Workforce::builder_without_memory(store)
///     .model(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")))
///     .hire(Employee::builder("Ava").build()?)
///     .drain(Duration::from_secs(30))
///     .build()?;
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Debug)]
pub struct WorkforceBuilder {
    tenant: TenantId,
    store: Arc<dyn Store>,
    memory: Option<Memory>,
    clock: Arc<dyn Clock>,
    model: Option<Arc<dyn LlmBackend>>,
    transcriber: Option<Arc<dyn Transcriber>>,
    document_reader: Option<Arc<dyn DocumentReader>>,
    employees: Vec<Employee>,
    earlier: Vec<Employee>,
    concurrency: Option<NonZeroUsize>,
    drain: Option<Duration>,
    lease: Option<Duration>,
    tools: ToolboxBuilder,
    channels: Vec<(String, Arc<dyn Channel>)>,
    directory: Option<Arc<dyn Directory>>,
    embedder: Option<Arc<PaidEmbedder>>,
    limiter: Option<Arc<dyn RateLimiter>>,
    budget_observer: Option<Arc<dyn BudgetObserver>>,
    learn_every: Option<u32>,
}

impl WorkforceBuilder {
    pub(super) fn new(store: Arc<dyn Store>, memory: Option<Memory>) -> Self {
        Self {
            tenant: TenantId::from_bytes([0; 16]),
            store,
            memory,
            clock: Arc::new(SystemClock),
            model: None,
            transcriber: None,
            document_reader: None,
            employees: Vec::new(),
            earlier: Vec::new(),
            concurrency: None,
            drain: None,
            lease: None,
            tools: Toolbox::builder(),
            channels: Vec::new(),
            directory: None,
            embedder: None,
            limiter: None,
            budget_observer: None,
            learn_every: None,
        }
    }

    /// Sets the tenant whose data the workforce uses. The default is the nil tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Sets a memory that is separate from the store. It must follow the store's [feed](crate::store::History::feed) by itself.
    #[must_use]
    pub fn memory(mut self, memory: impl MemoryStore) -> Self {
        self.memory = Some(Memory {
            memory: Arc::new(memory),
            of_store: false,
        });
        self
    }

    /// Sets the employee's model.
    #[must_use]
    pub fn model(mut self, model: impl LlmBackend) -> Self {
        self.model = Some(Arc::new(model));
        self
    }

    /// Sets what the employee understands voice messages with. Their costs are in the ledger, under the employee's cap. Without a
    /// transcriber, people are asked to write instead.
    #[must_use]
    pub fn transcriber(mut self, transcriber: impl Transcriber) -> Self {
        self.transcriber = Some(Arc::new(transcriber));
        self
    }

    /// Sets what the employee reads files with, such as PDF and Word files. Without a reader, people are asked to write instead.
    #[must_use]
    pub fn document_reader(mut self, reader: impl DocumentReader) -> Self {
        self.document_reader = Some(Arc::new(reader));
        self
    }

    /// Adds a tool. The employee may use it if it is [granted](crate::EmployeeBuilder::tool).
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools = self.tools.tool(tool);
        self
    }

    /// Adds the channel of an account: a Slack team or a WhatsApp phone number id.
    #[must_use]
    pub fn channel(mut self, account: impl Into<String>, channel: impl Channel) -> Self {
        self.channels.push((account.into(), Arc::new(channel)));
        self
    }

    /// Pays for the embedder that the store was opened with, from the store's ledger and under the employee's cap.
    #[must_use]
    pub fn paid_embedder(mut self, embedder: Arc<PaidEmbedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Lets the employee learn from conversations: facts about people, and summaries of what the window no longer contains. Each
    /// conversation is learned from after this many new messages, in the background. This costs model calls, under the employee's
    /// cap, and requires a memory.
    #[must_use]
    pub fn learn_every(mut self, messages: u32) -> Self {
        self.learn_every = Some(messages);
        self
    }

    /// Hires the employee.
    ///
    /// Its version is derived from its settings without its id. After a change of settings, also by an update of this crate that
    /// adds one, new turns begin with the new version. A turn that was open at the change can be resumed only with the version
    /// that it began with, see [`earlier_employee`](Self::earlier_employee).
    #[must_use]
    pub fn hire(mut self, employee: Employee) -> Self {
        self.employees.push(employee);
        self
    }

    /// Adds an earlier version of the employee, with which its open turns are finished and its turns are replayed. Without it,
    /// open turns end with a recorded outcome and an open item.
    #[must_use]
    pub fn earlier_employee(mut self, employee: Employee) -> Self {
        self.earlier.push(employee);
        self
    }

    /// Sets how many conversations are processed at a time; the default is that of [`Worker::new`].
    #[must_use]
    pub fn concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// Sets how long open turns may continue after the shutdown; the default is that of [`Worker::new`].
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = Some(drain);
        self
    }

    /// Sets the limiter that enforces the employees' [`rates`](crate::Employee::rates); the default is a [`LocalLimiter`]. Several
    /// processes share their limits with a limiter of their own.
    #[must_use]
    pub fn limiter(mut self, limiter: impl RateLimiter) -> Self {
        self.limiter = Some(Arc::new(limiter));
        self
    }

    /// Sets who is told when 80, 95 and 100 % of a cap are spent. Without one, it is only logged.
    #[must_use]
    pub fn budget_observer(mut self, observer: impl BudgetObserver) -> Self {
        self.budget_observer = Some(Arc::new(observer));
        self
    }

    /// Sets how long a claim lasts without being renewed; the default is that of [`Driver::new`].
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Uses the employees and channels of a directory with any number of tenants, such as a [`LocalDirectory`] that the app
    /// changes. The workforce that is built then has no tenant of its own: use it to [run](Workforce::run) and for a gateway, and
    /// [`Workforce::for_tenant`] for everything else. The model, transcriber, tools, channels and employees then come
    /// from the directory and must not be set here.
    #[must_use]
    pub fn directory(mut self, directory: impl Directory) -> Self {
        self.directory = Some(Arc::new(directory));
        self
    }

    /// Builds the workforce.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the model or the employee is missing, if a granted tool was not added, if learning is
    /// enabled without a memory, or if a directory is combined with what it replaces; [`ErrorKind::Conflict`] for a second
    /// employee or a duplicate account.
    pub fn build(mut self) -> Result<Workforce> {
        let (directory, local) = match self.directory.take() {
            Some(directory) => {
                self.nothing_beside_the_directory()?;
                (directory, None)
            }
            None => {
                let local = Arc::new(self.local()?);
                (Arc::clone(&local) as Arc<dyn Directory>, Some(local))
            }
        };
        let directory: Arc<dyn Directory> = Arc::new(WithApp::new(directory));
        if let Some(embedder) = self.embedder {
            embedder.pay_from(&self.store, &directory);
        }
        let memory = self.memory.as_ref().map(|own| Arc::clone(&own.memory));
        let (store, found) = (Arc::clone(&self.store), Arc::clone(&directory));
        let learner = match (self.learn_every, &memory) {
            (None, _) => None,
            (Some(every), Some(memory)) => {
                let learner = Learner::new(store.clone(), Arc::clone(memory), found.clone());
                Some(learner.with_every(every))
            }
            (Some(_), None) => {
                return Err(Error::invalid(
                    "learn_every",
                    "requires a memory; use a store with one, or set `memory`",
                ));
            }
        };
        let limiter = self
            .limiter
            .unwrap_or_else(|| Arc::new(LocalLimiter::new(Arc::clone(&self.clock))));
        let mut driver = Driver::new(store, found, memory, self.clock).with_limiter(limiter);
        if let Some(observer) = self.budget_observer {
            driver = driver.with_budget_observer(observer);
        }
        if let Some(reader) = self.document_reader {
            driver = driver.with_document_reader(reader);
        }
        if let Some(lease) = self.lease {
            driver = driver.with_lease(lease);
        }
        let mut worker = Worker::new(driver);
        if let Some(concurrency) = self.concurrency {
            worker = worker.with_concurrency(concurrency);
        }
        if let Some(drain) = self.drain {
            worker = worker.with_drain(drain);
        }
        Ok(Workforce {
            tenant: self.tenant,
            store: self.store,
            memory: self.memory,
            directory,
            local,
            worker,
            learner,
            running: RunCounter::default(),
        })
    }

    fn nothing_beside_the_directory(&self) -> Result<()> {
        for (field, given) in [
            ("model", self.model.is_some()),
            ("transcriber", self.transcriber.is_some()),
            ("hire", !self.employees.is_empty()),
            ("earlier_employee", !self.earlier.is_empty()),
            ("channel", !self.channels.is_empty()),
            ("tool", !self.tools.is_empty()),
        ] {
            if given {
                return Err(Error::invalid(field, "add it to the directory instead"));
            }
        }
        Ok(())
    }

    /// Creates the directory of one tenant.
    fn local(&mut self) -> Result<LocalDirectory> {
        let model = self.model.take();
        let model = model.ok_or_else(|| Error::invalid("model", "the employee needs a model"))?;
        let mut employees = std::mem::take(&mut self.employees).into_iter();
        let employee = employees
            .next()
            .ok_or_else(|| Error::invalid("hire", "the workforce needs an employee"))?;
        if let Some(second) = employees.next() {
            let message = format!(
                "hire: a tenant has only one employee; `{}` is a second one",
                second.name
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let tools = std::mem::take(&mut self.tools).build()?;
        let mut directory = LocalDirectory::new(model).with_tools(tools);
        if let Some(transcriber) = self.transcriber.take() {
            directory = directory.with_transcriber(transcriber);
        }
        directory.hire(self.tenant, employee)?;
        for earlier in std::mem::take(&mut self.earlier) {
            directory.earlier_employee(self.tenant, earlier);
        }
        let mut connections = HashSet::new();
        for (account, channel) in std::mem::take(&mut self.channels) {
            let connection = directory.connect(self.tenant, account, channel)?;
            if !connections.insert(connection) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "channel: an account was added twice",
                ));
            }
        }
        Ok(directory)
    }
}
