//! What a message is about: quotes, forwarded messages, advertisements, and messages that cannot be read.

use konstruct_core::{
    Clock as _, Depth, Erase, Inbound,
    channel::Find,
    llm::{Part, Role},
    message::{ActorKind, Body, Forwarded, Quoted, Referral},
    testkit::message,
    turn::{Entry, Event, FallbackReason, Outcome, SilenceReason},
};

use crate::office::{Office, limits, says};

/// Returns the messages that the model was shown last.
fn shown(office: &Office) -> Vec<String> {
    let calls = office.model.calls();
    let messages = calls.last().expect("a call").1.messages.iter();
    messages
        .map(|message| {
            let role = if message.role == Role::User { "u" } else { "a" };
            let [Part::Text { text }] = message.parts.as_slice() else {
                panic!("{message:?}")
            };
            format!("{role}: {text}")
        })
        .collect()
}

fn pressed(office: &Office, id: &str) -> Inbound {
    let mut event = message("P1", id, "", office.clock.now()).labelled("Size L".to_owned());
    event.body = Body::Action {
        kind: "block_actions".into(),
        action: "size.l".into(),
        value: "size.l".into(),
    };
    event
}

#[tokio::test]
async fn notes_of_the_provider_are_shown() {
    let office = Office::new(Find::Query, says("an answer"));
    let mut referral = Referral::default();
    referral.headline = Some("Bikes".into());
    referral.source_url = Some("https://ad.example".into());
    let asked = message("P1", "e1", "is it here?", office.clock.now())
        .quoting(Quoted::new("m0"))
        .forwarded(Forwarded::Once)
        .referred_by(referral);
    office.accept(asked).await;
    office.settle().await;
    assert_eq!(
        shown(&office),
        ["u: [in reply to an earlier message]\n[forwarded message]\n\
             [came from the ad \"Bikes\", \"https://ad.example\"]\nis it here?"]
    );
    office.accept(pressed(&office, "e2")).await;
    office.settle().await;
    assert_eq!(
        shown(&office).pop().as_deref(),
        Some("u: [pressed a button or list entry]\nSize L")
    );
}

/// A quoted message is found in the log, in the window and before it, whoever wrote it.
#[tokio::test]
async fn a_quoted_message_is_looked_up() {
    let office = Office::with(Find::Query, says("We open at nine."), |employee| {
        employee.limits(limits().with(|it| it.window_messages = 2))
    });
    office.say("P1", "e0", "a red bike").await;
    office.settle().await;
    let mut sent = None;
    for records in office.turns().await {
        sent = sent.or(records.into_iter().find_map(|record| match record.entry {
            Entry::Event(Event::SendDone { receipt, .. }) => receipt.message,
            _ => None,
        }));
    }
    let sent = sent.expect("a sent message");
    office.accept(pressed(&office, "e1")).await;
    office.settle().await;
    for n in 0..40 {
        office.say("P1", &format!("f{n}"), "more").await;
        office.settle().await;
    }
    let check = async |id: &str, quoted: &str, expected: &str| {
        let asked = message("P1", id, "really?", office.clock.now());
        office.accept(asked.quoting(Quoted::new(quoted))).await;
        office.settle().await;
        let last = shown(&office).pop().unwrap();
        assert_eq!(last, format!("u: [in reply to {expected}]\nreally?"));
    };
    check("q1", &sent, "your message \"We open at nine.\"").await;
    check("q2", "e0", "their own message \"a red bike\"").await;
    check("q3", "e1", "their own message \"Size L\"").await;
    check("q4", "q3", "their own message \"really?\"").await;
    check("q5", "unknown", "an earlier message").await;
    office.replays().await;
    let mut deleted = message("P1", "d1", "", office.clock.now());
    deleted.body = Body::Deleted {
        message: "e0".into(),
    };
    office.accept(deleted).await;
    check("q6", "e0", "an earlier message").await;
}

/// The answer to a message that quotes another person is sealed to both, and the quote is gone with its author.
#[tokio::test]
async fn a_quote_belongs_to_its_author() {
    let office = Office::with(Find::Query, says("Hi."), |employee| {
        employee.limits(limits().with(|it| it.window_messages = 1))
    });
    let place = |mut event: Inbound, user: &str| {
        event.sender.ids[0].1 = user.into();
        event.addressed.mention = true;
        let place = event.conversation.as_mut().unwrap();
        place.kind = konstruct_core::message::ConversationKind::Group;
        event
    };
    let event = message("C1", "e0", "my code is 7", office.clock.now());
    office.accept(place(event, "U2")).await;
    office.settle().await;
    let ask = |id: &str| {
        let event = message("C1", id, "what is this?", office.clock.now());
        place(event.quoting(Quoted::new("e0")), "U1")
    };
    office.accept(ask("e1")).await;
    office.settle().await;
    let last = shown(&office).pop().unwrap();
    assert!(
        last.contains("[in reply to the message \"my code is 7\" of \"U2\"]"),
        "{last}"
    );
    let turns = office.turns().await;
    let author = crate::office::inputs(&turns[0])[0].persons[0];
    let reply = turns[1]
        .iter()
        .find(|record| matches!(&record.entry, Entry::Event(Event::Rendered { .. })));
    assert!(reply.expect("a reply").persons.contains(&author));
    let what = Erase::Person { person: author };
    office
        .store
        .erase(office.tenant, what, Depth::Logical)
        .await
        .unwrap();
    office.accept(ask("e2")).await;
    office.settle().await;
    let last = shown(&office).pop().unwrap();
    assert!(last.contains("[in reply to an earlier message]"), "{last}");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_answered_once() {
    let office = Office::new(Find::Query, says("Hi."));
    let poll = |id: &str| {
        let mut event = message("P1", id, "", office.clock.now());
        event.body = Body::Unsupported {
            kind: "poll".into(),
            errors: Vec::new(),
        };
        event
    };
    let replies = async || {
        office.settle().await;
        office.world.texts().len()
    };
    office.accept(poll("e1")).await;
    office.accept(poll("e2")).await;
    assert_eq!(replies().await, 1);
    assert!(office.model.calls().is_empty());
    let fallback = Some(FallbackReason::Unreadable);
    assert_eq!(
        office.outcomes().await.pop(),
        Some(Outcome::Replied { parts: 1, fallback })
    );
    assert!(office.items().await.is_empty(), "nothing is left to do");
    office.accept(poll("e3")).await;
    assert_eq!(replies().await, 1);
    // Together with words, the model answers.
    office.accept(poll("e4")).await;
    office.say("P1", "e5", "see the poll").await;
    assert_eq!(replies().await, 2);
    let poll_line = "u: [sent a message of a kind that cannot be read here: \"poll\"]";
    assert!(shown(&office).contains(&poll_line.to_owned()));
    // After a message that can be read, the next one is answered again.
    office.accept(poll("e6")).await;
    assert_eq!(replies().await, 3);
    // An event of the provider is never answered.
    let mut notice = poll("e7");
    notice.sender = Default::default();
    office.say("P1", "e8", "thanks").await;
    assert_eq!(replies().await, 4);
    office.accept(notice).await;
    let mut elsewhere = poll("e9");
    elsewhere.addressed = Default::default();
    office.accept(elsewhere).await;
    assert_eq!(replies().await, 4);
    let reason = SilenceReason::NotAddressed;
    assert_eq!(
        office.outcomes().await.pop(),
        Some(Outcome::Silent { reason })
    );
    office.replays().await;
}

#[tokio::test]
async fn a_message_of_the_provider_starts_no_turn() {
    let office = Office::new(Find::Query, says("Hi."));
    let mut event = message("P1", "e1", "complete your profile", office.clock.now());
    event.sender = Default::default();
    assert_eq!(event.sender.kind, ActorKind::System);
    office.accept(event).await;
    office.settle().await;
    assert!(office.turns().await.is_empty());
    office.say("P1", "e2", "hello").await;
    office.settle().await;
    assert_eq!(shown(&office), ["u: hello"]);
}
