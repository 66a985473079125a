//! The setup of the suite: an employee with tools, a model that calls them all, and a channel with a small message limit.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{STATUS, UNRESOLVED, laws::Violation};
use crate::{
    ConnectionId, Directory as _, Employee, Inbound, NanoUsd, Result, TenantId,
    channel::Find,
    employee::TurnLimits,
    id::WorkerId,
    llm::Role,
    message::RoutedEvent,
    money::{Price, Rates},
    store::{ClaimRequest, Claimed, Store},
    testkit::{
        CountingTool, Gate, ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel,
        StoreSubject, VirtualClock, World,
    },
    tool::{Effect, Toolbox},
    turn::{Driver, Worker},
};

pub(super) const LEASE: Duration = Duration::from_secs(60);
pub(super) const PRICE: Price = Price {
    rates: Rates {
        input: 3_000_000,
        cache_read: 1_000_000,
        cache_write_5m: 4_000_000,
        cache_write_1h: 6_000_000,
        output: 15_000_000,
    },
    tiers: Vec::new(),
};

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) find: Find,
    pub(super) blind: bool,
}

pub(super) struct Scene {
    pub(super) tenant: TenantId,
    pub(super) world: World,
    pub(super) model: ScriptedModel,
    connection: ConnectionId,
    directory: ScriptedDirectory,
    gate: Arc<std::sync::Mutex<Option<Gate>>>,
    tells: bool,
    told: HashSet<String>,
}

impl Scene {
    pub(super) fn new(subject: &StoreSubject, setting: Setting) -> Self {
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let world = World::default();
        let gate: Arc<std::sync::Mutex<Option<Gate>>> = Arc::default();
        let (held, first) = (Arc::clone(&gate), AtomicBool::new(true));
        let model = ScriptedModel::new(move |request| {
            let acted = request
                .messages
                .last()
                .is_some_and(|last| last.role == Role::Tool);
            let answer = if acted {
                ScriptedAnswer::text("Your bike is ready.\n\nCome by before six.")
            } else {
                ScriptedAnswer::tools(&["look", "book", "pay"])
            };
            let gate = held.lock().ok().and_then(|mut gate| gate.take());
            match gate {
                Some(gate) if first.swap(false, Ordering::SeqCst) => {
                    ScriptedAnswer::Waits(gate, Box::new(answer))
                }
                _ => answer,
            }
        });
        let model = model.with_price(PRICE);
        let tool = |name: &str, effect| CountingTool::new(world.clone(), name, effect);
        let tools = Toolbox::builder()
            .tool(tool("look", Effect::Read))
            .tool(tool("book", Effect::Idempotent))
            .tool(tool("pay", Effect::Once));
        let limits = TurnLimits {
            burst_ms: 0,
            unresolved: UNRESOLVED,
            ..TurnLimits::default()
        };
        let employee = Employee::builder("Ava")
            .tool("look")
            .tool("book")
            .tool("pay")
            .monthly_cap(NanoUsd::from_usd_micros(10_000_000))
            .limits(limits);
        let directory = ScriptedDirectory::default();
        if let (Ok(employee), Ok(tools)) = (employee.build(), tools.build()) {
            directory.hire(tenant, employee, Arc::new(model.clone()), tools);
        }
        let clock = Arc::new(subject.clock.clone());
        let channel = ScriptedChannel::new(world.clone(), clock, setting.find)
            .with(|capabilities| capabilities.max_text = 25);
        let channel = if setting.blind {
            channel.blind()
        } else {
            channel
        };
        directory.connect(tenant, connection, channel);
        Self {
            tenant,
            world,
            model,
            connection,
            directory,
            gate,
            tells: setting.find == Find::Event,
            told: HashSet::new(),
        }
    }

    pub(super) async fn employee(&self) -> Result<Arc<Employee>> {
        Ok(self.directory.staff(self.tenant, None).await?.employee)
    }

    pub(super) fn hold_first_answer(&self, gate: Gate) {
        if let Ok(mut held) = self.gate.lock() {
            *held = Some(gate);
        }
    }

    pub(super) async fn accept(&self, store: &dyn Store, events: &[Inbound]) -> Result<()> {
        let connection = self.connection;
        let routed = events
            .iter()
            .cloned()
            .map(|event| RoutedEvent { connection, event });
        store.accept(self.tenant, routed.collect()).await?;
        Ok(())
    }

    pub(super) fn driver(&self, store: Arc<dyn Store>, clock: &VirtualClock) -> Driver {
        let directory = Arc::new(self.directory.clone());
        Driver::new(store, directory, None, Arc::new(clock.clone())).with_lease(LEASE)
    }

    /// Processes conversations until nothing waits any more: timers are due, dead leases end, and the provider reports arrivals.
    pub(super) async fn settle(
        &mut self,
        store: Arc<dyn Store>,
        clock: &VirtualClock,
    ) -> Result<(), Violation> {
        let driver = self.driver(Arc::clone(&store), clock);
        let worker = Worker::new(driver.clone());
        let mut leases_over = false;
        for _ in 0..500 {
            worker.run_until_idle().await?;
            if self.tells && self.deliver_reports(&*store).await? {
                continue;
            }
            let request = ClaimRequest::new(WorkerId::new(), LEASE);
            let next_due = match store.claim(request).await? {
                Claimed::Nothing { next_due } => next_due,
                Claimed::Conversation(claim) => {
                    // The driver has logged the error, and the conversation is retried later.
                    let _ = driver.work(claim).await;
                    continue;
                }
            };
            if let Some(due) = next_due {
                clock.advance_to(due);
            } else if leases_over {
                return Ok(());
            } else {
                clock.advance(LEASE + Duration::from_secs(1));
                leases_over = true;
            }
        }
        Err(Violation::law(2, "the turns never finish"))
    }

    /// Delivers the provider's reports about all new arrivals. Returns whether there were any.
    async fn deliver_reports(&mut self, store: &dyn Store) -> Result<bool> {
        let mut news = Vec::new();
        for said in self.world.arrived() {
            if self.told.insert(said.message) {
                news.extend(self.world.status(&said.key, STATUS));
            }
        }
        self.accept(store, &news).await?;
        Ok(!news.is_empty())
    }
}
