//! What a customer, the owner and other tenants see while a model, a connection or another tenant fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use konstruct_core::{
    AccountId, Clock as _, Directory as _, Employee, ErrorKind, Inbound, TenantId,
    channel::Find,
    directory::ConnectionState,
    employee::{Phrases, TurnLimits},
    llm::Finish,
    message::{Body, Decision, Lifecycle, RoutedEvent},
    store::Accepted,
    testkit::{Fate, Gate, ScriptedAnswer, ScriptedModel, message},
    tool::{Effect, Toolbox},
    turn::{Entry, Event, FallbackReason, ItemKind, Outcome, SilenceReason, Worker},
};

use crate::office::{Office, says};

const HOUR: Duration = Duration::from_secs(3_600);

/// Returns the default limits of an employee.
fn by_default() -> TurnLimits {
    TurnLimits::default().with(|it| it.burst_ms = 0)
}

fn office(model: ScriptedModel) -> Office {
    Office::with(Find::Query, model, |employee| employee.limits(by_default()))
}

/// Returns a model that is down until its switch is set, and the switch.
pub(crate) fn flaky() -> (ScriptedModel, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&up);
    let model = ScriptedModel::new(move |_| {
        if up.load(Ordering::SeqCst) {
            ScriptedAnswer::text("We open at nine.")
        } else {
            ScriptedAnswer::Refuses(ErrorKind::Unavailable)
        }
    });
    (model, switch)
}

/// Advances the time step by step, and processes what is due.
async fn pass(office: &Office, time: Duration) {
    let until = office.clock.now() + time;
    loop {
        office.work().await;
        match office.next_due().await {
            Some(due) if due <= until => office.clock.advance_to(due),
            _ => break,
        }
    }
    office.clock.advance_to(until);
}

#[tokio::test]
async fn a_customer_is_told_within_the_deadline_that_the_model_is_down() {
    let (model, up) = flaky();
    let office = office(model);
    let asked = office.clock.now();
    office.say("P1", "e1", "When do you open?").await;
    pass(&office, Duration::from_secs(60)).await;
    let arrived = office.world.arrived();
    let texts: Vec<&str> = arrived.iter().map(|said| said.text.as_str()).collect();
    assert_eq!(texts, [Phrases::default().deferred.as_str()]);
    let waited = arrived[0].at.since(asked);
    assert!(waited <= Duration::from_secs(45), "after {waited:?}");
    let [item] = office.items().await.try_into().unwrap();
    let kind = ItemKind::Question {
        reason: FallbackReason::Model,
    };
    assert_eq!(item.item.kind, kind, "the owner sees the item");

    // While the model stays down, no further message is sent.
    pass(&office, HOUR).await;
    assert_eq!(office.world.texts().len(), 1);
    assert_eq!(office.items().await.len(), 1);
    assert!(
        office.model.calls().len() < 60,
        "the delays between attempts increase"
    );

    // When the model is back, the question is answered without a new message, and the model is shown the question.
    up.store(true, Ordering::SeqCst);
    pass(&office, Duration::from_secs(700)).await;
    assert_eq!(office.world.texts()[1..], ["We open at nine.".to_owned()]);
    assert!(office.items().await.is_empty());
    let request = office.model.calls().pop().unwrap().1;
    let asked = format!("{:?}", request.messages.last().unwrap());
    assert!(asked.contains("When do you open?"), "{asked}");
    pass(&office, HOUR).await;
    assert_eq!(
        office.world.texts().len(),
        2,
        "the question is answered once"
    );
    office.replays().await;
}

#[tokio::test]
async fn a_question_is_not_retried_forever_and_a_person_can_request_an_answer() {
    let (model, up) = flaky();
    let office = office(model);
    office.say("P1", "e1", "When do you open?").await;
    pass(&office, 5 * HOUR).await;
    let calls = office.model.calls().len();
    pass(&office, 20 * HOUR).await;
    assert_eq!(
        office.model.calls().len(),
        calls,
        "nothing is retried after four hours"
    );
    let [open] = office.items().await.try_into().unwrap();
    assert_eq!(open.item.retry_at, None);

    let answer = |id: &str, item: &konstruct_core::store::ItemEntry| {
        let mut event = message("elsewhere", id, "", office.clock.now());
        event.logical_id = format!("decision:{}", item.item.id);
        event.sender = konstruct_core::message::Actor::default();
        event.body = Body::Decision {
            target: item.conversation,
            item: item.item.id.clone(),
            decision: Decision::Answer,
        };
        event
    };
    // The model is still down: the question is opened again under a new id, so that another decision is possible.
    let decided = answer("d1", &open);
    assert!(matches!(
        office.accept(decided.clone()).await,
        Accepted::New { .. }
    ));
    assert_eq!(
        office.accept(answer("d1-again", &open)).await,
        Accepted::Duplicate,
        "an item can be decided on only once"
    );
    pass(&office, HOUR).await;
    let [again] = office.items().await.try_into().unwrap();
    assert_ne!(again.item.id, open.item.id);
    assert_eq!(office.world.texts().len(), 1);

    up.store(true, Ordering::SeqCst);
    office.accept(answer("d2", &again)).await;
    pass(&office, HOUR).await;
    assert_eq!(office.world.texts()[1..], ["We open at nine.".to_owned()]);
    assert!(office.items().await.is_empty());
    office.replays().await;
}

#[tokio::test]
async fn an_answer_to_a_later_message_closes_the_question() {
    let (model, up) = flaky();
    let office = office(model);
    office.say("P1", "e1", "When do you open?").await;
    pass(&office, Duration::from_secs(60)).await;
    up.store(true, Ordering::SeqCst);
    office.say("P1", "e2", "Hello?").await;
    pass(&office, Duration::from_secs(5)).await;
    assert_eq!(office.world.texts().len(), 2);
    assert!(office.items().await.is_empty());
    pass(&office, HOUR).await;
    assert_eq!(
        office.world.texts().len(),
        2,
        "the question is not answered twice"
    );
}

#[tokio::test]
async fn a_dead_connection_costs_no_model_call_and_loses_no_answer() {
    let office = office(says("Hi."));
    office.channel.plan([Fate::Unauthorized]);
    office.say("P1", "e1", "hello").await;
    office.work().await;
    let (tenant, connection) = (office.tenant, office.connection);
    let state = || office.directory.connection_state(tenant, connection);
    assert!(matches!(
        state().await.unwrap(),
        ConnectionState::Paused {
            reason: ErrorKind::Unauthorized,
            ..
        }
    ));
    assert_eq!(office.model.calls().len(), 1);
    for n in 2..30 {
        office
            .say(&format!("P{n}"), &format!("e{n}"), "hello")
            .await;
    }
    pass(&office, 2 * HOUR).await;
    assert_eq!(
        office.model.calls().len(),
        1,
        "no call is paid for without a way to reply"
    );
    assert!(office.world.texts().is_empty());
    assert!(office.items().await.is_empty(), "no item needs a decision");

    // The token is renewed: everyone is answered, and the first person receives the answer that waited.
    office
        .directory
        .set_connection_state(tenant, connection, ConnectionState::Active)
        .await
        .unwrap();
    pass(&office, HOUR).await;
    assert_eq!(office.world.texts().len(), 29);
    assert_eq!(office.model.calls().len(), 29);
    office.replays().await;
}

#[tokio::test]
async fn questions_older_than_four_hours_need_a_decision() {
    let office = office(says("Hi."));
    let (tenant, connection) = (office.tenant, office.connection);
    let set = |state| {
        office
            .directory
            .set_connection_state(tenant, connection, state)
    };
    let since = office.clock.now();
    set(ConnectionState::Disconnected { since }).await.unwrap();
    office.say("P1", "old", "hello").await;
    pass(&office, 5 * HOUR).await;
    office.say("P2", "young", "hello").await;
    pass(&office, HOUR).await;
    set(ConnectionState::Active).await.unwrap();
    pass(&office, HOUR).await;
    assert_eq!(office.model.calls().len(), 1);
    assert_eq!(office.world.arrived()[0].to.id, "P2");
    let [open] = office.items().await.try_into().unwrap();
    let kind = ItemKind::Question {
        reason: FallbackReason::Late,
    };
    assert_eq!(open.item.kind, kind);
    let late = Outcome::Silent {
        reason: SilenceReason::Late,
    };
    assert!(office.outcomes().await.contains(&late));
}

#[tokio::test]
async fn lifecycle_events_change_the_connection_state() {
    let office = office(says("Hi."));
    let (tenant, connection) = (office.tenant, office.connection);
    let state = || office.directory.connection_state(tenant, connection);
    let lifecycle = |id: &str, change| {
        let kind = konstruct_core::ChannelKind::new("scripted");
        let body = Body::Lifecycle { change };
        Inbound::new(
            kind,
            AccountId("account".into()),
            id,
            office.clock.now(),
            body,
        )
    };
    office
        .accept(lifecycle("l1", Lifecycle::Disconnected))
        .await;
    office.work().await;
    assert!(matches!(
        state().await.unwrap(),
        ConnectionState::Disconnected { .. }
    ));
    office.say("P1", "e1", "hello").await;
    office.work().await;
    assert!(office.model.calls().is_empty());
    office.accept(lifecycle("l2", Lifecycle::Reconnected)).await;
    pass(&office, HOUR).await;
    assert_eq!(office.world.texts(), ["Hi."]);
}

#[tokio::test]
async fn a_tenant_with_a_slow_model_does_not_delay_others() {
    let gate = Gate::default();
    let held = gate.clone();
    let slow = ScriptedModel::new(move |_| {
        ScriptedAnswer::Waits(held.clone(), Box::new(ScriptedAnswer::text("Late.")))
    });
    let office = office(slow);
    let quick = TenantId::new();
    let employee = Employee::builder("Ben")
        .limits(by_default())
        .build()
        .unwrap();
    let model = Arc::new(says("Quick."));
    office
        .directory
        .hire(quick, employee, model, Toolbox::default());
    office
        .directory
        .connect(quick, office.connection, office.channel.clone());
    for n in 0..100 {
        office
            .say(&format!("P{n}"), &format!("e{n}"), "hello")
            .await;
    }
    let worker = Worker::new(office.driver()).with_concurrency(8.try_into().unwrap());
    let run = tokio::spawn(worker.run(std::future::pending()));
    while office.model.calls().len() < 4 {
        tokio::task::yield_now().await;
    }
    for n in 0..50 {
        let event = message(
            &format!("Q{n}"),
            &format!("q{n}"),
            "hello",
            office.clock.now(),
        );
        let connection = office.connection;
        let routed = vec![RoutedEvent { connection, event }];
        office.store.accept(quick, routed).await.unwrap();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            office.world.texts().len(),
            n + 1,
            "no conversation waits for another tenant"
        );
    }
    assert!(office.model.calls().len() <= 4, "at most half of the slots");
    gate.open();
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    run.abort();
    assert_eq!(office.world.texts().len(), 150);
}

#[tokio::test]
async fn short_steps_do_not_lose_the_lease() {
    // Every step is shorter than the renewal interval, but all steps together are longer than the lease.
    let model = ScriptedModel::new(|request: &konstruct_core::llm::ModelRequest| {
        let acted = request
            .messages
            .iter()
            .filter(|message| message.role == konstruct_core::llm::Role::Tool);
        if acted.count() < 10 {
            ScriptedAnswer::tools(&["slow"])
        } else {
            ScriptedAnswer::text("Done.")
        }
    });
    let office = Office::with(Find::Query, model, |employee| {
        employee
            .tool("slow")
            .limits(by_default().with(|it| it.model_calls = 20))
    });
    let (clock, world) = (office.clock.clone(), office.world.clone());
    let tool = konstruct_core::tool::function(
        "slow",
        "Takes its time.",
        Effect::Once,
        move |_: konstruct_core::tool::ToolContext, (): ()| {
            let (clock, world) = (clock.clone(), world.clone());
            async move {
                let _ = world;
                clock
                    .sleep_until(clock.now() + Duration::from_secs(15))
                    .await;
                Ok("done")
            }
        },
    );
    let employee = office.directory.staff(office.tenant, None).await.unwrap();
    let tools = Toolbox::builder().tool(tool).build().unwrap();
    office.directory.hire(
        office.tenant,
        (*employee.employee).clone(),
        Arc::new(office.model.clone()),
        tools,
    );
    office.say("P1", "e1", "hello").await;
    let worker = Worker::new(office.driver().with_lease(Duration::from_secs(60)));
    let work = worker.run_until_idle();
    futures_util::pin_mut!(work);
    for _ in 0..200 {
        if work.as_mut().now_or_never().is_some() {
            break;
        }
        office.clock.advance(Duration::from_secs(1));
        let other = office.claim(60).await;
        assert!(
            other.is_none(),
            "another worker claimed the conversation: {other:?}"
        );
    }
    assert_eq!(office.world.texts(), ["Done."]);
    office.replays().await;
}

#[tokio::test]
async fn a_cut_answer_is_continued_and_sent_whole() {
    let model = ScriptedModel::new(|request: &konstruct_core::llm::ModelRequest| {
        let asked = format!("{:?}", request.messages.last());
        if asked.contains("cut off") {
            ScriptedAnswer::text(" and close at six.")
        } else {
            ScriptedAnswer::Cut("We open at nine".into())
        }
    });
    let office = office(model);
    office.say("P1", "e1", "hours?").await;
    office.settle().await;
    assert_eq!(office.world.texts(), ["We open at nine and close at six."]);
    office.replays().await;
}

#[tokio::test]
async fn a_blank_answer_is_not_silence() {
    let office = office(ScriptedModel::new(|_| ScriptedAnswer::Ends(Finish::Stop)));
    office.say("P1", "e1", "hours?").await;
    office.work().await;
    assert_eq!(
        office.model.calls().len(),
        2,
        "the model is called again once"
    );
    assert_eq!(office.world.texts(), [Phrases::default().deferred]);
    assert_eq!(office.items().await.len(), 1);
}

#[tokio::test]
async fn a_long_answer_is_a_few_messages_and_the_rest_on_request() {
    let long: String = (0..2_000).map(|n| format!("Line {n}.\n")).collect();
    let model = ScriptedModel::new(move |_| ScriptedAnswer::text(long.clone()));
    let office = office(model);
    office.say("P1", "e1", "all of it?").await;
    office.work().await;
    let texts = office.world.texts();
    assert_eq!(texts.len(), 5, "four parts, and the offer of the rest");
    assert_eq!(texts[4], Phrases::default().rest);
    let [item] = office.items().await.try_into().unwrap();
    assert_eq!(item.item.kind, ItemKind::Rest);

    let mut press = message("P1", "press", "", office.clock.now());
    press.body = Body::Action {
        kind: "button".into(),
        action: item.item.id.0.clone(),
        value: String::new(),
    };
    office.accept(press).await;
    office.work().await;
    let texts = office.world.texts();
    assert_eq!(
        texts.len(),
        10,
        "the next four parts, and the offer of the rest"
    );
    assert!(texts[5].starts_with("Line "), "{}", texts[5]);
    assert_eq!(
        office.model.calls().len(),
        1,
        "the model is not called for the rest"
    );
    office.replays().await;
}

#[tokio::test]
async fn an_unprocessable_conversation_ends_with_an_item() {
    let office = office(says("Hi."));
    office.directory.dismiss(office.tenant);
    office.say("P1", "e1", "hello").await;
    pass(&office, HOUR).await;
    let [item] = office.items().await.try_into().unwrap();
    let kind = ItemKind::Question {
        reason: FallbackReason::Broken,
    };
    assert_eq!(item.item.kind, kind);
    assert_eq!(
        office.next_due().await,
        None,
        "the conversation is not retried"
    );
    let turns = office.turns().await;
    let heard = turns[0]
        .iter()
        .filter(|record| matches!(record.entry, Entry::Event(Event::Received(_))));
    assert_eq!(heard.count(), 1, "the message is kept");
}

#[tokio::test]
async fn an_unresolved_send_that_is_sent_again_can_be_decided_about_again() {
    let office = Office::with(Find::None, says("Hi."), |employee| {
        employee.limits(by_default())
    });
    office.channel.plan([Fate::AnswerLost, Fate::AnswerLost]);
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    for round in 0..2 {
        let [open] = office.items().await.try_into().unwrap();
        let mut event = message("elsewhere", &format!("d{round}"), "", office.clock.now());
        event.logical_id = format!("decision:{}", open.item.id);
        event.sender = konstruct_core::message::Actor::default();
        event.body = Body::Decision {
            target: open.conversation,
            item: open.item.id.clone(),
            decision: Decision::Resend,
        };
        let accepted = office.accept(event).await;
        assert!(matches!(accepted, Accepted::New { .. }), "{accepted:?}");
        office.settle().await;
    }
    assert!(
        office.items().await.is_empty(),
        "the second decision has an effect"
    );
    assert_eq!(office.world.texts().len(), 3);
}
