//! The first turn of a thread and its recall, through the driver.

use std::sync::Arc;

use konstruct_core::{
    Clock as _, ConnectionId, ConversationRef, Employee, MemoryStore, TenantId, Timestamp,
    channel::Find,
    employee::TurnLimits,
    llm::ModelRequest,
    message::{ConversationKind, RoutedEvent},
    store::Store,
    testkit::{
        ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock, World,
        message,
    },
    tool::Toolbox,
    turn::{Driver, Worker},
};
use konstruct_memory::{Oracle, Redb};

/// Accepts messages by channel and thread, and has them answered.
struct Office {
    clock: VirtualClock,
    store: Arc<dyn Store>,
    memory: Arc<dyn MemoryStore>,
    directory: ScriptedDirectory,
    model: ScriptedModel,
    tenant: TenantId,
    connection: ConnectionId,
}

impl Office {
    fn new(store: Arc<dyn Store>, memory: Arc<dyn MemoryStore>, clock: VirtualClock) -> Self {
        let model = ScriptedModel::new(|_: &ModelRequest| ScriptedAnswer::text("Noted."));
        let directory = ScriptedDirectory::default();
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let employee =
            Employee::builder("Ava").limits(TurnLimits::default().with(|it| it.burst_ms = 0));
        let tools = Toolbox::builder().build().unwrap();
        let thinks = Arc::new(model.clone());
        directory.hire(tenant, employee.build().unwrap(), thinks, tools);
        let channel = ScriptedChannel::new(World::default(), Arc::new(clock.clone()), Find::Query);
        directory.connect(tenant, connection, channel);
        Self {
            clock,
            store,
            memory,
            directory,
            model,
            tenant,
            connection,
        }
    }

    async fn say(&self, (channel, thread): (&str, Option<&str>), user: &str, text: &str) {
        self.clock.advance(std::time::Duration::from_secs(60));
        let mut event = message(channel, text, text, self.clock.now());
        if channel.starts_with('#') {
            event.conversation = Some(ConversationRef {
                kind: ConversationKind::Channel,
                thread: thread.map(str::to_owned),
                ..ConversationRef::direct(channel)
            });
            event.addressed.mention = true;
        }
        event.sender.ids[0].1 = user.into();
        let routed = RoutedEvent {
            connection: self.connection,
            event,
        };
        self.store.accept(self.tenant, vec![routed]).await.unwrap();
        let driver = Driver::new(
            Arc::clone(&self.store),
            Arc::new(self.directory.clone()),
            Some(Arc::clone(&self.memory)),
            Arc::new(self.clock.clone()),
        );
        Worker::new(driver).run_until_idle().await.unwrap();
        self.memory.catch_up(self.tenant).await.unwrap();
    }

    fn shown(&self) -> String {
        self.model.calls().pop().unwrap().1.context
    }
}

async fn first_turn(office: Office) {
    for (place, user, text) in [
        (("#shop", None), "U1", "The kettle code is amber"),
        (("#shop", Some("t1")), "U2", "The kettle code was basil"),
        (("#back", None), "U1", "The kettle code is cobalt"),
        (("D1", None), "U1", "The kettle code is damask"),
    ] {
        office.say(place, user, text).await;
    }
    let question = "What is the kettle code?";
    office.say(("#shop", Some("t2")), "U1", question).await;
    let shown = office.shown();
    for (word, seen) in [
        ("amber", true),
        ("basil", true),
        ("cobalt", false),
        ("damask", false),
    ] {
        assert_eq!(shown.contains(word), seen, "{word} in {shown}");
    }
}

#[tokio::test]
async fn the_first_turn_of_a_thread_recalls_its_channel() {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let shared = Arc::new(clock.clone());
    let oracle = Oracle::new(Arc::clone(&shared) as _, None).unwrap();
    let (store, memory) = (Arc::new(oracle.clone()), Arc::new(oracle));
    first_turn(Office::new(store, memory, clock.clone())).await;
    let redb = Redb::builder().clock(shared).in_memory().unwrap();
    let (store, memory) = (Arc::new(redb.clone()), Arc::new(redb));
    first_turn(Office::new(store, memory, clock)).await;
}
