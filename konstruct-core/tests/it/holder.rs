//! Who answers in a conversation: the employee, or a team member who took it over.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    AccountId, Clock as _, ConversationId, ConversationRef, ErrorKind, Inbound, ProactiveMessage,
    Timestamp, Workforce,
    channel::Find,
    message::{ActorKind, Body, Decision},
    store::{Accepted, ItemEntry},
    testkit::{CrashPoint, Moment, Write},
    turn::{
        Action, CloseReason, Entry, Event, ItemKind, OpenReason, Outcome, Record, Replay,
        SilenceReason, Worker, replay,
    },
};

use crate::{
    app::{App, scripted},
    office::{Office, says},
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

async fn send(workforce: &Workforce, id: &str, text: &str, expires_at: Option<Timestamp>) {
    let to = conversation(workforce).await;
    let message = ProactiveMessage::to_conversation(to, text).with_id(id);
    let message = match expires_at {
        Some(at) => message.expires_at(at),
        None => message,
    };
    workforce.send(message).await.unwrap();
    workforce.run_until_idle().await.unwrap();
}

async fn items(workforce: &Workforce) -> Vec<ItemEntry> {
    workforce.open_items(None, 9).await.unwrap()
}

/// A message that the employee sends first does not interrupt the person who holds the conversation.
#[tokio::test]
async fn a_proactive_message_waits_until_the_conversation_is_handed_back() {
    let app = App::new();
    let model = says("Hi.");
    let workforce = app.workforce(model.clone());
    app.talk(&workforce, "P1", "e1").await;
    reply(&workforce, "r1", "Kim here.").await;
    workforce.run_until_idle().await.unwrap();
    send(&workforce, "s1", "Your bike is ready.", None).await;
    send(&workforce, "s2", "Rate us.", None).await;
    let held: Vec<_> = items(&workforce)
        .await
        .into_iter()
        .map(|it| it.item.kind)
        .collect();
    let waits = |kind: &ItemKind| {
        matches!(
            kind,
            ItemKind::Send {
                reason: OpenReason::Held,
                ..
            }
        )
    };
    assert!(held.len() == 2 && held.iter().all(waits), "{held:?}");
    // The team member's own messages are sent meanwhile, and the person's are recorded.
    reply(&workforce, "r2", "One moment.").await;
    workforce.run_until_idle().await.unwrap();
    app.talk(&workforce, "P1", "e2").await;
    assert_eq!(app.world.texts(), ["Hi.", "Kim here.", "One moment."]);
    workforce
        .hand_back(conversation(&workforce).await)
        .await
        .unwrap();
    workforce.run_until_idle().await.unwrap();
    let sent = [
        "Hi.",
        "Kim here.",
        "One moment.",
        "Your bike is ready.",
        "Rate us.",
    ];
    assert_eq!(app.world.texts(), sent);
    assert_eq!(items(&workforce).await, []);
    // The model is shown it where it was sent.
    app.talk(&workforce, "P1", "e3").await;
    let shown = format!("{:?}", model.calls().last().unwrap().1.messages);
    let at = |text: &str| shown.find(text).unwrap();
    assert!(at("One moment.") < at("Your bike is ready."));
    assert_eq!(shown.matches("Your bike is ready.").count(), 1);
    app.clock.advance(2 * TIMEOUT);
    workforce.run_until_idle().await.unwrap();
    assert_eq!(app.world.texts().len(), 6);
    check_replays(&workforce).await;
}

#[tokio::test]
async fn a_message_that_waits_is_sent_after_the_time_out_or_expires() {
    let check = async |expires: Option<Duration>, sent: bool| {
        let app = App::new();
        let model = says("Hi.");
        let workforce = app.workforce(model.clone());
        app.talk(&workforce, "P1", "e1").await;
        reply(&workforce, "r1", "Kim here.").await;
        workforce.run_until_idle().await.unwrap();
        let expires_at = expires.map(|after| app.clock.now() + after);
        send(&workforce, "s1", "Your bike is ready.", expires_at).await;
        app.clock.advance(TIMEOUT - Duration::from_secs(10));
        // Another message of the team member extends the time.
        reply(&workforce, "r2", "Still here.").await;
        workforce.run_until_idle().await.unwrap();
        app.clock.advance(TIMEOUT - Duration::from_secs(1));
        workforce.run_until_idle().await.unwrap();
        assert_eq!(app.world.texts(), ["Hi.", "Kim here.", "Still here."]);
        app.clock.advance(Duration::from_secs(1));
        workforce.run_until_idle().await.unwrap();
        let ready = app
            .world
            .texts()
            .contains(&"Your bike is ready.".to_owned());
        assert_eq!(ready, sent, "{expires:?}");
        assert_eq!(items(&workforce).await, [], "{expires:?}");
        app.talk(&workforce, "P1", "e2").await;
        let shown = format!("{:?}", model.calls().last().unwrap().1.messages);
        assert_eq!(shown.contains("Your bike"), sent, "{expires:?}");
        check_replays(&workforce).await;
    };
    check(None, true).await;
    check(Some(3 * TIMEOUT), true).await;
    check(Some(TIMEOUT + TIMEOUT / 2), false).await;
    check(Some(Duration::from_secs(60)), false).await;
}

#[tokio::test]
async fn a_person_decides_on_a_message_that_waits() {
    for (decision, sent) in [(Decision::Resend, true), (Decision::Drop, false)] {
        let app = App::new();
        let workforce = app.workforce(says("Hi."));
        app.talk(&workforce, "P1", "e1").await;
        reply(&workforce, "r1", "Kim here.").await;
        workforce.run_until_idle().await.unwrap();
        send(&workforce, "s1", "Your bike is ready.", None).await;
        let entry = items(&workforce).await.remove(0);
        assert!(workforce.decide(&entry, Decision::Arrived).await.is_err());
        assert!(workforce.decide(&entry, decision).await.unwrap());
        workforce.run_until_idle().await.unwrap();
        workforce.hand_back(entry.conversation).await.unwrap();
        workforce.run_until_idle().await.unwrap();
        assert_eq!(
            app.world.texts().len(),
            2 + usize::from(sent),
            "{decision:?}"
        );
        assert_eq!(items(&workforce).await, []);
        check_replays(&workforce).await;
    }
}

/// Wherever the process ends, the message is sent once, and only after the conversation was handed back.
#[tokio::test]
async fn a_message_that_waits_survives_a_kill() {
    for appends in 1..=6 {
        for moment in [Moment::Before, Moment::After] {
            let office = Office::new(Find::Query, says("Hi."));
            office.say("P1", "e1", "hello").await;
            office.work().await;
            let place = ConversationRef::direct("P1");
            let now = office.clock.now();
            office
                .accept(Inbound::team_reply(place.clone(), "Kim here.", now))
                .await;
            office.work().await;
            let what = Body::Proactive {
                outgoing: "Ready.".into(),
                expires_at: None,
            };
            let message = Inbound::new(scripted(), AccountId("account".into()), "s1", now, what);
            office.accept(message.in_conversation(place.clone())).await;
            let crash =
                |nth| CrashPoint::new(Arc::clone(&office.store), &[Write::Append], nth, moment);
            let killed = async |nth| {
                let worker = Worker::new(office.driver_on(Arc::new(crash(nth))));
                let _ = worker.run_until_idle().await;
                office.memory.void_claims();
            };
            killed(appends).await;
            office.work().await;
            assert_eq!(
                office.world.texts(),
                ["Hi.", "Kim here."],
                "{appends} {moment:?}"
            );
            office
                .accept(Inbound::handed_back(place, office.clock.now()))
                .await;
            killed(appends).await;
            office.settle().await;
            assert_eq!(
                office.world.texts(),
                ["Hi.", "Kim here.", "Ready."],
                "{appends} {moment:?}"
            );
            office.replays().await;
        }
    }
}

#[tokio::test]
async fn the_list_shows_since_when_a_conversation_is_held() {
    let app = App::new();
    let workforce = app.workforce(says("Hi."));
    let held = async || workforce.conversations(None, 1).await.unwrap()[0].held_since;
    app.talk(&workforce, "P1", "e1").await;
    assert_eq!(held().await, None);
    app.clock.advance(Duration::from_secs(5));
    let since = app.clock.now();
    reply(&workforce, "r1", "Kim here.").await;
    workforce.run_until_idle().await.unwrap();
    app.clock.advance(Duration::from_secs(5));
    assert_eq!(held().await, Some(since));
    workforce
        .hand_back(conversation(&workforce).await)
        .await
        .unwrap();
    workforce.run_until_idle().await.unwrap();
    assert_eq!(held().await, None);
}
