//! Changes that an embedder makes between two starts of an app.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    AccountId, ChannelKind, Clock as _, Depth, Employee, Erase, ErrorKind, Inbound, Recall,
    Workforce, WorkforceBuilder,
    channel::Find,
    llm::ModelRequest,
    memory::Scope,
    store::LedgerQuery,
    testkit::{
        ReferenceStore, ScriptedAnswer, ScriptedChannel, ScriptedModel, VirtualClock, World,
        message,
    },
    turn::{Entry, Event, spoken_message},
};

use crate::office::{limits, says};

struct App {
    clock: VirtualClock,
    store: ReferenceStore,
    /// What arrives at each of two accounts.
    worlds: [World; 2],
}

fn ava(role: &str) -> Employee {
    let ava = Employee::builder("Ava").role(role).limits(limits());
    ava.build().unwrap()
}

impl App {
    fn new() -> Self {
        let clock = VirtualClock::default();
        Self {
            store: ReferenceStore::new(Arc::new(clock.clone())),
            clock,
            worlds: [World::default(), World::default()],
        }
    }

    /// Starts the app with its accounts in an order.
    fn start(&self, order: [usize; 2], model: ScriptedModel) -> WorkforceBuilder {
        let mut builder = Workforce::builder_without_memory(self.store.clone())
            .clock(self.clock.clone())
            .model(model);
        for account in order {
            let world = self.worlds[account].clone();
            let channel = ScriptedChannel::new(world, Arc::new(self.clock.clone()), Find::Query);
            builder = builder.channel(format!("T{account}"), channel);
        }
        builder
    }

    fn said(&self, account: usize, id: &str) -> Inbound {
        let kind = ChannelKind::new("scripted");
        let account = AccountId(format!("T{account}"));
        message("P1", id, "hello", self.clock.now()).on(kind, account)
    }
}

#[tokio::test]
async fn the_order_of_the_channels_changes_no_connection() {
    let app = App::new();
    let first = app.start([0, 1], says("Hi.")).hire(ava("guide"));
    let first = first.build().unwrap();
    for account in [0, 1] {
        let id = format!("e{account}");
        first.accept(app.said(account, &id)).await.unwrap();
    }
    // An event that one start accepted is answered by the next, whose channels are in another order.
    let second = app.start([1, 0], says("Hi.")).hire(ava("guide"));
    second.build().unwrap().run_until_idle().await.unwrap();
    for world in &app.worlds {
        assert_eq!(world.texts(), ["Hi."]);
    }
}

async fn version(app: &App, employee: Employee) -> u32 {
    let built = app.start([0, 1], says("Hi.")).hire(employee);
    let built = built.build().unwrap();
    let staff = built.directory().staff(built.tenant(), None).await;
    staff.unwrap().version
}

#[tokio::test]
async fn the_version_follows_from_the_settings() {
    let app = App::new();
    let guide = version(&app, ava("guide")).await;
    assert_eq!(version(&app, ava("guide")).await, guide, "equal settings");
    assert_ne!(version(&app, ava("cook")).await, guide, "another role");
}

/// Returns a model that cannot be reached, so that its turn stays open.
fn away() -> ScriptedModel {
    ScriptedModel::new(|_: &ModelRequest| ScriptedAnswer::Refuses(ErrorKind::Unavailable))
}

/// Opens a turn with the first version, and starts again with another.
async fn edited(kept: bool) -> (App, Workforce, ScriptedModel) {
    let app = App::new();
    let before = app.start([0, 1], away()).hire(ava("guide"));
    let before = before.build().unwrap();
    before.accept(app.said(0, "e0")).await.unwrap();
    before.run_until_idle().await.unwrap();
    let model = says("Hi.");
    let mut after = app.start([0, 1], model.clone()).hire(ava("cook"));
    if kept {
        after = after.earlier_employee(ava("guide"));
    }
    app.clock.advance(Duration::from_secs(5));
    let after = after.build().unwrap();
    after.run_until_idle().await.unwrap();
    (app, after, model)
}

#[tokio::test]
async fn an_open_turn_is_finished_by_the_version_that_began_it() {
    let (app, after, model) = edited(true).await;
    after.accept(app.said(0, "e1")).await.unwrap();
    after.run_until_idle().await.unwrap();
    let calls = model.calls();
    let roles = calls.iter().map(|(_, request)| {
        let guide = request.system.contains("You are Ava, guide.");
        assert!(guide || request.system.contains("You are Ava, cook."));
        if guide { "guide" } else { "cook" }
    });
    assert_eq!(roles.collect::<Vec<_>>(), ["guide", "cook"]);
    assert_eq!(app.worlds[0].texts(), ["Hi.", "Hi."]);
}

#[tokio::test]
async fn an_open_turn_is_not_continued_by_another_version() {
    let (app, after, model) = edited(false).await;
    assert_eq!(
        model.calls().len(),
        0,
        "the model was called with the new version"
    );
    assert_eq!(app.worlds[0].texts(), [""; 0]);
    // The turn ends with an open item, and new messages are answered.
    for _ in 0..100 {
        app.clock.advance(Duration::from_secs(600));
        after.run_until_idle().await.unwrap();
        if !after.open_items(None, 9).await.unwrap().is_empty() {
            break;
        }
    }
    assert_eq!(after.open_items(None, 9).await.unwrap().len(), 1);
    after.accept(app.said(0, "e1")).await.unwrap();
    after.run_until_idle().await.unwrap();
    assert_eq!(app.worlds[0].texts(), ["Hi."]);
}

#[tokio::test]
async fn the_workforce_returns_what_an_owner_reads() {
    let app = App::new();
    let built = app.start([0, 1], says("Hi.")).hire(ava("guide"));
    let built = built.build().unwrap();
    built.accept(app.said(0, "e0")).await.unwrap();
    built.run_until_idle().await.unwrap();
    let listed = built.conversations(None, 9).await.unwrap();
    assert_eq!(listed.len(), 1);
    let log = built.transcript(listed[0].id, 0..99).await.unwrap();
    let records = log.iter().filter_map(|stored| stored.record.as_ref());
    let texts = records.filter_map(|record| Some(spoken_message(record)?.text));
    assert_eq!(texts.collect::<Vec<_>>(), ["hello", "Hi."]);
    let query = LedgerQuery::new("2026-01").limit(9);
    assert_eq!(built.ledger(query).await.unwrap().rows.len(), 1);
    assert!(built.open_items(None, 9).await.unwrap().is_empty());
    // The workforce was built without a memory.
    let query = Recall::new("hello", konstruct_core::Audience::Tenant, Scope::ALL);
    let refused = built.recall(query).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let learns = app.start([0, 1], says("Hi.")).hire(ava("guide"));
    let refused = learns.learn_every(8).build().unwrap_err();
    assert_eq!(refused.field(), Some("learn_every"));
    let heard = log.iter().find_map(|stored| {
        let record = stored.record.as_ref()?;
        let received = matches!(record.entry, Entry::Event(Event::Received(_)));
        record.persons.first().copied().filter(|_| received)
    });
    let what = Erase::Person {
        person: heard.unwrap(),
    };
    let receipt = built.erase(what, Depth::Logical).await.unwrap();
    assert!(receipt.records > 0);
    let log = built.transcript(listed[0].id, 0..99).await.unwrap();
    let left = log
        .iter()
        .filter_map(|stored| spoken_message(stored.record.as_ref()?));
    assert_eq!(left.count(), 0);
}
