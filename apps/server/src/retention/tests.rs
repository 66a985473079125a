//! Retention at given times, on the store that the tests run on.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use konstruct_channels::testkit::{FakeGraph, FakeSlack, Fault, signed_whatsapp};
use konstruct_core::{
    AccountId, ChannelKind, Clock as _, ConnectionId, Employee, Secret, SystemClock, turn::Worker,
};

use super::*;
use crate::{
    directory::NewConnection,
    tenant_jobs::perform_due,
    testing::{SECRET, app},
};

const NUMBER: &str = "106540352242922";

struct Shop {
    app: Arc<App>,
    graph: FakeGraph,
    tenant: TenantId,
    _data: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Self {
        let (slack, graph) = (FakeSlack::start().await, FakeGraph::start().await);
        let (slack, graph) = (slack.unwrap(), graph.unwrap());
        let data = tempfile::tempdir().unwrap();
        let app = app(&data, &slack, &graph).await;
        let tenant = TenantId::new();
        app.directory.add_tenant(tenant, "Shop").await.unwrap();
        let ava = Employee::builder("Ava").build().unwrap();
        app.directory.hire(tenant, &ava).await.unwrap();
        let new = NewConnection {
            channel: ChannelKind::WHATSAPP,
            account: AccountId(NUMBER.into()),
            name: String::new(),
            token: Secret::new("EAAG-fake"),
            api_url: None,
        };
        let connected = app.directory.connect(tenant, ConnectionId::new(), new);
        connected.await.unwrap();
        Self {
            app,
            graph,
            tenant,
            _data: data,
        }
    }

    /// Delivers a person's message, and processes it as far as possible.
    async fn hear(&self, from: &str, text: &str) {
        let body = self.graph.message(NUMBER, from, text);
        let request = signed_whatsapp(&Secret::new(SECRET), body);
        let gateway = &self.app.gateway;
        let reply = gateway.handle(&ChannelKind::WHATSAPP, &request).await;
        assert_eq!(reply.status, 200);
        let worker = Worker::new(self.app.driver.clone());
        worker.run_until_idle().await.unwrap();
    }

    /// Returns everything that the store keeps, as an export shows it.
    async fn kept(&self) -> String {
        let log = self.app.journal.export(self.tenant).await.unwrap();
        let log: Vec<_> = log.try_collect().await.unwrap();
        let memory = self.app.memory.export_memory(self.tenant).await.unwrap();
        let memory: Vec<_> = memory.try_collect().await.unwrap();
        serde_json::to_string(&log).unwrap() + &serde_json::to_string(&memory).unwrap()
    }

    async fn set(
        &self,
        days: Option<u16>,
        replaces: Replaces,
        now: Timestamp,
    ) -> Result<Retention> {
        set(&self.app, self.tenant, days, replaces, now).await
    }

    async fn perform(&self, now: Timestamp) -> Option<Timestamp> {
        perform_due(&self.app, now).await.unwrap()
    }
}

#[tokio::test]
async fn old_words_are_erased_and_the_rest_remains() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    shop.hear("15550001111", "Do you sell a zebra?").await;
    // Its answer was lost, so its turn is open.
    shop.graph.plan("messages", Fault::DropAfter);
    shop.hear("15550002222", "Do you sell a giraffe?").await;
    let before = shop.kept().await;
    assert!(
        before.contains("zebra") && before.contains("giraffe"),
        "{before}"
    );
    let ledger = before.matches("\"ledger\"").count();

    assert_eq!(
        shop.perform(now + DAY * 400).await,
        None,
        "nothing is erased unless it is set"
    );
    assert_eq!(shop.kept().await, before);
    shop.set(Some(30), Replaces::Nothing, now).await.unwrap();
    assert_eq!(shop.perform(now).await, Some(now + DAY));
    assert_eq!(shop.perform(now + DAY * 29).await, Some(now + DAY * 30));
    assert_eq!(shop.kept().await, before, "it is not old enough");

    let late = now + DAY * 31;
    assert_eq!(shop.perform(late).await, Some(late + DAY));
    let after = shop.kept().await;
    assert!(!after.contains("zebra"), "{after}");
    assert!(after.contains("giraffe"), "an open turn is not touched");
    assert_eq!(after.matches("\"ledger\"").count(), ledger);
    let waiting = shop.app.directory.waiting_records(shop.tenant).await;
    assert!(!waiting.unwrap().is_empty(), "it is looked at again");

    // A process ended after its erasures and before it noted them.
    let moved = shop
        .app
        .directory
        .move_retention_cursor(shop.tenant, 0, &[]);
    moved.await.unwrap();
    shop.perform(late + DAY).await;
    assert_eq!(shop.kept().await, after);
    // The conversation goes on.
    let posts = shop.graph.posts().len();
    shop.hear("15550001111", "Are you there?").await;
    assert_eq!(shop.graph.posts().len(), posts + 1);
}

#[tokio::test]
async fn what_an_open_item_refers_to_remains() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    shop.hear("15550001111", "Do you sell a zebra?").await;
    // Meta refuses the answer, so a person is asked.
    shop.graph.refuse(Some(131_047));
    shop.hear("15550002222", "Do you sell a giraffe?").await;
    shop.graph.refuse(None);
    let items = async || {
        let items = shop.app.journal.items(shop.tenant, None, 10).await;
        items.unwrap()
    };
    let open = items().await;
    assert_eq!(open.len(), 1, "{open:?}");
    shop.set(Some(30), Replaces::Nothing, now).await.unwrap();
    shop.perform(now + DAY * 31).await;
    let kept = shop.kept().await;
    assert!(
        !kept.contains("zebra") && kept.contains("giraffe"),
        "{kept}"
    );
    assert_eq!(items().await, open);
    // Each day it is looked at again.
    shop.perform(now + DAY * 60).await;
    assert!(shop.kept().await.contains("giraffe"));
}

/// More records than a step may erase: each step leaves the rest to the next one, which follows soon.
#[tokio::test]
async fn a_step_is_bounded() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    for n in 0..4 {
        shop.hear("15550001111", &format!("Do you sell zebra number {n}?"))
            .await;
    }
    let records = shop
        .app
        .journal
        .feed(shop.tenant, 0, 1_000)
        .await
        .unwrap()
        .len();
    let late = now + DAY * 31;
    let step = |most| Step::new(&shop.app, shop.tenant, late, most);
    let mut steps = 1;
    while !step(10)
        .await
        .unwrap()
        .run(days_before(late, 30))
        .await
        .unwrap()
    {
        steps += 1;
        assert!(steps <= records, "it ends");
    }
    assert!(steps > records / 10, "{steps} steps for {records} records");
    assert!(!shop.kept().await.contains("zebra"));
}

#[tokio::test]
async fn a_setting_is_replaced_by_its_version() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    let stale = shop.set(Some(1), Replaces::Version(1), now).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
    let first = shop.set(Some(1), Replaces::Nothing, now).await.unwrap();
    assert_eq!(first.version, 1);
    let second = shop.set(None, Replaces::Version(1), now).await.unwrap();
    assert_eq!((second.version, second.days), (2, None));
    let stale = shop.set(Some(1), Replaces::Version(1), now).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
    shop.hear("15550001111", "Do you sell a zebra?").await;
    assert_eq!(shop.perform(now + DAY * 400).await, None);
    assert!(shop.kept().await.contains("zebra"));
    shop.set(Some(7), Replaces::Anything, now).await.unwrap();
    shop.perform(now + DAY * 8).await;
    assert!(!shop.kept().await.contains("zebra"));
}
