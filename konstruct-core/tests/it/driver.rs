//! The driver: bursts, order, waits, and failures of its surroundings.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::FutureExt as _;
use konstruct_core::{
    Clock as _, ErrorKind, Inbound, TenantId,
    channel::Find,
    employee::{MidTurn, Phrases, TurnLimits, Unresolved},
    llm::{ModelRequest, Role},
    message::{ActorKind, Body, Decision, DeliveryState},
    store::{Accepted, ItemEntry},
    testkit::{
        CountingTool, CrashPoint, Fate, Gate, Moment, ScriptedAnswer, ScriptedModel, ToolEnd,
        Write, message,
    },
    tool::{Effect, Toolbox},
    turn::{
        Action, Driver, Entry, Event, FallbackReason, ItemKind, OpenReason, Outcome, SilenceReason,
        WorkOutcome, Worker,
    },
};

use crate::altered::{Alteration, Altered};
use crate::office::{Office, ids, inputs, limits, says};

const REPLIED: Outcome = Outcome::Replied {
    parts: 1,
    fallback: None,
};

fn silent(reason: SilenceReason) -> Outcome {
    Outcome::Silent { reason }
}

/// Returns a person's decision on an open item.
fn decision(office: &Office, id: &str, entry: &ItemEntry, decision: Decision) -> Inbound {
    let mut event = message("elsewhere", id, "", office.clock.now());
    event.logical_id = format!("decision:{}", entry.item.id);
    event.sender.kind = ActorKind::System;
    event.sender.ids.clear();
    event.body = Body::Decision {
        target: entry.conversation,
        item: entry.item.id.clone(),
        decision,
    };
    event
}

/// Returns the reason and the messages of an open item.
fn keys(entry: &ItemEntry) -> (OpenReason, Vec<String>) {
    match &entry.item.kind {
        ItemKind::Send { reason, keys } => (*reason, keys.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_burst_becomes_one_turn() {
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.limits(TurnLimits::default())
    });
    let worker = Worker::new(office.driver());
    let work = worker.run_until_idle();
    futures_util::pin_mut!(work);
    for n in 0..5 {
        office.say("P1", &format!("e{n}"), "hello").await;
        assert!(
            work.as_mut().now_or_never().is_none(),
            "the driver waits for the end of the burst"
        );
        office.clock.advance(Duration::from_millis(200));
    }
    assert!(office.model.calls().is_empty());
    office.clock.advance(Duration::from_millis(300));
    work.await.unwrap();
    assert_eq!(office.world.texts(), ["Hi."]);
    assert_eq!(
        ids(&office.turns().await[0]),
        ["e0", "e1", "e2", "e3", "e4"]
    );
}

#[tokio::test]
async fn a_person_who_never_pauses_is_answered() {
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.limits(TurnLimits::default())
    });
    let worker = Worker::new(office.driver());
    let work = worker.run_until_idle();
    futures_util::pin_mut!(work);
    for n in 0..40 {
        office.say("P1", &format!("e{n}"), "hello").await;
        let _ = work.as_mut().now_or_never();
        office.clock.advance(Duration::from_millis(100));
        if !office.world.texts().is_empty() {
            assert!((25..=32).contains(&n), "answered after {n} messages");
            return;
        }
    }
    panic!("never answered");
}

#[tokio::test]
async fn a_mention_that_arrives_during_the_burst_is_not_lost() {
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.limits(TurnLimits::default())
    });
    let delivery = |id: &str, mention| {
        let mut event = message("P1", id, "@ava hello", office.clock.now());
        event.logical_id = "C1/17".into();
        event.addressed.direct = false;
        event.addressed.mention = mention;
        event
    };
    office.accept(delivery("message", false)).await;
    let worker = Worker::new(office.driver());
    let work = worker.run_until_idle();
    futures_util::pin_mut!(work);
    assert!(work.as_mut().now_or_never().is_none());
    assert_eq!(
        office.accept(delivery("app_mention", true)).await,
        Accepted::Upgraded
    );
    office.clock.advance(Duration::from_millis(300));
    work.await.unwrap();
    assert_eq!(office.outcomes().await, [REPLIED]);
}

#[tokio::test]
async fn a_burst_outlives_a_short_lease() {
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.limits(limits().with(|it| it.burst_ms = 10_000))
    });
    office.say("P1", "e1", "hello").await;
    let driver = office.driver().with_lease(Duration::from_secs(3));
    let claim = office.claim(3).await;
    let work = driver.work(claim.unwrap());
    futures_util::pin_mut!(work);
    for _ in 0..10 {
        assert!(work.as_mut().now_or_never().is_none());
        office.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(work.await.unwrap(), WorkOutcome::Released);
    assert_eq!(office.outcomes().await, [REPLIED]);
}

#[tokio::test]
async fn inputs_are_in_the_providers_order_and_late_ones_are_marked() {
    let office = Office::new(Find::Query, says("Hi."));
    let t = office.clock.now();
    for (id, after) in [("b", 2), ("c", 3), ("a", 1), ("b2", 2)] {
        office
            .accept(message("P1", id, "x", t + Duration::from_secs(after)))
            .await;
    }
    office.work().await;
    office.accept(message("P1", "late", "x", t)).await;
    office
        .accept(message("P1", "new", "x", t + Duration::from_secs(9)))
        .await;
    office.work().await;
    let turns = office.turns().await;
    assert_eq!(ids(&turns[0]), ["a", "b", "b2", "c"]);
    let late: Vec<_> = inputs(&turns[1])
        .iter()
        .map(|input| (input.event.id.clone(), input.late))
        .collect();
    assert_eq!(late, [("late".to_owned(), true), ("new".to_owned(), false)]);
    office.replays().await;
}

/// Runs a turn with a tool, during which the person writes again.
async fn interrupted(mid_turn: MidTurn) -> Office {
    let gate = Gate::default();
    let held = gate.clone();
    let model = ScriptedModel::new(move |request: &ModelRequest| {
        let role = request.messages.last().map(|last| last.role);
        let asked = request
            .messages
            .iter()
            .filter(|message| message.role == Role::User)
            .count();
        let acted = request
            .messages
            .iter()
            .any(|message| message.role == Role::Tool);
        match role {
            Some(Role::User) if !acted => {
                ScriptedAnswer::Waits(held.clone(), Box::new(ScriptedAnswer::tools(&["look"])))
            }
            _ => ScriptedAnswer::text(format!("I read {asked}.")),
        }
    });
    let office = Office::with(Find::Query, model, |employee| {
        employee
            .tool("look")
            .limits(limits().with(|it| it.mid_turn = mid_turn))
    });
    office.say("P1", "e1", "one").await;
    {
        let worker = Worker::new(office.driver());
        let work = worker.run_until_idle();
        futures_util::pin_mut!(work);
        assert!(work.as_mut().now_or_never().is_none());
        office.say("P1", "e2", "two").await;
        gate.open();
        work.await.unwrap();
    }
    office
}

#[tokio::test]
async fn progress_is_shown_to_a_waiting_person() {
    let gate = Gate::default();
    let held = gate.clone();
    let model = ScriptedModel::new(move |_| {
        ScriptedAnswer::Waits(held.clone(), Box::new(ScriptedAnswer::text("At nine.")))
    });
    let office = Office::new(Find::Query, model);
    let channel = office
        .channel
        .clone()
        .with(|channel| channel.progress = true);
    office
        .directory
        .connect(office.tenant, office.connection, channel);
    office.say("P1", "e1", "When?").await;
    {
        let worker = Worker::new(office.driver());
        let work = worker.run_until_idle();
        futures_util::pin_mut!(work);
        assert!(work.as_mut().now_or_never().is_none());
        assert_eq!(office.world.progress(), 0);
        office.clock.advance(Duration::from_millis(300));
        assert!(work.as_mut().now_or_never().is_none());
        assert_eq!(office.world.progress(), 1);
        gate.open();
        work.await.unwrap();
    }
    // This question is answered immediately.
    office.say("P1", "e2", "And on Sunday?").await;
    office.work().await;
    assert_eq!(office.world.texts(), ["At nine.", "At nine."]);
    assert_eq!(office.world.progress(), 1);
}

#[tokio::test]
async fn messages_during_a_turn_are_folded_in_or_queued() {
    let folded = interrupted(MidTurn::Fold).await;
    assert_eq!(folded.world.texts(), ["I read 2."]);
    assert_eq!(ids(&folded.turns().await[0]), ["e1", "e2"]);
    let queued = interrupted(MidTurn::Queue).await;
    let turns = queued.turns().await;
    assert_eq!(
        (ids(&turns[0]), ids(&turns[1])),
        (vec!["e1".into()], vec!["e2".into()])
    );
    assert_eq!(queued.world.texts()[0], "I read 1.");
    for office in [folded, queued] {
        office.replays().await;
    }
}

#[tokio::test]
async fn a_bot_loop_stops_within_two_turns() {
    let office = Office::new(Find::Query, says("Hello, bot."));
    for n in 0..6 {
        let mut event = message("P1", &format!("e{n}"), "hello", office.clock.now());
        event.sender.kind = ActorKind::Bot;
        office.accept(event).await;
        office.work().await;
    }
    assert_eq!(office.world.texts().len(), 2);
    assert_eq!(
        office.outcomes().await[2..],
        vec![silent(SilenceReason::BotLoop); 4]
    );
    office.say("P1", "person", "stop that").await;
    office.work().await;
    assert_eq!(office.world.texts().len(), 3, "a person is answered");
}

#[tokio::test]
async fn every_outcome_of_a_send_is_handled() {
    let (lost, late) = (Fate::Lost, Fate::Late(Duration::from_secs(11)));
    let wait = Fate::Limited(Duration::from_secs(90));
    let asked = |reason| Err(reason);
    for (find, fates, resend, expected, texts) in [
        (
            Find::Query,
            vec![Fate::Unreachable, wait, Fate::Arrives],
            false,
            Ok(()),
            1,
        ),
        (Find::Query, vec![Fate::AnswerLost], false, Ok(()), 1),
        (
            Find::Query,
            vec![lost, lost, Fate::Arrives],
            false,
            Ok(()),
            1,
        ),
        (Find::Query, vec![late], false, Ok(()), 1),
        (
            Find::Query,
            vec![Fate::Refused],
            false,
            asked(OpenReason::Failed(ErrorKind::Forbidden)),
            0,
        ),
        (
            Find::Event,
            vec![lost],
            false,
            asked(OpenReason::Unresolved),
            0,
        ),
        (Find::Event, vec![lost], true, Ok(()), 1),
        (
            Find::Event,
            vec![Fate::AnswerLost],
            false,
            asked(OpenReason::Unresolved),
            1,
        ),
        (
            Find::None,
            vec![Fate::AnswerLost],
            false,
            asked(OpenReason::Unresolved),
            1,
        ),
        (Find::None, vec![lost], true, Ok(()), 1),
    ] {
        let unresolved = if resend {
            Unresolved::Resend
        } else {
            Unresolved::Ask
        };
        let office = Office::with(find, says("Hi."), |employee| {
            employee.limits(limits().with(|it| it.unresolved = unresolved))
        });
        office.channel.plan(fates.clone());
        office.say("P1", "e1", "hello").await;
        // A send without a response is cancelled at its deadline.
        let cut = async {
            loop {
                office.clock.advance(Duration::from_millis(500));
                tokio::task::yield_now().await;
            }
        };
        let settled = async { office.settle().await };
        futures_util::pin_mut!(cut, settled);
        futures_util::future::select(settled, cut).await;
        let turn = office.turns().await.remove(0);
        let Some(Entry::Action(Action::Finish { outcome })) =
            turn.last().map(|record| record.entry.clone())
        else {
            panic!("{find:?} {fates:?}: the turn is open");
        };
        let found = match outcome {
            Outcome::Replied { .. } => Ok(()),
            _ => Err(keys(&office.items().await[0]).0),
        };
        assert_eq!(found, expected, "{find:?} {fates:?}");
        assert_eq!(office.world.texts().len(), texts, "{find:?} {fates:?}");
        office.replays().await;
    }
}

#[tokio::test]
async fn a_report_during_downtime_counts() {
    let office = Office::with(Find::Event, says("Hi."), |employee| {
        employee.limits(limits().with(|it| it.unresolved = Unresolved::Resend))
    });
    office.channel.plan([Fate::AnswerLost]);
    office.say("P1", "e1", "hello").await;
    office.work().await;
    let key = office.world.arrived()[0].key.clone();
    // An hour later, both the provider's report and the timer are due.
    office.clock.advance(Duration::from_secs(3_600));
    office
        .accept(office.world.status(&key, DeliveryState::Delivered).unwrap())
        .await;
    office.settle().await;
    assert_eq!(office.world.texts().len(), 1, "the message is sent once");
    assert_eq!(office.outcomes().await[0], REPLIED);
}

#[tokio::test]
async fn a_person_decides_about_an_unresolved_send() {
    for (decided, times) in [
        (Decision::Arrived, 1),
        (Decision::Resend, 2),
        (Decision::Drop, 1),
    ] {
        let office = Office::new(Find::None, says("Hi."));
        office.channel.plan([Fate::AnswerLost]);
        office.say("P1", "e1", "hello").await;
        office.settle().await;
        let open = office.items().await.remove(0);
        let asked = office.outcomes().await[0].clone();
        let item = open.item.id.clone();
        assert_eq!(asked, Outcome::Asked { item });
        let key = keys(&open).1[0].clone();
        office.say("P1", "e2", "still there?").await;
        office.settle().await;
        assert_eq!(office.world.texts().len(), 2, "the next turn is answered");
        let context = office.model.calls()[1].1.context.clone();
        assert!(
            context.contains("not known whether they arrived"),
            "{context}"
        );
        office.accept(decision(&office, "d1", &open, decided)).await;
        office.settle().await;
        let arrived = office.world.arrived();
        let same = arrived.iter().filter(|said| said.key == key).count();
        assert_eq!(same, times, "{decided:?}");
        assert!(
            arrived.iter().all(|said| said.to.id == "P1"),
            "sent to the right place"
        );
        assert!(office.items().await.is_empty(), "{decided:?}");
        office.replays().await;
    }
}

#[tokio::test]
async fn a_send_that_failed_after_it_was_accepted_can_be_sent_again() {
    let office = Office::new(Find::Event, says("Hi."));
    office.say("P1", "e1", "hello").await;
    office.settle().await;
    let key = office.world.arrived()[0].key.clone();
    office
        .accept(office.world.status(&key, DeliveryState::Failed).unwrap())
        .await;
    office.settle().await;
    let open = office.items().await.remove(0);
    assert_eq!(keys(&open), (OpenReason::NotDelivered, vec![key]));
    let item = open.item.id.clone();
    assert_eq!(office.outcomes().await[1], Outcome::Asked { item });
    office
        .accept(decision(&office, "d1", &open, Decision::Resend))
        .await;
    office.settle().await;
    assert_eq!(office.world.texts(), ["Hi.", "Hi."]);
    assert_eq!(office.outcomes().await[2], REPLIED);
    office.replays().await;
}

#[tokio::test]
async fn tools_that_hang_fail_or_panic_have_an_outcome() {
    for (end, effect, told) in [
        (ToolEnd::Returns, Effect::Once, ".t1"),
        (ToolEnd::Fails, Effect::Read, "it failed"),
        (ToolEnd::Hangs, Effect::Read, "The tool took too long."),
        (ToolEnd::Hangs, Effect::Once, "The outcome is unknown"),
        (ToolEnd::Panics, Effect::Idempotent, "The tool failed."),
        (ToolEnd::Panics, Effect::Once, "The outcome is unknown"),
    ] {
        let model = ScriptedModel::new(|request: &ModelRequest| {
            let last = request.messages.last().unwrap();
            match &last.parts[..] {
                [konstruct_core::llm::Part::ToolResult { content, .. }] => {
                    ScriptedAnswer::text(content.clone())
                }
                _ => ScriptedAnswer::tools(&["act"]),
            }
        });
        let office = Office::new(Find::Query, model);
        let tool = CountingTool::new(office.world.clone(), "act", effect).ending(end);
        let employee = konstruct_core::Employee::builder("Ava")
            .tool("act")
            .limits(limits());
        office.directory.hire(
            office.tenant,
            employee.build().unwrap(),
            Arc::new(office.model.clone()),
            Toolbox::builder().tool(tool).build().unwrap(),
        );
        office.say("P1", "e1", "hello").await;
        let worker = Worker::new(office.driver());
        let work = worker.run_until_idle();
        futures_util::pin_mut!(work);
        let mut waited = 0;
        while work.as_mut().now_or_never().is_none() {
            office.clock.advance(Duration::from_secs(1));
            waited += 1;
            assert!(waited <= 31, "{end:?}");
        }
        let said = &office.world.texts()[0];
        assert!(said.contains(told), "{end:?} {effect:?}: {said}");
        assert_eq!(office.world.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_model_that_never_answers_times_out() {
    let gate = Gate::default();
    let model = ScriptedModel::new(move |_| {
        ScriptedAnswer::Waits(gate.clone(), Box::new(ScriptedAnswer::text("")))
    });
    let office = Office::with(Find::Query, model, |employee| {
        employee.limits(limits().with(|it| it.model_calls = 1))
    });
    office.say("P1", "e1", "hello").await;
    let worker = Worker::new(office.driver());
    let work = worker.run_until_idle();
    futures_util::pin_mut!(work);
    let mut waited = 0;
    while work.as_mut().now_or_never().is_none() {
        office.clock.advance(Duration::from_secs(10));
        waited += 10;
        assert!(waited <= 50, "the call is never cancelled");
    }
    assert_eq!(office.world.texts(), [Phrases::default().deferred]);
    let fallback = Some(FallbackReason::Model);
    assert_eq!(
        office.outcomes().await,
        [Outcome::Replied { parts: 1, fallback }]
    );
}

#[tokio::test]
async fn a_missing_employee_or_connection_loses_nothing() {
    let office = Office::new(Find::Query, says("Hi."));
    for removed in ["employee", "connection"] {
        let id = format!("e-{removed}");
        if removed == "employee" {
            office.directory.dismiss(office.tenant);
        } else {
            office
                .directory
                .disconnect(office.tenant, office.connection);
        }
        office.say(removed, &id, "hello").await;
        let driver = office.driver();
        let worker = Worker::new(driver.clone());
        let until = office.after(500);
        while office.clock.now() < until {
            worker.run_until_idle().await.unwrap();
            let due = office.next_due().await.unwrap();
            assert!(due > office.clock.now());
            office.clock.advance_to(due);
        }
        let claims = driver.stats().claims.load(Ordering::Relaxed);
        assert!(claims < 12, "{removed}: {claims} claims");
        if removed == "employee" {
            let employee = konstruct_core::Employee::builder("Ben").limits(limits());
            office.hire(employee.build().unwrap());
        } else {
            office
                .directory
                .connect(office.tenant, office.connection, office.channel.clone());
        }
        office.settle().await;
        let said = office.world.arrived();
        assert_eq!(
            said.last().unwrap().to.id,
            removed,
            "processed once both exist"
        );
    }
}

#[tokio::test]
async fn backing_off_keeps_the_timer_of_a_waiting_turn() {
    let office = Office::new(Find::Query, says("Hi."));
    office
        .channel
        .plan([Fate::Limited(Duration::from_secs(600))]);
    office.say("P1", "e1", "hello").await;
    office.work().await;
    let parked = office.next_due().await.unwrap();
    // An event wakes the conversation while its employee is missing: the driver backs off and moves the turn's timer.
    office.directory.dismiss(office.tenant);
    office.say("P1", "e2", "hello?").await;
    office.work().await;
    assert!(office.next_due().await.unwrap() < parked);
    let employee = konstruct_core::Employee::builder("Ava").limits(limits());
    office.hire(employee.build().unwrap());
    office.clock.advance(Duration::from_secs(5));
    office.work().await;
    assert_eq!(
        office.next_due().await,
        Some(parked),
        "the turn's own timer is set again"
    );
    assert!(office.world.texts().is_empty());
    office.settle().await;
    assert_eq!(office.world.texts().len(), 2);
}

#[tokio::test]
async fn the_lease_outlives_the_send_however_short_it_is_set() {
    let office = Office::new(Find::Query, says("Hi."));
    office.channel.plan([Fate::Late(Duration::from_secs(11))]);
    office.say("P1", "e1", "hello").await;
    let driver = office.driver().with_lease(Duration::from_millis(100));
    let claim = office.claim(1).await;
    let work = driver.work(claim.unwrap());
    futures_util::pin_mut!(work);
    assert!(work.as_mut().now_or_never().is_none());
    // No other worker gets the conversation until the request and its grace period are over.
    for _ in 0..12 {
        let claim = office.claim(60).await;
        assert!(claim.is_none(), "at {}", office.clock.now());
        office.clock.advance(Duration::from_secs(1));
    }
    let _ = work.as_mut().now_or_never();
    office.settle().await;
    assert_eq!(office.world.texts(), ["Hi."]);
    assert_eq!(office.outcomes().await, [REPLIED]);
}

#[tokio::test]
async fn forgotten_records_do_not_stop_a_conversation() {
    for open in [false, true] {
        let office = Office::new(Find::Event, says("Hi."));
        office.say("P1", "e1", "hello").await;
        office.settle().await;
        if open {
            office.channel.plan([Fate::Lost]);
        }
        office.say("P1", "e2", "hello").await;
        office.work().await;
        let forgetful = Arc::new(Altered::new(
            Arc::clone(&office.store),
            Alteration::Forgotten(2),
        ));
        let worker = Worker::new(office.driver_on(forgetful));
        office.say("P1", "e3", "hello").await;
        worker.run_until_idle().await.unwrap();
        assert_eq!(office.world.texts().last().unwrap(), "Hi.");
        let records = office.turns().await;
        let forgotten = silent(SilenceReason::Forgotten);
        let outcomes = office.outcomes().await;
        assert_eq!(outcomes.contains(&forgotten), open, "{outcomes:?}");
        assert_eq!(ids(records.last().unwrap()), ["e3"]);
        let Some(Entry::Event(Event::Started(started))) =
            records.last().map(|turn| turn[0].entry.clone())
        else {
            panic!()
        };
        assert!(started.state.spoke, "the conversation's state is kept");
    }
}

#[tokio::test]
async fn a_shutdown_drains_and_begins_no_further_turn() {
    let gate = Gate::default();
    let held = gate.clone();
    let model = ScriptedModel::new(move |_| {
        ScriptedAnswer::Waits(held.clone(), Box::new(ScriptedAnswer::text("Hi.")))
    });
    let office = Office::with(Find::Query, model, |employee| {
        employee.limits(limits().with(|it| it.mid_turn = MidTurn::Queue))
    });
    for n in 0..20 {
        office
            .say(&format!("P{n}"), &format!("e{n}"), "hello")
            .await;
    }
    // A tenant holds at most half of the slots.
    let worker = Worker::new(office.driver()).with_concurrency(40.try_into().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(worker.run(async { stopped.await.unwrap_or(()) }));
    while office.model.calls().len() < 20 {
        tokio::task::yield_now().await;
    }
    office.say("P0", "again", "hello again").await;
    stop.send(()).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    gate.open();
    run.await.unwrap();
    assert_eq!(
        office.world.texts().len(),
        20,
        "every open turn is finished, and no other is begun"
    );
    office.settle().await;
    assert_eq!(
        office.world.texts().len(),
        21,
        "the next start processes it"
    );
}

#[tokio::test]
async fn an_idle_worker_resumes_turns_of_a_dead_one() {
    let office = Office::new(Find::Query, says("Hi."));
    office.say("P1", "e1", "hello").await;
    office.claim(30).await.unwrap();
    let worker = Worker::new(office.driver());
    let run = tokio::spawn(worker.run(std::future::pending()));
    for _ in 0..200 {
        tokio::task::yield_now().await;
        office.clock.advance(Duration::from_secs(1));
    }
    run.abort();
    assert_eq!(office.world.texts(), ["Hi."], "only time passed");
}

#[tokio::test]
async fn many_workers_on_one_store_process_each_event_once() {
    let office = Office::new(Find::Query, says("Hi."));
    let tenants: Vec<_> = (0..4).map(|_| TenantId::new()).collect();
    let mut events = Vec::new();
    for tenant in &tenants {
        let employee = konstruct_core::Employee::builder("Ava")
            .limits(limits())
            .build()
            .unwrap();
        let model = Arc::new(office.model.clone());
        office
            .directory
            .hire(*tenant, employee, model, Toolbox::default());
        office
            .directory
            .connect(*tenant, office.connection, office.channel.clone());
        for n in 0..40_u64 {
            let (place, id) = (format!("{tenant}-{}", n % 8), format!("e{n}"));
            let at = office.clock.now() + Duration::from_millis(n);
            events.push((*tenant, message(&place, &id, "hello", at)));
        }
    }
    let stop = tokio::sync::watch::channel(false);
    let workers: Vec<_> = (0..5)
        .map(|_| {
            let mut stopped = stop.1.clone();
            let worker = Worker::new(office.driver()).with_concurrency(3.try_into().unwrap());
            tokio::spawn(worker.run(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            }))
        })
        .collect();
    let total = events.len();
    for round in 0..50 * total {
        let (tenant, event) = events[(round * 67 + round / total) % total].clone();
        let connection = office.connection;
        let routed = vec![konstruct_core::message::RoutedEvent { connection, event }];
        office.store.accept(tenant, routed).await.unwrap();
        if round % 97 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    stop.0.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    for tenant in &tenants {
        let mut taken = Vec::new();
        for conversation in office.store.list(*tenant, None, 100).await.unwrap() {
            assert_eq!(conversation.unconsumed, 0);
            let log = office
                .store
                .read(*tenant, conversation.id, 0..u64::MAX)
                .await
                .unwrap();
            let log: Vec<_> = log
                .into_iter()
                .filter_map(|stored| stored.record.map(Arc::unwrap_or_clone))
                .collect();
            taken.extend(ids(&log));
        }
        taken.sort();
        let mut expected: Vec<_> = (0..40).map(|n| format!("e{n}")).collect();
        expected.sort();
        assert_eq!(taken, expected);
    }
    let mut keys: Vec<_> = office
        .world
        .arrived()
        .into_iter()
        .map(|said| said.key)
        .collect();
    let sends = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), sends, "each part is sent once");
}

#[tokio::test]
async fn tenants_take_turns() {
    let office = Office::new(Find::Query, says("Hi."));
    let small = TenantId::new();
    let employee = konstruct_core::Employee::builder("Ben")
        .limits(limits())
        .build()
        .unwrap();
    office.directory.hire(
        small,
        employee,
        Arc::new(office.model.clone()),
        Toolbox::default(),
    );
    office
        .directory
        .connect(small, office.connection, office.channel.clone());
    for n in 0..100 {
        office
            .say(&format!("P{n}"), &format!("e{n}"), "hello")
            .await;
    }
    let event = message("small", "e1", "hello", office.clock.now());
    let connection = office.connection;
    let routed = vec![konstruct_core::message::RoutedEvent { connection, event }];
    office.store.accept(small, routed).await.unwrap();
    office.work().await;
    let at = office
        .world
        .arrived()
        .iter()
        .position(|said| said.to.id == "small")
        .unwrap();
    assert!(at <= 2, "answered after {at} messages of a busy tenant");
}

#[tokio::test]
async fn a_driver_that_lost_its_lease_before_the_send_sends_nothing() {
    let office = Office::new(Find::Query, says("Hi."));
    office.say("P1", "e1", "hello").await;
    let fenced = Arc::new(Altered::new(Arc::clone(&office.store), Alteration::Stolen));
    let driver: Driver = office.driver_on(fenced);
    let claim = office.claim(60).await;
    let worked = driver.work(claim.unwrap()).await.unwrap();
    assert_eq!(worked, WorkOutcome::Lost);
    assert!(office.world.texts().is_empty());
    office.memory.void_claims();
    office.settle().await;
    assert_eq!(office.world.texts(), ["Hi."]);
}

#[tokio::test]
async fn a_send_is_not_made_after_its_deadline() {
    let office = Office::new(Find::None, says("Hi."));
    office.say("P1", "e1", "hello").await;
    // The channel's timeout is ten seconds; the store takes eleven to record the send.
    let slow = Alteration::Slow(office.clock.clone(), Duration::from_secs(11));
    let driver = office.driver_on(Arc::new(Altered::new(Arc::clone(&office.store), slow)));
    Worker::new(driver.clone()).run_until_idle().await.unwrap();
    assert_eq!(driver.stats().sends.load(Ordering::Relaxed), 0);
    assert!(office.world.texts().is_empty());
    office.settle().await;
    assert_eq!(
        office.world.texts(),
        ["Hi."],
        "it is sent again, because it was definitely not sent"
    );
    assert_eq!(office.outcomes().await, [REPLIED]);
}

#[tokio::test]
async fn a_resumed_turn_uses_an_existing_report() {
    let office = Office::new(Find::Event, says("Hi."));
    office.say("P1", "e1", "hello").await;
    // The third append follows the send: the process ends before it.
    let crash = CrashPoint::new(
        Arc::clone(&office.store),
        &[Write::Append],
        3,
        Moment::Before,
    );
    let worker = Worker::new(office.driver_on(Arc::new(crash)));
    assert!(worker.run_until_idle().await.is_err());
    let key = office.world.arrived()[0].key.clone();
    let status = office.world.status(&key, DeliveryState::Sent);
    office.accept(status.unwrap()).await;
    office.memory.void_claims();
    office.work().await;
    assert_eq!(office.outcomes().await[0], REPLIED, "without a wait");
    assert_eq!(office.world.texts(), ["Hi."]);
}
