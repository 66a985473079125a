//! The state machine, path by path: what is decided because of what happened.

use std::time::Duration;

use konstruct_core::{
    ActorKind, Body, ConnectionId, Content, ConversationRef, Decision, DeliveryState, Employee,
    ErrorKind, Find, Finish, MidTurn, ModelAnswer, NanoUsd, Part, Price, Receipt, Timestamp,
    ToolCall, TurnId, TurnLimits, Unresolved, WorkingHours,
    testkit::message,
    tool::Effect,
    turn::{
        Action, Carry, ENGINE_VERSION, Event, Evidence, Failure, Gathered, Input, OpenReason,
        OpenSend, Outcome, PinnedChannel, PinnedModel, Refusal, ReplyPart, Started, begin, step,
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

fn turn() -> TurnId {
    TurnId::from_bytes([7; 16])
}

/// The key of a part of the turn's own reply.
fn part(n: u32) -> String {
    format!("{}.p{n}", turn())
}

fn employee() -> Employee {
    let mut employee = Employee::builder("Ava")
        .tool("look")
        .tool("pay")
        .build()
        .unwrap();
    employee.fallback = "Sorry.".into();
    employee
}

fn input(body: Body) -> Input {
    let mut event = message("P1", "m1", "", NOW);
    event.body = body;
    Input {
        seq: 1,
        late: false,
        persons: Vec::new(),
        undelivered: None,
        event,
    }
}

fn said(text: &str) -> Input {
    input(Body::Message {
        message: "m1".into(),
        content: Content::text(text),
    })
}

fn by(kind: ActorKind) -> Input {
    let mut input = said("hello");
    input.event.sender.kind = kind;
    input
}

fn decided(decision: Decision) -> Input {
    input(Body::Decision {
        key: "old.p0".into(),
        decision,
    })
}

fn delivered(key: &str, state: DeliveryState) -> Input {
    input(Body::Delivery {
        message: "x".into(),
        state,
        key: Some(key.into()),
        errors: Vec::new(),
        billed: None,
    })
}

/// A send that an earlier turn left open, with the part that was to follow it.
fn open(reason: OpenReason) -> Carry {
    let parts = ["old.p0", "old.p1"].map(|key| ReplyPart {
        key: key.into(),
        text: format!("text of {key}"),
    });
    Carry {
        spoke: true,
        open: vec![OpenSend {
            key: "old.p0".into(),
            reason,
            since: NOW,
            parts: parts.into(),
        }],
        ..Carry::default()
    }
}

fn started(inputs: Vec<Input>) -> Started {
    Started {
        engine: ENGINE_VERSION,
        employee: 1,
        model: PinnedModel {
            provider: "scripted".into(),
            model: "script-1".into(),
            price: Some(Price::default()),
        },
        channel: PinnedChannel {
            kind: konstruct_core::ChannelKind::new("scripted"),
            find: Find::Query,
            max_text: 20,
            timeout_ms: 10_000,
            grace_ms: 2_000,
        },
        connection: ConnectionId::from_bytes([1; 16]),
        conversation: ConversationRef::direct("P1"),
        tools: [
            ("look".to_owned(), Effect::Read),
            ("pay".to_owned(), Effect::Once),
        ]
        .into(),
        closed: false,
        inputs,
        carry: Carry::default(),
    }
}

fn answer(text: &str, tools: &[&str], finish: Finish) -> Event {
    let mut parts = Vec::new();
    if !text.is_empty() {
        parts.push(Part::Text { text: text.into() });
    }
    parts.extend(tools.iter().map(|name| {
        Part::ToolCall(ToolCall {
            id: format!("id-{name}"),
            name: (*name).into(),
            arguments: "{}".into(),
        })
    }));
    Event::Answered {
        call: 1,
        answer: ModelAnswer {
            model: "script-1".into(),
            parts,
            finish,
            usage: None,
        },
    }
}

fn text(text: &str) -> Event {
    answer(text, &[], Finish::Stop)
}

fn tools(tools: &[&str]) -> Event {
    answer("", tools, Finish::ToolCalls)
}

fn returned(id: &str) -> Event {
    Event::ToolReturned {
        id: id.into(),
        content: "42".into(),
        error: false,
    }
}

fn gathered() -> Event {
    Event::Gathered(Gathered::default())
}

fn failure(kind: ErrorKind) -> Failure {
    Failure {
        kind,
        retry_after_ms: None,
    }
}

fn call_failed(kind: ErrorKind) -> Event {
    Event::CallFailed {
        call: 1,
        failure: failure(kind),
    }
}

fn done(key: &str) -> Event {
    Event::SendDone {
        key: key.into(),
        receipt: Receipt::default(),
        evidence: Evidence::Answer,
    }
}

fn failed(key: &str, kind: ErrorKind) -> Event {
    Event::SendFailed {
        key: key.into(),
        failure: failure(kind),
    }
}

fn unsure(key: &str) -> Event {
    Event::SendAmbiguous { key: key.into() }
}

fn missing(key: &str) -> Event {
    Event::NotFound { key: key.into() }
}

fn unasked(key: &str, kind: ErrorKind) -> Event {
    Event::FindFailed {
        key: key.into(),
        failure: failure(kind),
    }
}

/// Says in a few words what an action is.
fn brief(action: &Action) -> String {
    let own = turn().to_string();
    let short = |key: &str| key.strip_prefix(&own).unwrap_or(key).to_owned();
    let after = |at: Timestamp| at.since(NOW).as_secs();
    match action {
        Action::CallModel { call, key, .. } => format!("model {call} {}", short(key)),
        Action::CallTool {
            name, key, effect, ..
        } => {
            format!("tool {name} {effect:?} {}", short(key))
        }
        Action::Send {
            key,
            attempt,
            text,
            give_up_at,
            ..
        } => {
            format!(
                "send {} #{attempt} {text:?} until {}",
                short(key),
                after(*give_up_at)
            )
        }
        Action::Find { key, since } => format!("find {} since {}", short(key), after(*since)),
        Action::Wait { until, reason } => format!("wait {reason:?} until {}", after(*until)),
        Action::Finish { outcome, carry } => {
            let how = match outcome {
                Outcome::Replied {
                    parts,
                    fallback: None,
                } => format!("replied {parts}"),
                Outcome::Replied {
                    parts,
                    fallback: Some(why),
                } => {
                    format!("replied {parts} as {why:?}")
                }
                Outcome::Silent { reason } => format!("silent {reason:?}"),
                Outcome::Asked { key } => format!("asked {}", short(key)),
                other => format!("{other:?}"),
            };
            let open: Vec<_> = carry
                .open
                .iter()
                .map(|open| {
                    format!(
                        "{} {:?} {}",
                        short(&open.key),
                        open.reason,
                        open.parts.len()
                    )
                })
                .collect();
            if open.is_empty() {
                how
            } else {
                format!("{how}, open {}", open.join(", "))
            }
        }
        other => other.name().to_owned(),
    }
}

struct Path {
    name: &'static str,
    employee: Employee,
    started: Started,
    /// Seconds after the beginning, what happened then, and what follows.
    events: Vec<(u64, Event, &'static str)>,
    first: &'static str,
}

fn path(name: &'static str, inputs: Vec<Input>, first: &'static str) -> Path {
    Path {
        name,
        employee: employee(),
        started: started(inputs),
        events: Vec::new(),
        first,
    }
}

/// A person says hello, and the model is about to be called.
fn asked(name: &'static str) -> Path {
    path(name, vec![said("hello")], "gather").then(0, gathered(), "model 1 .m1")
}

/// The model has answered with one part, which is being sent.
fn sending(name: &'static str, find: Find) -> Path {
    asked(name)
        .started(|started| started.channel.find = find)
        .then(0, text("Hi."), "send .p0 #1 \"Hi.\" until 10")
}

impl Path {
    fn then(mut self, at: u64, event: Event, expected: &'static str) -> Self {
        self.events.push((at, event, expected));
        self
    }

    fn employee(mut self, change: impl FnOnce(&mut Employee)) -> Self {
        change(&mut self.employee);
        self
    }

    fn limits(self, change: impl FnOnce(&mut TurnLimits)) -> Self {
        self.employee(|employee| change(&mut employee.limits))
    }

    fn started(mut self, change: impl FnOnce(&mut Started)) -> Self {
        change(&mut self.started);
        self
    }

    fn check(self) {
        let brief = |actions: &[Action]| {
            let briefs: Vec<_> = actions.iter().map(brief).collect();
            briefs.join("; ")
        };
        let (mut state, actions) = begin(&self.employee, turn(), NOW, self.started).unwrap();
        assert_eq!(brief(&actions), self.first, "{}: at first", self.name);
        let mut last = actions;
        for (n, (at, event, expected)) in self.events.iter().enumerate() {
            let at = NOW + Duration::from_secs(*at);
            let actions = step(&self.employee, &mut state, at, event).unwrap();
            assert_eq!(
                brief(&actions),
                *expected,
                "{}: event {n}, {}",
                self.name,
                event.name()
            );
            last = actions;
        }
        let over = matches!(last.last(), Some(Action::Finish { .. }));
        assert!(over, "{}: the turn is not over", self.name);
        assert!(state.outcome().is_some(), "{}", self.name);
    }
}

#[test]
fn silence_has_a_reason() {
    let aside = |change: fn(&mut Input)| {
        let mut input = said("hello");
        input.event.addressed.direct = false;
        change(&mut input);
        vec![input]
    };
    let spoke = |started: &mut Started| started.carry.spoke = true;
    let met = |turns| move |started: &mut Started| started.carry.bot_turns = turns;
    let deleted = input(Body::Deleted {
        message: "m1".into(),
    });
    let reacted = input(Body::Reaction {
        message: "m0".into(),
        emoji: "+1".into(),
        added: true,
    });
    for path in [
        path(
            "nobody said it to the employee",
            aside(|_| {}),
            "silent NotAddressed",
        ),
        path(
            "a thread that it is not in",
            aside(|i| i.event.addressed.thread = true),
            "silent NotAddressed",
        ),
        path("nothing at all", vec![], "silent NotAddressed"),
        path(
            "its own echo",
            vec![by(ActorKind::Myself)],
            "silent NotAddressed",
        ),
        path(
            "a colleague",
            vec![by(ActorKind::Operator)],
            "silent NotAddressed",
        ),
        path(
            "the provider",
            vec![by(ActorKind::System)],
            "silent NotAddressed",
        ),
        path("a reaction", vec![reacted], "silent NotAddressed"),
        path(
            "taken back at once",
            vec![said("hello"), deleted],
            "silent NotAddressed",
        ),
        path(
            "a delivered send",
            vec![delivered("x.p0", DeliveryState::Read)],
            "silent NotAddressed",
        ),
        path(
            "a failed send of somebody else",
            vec![delivered("x.p0", DeliveryState::Failed)],
            "silent NotAddressed",
        ),
        path(
            "a bot after two turns",
            vec![by(ActorKind::Bot)],
            "silent BotLoop",
        )
        .started(met(2)),
        path("dropped", vec![decided(Decision::Drop)], "silent Dropped")
            .started(|started| started.carry = open(OpenReason::Unresolved)),
        path(
            "a decision about nothing",
            vec![decided(Decision::Resend)],
            "silent Dropped",
        ),
        asked("nothing to say").then(0, text(" \n"), "silent NothingToSay"),
    ] {
        path.check();
    }
    for path in [
        path(
            "a mention",
            aside(|i| i.event.addressed.mention = true),
            "gather",
        ),
        path(
            "a command",
            aside(|i| i.event.addressed.command = true),
            "gather",
        ),
        path(
            "a thread that it is in",
            aside(|i| i.event.addressed.thread = true),
            "gather",
        )
        .started(spoke),
        path("a bot's second turn", vec![by(ActorKind::Bot)], "gather").started(met(1)),
        path(
            "a person among bots",
            vec![by(ActorKind::Bot), said("hello")],
            "gather",
        )
        .started(met(9)),
    ] {
        path.then(0, gathered(), "model 1 .m1")
            .then(0, text(""), "silent NothingToSay")
            .check();
    }
}

#[test]
fn hours_and_fallbacks() {
    let closed = |message: &'static str| {
        move |employee: &mut Employee| {
            employee.hours = Some(WorkingHours {
                time_zone: "UTC".into(),
                open: Vec::new(),
                closed_message: message.into(),
            });
        }
    };
    let sorry = "send .p0 #1 \"Sorry.\" until 10";
    for path in [
        path("closed", vec![said("hello")], "gather")
            .employee(closed("We are closed."))
            .started(|started| started.closed = true)
            .then(0, gathered(), "send .p0 #1 \"We are closed.\" until 10")
            .then(1, done(&part(0)), "replied 1 as Closed"),
        asked("closed, without a word for it")
            .employee(closed(""))
            .started(|started| started.closed = true)
            .then(0, text("Hi."), "send .p0 #1 \"Hi.\" until 10")
            .then(1, done(&part(0)), "replied 1"),
        asked("a failure that no retry can help")
            .then(0, call_failed(ErrorKind::Unauthorized), sorry)
            .then(1, done(&part(0)), "replied 1 as Model"),
        asked("too many failures")
            .limits(|limits| limits.model_calls = 2)
            .then(
                0,
                call_failed(ErrorKind::Truncated),
                "wait ModelRetry until 1",
            )
            .then(1, Event::Due, "model 2 .m2")
            .then(
                1,
                call_failed(ErrorKind::Unavailable),
                "send .p0 #1 \"Sorry.\" until 11",
            )
            .then(1, done(&part(0)), "replied 1 as Model"),
        asked("a failure that says when to come back")
            .then(
                0,
                Event::CallFailed {
                    call: 1,
                    failure: Failure {
                        kind: ErrorKind::RateLimited,
                        retry_after_ms: Some(30_000),
                    },
                },
                "wait ModelRetry until 30",
            )
            .then(30, Event::Due, "model 2 .m2")
            .then(30, text(""), "silent NothingToSay"),
        asked("a refusal without a word")
            .then(0, answer("", &[], Finish::Refusal), sorry)
            .then(1, done(&part(0)), "replied 1 as Model"),
        asked("a refusal with words")
            .then(
                0,
                answer("No.", &[], Finish::Refusal),
                "send .p0 #1 \"No.\" until 10",
            )
            .then(1, done(&part(0)), "replied 1"),
        asked("over budget")
            .then(
                0,
                Event::CallRefused {
                    call: 1,
                    reason: Refusal::OverBudget,
                },
                sorry,
            )
            .then(1, done(&part(0)), "replied 1 as Budget"),
        path(
            "an unknown price under a cap",
            vec![said("hello")],
            "gather",
        )
        .employee(|employee| employee.monthly_cap = Some(NanoUsd(1)))
        .started(|started| started.model.price = None)
        .then(0, gathered(), sorry)
        .then(1, done(&part(0)), "replied 1 as Budget"),
        asked("an unknown price without a cap")
            .started(|started| started.model.price = None)
            .then(0, text(""), "silent NothingToSay"),
        asked("calls that are lost count")
            .limits(|limits| limits.model_calls = 2)
            .then(0, Event::CallLost { call: 1 }, "model 2 .m2")
            .then(0, Event::CallLost { call: 2 }, sorry)
            .then(1, done(&part(0)), "replied 1 as Limit"),
        asked("for ever")
            .limits(|limits| limits.model_calls = 1)
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .then(0, Event::Heard { inputs: vec![] }, sorry)
            .then(1, done(&part(0)), "replied 1 as Limit"),
    ] {
        path.check();
    }
}

#[test]
fn tools_run_as_they_were_granted() {
    let heard = |inputs| Event::Heard { inputs };
    for path in [
        asked("one after the other")
            .then(0, tools(&["look", "pay"]), "tool look Read .t1")
            .then(0, returned("id-look"), "tool pay Once .t2")
            .then(0, returned("id-pay"), "listen")
            .then(0, heard(vec![]), "model 2 .m2")
            .then(0, text(""), "silent NothingToSay"),
        asked("not granted")
            .then(0, tools(&["steal"]), "listen")
            .then(0, heard(vec![]), "model 2 .m2")
            .then(0, text(""), "silent NothingToSay"),
        asked("too many")
            .limits(|limits| limits.tool_calls = 1)
            .then(0, tools(&["look", "look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .then(0, heard(vec![]), "model 2 .m2")
            .then(0, tools(&["pay"]), "listen")
            .then(0, heard(vec![]), "model 3 .m3")
            .then(0, text(""), "silent NothingToSay"),
        asked("lost")
            .then(0, tools(&["pay", "look"]), "tool pay Once .t1")
            .then(
                0,
                Event::ToolLost {
                    id: "id-pay".into(),
                },
                "tool look Read .t2",
            )
            .then(0, returned("id-look"), "listen")
            .then(0, heard(vec![]), "model 2 .m2")
            .then(0, text(""), "silent NothingToSay"),
        asked("mid-turn messages queue")
            .limits(|limits| limits.mid_turn = MidTurn::Queue)
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "model 2 .m2")
            .then(0, text(""), "silent NothingToSay"),
        asked("a decision that is heard in mid-turn")
            .started(|started| started.carry = open(OpenReason::Unresolved))
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .then(0, heard(vec![decided(Decision::Resend)]), "model 2 .m2")
            .then(0, text("Hi."), "send old.p0 #1 \"text of old.p0\" until 10")
            .then(
                0,
                done("old.p0"),
                "send old.p1 #1 \"text of old.p1\" until 10",
            )
            .then(0, done("old.p1"), "send .p0 #1 \"Hi.\" until 10")
            .then(0, done(&part(0)), "replied 3"),
    ] {
        path.check();
    }
}

#[test]
fn parts_go_one_after_the_other() {
    let two = "First part of it.\n\nAnd the second.";
    let first = "send .p0 #1 \"First part of it.\" until 10";
    for path in [
        asked("two parts")
            .then(0, text(two), first)
            .then(
                3,
                done(&part(0)),
                "send .p1 #1 \"And the second.\" until 13",
            )
            .then(4, done(&part(1)), "replied 2"),
        asked("the second is refused")
            .then(0, text(two), first)
            .then(
                3,
                done(&part(0)),
                "send .p1 #1 \"And the second.\" until 13",
            )
            .then(
                4,
                failed(&part(1), ErrorKind::Forbidden),
                "asked .p1, open .p1 Failed(Forbidden) 1",
            ),
        asked("the first is refused, and the second waits with it")
            .then(0, text(two), first)
            .then(
                3,
                failed(&part(0), ErrorKind::NotFound),
                "asked .p0, open .p0 Failed(NotFound) 2",
            ),
        sending("six tries, ever more rarely", Find::Query)
            .then(
                0,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 1",
            )
            .then(1, Event::Due, "send .p0 #2 \"Hi.\" until 11")
            .then(
                1,
                failed(&part(0), ErrorKind::RateLimited),
                "wait SendRetry until 3",
            )
            .then(3, Event::Due, "send .p0 #3 \"Hi.\" until 13")
            .then(
                3,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 7",
            )
            .then(7, Event::Due, "send .p0 #4 \"Hi.\" until 17")
            .then(
                7,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 15",
            )
            .then(15, Event::Due, "send .p0 #5 \"Hi.\" until 25")
            .then(
                15,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 31",
            )
            .then(31, Event::Due, "send .p0 #6 \"Hi.\" until 41")
            .then(
                31,
                failed(&part(0), ErrorKind::Unavailable),
                "asked .p0, open .p0 Failed(Unavailable) 1",
            ),
    ] {
        path.check();
    }
}

#[test]
fn ambiguity_is_asked_and_not_guessed() {
    let resend = |limits: &mut TurnLimits| limits.unresolved = Unresolved::Resend;
    let ask = "asked .p0, open .p0 Unresolved 1";
    for path in [
        sending("asked once it has landed: it arrived", Find::Query)
            .then(4, unsure(&part(0)), "wait InFlight until 12")
            .then(12, Event::Due, "find .p0 since 0")
            .then(12, done(&part(0)), "replied 1"),
        sending("asked once it has landed: it did not", Find::Query)
            .then(4, unsure(&part(0)), "wait InFlight until 12")
            .then(12, Event::Due, "find .p0 since 0")
            .then(12, missing(&part(0)), "send .p0 #2 \"Hi.\" until 22")
            .then(13, done(&part(0)), "replied 1"),
        sending("landed long ago", Find::Query)
            .then(99, unsure(&part(0)), "find .p0 since 0")
            .then(99, done(&part(0)), "replied 1"),
        sending("a word of the provider while it waits", Find::Query)
            .then(4, unsure(&part(0)), "wait InFlight until 12")
            .then(5, done(&part(0)), "replied 1"),
        sending("the provider is not to be reached", Find::Query)
            .then(99, unsure(&part(0)), "find .p0 since 0")
            .then(
                99,
                unasked(&part(0), ErrorKind::Unavailable),
                "wait FindRetry until 100",
            )
            .then(100, Event::Due, "find .p0 since 0")
            .then(100, unasked(&part(0), ErrorKind::Forbidden), ask),
        sending("six times missing", Find::Query)
            .then(12, unsure(&part(0)), "find .p0 since 0")
            .then(12, missing(&part(0)), "send .p0 #2 \"Hi.\" until 22")
            .then(24, unsure(&part(0)), "find .p0 since 0")
            .then(24, missing(&part(0)), "send .p0 #3 \"Hi.\" until 34")
            .then(36, unsure(&part(0)), "find .p0 since 0")
            .then(36, missing(&part(0)), "send .p0 #4 \"Hi.\" until 46")
            .then(48, unsure(&part(0)), "find .p0 since 0")
            .then(48, missing(&part(0)), "send .p0 #5 \"Hi.\" until 58")
            .then(60, unsure(&part(0)), "find .p0 since 0")
            .then(60, missing(&part(0)), "send .p0 #6 \"Hi.\" until 70")
            .then(72, unsure(&part(0)), "find .p0 since 0")
            .then(72, missing(&part(0)), ask),
        sending("silence past the deadline", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(72, Event::Due, ask),
        sending("a word in time", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(40, done(&part(0)), "replied 1"),
        sending("a word that it failed", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(
                40,
                failed(&part(0), ErrorKind::Forbidden),
                "asked .p0, open .p0 Failed(Forbidden) 1",
            ),
        sending("the silence is counted from the restart", Find::Event)
            .then(1_000, unsure(&part(0)), "wait Receipt until 1060")
            .then(1_060, Event::Due, ask),
        sending("the owner would rather say it twice", Find::Event)
            .limits(resend)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(72, Event::Due, "send .p0 #2 \"Hi.\" until 82")
            .then(73, done(&part(0)), "replied 1"),
        sending("it never tells", Find::None)
            .then(4, unsure(&part(0)), "wait Receipt until 12")
            .then(12, Event::Due, ask),
        sending("it never tells, and is told twice", Find::None)
            .limits(resend)
            .then(4, unsure(&part(0)), "wait Receipt until 12")
            .then(12, Event::Due, "send .p0 #2 \"Hi.\" until 22")
            .then(13, done(&part(0)), "replied 1"),
    ] {
        path.check();
    }
}

#[test]
fn a_person_decides_and_the_turn_after_it_acts() {
    let first = "send old.p0 #1 \"text of old.p0\" until 10";
    let second = "send old.p1 #1 \"text of old.p1\" until 10";
    let unresolved =
        |path: Path| path.started(|started| started.carry = open(OpenReason::Unresolved));
    let undelivered = || {
        let mut input = delivered("gone.p0", DeliveryState::Failed);
        input.undelivered = Some(ReplyPart {
            key: "gone.p0".into(),
            text: "Gone.".into(),
        });
        input
    };
    for path in [
        unresolved(path("it arrived", vec![decided(Decision::Arrived)], second)).then(
            0,
            done("old.p1"),
            "replied 1",
        ),
        unresolved(path(
            "send it again",
            vec![decided(Decision::Resend)],
            first,
        ))
        .then(0, done("old.p0"), second)
        .then(0, done("old.p1"), "replied 2"),
        unresolved(path(
            "the provider tells late",
            vec![delivered("old.p0", DeliveryState::Delivered)],
            second,
        ))
        .then(0, done("old.p1"), "replied 1"),
        unresolved(path(
            "the provider tells late that it failed",
            vec![delivered("old.p0", DeliveryState::Failed)],
            "silent NotAddressed, open old.p0 NotDelivered 2",
        )),
        unresolved(path("others talk on", vec![said("hello")], "gather"))
            .then(0, gathered(), "model 1 .m1")
            .then(0, text("Hi."), "send .p0 #1 \"Hi.\" until 10")
            .then(0, done(&part(0)), "replied 1, open old.p0 Unresolved 2"),
        unresolved(path(
            "send it again, and then it had arrived after all",
            vec![
                decided(Decision::Resend),
                delivered("old.p0", DeliveryState::Read),
            ],
            second,
        ))
        .then(0, done("old.p1"), "replied 1"),
        path(
            "it was taken, and failed",
            vec![undelivered()],
            "asked gone.p0, open gone.p0 NotDelivered 1",
        ),
        path(
            "it was taken, and failed, amid other things",
            vec![undelivered(), said("hello")],
            "gather",
        )
        .then(0, gathered(), "model 1 .m1")
        .then(0, text("Hi."), "send .p0 #1 \"Hi.\" until 10")
        .then(0, done(&part(0)), "replied 1, open gone.p0 NotDelivered 1"),
    ] {
        path.check();
    }
}

#[test]
fn an_event_that_does_not_fit_is_refused_and_changes_nothing() {
    let employee = employee();
    let (mut state, _) = begin(&employee, turn(), NOW, started(vec![said("hello")])).unwrap();
    let before = state.clone();
    for event in [
        text("Hi."),
        Event::Due,
        done("x"),
        missing("x"),
        returned("x"),
    ] {
        let error = step(&employee, &mut state, NOW, &event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(state, before, "{}", event.name());
    }
    for event in [gathered(), text("Hi.")] {
        step(&employee, &mut state, NOW, &event).unwrap();
    }
    let before = state.clone();
    for event in [
        done("x"),
        failed("x", ErrorKind::Forbidden),
        unsure("x"),
        Event::Due,
    ] {
        let error = step(&employee, &mut state, NOW, &event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(state, before, "{}", event.name());
    }
}
