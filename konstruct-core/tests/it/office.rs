//! A tenant with everything that a turn needs, and a virtual clock.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use konstruct_core::{
    Clock as _, ConnectionId, Directory as _, Employee, EmployeeBuilder, Inbound, NanoUsd,
    TenantId, Timestamp,
    channel::Find,
    employee::{Phrases, TurnLimits},
    id::WorkerId,
    limit::{BudgetKey, BudgetSum},
    message::RoutedEvent,
    money::LedgerRow,
    store::{Accepted, Claim, ClaimRequest, Claimed, Exported, ItemEntry, Store},
    testkit::{
        CountingTool, ReferenceStore, ScriptedAnswer, ScriptedChannel, ScriptedDirectory,
        ScriptedModel, VirtualClock, World, message,
    },
    tool::{Effect, Toolbox},
    turn::{Action, Driver, Entry, Event, Input, Outcome, Record, Replay, Worker, replay},
};

pub(crate) struct Office {
    pub(crate) clock: VirtualClock,
    pub(crate) memory: ReferenceStore,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: ScriptedDirectory,
    pub(crate) world: World,
    pub(crate) channel: ScriptedChannel,
    pub(crate) model: ScriptedModel,
    pub(crate) tenant: TenantId,
    pub(crate) connection: ConnectionId,
}

/// Returns a model that always answers with a text.
pub(crate) fn says(text: &'static str) -> ScriptedModel {
    ScriptedModel::new(move |_| ScriptedAnswer::text(text))
}

pub(crate) fn limits() -> TurnLimits {
    TurnLimits::default().with(|it| {
        it.burst_ms = 0; // Most tests examine a single turn, so nothing is retried later.
        it.question_age_secs = 0;
    })
}

impl Office {
    pub(crate) fn new(find: Find, model: ScriptedModel) -> Self {
        Self::with(find, model, |employee| employee)
    }

    pub(crate) fn with(
        find: Find,
        model: ScriptedModel,
        change: impl FnOnce(EmployeeBuilder) -> EmployeeBuilder,
    ) -> Self {
        let clock = VirtualClock::default();
        let memory = ReferenceStore::new(Arc::new(clock.clone()));
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let world = World::default();
        let channel = ScriptedChannel::new(world.clone(), Arc::new(clock.clone()), find);
        let office = Self {
            store: Arc::new(memory.clone()),
            directory: ScriptedDirectory::default(),
            clock,
            memory,
            world,
            channel,
            model,
            tenant,
            connection,
        };
        let employee = Employee::builder("Ava")
            .fallback("Sorry.")
            .limits(limits())
            .phrases(Phrases::default().with(|it| it.cap_reached = "Cap reached.".into()));
        office.hire(change(employee).build().unwrap());
        office
            .directory
            .connect(tenant, connection, office.channel.clone());
        office
    }

    pub(crate) fn hire(&self, employee: Employee) {
        let tool = |name, effect| CountingTool::new(self.world.clone(), name, effect);
        let tools = Toolbox::builder()
            .tool(tool("look", Effect::Read))
            .tool(tool("book", Effect::Idempotent))
            .tool(tool("pay", Effect::Once));
        let model = Arc::new(self.model.clone());
        self.directory
            .hire(self.tenant, employee, model, tools.build().unwrap());
    }

    pub(crate) async fn accept(&self, event: Inbound) -> Accepted {
        let connection = self.connection;
        let routed = vec![RoutedEvent { connection, event }];
        self.store.accept(self.tenant, routed).await.unwrap()[0]
    }

    /// Accepts a message of a person with the current time.
    pub(crate) async fn say(&self, place: &str, id: &str, text: &str) {
        self.accept(message(place, id, text, self.clock.now()))
            .await;
    }

    pub(crate) fn driver(&self) -> Driver {
        self.driver_on(Arc::clone(&self.store))
    }

    pub(crate) fn driver_on(&self, store: Arc<dyn Store>) -> Driver {
        let directory = Arc::new(self.directory.clone());
        Driver::new(store, directory, None, Arc::new(self.clock.clone()))
    }

    /// Processes everything that is ready now.
    pub(crate) async fn work(&self) {
        Worker::new(self.driver()).run_until_idle().await.unwrap();
    }

    /// Processes conversations until nothing waits any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            self.work().await;
            match self.next_due().await {
                Some(due) => self.clock.advance_to(due),
                None => return,
            }
        }
        panic!("the conversations are never finished");
    }

    /// Returns when the next timer is due. No conversation may be ready.
    pub(crate) async fn next_due(&self) -> Option<Timestamp> {
        let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(60));
        match self.store.claim(request).await.unwrap() {
            Claimed::Nothing { next_due } => next_due,
            Claimed::Conversation(claim) => panic!("{claim:?} is ready"),
        }
    }

    /// Claims a ready conversation, if there is one.
    pub(crate) async fn claim(&self, secs: u64) -> Option<Claim> {
        let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(secs));
        self.store.claim(request).await.unwrap().conversation()
    }

    /// Returns the open items.
    pub(crate) async fn items(&self) -> Vec<ItemEntry> {
        self.store.items(self.tenant, None, 100).await.unwrap()
    }

    pub(crate) fn after(&self, secs: u64) -> Timestamp {
        self.clock.now() + Duration::from_secs(secs)
    }

    pub(crate) async fn exported(&self) -> Vec<Exported> {
        let all = self.store.export(self.tenant).await.unwrap();
        all.try_collect().await.unwrap()
    }

    /// Returns the records of every turn, grouped by conversation.
    pub(crate) async fn turns(&self) -> Vec<Vec<Record>> {
        let mut turns: Vec<Vec<Record>> = Vec::new();
        for item in self.exported().await {
            let Exported::Record(stored) = item else {
                continue;
            };
            let record = Arc::unwrap_or_clone(stored.record.unwrap());
            match turns.last_mut() {
                Some(turn) if turn[0].turn == record.turn => turn.push(record),
                _ => turns.push(vec![record]),
            }
        }
        turns
    }

    pub(crate) async fn outcomes(&self) -> Vec<Outcome> {
        let turns = self.turns().await;
        let all = turns.into_iter().flatten();
        all.filter_map(|record| match record.entry {
            Entry::Action(Action::Finish { outcome, .. }) => Some(outcome),
            _ => None,
        })
        .collect()
    }

    pub(crate) async fn ledger(&self) -> Vec<LedgerRow> {
        let all = self.exported().await.into_iter();
        all.filter_map(|item| match item {
            Exported::Ledger(row) => Some(row),
            _ => None,
        })
        .collect()
    }

    /// Returns the amounts spent and reserved.
    pub(crate) async fn budget(&self) -> (NanoUsd, NanoUsd) {
        let all = self.exported().await.into_iter();
        all.filter_map(|item| match item {
            Exported::Budget(BudgetSum { budget, sum, .. }) if budget == BudgetKey::MONTH => {
                Some((sum.spent, sum.reserved))
            }
            _ => None,
        })
        .fold(Default::default(), |sum: (NanoUsd, NanoUsd), one| {
            (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1))
        })
    }

    /// Checks that every turn replays without a difference.
    pub(crate) async fn replays(&self) {
        let staff = self.directory.staff(self.tenant, None).await.unwrap();
        for records in self.turns().await {
            let replayed = replay(&staff.employee, &records).unwrap();
            assert!(matches!(replayed, Replay::Same { .. }), "{replayed:?}");
        }
    }
}

/// Returns the inputs of a turn.
pub(crate) fn inputs(records: &[Record]) -> Vec<Input> {
    let all = records.iter().filter_map(|record| match &record.entry {
        Entry::Event(Event::Received(input)) => Some((**input).clone()),
        _ => None,
    });
    all.collect()
}

/// Returns the ids of a turn's inputs.
pub(crate) fn ids(records: &[Record]) -> Vec<String> {
    let inputs = inputs(records).into_iter();
    inputs.map(|input| input.event.id).collect()
}
