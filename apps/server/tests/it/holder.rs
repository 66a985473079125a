//! A team member takes a conversation over and hands it back.

use konstruct_admin_api::{Conversation, Holder, NewReply};
use konstruct_core::{ConversationId, ErrorKind};
use konstruct_llm::testkit::Reply;
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Server, eventually};

fn reply(id: &str, text: &str) -> NewReply {
    NewReply {
        text: text.into(),
        id: Some(id.into()),
    }
}

async fn ask(office: &Office, server: &Server, text: &str) -> Conversation {
    let message = office.graph.message(NUMBER, CUSTOMER, text);
    assert_eq!(server.whatsapp(&message).await, 200);
    server.wait_until_processed(1).await.remove(0)
}

fn last_outcome(conversation: &Conversation) -> &str {
    &conversation.turns.last().unwrap().outcome
}

#[tokio::test]
async fn a_reply_of_a_team_member_silences_the_employee() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let asks = r#"{"question": "Do they repair unicycles?"}"#;
    office.model.next(Reply::default().call("pass_on", asks));
    office.model.next(Reply::text("I have asked the team."));
    let asked = ask(&office, &server, "do you repair unicycles?").await;
    let id = asked.id;
    assert_eq!(asked.holder, Holder::Employee);
    assert_eq!(asked.held_until, None);
    let open = admin.questions(BUSINESS_TENANT).await.unwrap();
    assert_eq!(open.items.len(), 1);

    // The reply is sent once, and answers the question that was passed on.
    let kim = reply("r1", "Kim here: yes, we do.");
    for _ in 0..2 {
        admin.reply(BUSINESS_TENANT, id, &kim).await.unwrap();
    }
    office.wait_for_accepted(2).await;
    let held = server.wait_until_processed(1).await.remove(0);
    assert_eq!(office.graph.posts()[1].text, "Kim here: yes, we do.");
    let open = admin.questions(BUSINESS_TENANT).await.unwrap();
    assert!(open.items.is_empty(), "{open:?}");
    assert_eq!(held.holder, Holder::Team);
    assert!(held.held_until.is_some());
    let listed = async || {
        let all = admin.conversations(BUSINESS_TENANT, None).await.unwrap();
        let one = all.items.into_iter().find(|one| one.id == id).unwrap();
        (one.holder, one.held_since.is_some())
    };
    assert_eq!(listed().await, (Holder::Team, true));
    let sent = held.turns.last().unwrap().messages.last().unwrap();
    assert_eq!(
        (&*sent.from, &*sent.text),
        ("colleague", "Kim here: yes, we do.")
    );

    // The employee is silent, without a call of the model.
    let calls = office.model.requests().len();
    let silent = ask(&office, &server, "thank you").await;
    assert_eq!(last_outcome(&silent), "held");
    assert_eq!(silent.turns.last().unwrap().messages[0].text, "thank you");
    assert_eq!(office.model.requests().len(), calls);
    assert_eq!(office.graph.posts().len(), 2);

    admin.hand_back(BUSINESS_TENANT, id).await.unwrap();
    eventually(async || {
        let now = admin.conversation(BUSINESS_TENANT, id).await.unwrap();
        now.holder == Holder::Employee
    })
    .await;
    assert_eq!(listed().await, (Holder::Employee, false));
    let answered = ask(&office, &server, "are you open?").await;
    assert_eq!(last_outcome(&answered), "replied");
    assert_eq!(office.graph.posts()[2].text, "Re: are you open?");
    for turn in &answered.turns {
        let replay = admin.replay(BUSINESS_TENANT, id, turn.id).await.unwrap();
        assert!(replay.same, "{replay:?}");
    }
}

#[tokio::test]
async fn wrong_replies_are_rejected() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let id = ask(&office, &server, "hello").await.id;
    let check = async |id: ConversationId, new: NewReply, kind, field: Option<&str>| {
        let error = admin.reply(BUSINESS_TENANT, id, &new).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let named = field.is_none_or(|field| error.message().starts_with(field));
        assert!(named, "{error}");
    };
    let invalid = ErrorKind::InvalidInput;
    check(id, reply("r1", "  "), invalid, Some("text: ")).await;
    check(
        id,
        reply("r1", &"x".repeat(20_001)),
        invalid,
        Some("text: "),
    )
    .await;
    check(id, reply("", "hello"), invalid, Some("id: ")).await;
    let unknown = ConversationId::from_bytes([9; 16]);
    check(unknown, reply("r1", "hello"), ErrorKind::NotFound, None).await;
    let error = admin.hand_back(BUSINESS_TENANT, unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(office.graph.posts().len(), 1);
}
