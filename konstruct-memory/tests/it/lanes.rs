//! Learning continues for all tenants, whatever the model of one of them does.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use konstruct_core::{
    Clock as _, ConnectionId, Employee, MemoryStore as _, TenantId,
    channel::Find,
    employee::TurnLimits,
    learn::{LearnLoop, Learner},
    llm::ModelRequest,
    memory::SummaryStore as _,
    message::RoutedEvent,
    store::{History as _, Mailbox as _},
    testkit::{
        Gate, ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock,
        World, message,
    },
    tool::Toolbox,
    turn::{Driver, Worker},
};
use konstruct_memory::Oracle;
use tokio::{sync::Semaphore, time::timeout};

/// In virtual time: as soon as everything else is idle.
const PATIENCE: Duration = Duration::from_secs(3_600);

struct Offices {
    clock: VirtualClock,
    store: Oracle,
    directory: ScriptedDirectory,
    /// The gate at which the models of slow tenants wait.
    gate: Gate,
    /// One permit for each learning call of a model.
    asked: Arc<Semaphore>,
}

fn learns(request: &ModelRequest) -> bool {
    request.system.starts_with("You read what people wrote")
}

impl Offices {
    fn new() -> Self {
        let clock = VirtualClock::default();
        Self {
            store: Oracle::new(Arc::new(clock.clone()), None).unwrap(),
            clock,
            directory: ScriptedDirectory::default(),
            gate: Gate::default(),
            asked: Arc::new(Semaphore::new(0)),
        }
    }

    /// Creates a tenant with this many conversations.
    async fn tenant(&self, slow: bool, conversations: usize) -> TenantId {
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let (gate, asked) = (self.gate.clone(), Arc::clone(&self.asked));
        let model = ScriptedModel::new(move |request: &ModelRequest| {
            if !learns(request) {
                return ScriptedAnswer::text("I see.");
            }
            asked.add_permits(1);
            let nothing = ScriptedAnswer::text(r#"{"facts": []}"#);
            if slow {
                ScriptedAnswer::Waits(gate.clone(), Box::new(nothing))
            } else {
                nothing
            }
        });
        let limits = TurnLimits::default().with(|it| it.burst_ms = 0);
        let employee = Employee::builder("Ava").limits(limits).build().unwrap();
        let tools = Toolbox::builder().build().unwrap();
        self.directory
            .hire(tenant, employee, Arc::new(model), tools);
        let clock = Arc::new(self.clock.clone());
        let channel = ScriptedChannel::new(World::default(), clock, Find::Query);
        self.directory.connect(tenant, connection, channel);
        for n in 0..conversations {
            let event = message(&format!("P{n}"), &n.to_string(), "hello", self.clock.now());
            let routed = RoutedEvent { connection, event };
            self.store.accept(tenant, vec![routed]).await.unwrap();
        }
        tenant
    }

    /// Processes what is ready, and returns the learner.
    async fn learn_loop(&self) -> LearnLoop {
        let learner = Learner::new(
            Arc::new(self.store.clone()),
            Arc::new(self.store.clone()),
            Arc::new(self.directory.clone()),
        );
        let (learn_queue, learn_loop) = learner.with_every(1).into_queue_and_loop();
        let driver = Driver::new(
            Arc::new(self.store.clone()),
            Arc::new(self.directory.clone()),
            None,
            Arc::new(self.clock.clone()),
        );
        let worker = Worker::new(driver.with_learn_queue(learn_queue));
        worker.run_until_idle().await.unwrap();
        learn_loop
    }

    /// Counts a tenant's conversations that were learned from.
    async fn learned(&self, tenant: TenantId) -> usize {
        let mut learned = 0;
        for one in self.store.list(tenant, None, usize::MAX).await.unwrap() {
            let summary = self.store.summary(tenant, one.id).await.unwrap();
            learned += usize::from(summary.is_some());
        }
        learned
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_tenant_does_not_delay_the_learning_of_others() {
    let offices = Offices::new();
    // Slow tenants come first, and have much to learn.
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(offices.tenant(true, 20).await);
    }
    let mut quick = Vec::new();
    for _ in 0..5 {
        quick.push(offices.tenant(false, 4).await);
    }
    let learn_loop = offices.learn_loop().await;
    // Each slow model is called once, and its call waits in its lane.
    let shutdown = async {
        let all = offices.asked.acquire_many(3 + 5 * 4);
        let all = timeout(PATIENCE, all).await;
        offices.gate.open();
        assert!(all.is_ok(), "the others are delayed");
    };
    learn_loop.run(shutdown).await;
    for tenant in quick {
        offices.store.catch_up(tenant).await.unwrap();
        assert_eq!(offices.learned(tenant).await, 4);
    }
    for tenant in slow {
        let learned = offices.learned(tenant).await;
        assert_eq!(learned, 1, "one conversation of a tenant at a time");
    }
}

#[tokio::test]
async fn a_long_queue_drops_nothing() {
    const MANY: usize = 1_500;
    let offices = Offices::new();
    let tenant = offices.tenant(false, MANY).await;
    let learn_loop = offices.learn_loop().await;
    learn_loop
        .with_lanes(NonZeroUsize::MIN)
        .run_until_idle()
        .await;
    assert_eq!(offices.learned(tenant).await, MANY);
}
