//! Questions for a person, and decisions about them.

use konstruct_admin_api::{Decision, DecisionForAll, Question};
use konstruct_channels::testkit::Fault;
use konstruct_core::ErrorKind;
use konstruct_llm::testkit::Reply;
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Server, eventually};

fn decision(decision: &str) -> Decision {
    Decision {
        decision: decision.into(),
        nano_usd: None,
    }
}

/// Waits until exactly one question is open.
async fn the_question(server: &Server) -> Question {
    let admin = server.admin();
    let mut found = Vec::new();
    eventually(async || {
        found = admin.questions(BUSINESS_TENANT).await.unwrap().items;
        !found.is_empty()
    })
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn no_question_is_open(server: &Server) -> bool {
    let open = server.admin().questions(BUSINESS_TENANT).await;
    open.unwrap().items.is_empty()
}

/// Makes the provider reject a reply: it was not delivered, and a retry would not help by itself.
async fn rejected_reply(office: &Office, server: &Server) -> Question {
    office.graph.plan("messages", Fault::StatusBefore(403));
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    the_question(server).await
}

#[tokio::test]
async fn a_failed_reply_is_resent_on_a_persons_decision() {
    let office = Office::open().await;
    let server = office.start().await;
    let question = rejected_reply(&office, &server).await;
    assert_eq!(question.kind, "failed");
    assert_eq!(question.text, "Re: hello");
    assert_eq!(question.choices, ["resend", "drop"]);
    assert_eq!(office.accepted_count(), 0);

    let admin = server.admin();
    let wrong = admin
        .decide(BUSINESS_TENANT, &question.key, &decision("arrived"))
        .await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    assert!(wrong.message().starts_with("decision: "), "{wrong}");
    let nowhere = admin
        .decide(BUSINESS_TENANT, "trn_0.p0", &decision("drop"))
        .await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);

    // A repeated decision has no effect.
    admin
        .decide(BUSINESS_TENANT, &question.key, &decision("resend"))
        .await
        .unwrap();
    let again = admin
        .decide(BUSINESS_TENANT, &question.key, &decision("resend"))
        .await;
    let kind = again.unwrap_err().kind();
    assert!(
        [ErrorKind::Conflict, ErrorKind::NotFound].contains(&kind),
        "{kind}"
    );
    office.wait_for_accepted(1).await;
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    assert_eq!(office.graph.posts().len(), 1);
    assert_eq!(office.graph.posts()[0].text, "Re: hello");
    assert!(no_question_is_open(&server).await);
    assert_eq!(conversation.turns.last().unwrap().outcome, "replied");
}

#[tokio::test]
async fn a_dropped_reply_is_never_sent() {
    let office = Office::open().await;
    let server = office.start().await;
    let question = rejected_reply(&office, &server).await;
    let admin = server.admin();
    admin
        .decide(BUSINESS_TENANT, &question.key, &decision("drop"))
        .await
        .unwrap();
    eventually(async || no_question_is_open(&server).await).await;
    server.wait_until_processed(1).await;
    assert_eq!(office.accepted_count(), 0);
}

#[tokio::test]
async fn an_open_question_survives_a_kill() {
    let office = Office::open().await;
    let server = office.start().await;
    let question = rejected_reply(&office, &server).await;
    server.kill().await;
    let server = office.start().await;
    assert_eq!(the_question(&server).await, question);
    // The next message is answered.
    let message = office.graph.message(NUMBER, CUSTOMER, "and now?");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    assert_eq!(office.graph.posts()[0].text, "Re: and now?");
    assert_eq!(the_question(&server).await, question);
}

#[tokio::test]
async fn a_passed_on_question_is_open_until_done() {
    let office = Office::open().await;
    let server = office.start().await;
    let asks = r#"{"question": "Do they repair unicycles?"}"#;
    office.model.next(Reply::default().call("pass_on", asks));
    office.model.next(Reply::text("I have asked the team."));
    let message = office
        .graph
        .message(NUMBER, CUSTOMER, "do you repair unicycles?");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    assert_eq!(office.graph.posts()[0].text, "I have asked the team.");
    let question = the_question(&server).await;
    assert_eq!(question.kind, "passed_on");
    assert_eq!(question.text, "Do they repair unicycles?");
    let admin = server.admin();
    let wrong = admin
        .decide(BUSINESS_TENANT, &question.key, &decision("drop"))
        .await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
    admin
        .decide(BUSINESS_TENANT, &question.key, &decision("done"))
        .await
        .unwrap();
    assert!(no_question_is_open(&server).await);
}

#[tokio::test]
async fn a_reply_that_fails_again_opens_a_new_question() {
    let office = Office::open().await;
    let server = office.start().await;
    let first = rejected_reply(&office, &server).await;
    office.graph.plan("messages", Fault::StatusBefore(403));
    let admin = server.admin();
    admin
        .decide(BUSINESS_TENANT, &first.key, &decision("resend"))
        .await
        .unwrap();
    let mut second = first.clone();
    eventually(async || {
        let open = admin.questions(BUSINESS_TENANT).await.unwrap().items;
        second = open.first().unwrap_or(&first).clone();
        second.key != first.key
    })
    .await;
    assert_eq!(second.text, "Re: hello");
    // The owner decides all of them at once.
    let wanted = |kind: &str, decision: &str| DecisionForAll {
        kind: kind.into(),
        decision: decision.into(),
    };
    for (wrong, field) in [
        (wanted("xoxb-planted", "drop"), "kind: "),
        (wanted("failed", "arrived"), "decision: "),
    ] {
        let error = admin.decide_all(BUSINESS_TENANT, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(field), "{error}");
        assert!(!error.message().contains("planted"), "{error}");
    }
    for (all, questions) in [
        (wanted("unanswered", "answer"), 0),
        (wanted("failed", "resend"), 1),
    ] {
        let decided = admin.decide_all(BUSINESS_TENANT, &all).await.unwrap();
        assert_eq!(decided.questions, questions, "{all:?}");
    }
    office.wait_for_accepted(1).await;
    assert_eq!(office.graph.posts()[0].text, "Re: hello");
}
