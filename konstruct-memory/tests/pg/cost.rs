//! The simplest turn on a store whose statements are counted. The benchmark `statements` uses it too.

use std::{fmt, sync::Arc, time::Duration};

use konstruct_core::{
    ConnectionId, Directory, DocumentFormat, Employee, NanoUsd, NewDocument, SystemClock, TenantId,
    TurnId,
    channel::Find,
    employee::TurnLimits,
    id::WorkerId,
    memory::KnowledgeStore as _,
    message::{DeliveryState, RoutedEvent},
    money::{Price, Rates},
    store::{Accepted, Append, AppendOutcome, Claim, ClaimRequest, Mailbox as _, Store},
    testkit::{ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, World, message},
    tool::Toolbox,
    turn::{Cause, Driver, Entry, Event, Record, WorkOutcome},
};
use konstruct_memory::Postgres;
use sqlx::PgConnection;

use super::counter::{Counter, Counts};

const LEASE: Duration = Duration::from_secs(60);

/// An employee with a model, a channel and a memory, on a store whose statements are counted.
pub(crate) struct Scene {
    tenant: TenantId,
    connection: ConnectionId,
    world: World,
    store: Postgres,
    driver: Driver,
    counter: Counter,
    owner: PgConnection,
}

impl Scene {
    /// Creates a tenant on a store that is reached through the counter. The owner of the tables reads the progress of the index.
    pub(crate) async fn new(store: Postgres, counter: Counter, owner: PgConnection) -> Self {
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let world = World::default();
        let rates = Rates {
            input: 3_000_000,
            cache_read: 1_000_000,
            cache_write_5m: 4_000_000,
            cache_write_1h: 6_000_000,
            output: 15_000_000,
        };
        let price = Price {
            rates,
            tiers: Vec::new(),
        };
        let model =
            ScriptedModel::new(|_| ScriptedAnswer::text("We open at nine.")).with_price(price);
        let limits = TurnLimits::default().with(|it| it.burst_ms = 0);
        let employee = Employee::builder("Ava")
            .monthly_cap(NanoUsd::from_usd_micros(10_000_000))
            .limits(limits)
            .build()
            .unwrap();
        let directory = ScriptedDirectory::default();
        let tools = Toolbox::builder().build().unwrap();
        directory.hire(tenant, employee, Arc::new(model), tools);
        let clock = Arc::new(SystemClock);
        let channel = ScriptedChannel::new(world.clone(), clock.clone(), Find::Query);
        directory.connect(tenant, connection, channel);
        let document = NewDocument::new(
            "Opening hours",
            DocumentFormat::Text,
            "The shop opens at nine.",
        );
        store.put_document(tenant, document).await.unwrap();
        let driver = Driver::new(
            Arc::new(store.clone()) as Arc<dyn Store>,
            Arc::new(directory) as Arc<dyn Directory>,
            Some(Arc::new(store.clone())),
            clock,
        );
        Self {
            tenant,
            connection,
            world,
            store,
            driver: driver.with_lease(LEASE),
            counter,
            owner,
        }
    }

    fn event(&self, id: &str) -> RoutedEvent {
        let now = konstruct_core::Clock::now(&SystemClock);
        RoutedEvent {
            connection: self.connection,
            event: message("P1", id, "When does the shop open?", now),
        }
    }

    async fn claim(&self) -> Claim {
        let request = ClaimRequest::new(WorkerId::new(), LEASE);
        let claimed = self.store.claim(request).await.unwrap();
        claimed.conversation().unwrap()
    }

    /// Waits until other processes are notified and the index has caught up.
    async fn settle(&mut self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut before = (0, 0);
        let mut still = 0;
        for _ in 0..3_000 {
            ticks.tick().await;
            let behind: bool = sqlx::query_scalar(
                "select exists (select from konstruct.counters c left join konstruct.memory_heads h using (tenant)
                                where c.feed > coalesce(h.indexed, 0))",
            )
            .fetch_one(&mut self.owner)
            .await
            .unwrap();
            let counts = self.counter.peek();
            let now = (counts.statements, counts.control);
            still = if now == before { still + 1 } else { 0 };
            before = now;
            if !behind && still > 20 {
                return;
            }
        }
        panic!("the store does not become idle");
    }

    /// A whole turn: accept, claim, process, index. The final claim that finds nothing is not included.
    async fn turn(&mut self, id: &str) -> Counts {
        self.settle().await;
        self.counter.take();
        let accepted = self.store.accept(self.tenant, vec![self.event(id)]).await;
        assert!(matches!(accepted.unwrap()[..], [Accepted::New { .. }]));
        let claim = self.claim().await;
        let worked = self.driver.work(claim).await.unwrap();
        assert_eq!(worked, WorkOutcome::Released);
        self.settle().await;
        self.counter.take()
    }

    /// Counts the statements of a turn and its parts.
    pub(crate) async fn measure(mut self) -> Costs {
        // The first turns fill the cache of keys.
        for id in ["first", "second"] {
            self.turn(id).await;
        }
        let turn = self.turn("third").await;
        assert_eq!(self.world.texts(), ["We open at nine."; 3]);

        let status = self.world.arrived().pop().unwrap();
        let mut status = self
            .world
            .status(&status.key, DeliveryState::Delivered)
            .unwrap();
        status.id = "status".into();
        self.counter.take();
        let routed = RoutedEvent {
            connection: self.connection,
            event: status,
        };
        let folded = self.store.accept(self.tenant, vec![routed]).await;
        assert_eq!(folded.unwrap(), [Accepted::Folded]);
        let status = self.counter.take();

        let event = self.event("fourth");
        self.store.accept(self.tenant, vec![event]).await.unwrap();
        let accept = self.counter.take();
        let claim = self.claim().await;
        self.settle().await;
        self.counter.take();
        let loaded = self.store.load(&claim).await.unwrap().unwrap();
        let load = self.counter.take();
        let mut words = Record::new(
            TurnId::new(),
            loaded.now,
            Cause::Vendor,
            Entry::Event(Event::ToolReturned {
                id: "call".into(),
                content: "something".into(),
                error: false,
            }),
        );
        words
            .persons
            .extend(loaded.inbox[0].persons.iter().copied());
        let append = Append {
            records: vec![words],
            consume_to: Some(loaded.newest()),
            lease: Some(LEASE),
            ..Append::default()
        };
        let outcome = self.store.append(&claim, loaded.len, append).await;
        let append = self.counter.take();
        assert_eq!(outcome.unwrap(), AppendOutcome::Appended);
        Costs {
            turn,
            accept,
            load,
            append,
            status,
        }
    }
}

/// The measured costs.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) turn: Counts,
    pub(crate) accept: Counts,
    pub(crate) load: Counts,
    pub(crate) append: Counts,
    pub(crate) status: Counts,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "turn={} control={} transactions={} accept={} load={} append={} status={}",
            self.turn.statements,
            self.turn.control,
            self.turn.transactions,
            own(&self.accept),
            own(&self.load),
            own(&self.append),
            own(&self.status)
        )
    }
}

impl Costs {
    /// # Panics
    /// A part takes more than it may.
    pub(crate) fn check(&self) {
        within("accept", &self.accept, 2);
        within("load", &self.load, 1);
        within("append", &self.append, 2);
        within("a status", &self.status, 3);
        let turn = &self.turn;
        assert!(
            turn.statements <= 28 && turn.transactions <= 12,
            "{turn:#?}"
        );
    }
}

/// Without notifications, which are combined from many operations.
fn own(counts: &Counts) -> u64 {
    let told = counts
        .each
        .iter()
        .filter(|(text, _)| text.contains("pg_notify"));
    counts.statements - told.map(|(_, many)| many).sum::<u64>()
}

fn within(what: &str, counts: &Counts, statements: u64) {
    let texts: Vec<_> = counts
        .each
        .iter()
        .map(|(text, many)| format!("{many} x {}", text.chars().take(150).collect::<String>()))
        .collect();
    assert!(
        own(counts) <= statements,
        "{what} takes {} statements, more than {statements}:\n{}",
        own(counts),
        texts.join("\n")
    );
}
