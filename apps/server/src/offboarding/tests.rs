//! The life of a cancelled tenant at given times, on the store that the tests run on.

use std::sync::Arc;

use konstruct_channels::testkit::{FakeGraph, FakeSlack, Fault};
use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, Directory as _, Secret, directory::ConnectionState,
};

use super::*;
use crate::{
    directory::NewConnection,
    tenant_jobs::perform_due,
    testing::{app, database},
};

const NUMBER: &str = "106540352242922";

struct Shop {
    app: Arc<App>,
    slack: FakeSlack,
    graph: FakeGraph,
    tenant: TenantId,
    data: tempfile::TempDir,
}

impl Shop {
    /// Opens a server with a tenant that has a workspace and a number.
    async fn open() -> Self {
        let (slack, graph) = (FakeSlack::start().await, FakeGraph::start().await);
        let (slack, graph) = (slack.unwrap(), graph.unwrap());
        let data = tempfile::tempdir().unwrap();
        let app = app(&data, &slack, &graph).await;
        let tenant = TenantId::new();
        app.directory.add_tenant(tenant, "Shop").await.unwrap();
        let shop = Self {
            app,
            slack,
            graph,
            tenant,
            data,
        };
        shop.connect(ChannelKind::SLACK, "T1").await;
        shop.connect(ChannelKind::WHATSAPP, NUMBER).await;
        shop
    }

    async fn connect(&self, channel: ChannelKind, account: &str) {
        connect(&self.app, self.tenant, channel, account)
            .await
            .unwrap();
    }

    async fn cancel(&self, now: Timestamp) -> Tenant {
        cancel(&self.app, self.tenant, now).await.unwrap()
    }

    /// Performs what is due. Returns when to look again.
    async fn perform(&self, now: Timestamp) -> Option<Timestamp> {
        perform_due(&self.app, now).await.unwrap()
    }

    /// Returns the progress of the disconnection of a channel, and the number of requests.
    async fn progress(&self, channel: &ChannelKind) -> (Progress, u32) {
        let all = self
            .app
            .directory
            .disconnections(self.tenant)
            .await
            .unwrap();
        let one = all.iter().find(|one| one.channel == *channel).unwrap();
        (one.progress, one.attempts)
    }

    async fn routed(&self, channel: ChannelKind, account: &str) -> bool {
        let account = AccountId(account.into());
        let route = self.app.directory.route(&channel, &account).await;
        route.unwrap().is_some()
    }
}

async fn connect(app: &App, tenant: TenantId, channel: ChannelKind, account: &str) -> Result<()> {
    let new = NewConnection {
        token: Secret::new(format!("token of {account}")),
        channel,
        account: AccountId(account.into()),
        name: String::new(),
        api_url: None,
    };
    let connected = app
        .directory
        .connect_or_revive(tenant, ConnectionId::new(), new);
    connected.await.map(drop)
}

fn day(day: u32) -> Timestamp {
    Timestamp::from_secs(1_800_000_000) + DAY * day
}

#[tokio::test]
async fn a_cancelled_tenant_stops_is_disconnected_and_is_erased() {
    let shop = Shop::open().await;
    let cancelled = shop.cancel(day(0)).await;
    assert!(!shop.routed(ChannelKind::SLACK, "T1").await);
    assert!(!shop.routed(ChannelKind::WHATSAPP, NUMBER).await);
    for connection in shop.app.directory.connections(shop.tenant).await.unwrap() {
        let since = day(0);
        assert_eq!(connection.state, ConnectionState::Disconnected { since });
    }
    assert_eq!(
        shop.cancel(day(3)).await,
        cancelled,
        "the second changes nothing"
    );
    assert_eq!(cancelled.cancellation.unwrap().erase_at, day(30));

    assert_eq!(shop.perform(day(0)).await, Some(day(30)));
    assert_eq!(shop.slack.revoked(), ["token of T1"]);
    assert_eq!(shop.graph.unsubscribed(), ["102290129340398"]);
    for channel in [ChannelKind::SLACK, ChannelKind::WHATSAPP] {
        assert_eq!(shop.progress(&channel).await, (Progress::Done, 1));
    }
    shop.perform(day(29)).await;
    shop.app.directory.tenant(shop.tenant).await.unwrap();

    assert_eq!(shop.perform(day(30)).await, None);
    let gone = shop.app.directory.tenant(shop.tenant).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let log = std::fs::read_to_string(shop.data.path().join("erasures.log")).unwrap();
    assert_eq!(log.matches(&shop.tenant.to_string()).count(), 1, "{log}");
    let audited = shop.app.directory.audit_log().page(None, None, 10).await;
    let audited = audited.unwrap();
    assert_eq!(audited.len(), 1);
    assert_eq!(
        (&audited[0].who, audited[0].operation.as_str()),
        (&Who::Schedule, "removeTenant")
    );
    assert_eq!(audited[0].target["tenant"], shop.tenant.to_string());
    assert_eq!(shop.perform(day(60)).await, None);
    assert_eq!(shop.slack.revoked().len(), 1);
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_is_asked_again() {
    let shop = Shop::open().await;
    shop.slack.plan("auth.revoke", Fault::StatusBefore(500));
    shop.slack.plan("auth.revoke", Fault::RateLimit(600));
    // The token is revoked, and the answer is lost.
    shop.slack.plan("auth.revoke", Fault::DropAfter);
    shop.graph.plan("subscribed_apps", Fault::StatusAfter(502));
    let slack = ChannelKind::SLACK;
    shop.cancel(day(0)).await;
    let check = async |after: u64, next: Option<u64>, slack_is: (Progress, u32), whatsapp_is| {
        let at = |secs| day(0) + Duration::from_secs(secs);
        let found = shop.perform(at(after)).await;
        assert_eq!(
            found,
            next.map_or(Some(day(30)), |next| Some(at(next))),
            "{after}"
        );
        assert_eq!(shop.progress(&slack).await, slack_is, "{after}");
        assert_eq!(
            shop.progress(&ChannelKind::WHATSAPP).await,
            whatsapp_is,
            "{after}"
        );
    };
    use Progress::{Done, Waiting};
    check(0, Some(60), (Waiting, 1), (Waiting, 1)).await;
    check(59, Some(60), (Waiting, 1), (Waiting, 1)).await;
    check(60, Some(660), (Waiting, 2), (Done, 2)).await;
    check(660, Some(900), (Waiting, 3), (Done, 2)).await;
    check(900, None, (Done, 4), (Done, 2)).await;
    assert_eq!(shop.slack.revoked().len(), 1);
    assert_eq!(shop.graph.unsubscribed().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_disconnected_is_shown() {
    let check = async |refuse: fn(&Shop), expected: [Progress; 2]| {
        let shop = Shop::open().await;
        shop.cancel(day(0)).await;
        refuse(&shop);
        shop.perform(day(0)).await;
        let found = [
            shop.progress(&ChannelKind::SLACK).await.0,
            shop.progress(&ChannelKind::WHATSAPP).await.0,
        ];
        assert_eq!(found, expected);
        // It delays the erasure of nobody.
        shop.perform(day(30)).await;
        assert!(shop.app.directory.tenant(shop.tenant).await.is_err());
    };
    use Progress::{Done, Failed, Shared};
    // The app was uninstalled before.
    check(
        |shop| shop.slack.refuse(Some("token_revoked")),
        [Done, Done],
    )
    .await;
    check(
        |shop| shop.slack.refuse(Some("not_allowed")),
        [Failed, Done],
    )
    .await;
    check(|shop| shop.graph.refuse(Some(190)), [Done, Failed]).await;
    // Meta does not know the number any more.
    check(|shop| shop.graph.refuse(Some(803)), [Done, Failed]).await;
    let shop = Shop::open().await;
    let other = TenantId::new();
    shop.app.directory.add_tenant(other, "Other").await.unwrap();
    let connected = connect(&shop.app, other, ChannelKind::WHATSAPP, "999");
    connected.await.unwrap();
    shop.graph.set_numbers(&[NUMBER, "999"]);
    shop.cancel(day(0)).await;
    shop.perform(day(0)).await;
    assert_eq!(shop.progress(&ChannelKind::WHATSAPP).await.0, Shared);
    assert_eq!(shop.graph.unsubscribed(), [""; 0]);
    assert!(shop.routed(ChannelKind::WHATSAPP, "999").await);
    shop.perform(day(30)).await;
    shop.app.directory.tenant(other).await.unwrap();
}

#[tokio::test]
async fn processes_that_end_or_overlap_repeat_nothing() {
    let shop = Shop::open().await;
    // The process ended after it had written the cancellation.
    let cancelled = shop.app.directory.change_tenant(shop.tenant, |tenant| {
        tenant.cancellation = Some(Cancellation {
            at: day(0),
            erase_at: day(30),
            disconnect_at: Some(day(0)),
        });
        Ok(())
    });
    cancelled.await.unwrap();
    assert!(shop.routed(ChannelKind::SLACK, "T1").await);
    let other = if database::on_postgres() {
        app(&shop.data, &shop.slack, &shop.graph).await
    } else {
        Arc::clone(&shop.app)
    };
    for now in [day(0), day(30)] {
        let (one, two) = tokio::join!(perform_due(&shop.app, now), perform_due(&other, now));
        one.unwrap();
        two.unwrap();
        assert!(!shop.routed(ChannelKind::SLACK, "T1").await);
        assert_eq!(shop.slack.revoked().len(), 1);
        assert_eq!(shop.graph.unsubscribed().len(), 1);
    }
    assert!(other.directory.tenant(shop.tenant).await.is_err());
    assert_eq!(perform_due(&other, day(90)).await.unwrap(), None);
}

#[tokio::test]
async fn a_withdrawn_cancellation_erases_nothing() {
    let shop = Shop::open().await;
    let withdraw = async |day| withdraw(&shop.app, shop.tenant, day).await;
    let none = withdraw(day(0)).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    shop.cancel(day(0)).await;
    shop.perform(day(0)).await;
    // Nothing connects it meanwhile.
    let connected = connect(&shop.app, shop.tenant, ChannelKind::SLACK, "T1").await;
    assert_eq!(connected.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!shop.routed(ChannelKind::SLACK, "T1").await);

    assert_eq!(withdraw(day(29)).await.unwrap().cancellation, None);
    assert_eq!(shop.perform(day(31)).await, None);
    shop.connect(ChannelKind::SLACK, "T1").await;
    assert!(shop.routed(ChannelKind::SLACK, "T1").await);
    let connections = shop.app.directory.connections(shop.tenant).await.unwrap();
    assert_eq!(connections.len(), 2, "the connection is the same as before");

    // The next cancellation has its own time.
    assert_eq!(
        shop.cancel(day(40)).await.cancellation.unwrap().erase_at,
        day(70)
    );
    let late = withdraw(day(70)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    shop.perform(day(69)).await;
    shop.app.directory.tenant(shop.tenant).await.unwrap();
    shop.perform(day(70)).await;
    assert!(shop.app.directory.tenant(shop.tenant).await.is_err());
}
