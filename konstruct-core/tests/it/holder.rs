//! Who answers in a conversation: the employee, or a team member who took it over.

use std::time::Duration;

use konstruct_core::{
    Clock as _, ConversationId, ConversationRef, ErrorKind, ProactiveMessage, Workforce,
    message::ActorKind,
    store::Accepted,
    turn::{
        Action, CloseReason, Entry, Event, ItemKind, Outcome, Record, Replay, SilenceReason, replay,
    },
};

use crate::{
    app::{App, scripted},
    office::says,
    outage::flaky,
};

const TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

async fn conversation(workforce: &Workforce) -> ConversationId {
    workforce.conversations(None, 1).await.unwrap()[0].id
}

async fn log(workforce: &Workforce) -> Vec<Record> {
    let id = conversation(workforce).await;
    let stored = workforce.transcript(id, 0..999).await.unwrap();
    stored
        .into_iter()
        .filter_map(|stored| stored.record.as_deref().cloned())
        .collect()
}

async fn last_outcome(workforce: &Workforce) -> Outcome {
    let finished = log(workforce).await.into_iter().rev();
    let mut outcomes = finished.filter_map(|record| match record.entry {
        Entry::Action(Action::Finish { outcome }) => Some(outcome),
        _ => None,
    });
    outcomes.next().unwrap()
}

/// Every turn decides the same when it is replayed.
async fn check_replays(workforce: &Workforce) {
    let staff = workforce
        .directory()
        .staff(workforce.tenant(), None)
        .await
        .unwrap();
    let log = log(workforce).await;
    for turn in log.chunk_by(|one, next| one.turn == next.turn) {
        let replayed = replay(&staff.employee, turn).unwrap();
        assert!(matches!(replayed, Replay::Same { .. }), "{replayed:?}");
    }
}

async fn reply(workforce: &Workforce, id: &str, text: &str) -> Accepted {
    let to = conversation(workforce).await;
    let message = ProactiveMessage::to_conversation(to, text).with_id(id);
    workforce.reply(message).await.unwrap()
}

const HELD: Outcome = Outcome::Silent {
    reason: SilenceReason::Held,
};

#[tokio::test]
async fn a_team_member_takes_over_and_hands_back() {
    let app = App::new();
    let model = says("Hi.");
    let workforce = app.workforce(model.clone());
    app.talk(&workforce, "P1", "e1").await;
    let first = reply(&workforce, "r1", "This is Kim from the shop.").await;
    assert!(matches!(first, Accepted::New { .. }), "{first:?}");
    let again = reply(&workforce, "r1", "This is Kim from the shop.").await;
    assert_eq!(again, Accepted::Duplicate);
    workforce.run_until_idle().await.unwrap();
    assert_eq!(app.world.texts(), ["Hi.", "This is Kim from the shop."]);
    app.talk(&workforce, "P1", "e2").await;
    assert_eq!(last_outcome(&workforce).await, HELD);
    assert_eq!(model.calls().len(), 1, "no model is called");
    assert_eq!(app.world.texts().len(), 2);
    // Another conversation is not held.
    app.talk(&workforce, "P2", "e3").await;
    assert_eq!(app.world.texts().len(), 3);
    let held = workforce.conversations(None, 9).await.unwrap();
    let held = held
        .iter()
        .find(|one| one.place.as_ref().unwrap().id == "P1");
    workforce.hand_back(held.unwrap().id).await.unwrap();
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e4").await;
    assert_eq!(app.world.texts().len(), 4);
    // The model knows who wrote what.
    let shown = format!("{:?}", model.calls().last().unwrap().1.messages);
    for text in ["[A colleague of yours wrote:] This is Kim", "hello"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    check_replays(&workforce).await;
    let unknown = ConversationId::from_bytes([9; 16]);
    let error = workforce.hand_back(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_conversation_returns_after_the_time_out() {
    let app = App::new();
    let workforce = app.workforce(says("Hi."));
    app.talk(&workforce, "P1", "e1").await;
    reply(&workforce, "r1", "one").await;
    workforce.run_until_idle().await.unwrap();
    app.clock.advance(TIMEOUT - Duration::from_secs(1));
    // Each message of the team member restarts the time-out.
    reply(&workforce, "r2", "two").await;
    workforce.run_until_idle().await.unwrap();
    app.clock.advance(TIMEOUT - Duration::from_secs(1));
    app.talk(&workforce, "P1", "e2").await;
    assert_eq!(last_outcome(&workforce).await, HELD);
    app.clock.advance(Duration::from_secs(1));
    app.talk(&workforce, "P1", "e3").await;
    assert_eq!(app.world.texts(), ["Hi.", "one", "two", "Hi."]);
    check_replays(&workforce).await;
}

#[tokio::test]
async fn without_a_time_out_nothing_is_held() {
    let app = App::new();
    let workforce = app.with(says("Hi."), |ava| {
        ava.limits(crate::office::limits().with(|it| it.hold_secs = 0))
    });
    app.talk(&workforce, "P1", "e1").await;
    reply(&workforce, "r1", "one").await;
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e2").await;
    assert_eq!(app.world.texts(), ["Hi.", "one", "Hi."]);
}

/// A message that waits together with a team member's reply is not answered by the employee.
#[tokio::test]
async fn a_reply_that_waits_holds_the_conversation() {
    let app = App::new();
    let workforce = app.workforce(says("Hi."));
    app.talk(&workforce, "P1", "e1").await;
    workforce
        .accept(app.said("P1", "e2", "hello?"))
        .await
        .unwrap();
    reply(&workforce, "r1", "I am here.").await;
    workforce.run_until_idle().await.unwrap();
    assert_eq!(app.world.texts(), ["Hi.", "I am here."]);
    check_replays(&workforce).await;
}

/// A message that a person of the business writes in the phone app takes over too.
#[tokio::test]
async fn a_message_from_the_phone_app_takes_over() {
    let app = App::new();
    let workforce = app.workforce(says("Hi."));
    app.talk(&workforce, "P1", "e1").await;
    let mut echo = app.said("P1", "e2", "Let me take this.");
    echo.sender.kind = ActorKind::Operator;
    workforce.accept(echo).await.unwrap();
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e3").await;
    assert_eq!(last_outcome(&workforce).await, HELD);
    // An old message that is reported now does not.
    app.clock.advance(TIMEOUT);
    let mut old = app
        .said("P1", "e4", "Long ago.")
        .at(app.clock.now() - TIMEOUT);
    old.sender.kind = ActorKind::Operator;
    workforce.accept(old).await.unwrap();
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e5").await;
    assert_eq!(app.world.texts(), ["Hi.", "Hi."]);
    check_replays(&workforce).await;
}

#[tokio::test]
async fn a_reply_closes_the_open_questions() {
    let app = App::new();
    let (model, _) = flaky();
    let workforce = app.workforce(model);
    app.talk(&workforce, "P1", "e1").await;
    for _ in 0..20 {
        if !workforce.open_items(None, 9).await.unwrap().is_empty() {
            break;
        }
        app.clock.advance(Duration::from_secs(30));
        workforce.run_until_idle().await.unwrap();
    }
    let items = workforce.open_items(None, 9).await.unwrap();
    assert!(
        matches!(items[0].item.kind, ItemKind::Question { .. }),
        "{items:?}"
    );
    reply(&workforce, "r1", "We open at nine.").await;
    workforce.run_until_idle().await.unwrap();
    assert!(workforce.open_items(None, 9).await.unwrap().is_empty());
    let closed = log(&workforce).await.into_iter().any(|record| {
        matches!(
            record.entry,
            Entry::Action(Action::Close {
                reason: CloseReason::Decided,
                ..
            })
        )
    });
    assert!(closed);
    app.clock.advance(Duration::from_secs(3600));
    workforce.run_until_idle().await.unwrap();
    assert_eq!(app.world.texts().last().unwrap(), "We open at nine.");
    check_replays(&workforce).await;
}

/// A reply can be addressed to a place without a conversation.
#[tokio::test]
async fn a_reply_can_begin_a_conversation() {
    let app = App::new();
    let workforce = app.workforce(says("Hi."));
    let place = ConversationRef::direct("P1");
    let message = ProactiveMessage::new(scripted(), "T1", place, "Kim here.").for_person("P1");
    workforce.reply(message).await.unwrap();
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e1").await;
    assert_eq!(app.world.texts(), ["Kim here."]);
    assert_eq!(last_outcome(&workforce).await, HELD);
    let sent = log(&workforce)
        .await
        .into_iter()
        .filter(|record| matches!(record.entry, Entry::Event(Event::SendDone { .. })));
    assert_eq!(sent.count(), 1);
}
