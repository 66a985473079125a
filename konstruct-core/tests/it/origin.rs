//! An answer goes where its request was made, also after a crash.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Clock as _, ConversationRef, Inbound,
    channel::{Find, Via},
    employee::Unresolved,
    message::{Actor, Addressing, Body, ConversationKind, Decision, IdKind, Origin},
    testkit::{CrashPoint, Fate, Moment, ScriptedAnswer, ScriptedModel, Write},
    turn::{ItemKind, OpenReason, Worker},
};

use crate::office::{Office, ids, limits, says};

const URL: &str = "https://hooks.example/secret";

fn channel() -> ConversationRef {
    ConversationRef {
        kind: ConversationKind::Channel,
        ..ConversationRef::direct("C1")
    }
}

/// A command of a person in a channel, whose answer only they see.
fn command(office: &Office, id: &str, origin: impl FnOnce(&mut Origin)) -> Inbound {
    let body = Body::Command {
        name: "/ava".into(),
        arguments: "open?".into(),
    };
    let mut from = Origin::default();
    from.response_url = Some(URL.into());
    from.expires_at = Some(office.after(1_800));
    from.ephemeral = true;
    origin(&mut from);
    let mut event = konstruct_core::testkit::message("C1", id, "", office.clock.now())
        .in_conversation(channel())
        .sent_by(Actor::human(IdKind::SlackUser, "U1"))
        .addressed(Addressing {
            command: true,
            ..Addressing::default()
        })
        .from_origin(from);
    event.body = body;
    event
}

fn mention(office: &Office, id: &str) -> Inbound {
    konstruct_core::testkit::message("C1", id, "open?", office.clock.now())
        .in_conversation(channel())
        .sent_by(Actor::human(IdKind::SlackUser, "U2"))
        .addressed(Addressing {
            mention: true,
            ..Addressing::default()
        })
}

fn response() -> Via {
    Via::Response {
        url: konstruct_core::Secret::new(URL),
        ephemeral: true,
    }
}

fn ephemeral() -> Via {
    Via::Ephemeral {
        person: "U1".into(),
    }
}

/// Returns where and how each message arrived.
fn arrived(office: &Office) -> Vec<(String, Via)> {
    let arrived = office.world.arrived().into_iter();
    arrived.map(|said| (said.to.key(), said.via)).collect()
}

#[tokio::test]
async fn a_refused_way_leads_to_the_next() {
    let check = async |fates: &[Fate], origin: fn(&mut Origin), expected: (&str, Via)| {
        let office = Office::new(Find::Query, says("Yes."));
        office.channel.plan(fates.iter().copied());
        office.accept(command(&office, "e1", origin)).await;
        office.settle().await;
        let (to, via) = expected;
        assert_eq!(arrived(&office), [(to.to_owned(), via)], "{fates:?}");
        office.replays().await;
    };
    let refused = Fate::Refused;
    check(&[], |_| (), ("C1", response())).await;
    check(&[refused], |_| (), ("C1", ephemeral())).await;
    check(&[refused, refused], |_| (), ("U1", Via::Conversation)).await;
    check(&[], |it| it.expires_at = None, ("C1", ephemeral())).await;
    // An address that was removed, as in an import.
    check(&[], |it| it.response_url = None, ("C1", ephemeral())).await;
    check(&[], |it| it.ephemeral = false, ("C1", Via::Conversation)).await;
    check(&[refused], |it| it.ephemeral = false, ("C1", response())).await;
    let selected = |it: &mut Origin| (it.ephemeral, it.selected) = (false, true);
    let visible = Via::Response {
        url: konstruct_core::Secret::new(URL),
        ephemeral: false,
    };
    check(&[], selected, ("C1", visible)).await;
    check(&[refused], selected, ("C1", Via::Conversation)).await;
    // A limited request is repeated in the same way, but not more often than the address accepts.
    let limited = Fate::Limited(Duration::from_secs(1));
    check(&[limited; 4], |_| (), ("C1", response())).await;
    check(&[limited; 5], |_| (), ("C1", ephemeral())).await;
    // And not after it has expired.
    let late = Fate::Limited(Duration::from_secs(1_800));
    check(&[late], |_| (), ("C1", ephemeral())).await;
}

/// Even an employee that repeats what is unresolved does not repeat a response.
#[tokio::test]
async fn an_unknown_outcome_is_never_repeated() {
    for (fates, count) in [
        (&[Fate::AnswerLost][..], 1),
        (&[Fate::Lost], 0),
        (&[Fate::Refused, Fate::AnswerLost], 1),
        (&[Fate::Refused, Fate::Refused, Fate::AnswerLost], 1),
    ] {
        let office = Office::with(Find::Query, says("Yes."), |ava| {
            ava.limits(limits().with(|it| it.unresolved = Unresolved::Resend))
        });
        office.channel.plan(fates.iter().copied());
        office.accept(command(&office, "e1", |_| ())).await;
        office.settle().await;
        assert_eq!(arrived(&office).len(), count, "{fates:?}");
        let items = office.items().await;
        let [entry] = items.as_slice() else {
            panic!("{items:?}")
        };
        let unresolved = matches!(
            entry.item.kind,
            ItemKind::Send {
                reason: OpenReason::Unresolved,
                ..
            }
        );
        assert!(unresolved && entry.item.private, "{entry:?}");
        // If a person decides to send it again, it still is for nobody else.
        let (conversation, item) = (entry.conversation, entry.item.id.clone());
        let decision = Inbound::decision(conversation, item, Decision::Resend, office.clock.now());
        office.channel.plan([Fate::AnswerLost]);
        office.accept(decision).await;
        office.settle().await;
        let (to, via) = arrived(&office).pop().unwrap();
        assert_eq!((to.as_str(), via), ("U1", Via::Conversation));
        assert!(office.items().await[0].item.private);
        office.replays().await;
    }
}

#[tokio::test]
async fn a_killed_process_still_answers_in_the_right_place() {
    for appends in 1..=4 {
        for moment in [Moment::Before, Moment::After] {
            let office = Office::new(Find::Query, says("Yes."));
            office.accept(command(&office, "e1", |_| ())).await;
            let store = Arc::clone(&office.store);
            let crash = CrashPoint::new(store, &[Write::Append], appends, moment);
            let _ = Worker::new(office.driver_on(Arc::new(crash)))
                .run_until_idle()
                .await;
            office.memory.void_claims();
            office.settle().await;
            let asked = office.items().await.len();
            let arrived = arrived(&office);
            assert!(arrived.len() + asked >= 1, "{appends} {moment:?}");
            assert!(arrived.len() <= 1, "{appends} {moment:?}: {arrived:?}");
            assert!(
                arrived
                    .iter()
                    .all(|(to, via)| to == "C1" && *via == response())
            );
            office.replays().await;
        }
    }
}

/// The answer to a message in a channel and that to a command there are two.
#[tokio::test]
async fn a_private_request_has_a_turn_of_its_own() {
    let office = Office::new(Find::Query, says("Yes."));
    office.accept(mention(&office, "e1")).await;
    office.accept(command(&office, "e2", |_| ())).await;
    // Two actions of one interaction are one request.
    let one = |it: &mut Origin| it.response_url = Some(format!("{URL}/2"));
    office.accept(command(&office, "e3", one)).await;
    office.accept(command(&office, "e4", one)).await;
    office.accept(mention(&office, "e5")).await;
    office.settle().await;
    let turns: Vec<_> = office.turns().await.iter().map(|turn| ids(turn)).collect();
    let expected: [&[&str]; 4] = [&["e1"], &["e2"], &["e3", "e4"], &["e5"]];
    assert_eq!(turns, expected);
    let via: Vec<_> = arrived(&office).into_iter().map(|(_, via)| via).collect();
    assert_eq!(via[0], Via::Conversation);
    assert_eq!(via[1], response());
    assert!(matches!(via[2], Via::Response { .. }));
    assert_eq!(via[3], Via::Conversation);
    office.replays().await;
}

/// A message that arrives while a private answer is being written is not answered by it.
#[tokio::test]
async fn nothing_joins_a_private_turn() {
    let office = Office::new(
        Find::Query,
        ScriptedModel::new(|request| match request.messages.len() {
            1 => ScriptedAnswer::tools(&["look"]),
            _ => ScriptedAnswer::text("Yes."),
        }),
    );
    office.accept(command(&office, "e1", |_| ())).await;
    office.accept(mention(&office, "e2")).await;
    office.settle().await;
    let turns: Vec<_> = office.turns().await.iter().map(|turn| ids(turn)).collect();
    assert_eq!(turns, [["e1"], ["e2"]]);
}

/// A question that is answered later reaches the person directly, because the address has expired by then.
#[tokio::test]
async fn a_late_answer_reaches_the_person_directly() {
    let (model, works) = crate::outage::flaky();
    let office = Office::with(Find::Query, model, |ava| {
        ava.limits(limits().with(|it| it.question_age_secs = 3_600))
    });
    office.accept(command(&office, "e1", |_| ())).await;
    office.work().await;
    for _ in 0..20 {
        if !office.items().await.is_empty() {
            break;
        }
        office.clock.advance(Duration::from_secs(30));
        office.work().await;
    }
    assert!(office.items().await[0].item.private);
    works.store(true, std::sync::atomic::Ordering::SeqCst);
    office.settle().await;
    let places: Vec<_> = arrived(&office).into_iter().map(|(to, _)| to).collect();
    assert_eq!(places, ["C1", "U1"]);
    office.replays().await;
}

/// Neither the export nor anything printed contains the address.
#[tokio::test]
async fn the_address_is_not_exported() {
    let office = Office::new(Find::Query, says("Yes."));
    let raw = serde_json::value::to_raw_value(&serde_json::json!({"response_url": URL})).unwrap();
    let event = |id: &str| command(&office, id, |_| ()).with_raw(raw.clone());
    assert!(!format!("{:?}", event("e0")).contains("hooks"));
    office.accept(event("e1")).await;
    office.settle().await;
    // An event that cannot be decoded is recorded as it came.
    let mut unknown = event("e2");
    unknown.body = Body::Unsupported {
        kind: "new".into(),
        errors: Vec::new(),
    };
    unknown.origin = None;
    office.accept(unknown).await;
    office.settle().await;
    office.accept(event("e3")).await;
    let exported = office.exported().await;
    let text = serde_json::to_string(&exported).unwrap();
    assert!(
        text.contains("ephemeral") && !text.contains("hooks"),
        "{text}"
    );
    assert!(!format!("{exported:?}").contains("hooks"));
}
