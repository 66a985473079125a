//! Shutdowns and starts: a kill at the worst moment, a requested shutdown, and a restart.

use std::time::Duration;

use konstruct_admin_api::{DocumentFormat, NewDocument, NewTenant};
use konstruct_channels::testkit::Fault;
use konstruct_llm::testkit::{FakeProvider, Reply};
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, eventually};

#[tokio::test]
async fn a_kill_between_accept_and_reply_loses_nothing() {
    let office = Office::open().await;
    let server = office.start().await;
    // The first answer never arrives: the server is killed while it waits.
    office
        .model
        .next(Reply::text("too late").delay(Duration::from_secs(600)));
    let message = office.graph.message(NUMBER, CUSTOMER, "are you there?");
    assert_eq!(server.whatsapp(&message).await, 200);
    eventually(async || office.model.requests().len() == 1).await;
    server.kill().await;
    assert_eq!(office.accepted_count(), 0);

    let server = office.start().await;
    // Meta may not have received the acknowledgement, so it delivers again.
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    assert_eq!(conversation.turns.len(), 1);
    let posts = office.graph.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!(posts[0].text, "Re: are you there?");
}

#[tokio::test]
async fn a_kill_right_after_the_acknowledgement_loses_nothing() {
    let office = Office::open().await;
    let server = office.start().await;
    let message = office.slack.message("D1", "U1", "hello");
    assert_eq!(server.slack(&message).await, 200);
    server.kill().await;
    let server = office.start().await;
    office.wait_for_accepted(1).await;
    server.wait_until_processed(1).await;
    assert_eq!(office.slack.posts().len(), 1);
}

#[tokio::test]
async fn a_kill_between_a_send_and_its_response_duplicates_nothing() {
    let office = Office::open().await;
    let server = office.start().await;
    office.graph.plan("messages", Fault::HangAfter);
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    server.kill().await;

    let server = office.start().await;
    let status = office.graph.status(&office.graph.posts()[0], "delivered");
    assert_eq!(server.whatsapp(&status).await, 200);
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    assert_eq!(conversation.turns[0].outcome, "replied");
    assert_eq!(office.graph.posts().len(), 1);
    let questions = server.admin().questions(BUSINESS_TENANT).await.unwrap();
    assert!(questions.items.is_empty(), "{questions:?}");
}

#[tokio::test]
async fn sigterm_drains() {
    let office = Office::open().await;
    let server = office.start().await;
    office
        .model
        .next(Reply::text("a moment").delay(Duration::from_millis(500)));
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    eventually(async || office.model.requests().len() == 1).await;
    assert!(server.terminate().await.success());
    // The open turn was finished first.
    assert_eq!(office.graph.posts().len(), 1);
    assert_eq!(office.graph.posts()[0].text, "a moment");

    let server = office.start().await;
    server.wait_until_processed(1).await;
    assert_eq!(office.graph.posts().len(), 1);
}

#[tokio::test]
async fn the_shutdown_waits_for_learning() {
    let model = FakeProvider::new(|text| {
        // Only a learner pass sees two messages of the person at once.
        if !(text.contains("message 1.") && text.contains("message 2.")) {
            return Reply::text("noted");
        }
        let fact = r#"{"facts": [{"message": 1, "quote": "message 1.", "fact": "There is a message 1.", "topic": "messages"}]}"#;
        Reply::text(fact).delay(Duration::from_millis(500))
    });
    let office = Office::with(model).await;
    let server = office.start().await;
    for number in 1..=4 {
        let text = format!("message {number}.");
        let message = office.graph.message(NUMBER, CUSTOMER, &text);
        assert_eq!(server.whatsapp(&message).await, 200);
        office.wait_for_accepted(number).await;
    }
    // Four answers, and the call of a learner pass.
    eventually(async || office.model.requests().len() == 5).await;
    assert!(server.terminate().await.success());

    let server = office.start().await;
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    let admin = server.admin();
    let facts = admin.facts(BUSINESS_TENANT, conversation.id);
    let facts = facts.await.unwrap();
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert_eq!(
        office.model.requests().len(),
        5,
        "the call must be paid once"
    );
}

#[tokio::test]
async fn a_removed_business_starts_from_scratch() {
    let office = Office::open().await;
    let server = office.start().await;
    server.admin().remove_tenant(BUSINESS_TENANT).await.unwrap();
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    let dropped = "konstruct_events_total{outcome=\"unknown_account\"}";
    assert_eq!(server.metric(dropped).await, Some(1.0));
    assert!(server.terminate().await.success());
    let server = office.start().await;
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    server.wait_until_processed(1).await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let new = NewTenant {
        name: "Second".into(),
    };
    let tenant = admin.add_tenant(&new).await.unwrap();
    let new = NewDocument::text("Prices", DocumentFormat::Text, "A tube is 8 euros.");
    let document = admin.put_document(tenant.id, &new).await.unwrap();
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let before = server.wait_until_processed(1).await;
    let employee = admin.employee(BUSINESS_TENANT).await.unwrap();
    assert!(server.terminate().await.success());

    let server = office.start().await;
    let admin = server.admin();
    assert_eq!(admin.tenant(tenant.id).await.unwrap(), tenant);
    let found = admin.document(tenant.id, document.id).await.unwrap();
    assert_eq!(found.text, new.text);
    assert_eq!(admin.employee(BUSINESS_TENANT).await.unwrap(), employee);
    assert_eq!(server.wait_until_processed(1).await, before);
    let demo = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(demo.len(), 3, "the demo must be created once: {demo:?}");
}
