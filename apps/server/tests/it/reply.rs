//! Messages are answered once, with every provider's API.

use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Wire};

async fn check(wire: Wire, path: &str) {
    let office = Office::open().await;
    let server = office.start_with(wire).await;
    let whatsapp = office
        .graph
        .message(NUMBER, CUSTOMER, "hello from WhatsApp");
    let slack = office.slack.message("D1", "U1", "hello from Slack");
    assert_eq!(server.whatsapp(&whatsapp).await, 200);
    assert_eq!(server.slack(&slack).await, 200);
    office.wait_for_accepted(2).await;

    let conversations = server.wait_until_processed(2).await;
    let (slack, graph) = (office.slack.posts(), office.graph.posts());
    assert_eq!((slack.len(), graph.len()), (1, 1), "{slack:?} {graph:?}");
    assert_eq!(slack[0].text, "Re: hello from Slack");
    assert_eq!(slack[0].channel, "D1");
    assert_eq!(graph[0].text, "Re: hello from WhatsApp");
    assert_eq!(graph[0].to, CUSTOMER);
    let requests = office.model.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.path == path));
    for conversation in &conversations {
        let [turn] = conversation.turns.as_slice() else {
            panic!("one turn: {conversation:?}")
        };
        assert_eq!(turn.outcome, "replied");
        let [asked, answered] = turn.messages.as_slice() else {
            panic!("a question and an answer: {turn:?}")
        };
        assert_eq!(asked.from, "person");
        assert_eq!(answered.from, "employee");
        assert_eq!(answered.text, format!("Re: {}", asked.text));
        assert_eq!(answered.delivery.as_deref(), Some("sent"));
        let replay = server
            .admin()
            .replay(BUSINESS_TENANT, conversation.id, turn.id)
            .await
            .unwrap();
        assert!(replay.same && replay.actions > 2, "{replay:?}");
    }
}

#[tokio::test]
async fn through_openai() {
    check(Wire::OpenAi, "/v1/chat/completions").await;
}

#[tokio::test]
async fn through_anthropic() {
    check(Wire::Anthropic, "/v1/messages").await;
}

#[tokio::test]
async fn through_ollama() {
    check(Wire::Ollama, "/api/chat").await;
}

#[tokio::test]
async fn fifty_deliveries_are_one_message() {
    let office = Office::open().await;
    let server = office.start().await;
    let whatsapp = office.graph.message(NUMBER, CUSTOMER, "again and again");
    let twins = office.slack.mention("C1", "U1", "to both of us");
    for _ in 0..25 {
        assert_eq!(server.whatsapp(&whatsapp).await, 200);
        for twin in &twins {
            assert_eq!(server.slack(twin).await, 200);
        }
    }
    office.wait_for_accepted(2).await;
    for _ in 0..25 {
        assert_eq!(server.whatsapp(&whatsapp).await, 200);
        for twin in &twins {
            assert_eq!(server.slack(twin).await, 200);
        }
    }
    let conversations = server.wait_until_processed(2).await;
    assert!(conversations.iter().all(|one| one.turns.len() == 1));
    assert_eq!(office.graph.posts().len(), 1);
    let slack = office.slack.posts();
    assert_eq!(slack.len(), 1, "{slack:?}");
    assert!(
        slack[0].thread_ts.is_some(),
        "a mention is answered in its thread"
    );
    let duplicates = server
        .metric("konstruct_events_total{outcome=\"duplicate\"}")
        .await;
    assert!(duplicates >= Some(147.0), "{duplicates:?}");
}

#[tokio::test]
async fn a_burst_is_one_turn() {
    let office = Office::open().await;
    let server = office.start().await;
    for text in ["one", "two", "three"] {
        let message = office.graph.message(NUMBER, CUSTOMER, text);
        assert_eq!(server.whatsapp(&message).await, 200);
    }
    office.wait_for_accepted(1).await;
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    assert_eq!(conversation.turns.len(), 1, "{conversation:?}");
    assert_eq!(office.graph.posts().len(), 1);
}
