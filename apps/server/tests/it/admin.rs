//! The admin API, through its typed client.

use konstruct_admin_api::{
    Client, DocumentFormat, EmployeeSettings, NewConnection, NewDocument, NewTenant, Tenant,
    WorkingHours,
};
use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, ErrorKind, Result, TenantId, TurnId,
};
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office};

async fn tenant(admin: &Client, name: &str) -> Tenant {
    let new = NewTenant { name: name.into() };
    admin.add_tenant(&new).await.unwrap()
}

fn employee(name: &str) -> EmployeeSettings {
    let settings = serde_json::json!({"name": name, "role": "the front desk"});
    serde_json::from_value(settings).unwrap()
}

fn document(title: &str, text: &str) -> NewDocument {
    NewDocument::text(title, DocumentFormat::Markdown, text)
}

fn number(account: &str) -> NewConnection {
    NewConnection {
        channel: "whatsapp".into(),
        account: account.into(),
        name: "the shop's number".into(),
        token: "EAAG-a-token-that-nobody-sees".into(),
    }
}

fn missing<T: std::fmt::Debug>(answer: Result<T>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn tenants_are_added_and_removed() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let one = tenant(&admin, " Bike Shop ").await;
    assert_eq!(one.name, "Bike Shop");
    assert_eq!(admin.tenant(one.id).await.unwrap(), one);
    let listed = admin.tenants(None).await.unwrap().items;
    let ids: Vec<TenantId> = listed.iter().map(|tenant| tenant.id).collect();
    assert_eq!(ids, [BUSINESS_TENANT, one.id]);

    admin
        .put_document(one.id, &document("FAQ", "# Q\nA."))
        .await
        .unwrap();
    admin.connect(one.id, &number("555")).await.unwrap();
    admin.remove_tenant(one.id).await.unwrap();
    missing(admin.tenant(one.id).await);
    missing(admin.documents(one.id).await);
    missing(admin.remove_tenant(one.id).await);
    // Its accounts are available to other tenants.
    let two = tenant(&admin, "Another").await;
    admin.connect(two.id, &number("555")).await.unwrap();
    assert!(admin.documents(two.id).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_tenant_has_one_employee() {
    let office = Office::open().await;
    let server = office.start().await;
    let (admin, tenant) = (server.admin(), tenant(&server.admin(), "Shop").await.id);
    missing(admin.employee(tenant).await);
    let hired = admin.hire(tenant, &employee("Ava")).await.unwrap();
    assert_eq!((hired.version, hired.settings.name.as_str()), (1, "Ava"));

    let second = admin.hire(tenant, &employee("Ben")).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    assert!(second.message().starts_with("employee: "), "{second}");
    assert_eq!(admin.employee(tenant).await.unwrap(), hired);

    let mut settings = hired.settings.clone();
    settings.persona = "warm".into();
    settings.instructions = "Ask for the order number first.".into();
    settings.temperature = Some(0.5);
    settings.cap_reached = Some("Please call us.".into());
    settings.unreadable = Some("Please write to us.".into());
    settings.hours = Some(hours());
    settings.tools = vec!["pass_on".into()];
    let changed = admin.change_employee(tenant, 1, &settings).await.unwrap();
    assert_eq!((changed.version, changed.id), (2, hired.id));
    assert_eq!(changed.settings, settings);
    settings.tools = vec!["steal".into()];
    let error = admin
        .change_employee(tenant, 2, &settings)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().starts_with("tools[0]: "), "{error}");
    settings.tools.clear();
    settings.temperature = Some(3.0);
    let error = admin
        .change_employee(tenant, 2, &settings)
        .await
        .unwrap_err();
    assert!(error.message().starts_with("temperature: "), "{error}");
    assert_eq!(admin.employee(tenant).await.unwrap(), changed);
}

/// A night shift, a day until midnight and two exceptions.
fn hours() -> WorkingHours {
    let hours = serde_json::json!({
        "time_zone": "Europe/Berlin",
        "open": [
            {"weekday": 5, "from": "21:00", "to": "02:00"},
            {"weekday": 6, "from": "09:00", "to": "24:00"},
        ],
        "exceptions": [
            {"date": "2026-12-24", "open": [{"from": "09:00", "to": "13:00"}]},
            {"date": "2026-12-25", "open": [], "name": "Christmas Day"},
        ],
        "closed_message": "We are closed.",
    });
    serde_json::from_value(hours).unwrap()
}

#[tokio::test]
async fn a_connection_routes_and_its_token_is_never_shown() {
    let office = Office::open().await;
    let server = office.start().await;
    let (admin, tenant) = (server.admin(), tenant(&server.admin(), "Shop").await.id);
    admin.hire(tenant, &employee("Ben")).await.unwrap();
    let connection = admin.connect(tenant, &number("555")).await.unwrap();
    assert_eq!(connection.token_end, "sees");
    let listed = admin.connections(tenant).await.unwrap();
    let shown = serde_json::to_string(&listed).unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&connection));
    assert!(!shown.contains("EAAG-a-token"), "{shown}");
    let twice = admin.connect(tenant, &number("555")).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);

    let message = office.graph.message("555", CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    assert_eq!(office.graph.posts()[0].number, "555");
    let conversations = admin.conversations(tenant, None).await.unwrap().items;
    assert_eq!(conversations[0].connection, connection.id);
    let demo = admin.conversations(BUSINESS_TENANT, None).await.unwrap();
    assert!(demo.items.is_empty());

    admin.disconnect(tenant, connection.id).await.unwrap();
    missing(admin.disconnect(tenant, connection.id).await);
    let message = office.graph.message("555", CUSTOMER, "are you there?");
    assert_eq!(server.whatsapp(&message).await, 200);
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(1.0));
}

#[tokio::test]
async fn documents_have_versions() {
    let office = Office::open().await;
    let server = office.start().await;
    let (admin, tenant) = (server.admin(), tenant(&server.admin(), "Shop").await.id);
    let first = admin
        .put_document(tenant, &document("FAQ", "# Open?\nYes."))
        .await
        .unwrap();
    let second = admin
        .put_document(tenant, &document("FAQ", "# Open?\nNo."))
        .await
        .unwrap();
    assert_eq!((first.id, first.version), (second.id, 1));
    assert_eq!(second.version, 2);
    assert_eq!(
        admin.documents(tenant).await.unwrap().items,
        std::slice::from_ref(&second)
    );
    let read = admin.document(tenant, second.id).await.unwrap();
    assert_eq!(read.text, "# Open?\nNo.");
    admin.remove_document(tenant, second.id).await.unwrap();
    missing(admin.document(tenant, second.id).await);
    missing(admin.remove_document(tenant, second.id).await);
}

#[tokio::test]
async fn a_document_is_shown_to_the_model() {
    let office = Office::open().await;
    let server = office.start().await;
    let tube = document(
        "Prices",
        "# What is a tube?\nA tube is 8 euros and 17 cents.",
    );
    server
        .admin()
        .put_document(BUSINESS_TENANT, &tube)
        .await
        .unwrap();
    let message = office.graph.message(NUMBER, CUSTOMER, "what is a tube?");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let asked = office.model.requests()[0].body.to_string();
    assert!(asked.contains("8 euros and 17 cents"), "{asked}");
}

#[tokio::test]
async fn a_foreign_id_looks_like_a_missing_one() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let other = tenant(&admin, "Other").await.id;
    let conversation = server.greeted(&office).await;
    let turn = conversation.turns[0].id;
    let document = admin.documents(BUSINESS_TENANT).await.unwrap().items[0].id;
    let connection = admin.connections(BUSINESS_TENANT).await.unwrap().items[0].id;
    let nowhere = ConversationId::from_bytes([9; 16]);

    let same = |foreign: String, absent: String| assert_eq!(foreign, absent);
    same(
        missing(admin.conversation(other, conversation.id).await),
        missing(admin.conversation(other, nowhere).await),
    );
    same(
        missing(admin.replay(other, conversation.id, turn).await),
        missing(admin.replay(other, nowhere, TurnId::new()).await),
    );
    same(
        missing(admin.document(other, document).await),
        missing(admin.document(other, DocumentId::new()).await),
    );
    same(
        missing(admin.remove_document(other, document).await),
        missing(admin.remove_document(other, DocumentId::new()).await),
    );
    same(
        missing(admin.disconnect(other, connection).await),
        missing(admin.disconnect(other, ConnectionId::new()).await),
    );
    missing(
        admin
            .replay(BUSINESS_TENANT, conversation.id, TurnId::new())
            .await,
    );
    assert!(admin.document(BUSINESS_TENANT, document).await.is_ok());
    assert!(
        admin
            .connections(BUSINESS_TENANT)
            .await
            .unwrap()
            .items
            .len()
            == 2
    );
}
