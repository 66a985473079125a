//! Cancelled tenants, as their owners see them. What happens at which time is tested with the code.

use konstruct_admin_api::{
    Client, ConnectionState, DisconnectionState, NewApiToken, NewConnection, NewReply, Role,
};
use konstruct_core::{ErrorKind, Secret};
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, eventually};

#[tokio::test]
async fn a_cancelled_tenant_is_silent_and_can_be_exported_and_resumed() {
    let office = Office::open().await;
    let server = office.start().await;
    let conversation = server.greeted(&office).await.id;
    let token = async |role| {
        let new = NewApiToken {
            name: format!("the {role}"),
            role,
            expires_in_days: None,
        };
        let issued = server.admin().add_token(BUSINESS_TENANT, &new).await;
        Client::new(&server.url, Secret::new(issued.unwrap().token)).unwrap()
    };
    let (owner, admin) = (token(Role::Owner).await, token(Role::Admin).await);
    let refused = admin.cancel_tenant(BUSINESS_TENANT).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    let none = owner.withdraw_cancellation(BUSINESS_TENANT).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        owner.tenant(BUSINESS_TENANT).await.unwrap().cancelled_at,
        None
    );

    let cancelled = owner.cancel_tenant(BUSINESS_TENANT).await.unwrap();
    assert!(cancelled.cancelled_at.is_some() && cancelled.erase_at > cancelled.cancelled_at);
    let again = owner.cancel_tenant(BUSINESS_TENANT).await.unwrap();
    assert_eq!(again.cancelled_at, cancelled.cancelled_at);
    assert_eq!(again.erase_at, cancelled.erase_at);
    // The vendors deliver no message twice, and the employee answers none.
    let model_calls = office.model.requests().len();
    let slack = office.slack.message("D1", "U1", "are you there?");
    let whatsapp = office.graph.message(NUMBER, CUSTOMER, "are you there?");
    assert_eq!(server.slack(&slack).await, 200);
    assert_eq!(server.whatsapp(&whatsapp).await, 200);
    let unknown = server
        .metric("konstruct_events_total{outcome=\"unknown_account\"}")
        .await;
    assert_eq!(unknown, Some(2.0));
    eventually(async || {
        let tenant = owner.tenant(BUSINESS_TENANT).await.unwrap();
        let mut states = tenant.disconnections.iter().map(|one| one.state);
        tenant.disconnections.len() == 2 && states.all(|state| state == DisconnectionState::Done)
    })
    .await;
    assert_eq!(office.slack.revoked(), ["xoxb-fake"]);
    assert_eq!(office.graph.unsubscribed().len(), 1);
    assert_eq!(office.accepted_count(), 1, "only the greeting");
    assert_eq!(office.model.requests().len(), model_calls);

    // It can be read and taken away, and not be changed.
    let (status, export) = server.read("/export").await;
    assert!(
        status == 200 && export.contains("hello"),
        "{status} {export}"
    );
    let connections = owner.connections(BUSINESS_TENANT).await.unwrap().items;
    let mut states = connections.iter().map(|connection| connection.state);
    assert!(states.all(|state| state == ConnectionState::Disconnected));
    let reply = NewReply {
        text: "wait".into(),
        id: None,
    };
    let reply = owner.reply(BUSINESS_TENANT, conversation, &reply).await;
    assert_eq!(reply.unwrap_err().kind(), ErrorKind::Conflict);
    let new = NewConnection {
        channel: "whatsapp".into(),
        account: NUMBER.into(),
        name: String::new(),
        token: "EAAG-new".into(),
    };
    let connected = owner.connect(BUSINESS_TENANT, &new).await.unwrap_err();
    assert_eq!(connected.kind(), ErrorKind::Conflict);
    assert!(connected.message().contains("withdraw"), "{connected}");

    owner.withdraw_cancellation(BUSINESS_TENANT).await.unwrap();
    let tenant = owner.tenant(BUSINESS_TENANT).await.unwrap();
    assert_eq!(
        (tenant.cancelled_at, tenant.disconnections.len()),
        (None, 0)
    );
    owner.connect(BUSINESS_TENANT, &new).await.unwrap();
    let message = office.graph.message(NUMBER, CUSTOMER, "and now?");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(2).await;
    let audited = owner.audit(BUSINESS_TENANT).await.unwrap().items;
    let named = |id: &str| audited.iter().filter(|it| it.operation == id).count();
    // Each with a call that was refused: by the role before it, or because nothing was to withdraw, with its refusal.
    assert_eq!(named("cancelTenant"), 2);
    assert_eq!(named("withdrawCancellation"), 3);
}

/// A configured business that is cancelled stays so after a restart.
#[tokio::test]
async fn a_restart_does_not_connect_a_cancelled_tenant() {
    let office = Office::open().await;
    let server = office.start().await;
    server.admin().cancel_tenant(BUSINESS_TENANT).await.unwrap();
    eventually(async || office.graph.unsubscribed().len() == 1).await;
    assert!(server.terminate().await.success());

    let server = office.start().await;
    let whatsapp = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&whatsapp).await, 200);
    let slack = office.slack.message("D1", "U1", "hello");
    assert_eq!(server.slack(&slack).await, 200);
    let tenant = server.admin().tenant(BUSINESS_TENANT).await.unwrap();
    assert!(tenant.cancelled_at.is_some());
    let accepted = server.metric("konstruct_events_total{outcome=\"accepted\"}");
    assert_eq!(accepted.await, Some(0.0));
    assert_eq!(office.graph.unsubscribed().len(), 1);
}
