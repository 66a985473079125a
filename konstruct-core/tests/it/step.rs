//! The state machine, path by path: the decisions that follow from each event.

use std::time::Duration;

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, Employee, ErrorKind, NanoUsd, Outgoing,
    PersonId, Timestamp, TurnId,
    channel::{Find, Receipt},
    employee::{MidTurn, TurnLimits, Unresolved, WorkingHours},
    limit::{Cap, CapScope, Period},
    llm::{Finish, ModelAnswer, Part, ToolCall},
    message::{ActorKind, Body, Content, Decision, DeliveryState},
    money::Price,
    testkit::message,
    tool::Effect,
    turn::{
        Action, ConversationState, ENGINE_VERSION, Event, Evidence, Failure, FallbackReason,
        Gathered, Input, ItemId, ItemKind, OpenItem, OpenReason, Outcome, PinnedChannel,
        PinnedModel, Refusal, ReplyPart, Started, State, begin, step,
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

fn turn() -> TurnId {
    TurnId::from_bytes([7; 16])
}

/// Returns the key of a part of the turn's own reply.
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
        accepted_at: NOW,
        late: false,
        persons: Vec::new(),
        about: None,
        undelivered: None,
        event,
    }
}

fn message_input(text: &str) -> Input {
    input(Body::Message {
        message: "m1".into(),
        content: Content::text(text),
    })
}

fn by(kind: ActorKind) -> Input {
    let mut input = message_input("hello");
    input.event.sender.kind = kind;
    input
}

/// Returns a decision on the item that an earlier turn opened.
fn decided(decision: Decision) -> Input {
    let mut input = decided_nothing(decision);
    input.about = Some(open());
    input
}

/// Returns a decision on an item that is no longer open.
fn decided_nothing(decision: Decision) -> Input {
    input(Body::Decision {
        target: ConversationId::from_bytes([2; 16]),
        item: open().id,
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

/// Returns a send that an earlier turn left open, with the part that was to follow it.
fn open() -> OpenItem {
    OpenItem::new(
        ItemId("old.i1".into()),
        ItemKind::Send {
            reason: OpenReason::Unresolved,
            keys: vec!["old.p0".into(), "old.p1".into()],
        },
        TurnId::from_bytes([6; 16]),
        3,
        NOW,
    )
}

/// Returns a question that an earlier turn left open.
fn question() -> OpenItem {
    {
        let mut item = open();
        item.kind = ItemKind::Question {
            reason: FallbackReason::Model,
        };
        item
    }
}

/// Returns a delivery report about the message that an earlier turn left open.
fn reported(state: DeliveryState) -> Input {
    let mut input = delivered("old.p0", state);
    input.about = Some(open());
    input
}

fn started() -> Started {
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
        inputs: 0,
        first: 100,
        state: ConversationState::default(),
        questions: Vec::new(),
        follow_up: None,
        limited: None,
        deadline: None,
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

/// Describes an action in a few words.
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
            record,
            give_up_at,
            ..
        } => {
            let from = record.map_or_else(String::new, |record| format!(" of {record}"));
            let until = after(*give_up_at);
            format!("send {} #{attempt}{from} until {until}", short(key))
        }
        Action::Reply { source } => format!("reply {source:?}"),
        Action::Open(item) => match &item.kind {
            ItemKind::Send { reason, keys } => {
                format!(
                    "open {} {reason:?} {} at {}",
                    short(&keys[0]),
                    keys.len(),
                    item.record
                )
            }
            ItemKind::Question { reason } => {
                let retry = item.retry_at.map(|at| format!(", again at {}", after(at)));
                format!("open question {reason:?}{}", retry.unwrap_or_default())
            }
            other => format!("open {other:?}"),
        },
        Action::Close { item, reason } => format!("close {item} {reason:?}"),
        Action::SkipTool { .. } => "skip".into(),
        Action::Find { key, since } => format!("find {} since {}", short(key), after(*since)),
        Action::Wait { until, reason } => format!("wait {reason:?} until {}", after(*until)),
        Action::Finish { outcome } => match outcome {
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
            Outcome::Asked { .. } => "asked".into(),
            other => format!("{other:?}"),
        },
        other => other.name().to_owned(),
    }
}

struct Path {
    name: &'static str,
    employee: Employee,
    started: Started,
    inputs: Vec<Input>,
    /// In how many parts the channel splits a reply, and whether there is a rest.
    parts: (usize, bool),
    /// The seconds since the beginning, the event, and the expected actions.
    events: Vec<(u64, Vec<Event>, &'static str)>,
    first: &'static str,
    unfinished: bool,
}

fn path(name: &'static str, inputs: Vec<Input>, first: &'static str) -> Path {
    Path {
        name,
        employee: employee(),
        started: started(),
        inputs,
        parts: (1, false),
        events: Vec::new(),
        first,
        unfinished: false,
    }
}

/// Returns a path in which a person has said hello, and the model is about to be called.
fn asked(name: &'static str) -> Path {
    path(name, vec![message_input("hello")], "gather").then(0, gathered(), "model 1 .m1")
}

/// Returns a path in which the model has answered with one part, which is being sent.
fn sending(name: &'static str, find: Find) -> Path {
    asked(name)
        .started(|started| started.channel.find = find)
        .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
}

impl Path {
    fn then(mut self, at: u64, event: Event, expected: &'static str) -> Self {
        self.events.push((at, vec![event], expected));
        self
    }

    /// Adds a read of the inbox with new inputs.
    fn reads_inbox(mut self, at: u64, inputs: Vec<Input>, expected: &'static str) -> Self {
        let count = u32::try_from(inputs.len()).unwrap();
        let received = inputs.into_iter().map(Box::new).map(Event::Received);
        let events = std::iter::once(Event::InboxRead { inputs: count }).chain(received);
        self.events.push((at, events.collect(), expected));
        self
    }

    fn in_parts(mut self, parts: usize, rest: bool) -> Self {
        self.parts = (parts, rest);
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

    /// Checks only the first actions.
    fn check_begins(mut self) {
        self.events.clear();
        self.unfinished = true;
        self.check();
    }

    fn check(self) {
        let brief = |actions: &[Action]| {
            let briefs: Vec<_> = actions.iter().map(brief).collect();
            briefs.join("; ")
        };
        let (rendered, rest) = self.parts;
        let step = |state: &mut State, at: Timestamp, event: &Event| {
            let mut actions = step(&self.employee, state, at, event).unwrap();
            while let Some(Action::Reply { .. }) = actions.last() {
                let parts = (0..rendered).map(|n| ReplyPart {
                    key: format!("{}.p{n}", turn()),
                    what: Outgoing::markdown("Hi."),
                });
                let rendered = Event::Rendered {
                    parts: parts.collect(),
                    rest: rest.then(|| Outgoing::markdown("More.")),
                };
                actions.extend(step_again(&self.employee, state, at, &rendered));
            }
            actions
        };
        let mut begun = self.started;
        begun.inputs = u32::try_from(self.inputs.len()).unwrap();
        let (mut state, mut actions) = begin(&self.employee, turn(), NOW, begun).unwrap();
        for input in self.inputs {
            assert!(actions.is_empty(), "{}: decided too early", self.name);
            actions = step(&mut state, NOW, &Event::Received(Box::new(input)));
        }
        assert_eq!(brief(&actions), self.first, "{}: first actions", self.name);
        let mut last = actions;
        for (n, (at, events, expected)) in self.events.iter().enumerate() {
            let at = NOW + Duration::from_secs(*at);
            let mut actions = Vec::new();
            for event in events {
                assert!(actions.is_empty(), "{}: decided too early", self.name);
                actions = step(&mut state, at, event);
            }
            assert_eq!(
                brief(&actions),
                *expected,
                "{}: event {n}, {}",
                self.name,
                events[0].name()
            );
            last = actions;
        }
        if self.unfinished {
            return;
        }
        let over = matches!(last.last(), Some(Action::Finish { .. }));
        assert!(over, "{}: the turn is not over", self.name);
        assert!(state.outcome().is_some(), "{}", self.name);
    }
}

fn step_again(employee: &Employee, state: &mut State, at: Timestamp, event: &Event) -> Vec<Action> {
    step(employee, state, at, event).unwrap()
}

#[test]
fn silence_has_a_reason() {
    let aside = |change: fn(&mut Input)| {
        let mut input = message_input("hello");
        input.event.addressed.direct = false;
        change(&mut input);
        vec![input]
    };
    let spoke = |started: &mut Started| started.state.spoke = true;
    let met = |turns| move |started: &mut Started| started.state.bot_turns = turns;
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
            "the employee is not addressed",
            aside(|_| {}),
            "silent NotAddressed",
        ),
        path(
            "a thread without the employee",
            aside(|i| i.event.addressed.thread = true),
            "silent NotAddressed",
        ),
        path("no inputs", vec![], "silent NotAddressed"),
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
            "deleted immediately",
            vec![message_input("hello"), deleted],
            "silent NotAddressed",
        ),
        path(
            "a delivered send",
            vec![delivered("x.p0", DeliveryState::Read)],
            "silent NotAddressed",
        ),
        path(
            "a failed send of an unknown message",
            vec![delivered("x.p0", DeliveryState::Failed)],
            "silent NotAddressed",
        ),
        path(
            "a bot after two turns",
            vec![by(ActorKind::Bot)],
            "silent BotLoop",
        )
        .started(met(2)),
        path(
            "dropped",
            vec![decided(Decision::Drop)],
            "close old.i1 Decided; silent Dropped",
        ),
        path(
            "a decision on a closed item",
            vec![decided_nothing(Decision::Resend)],
            "silent Dropped",
        ),
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
            "a thread with the employee",
            aside(|i| i.event.addressed.thread = true),
            "gather",
        )
        .started(spoke),
        path("a bot's second turn", vec![by(ActorKind::Bot)], "gather").started(met(1)),
        path(
            "a person among bots",
            vec![by(ActorKind::Bot), message_input("hello")],
            "gather",
        )
        .started(met(9)),
    ] {
        path.then(0, gathered(), "model 1 .m1")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1")
            .check();
    }
}

#[test]
fn hours_and_fallbacks() {
    let closed = |message: &'static str| {
        move |employee: &mut Employee| {
            employee.hours = Some(WorkingHours::new("UTC").closed_message(message));
        }
    };
    let sorry = "reply Fixed(Model); send .p0 #1 until 10";
    for path in [
        path("closed", vec![message_input("hello")], "gather")
            .employee(closed("We are closed."))
            .started(|started| started.closed = true)
            .then(0, gathered(), "reply Fixed(Closed); send .p0 #1 until 10")
            .then(1, done(&part(0)), "replied 1 as Closed"),
        asked("closed, without a closed message")
            .employee(closed(""))
            .started(|started| started.closed = true)
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(1, done(&part(0)), "replied 1"),
        asked("a failure that cannot be retried")
            .then(0, call_failed(ErrorKind::Unauthorized), sorry)
            .then(
                1,
                done(&part(0)),
                "open question Model, again at 31; replied 1 as Model",
            ),
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
                "reply Fixed(Model); send .p0 #1 until 11",
            )
            .then(
                1,
                done(&part(0)),
                "open question Model, again at 31; replied 1 as Model",
            ),
        asked("a failure with a retry delay")
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
            .then(30, text("Hi."), "reply Answer; send .p0 #1 until 40")
            .then(30, done(&part(0)), "replied 1"),
        asked("a refusal without a text")
            .then(0, answer("", &[], Finish::Refusal), sorry)
            .then(
                1,
                done(&part(0)),
                "open question Model, again at 31; replied 1 as Model",
            ),
        asked("a refusal with a text")
            .then(
                0,
                answer("No.", &[], Finish::Refusal),
                "reply Answer; send .p0 #1 until 10",
            )
            .then(1, done(&part(0)), "replied 1"),
        asked("over budget")
            .then(
                0,
                Event::CallRefused {
                    call: 1,
                    reason: Refusal::OverBudget,
                    cap: None,
                },
                "reply Fixed(Budget); send .p0 #1 until 10",
            )
            .then(
                1,
                done(&part(0)),
                "open question Budget, again at 31; replied 1 as Budget",
            ),
        path(
            "an unknown price under a cap",
            vec![message_input("hello")],
            "gather",
        )
        .employee(|employee| {
            employee.caps = vec![Cap::new(CapScope::Tenant, Period::Month, NanoUsd(1))]
        })
        .started(|started| started.model.price = None)
        .then(0, gathered(), "reply Fixed(Budget); send .p0 #1 until 10")
        .then(
            1,
            done(&part(0)),
            "open question Budget, again at 31; replied 1 as Budget",
        ),
        asked("an unknown price without a cap")
            .started(|started| started.model.price = None)
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("calls that are lost count")
            .limits(|limits| limits.model_calls = 2)
            .then(0, Event::CallLost { call: 1 }, "model 2 .m2")
            .then(
                0,
                Event::CallLost { call: 2 },
                "reply Fixed(Limit); send .p0 #1 until 10",
            )
            .then(1, done(&part(0)), "open question Limit; replied 1 as Limit"),
        asked("endless tool calls")
            .limits(|limits| limits.model_calls = 1)
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .reads_inbox(0, vec![], "reply Fixed(Limit); send .p0 #1 until 10")
            .then(1, done(&part(0)), "open question Limit; replied 1 as Limit"),
    ] {
        path.check();
    }
}

#[test]
fn tools_run_as_they_were_granted() {
    for path in [
        asked("one after the other")
            .then(0, tools(&["look", "pay"]), "tool look Read .t1")
            .then(0, returned("id-look"), "tool pay Once .t2")
            .then(0, returned("id-pay"), "listen")
            .reads_inbox(0, vec![], "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("not granted")
            .then(0, tools(&["steal"]), "skip; listen")
            .reads_inbox(0, vec![], "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("too many")
            .limits(|limits| limits.tool_calls = 1)
            .then(0, tools(&["look", "look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "skip; listen")
            .reads_inbox(0, vec![], "model 2 .m2")
            .then(0, tools(&["pay"]), "skip; listen")
            .reads_inbox(0, vec![], "model 3 .m3")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
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
            .reads_inbox(0, vec![], "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("mid-turn messages queue")
            .limits(|limits| limits.mid_turn = MidTurn::Queue)
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("a team member takes over during the turn")
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .reads_inbox(0, vec![by(ActorKind::Operator)], "silent Held"),
        asked("a team member takes over before a decision is carried out")
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .reads_inbox(
                0,
                vec![by(ActorKind::Operator), decided(Decision::Resend)],
                "close old.i1 Decided; send old.p0 #1 of 3 until 10",
            )
            .then(0, done("old.p0"), "send old.p1 #1 of 3 until 10")
            .then(0, done("old.p1"), "replied 2"),
        asked("a decision that arrives during the turn")
            .then(0, tools(&["look"]), "tool look Read .t1")
            .then(0, returned("id-look"), "listen")
            .reads_inbox(
                0,
                vec![decided(Decision::Resend)],
                "close old.i1 Decided; model 2 .m2",
            )
            .then(0, text("Hi."), "reply Answer; send old.p0 #1 of 3 until 10")
            .then(0, done("old.p0"), "send old.p1 #1 of 3 until 10")
            .then(0, done("old.p1"), "send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 3"),
    ] {
        path.check();
    }
}

#[test]
fn parts_are_sent_in_order() {
    let two = "First part of it.\n\nAnd the second.";
    let first = "reply Answer; send .p0 #1 until 10";
    for path in [
        asked("two parts")
            .in_parts(2, false)
            .then(0, text(two), first)
            .then(3, done(&part(0)), "send .p1 #1 until 13")
            .then(4, done(&part(1)), "replied 2"),
        asked("the second is refused")
            .in_parts(2, false)
            .then(0, text(two), first)
            .then(3, done(&part(0)), "send .p1 #1 until 13")
            .then(
                4,
                failed(&part(1), ErrorKind::Forbidden),
                "open .p1 Failed(Forbidden) 1 at 107; asked",
            ),
        asked("the first is refused, and the second waits with it")
            .in_parts(2, false)
            .then(0, text(two), first)
            .then(
                3,
                failed(&part(0), ErrorKind::NotFound),
                "open .p0 Failed(NotFound) 2 at 107; asked",
            ),
        sending("six attempts with increasing delays", Find::Query)
            .then(
                0,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 1",
            )
            .then(1, Event::Due, "send .p0 #2 until 11")
            .then(
                1,
                failed(&part(0), ErrorKind::RateLimited),
                "wait SendRetry until 3",
            )
            .then(3, Event::Due, "send .p0 #3 until 13")
            .then(
                3,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 7",
            )
            .then(7, Event::Due, "send .p0 #4 until 17")
            .then(
                7,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 15",
            )
            .then(15, Event::Due, "send .p0 #5 until 25")
            .then(
                15,
                failed(&part(0), ErrorKind::Unavailable),
                "wait SendRetry until 31",
            )
            .then(31, Event::Due, "send .p0 #6 until 41")
            .then(
                31,
                failed(&part(0), ErrorKind::Unavailable),
                "open .p0 Failed(Unavailable) 1 at 107; asked",
            ),
    ] {
        path.check();
    }
}

#[test]
fn ambiguity_is_asked_and_not_guessed() {
    let resend = |limits: &mut TurnLimits| limits.unresolved = Unresolved::Resend;
    let ask = "open .p0 Unresolved 1 at 107; asked";
    for path in [
        sending(
            "queried once it cannot be in flight: it arrived",
            Find::Query,
        )
        .then(4, unsure(&part(0)), "wait InFlight until 12")
        .then(12, Event::Due, "find .p0 since 0")
        .then(12, done(&part(0)), "replied 1"),
        sending(
            "queried once it cannot be in flight: it did not arrive",
            Find::Query,
        )
        .then(4, unsure(&part(0)), "wait InFlight until 12")
        .then(12, Event::Due, "find .p0 since 0")
        .then(12, missing(&part(0)), "send .p0 #2 until 22")
        .then(13, done(&part(0)), "replied 1"),
        sending("can no longer be in flight", Find::Query)
            .then(99, unsure(&part(0)), "find .p0 since 0")
            .then(99, done(&part(0)), "replied 1"),
        sending("a report of the provider during the wait", Find::Query)
            .then(4, unsure(&part(0)), "wait InFlight until 12")
            .then(5, done(&part(0)), "replied 1"),
        sending("the provider cannot be reached", Find::Query)
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
            .then(12, missing(&part(0)), "send .p0 #2 until 22")
            .then(24, unsure(&part(0)), "find .p0 since 0")
            .then(24, missing(&part(0)), "send .p0 #3 until 34")
            .then(36, unsure(&part(0)), "find .p0 since 0")
            .then(36, missing(&part(0)), "send .p0 #4 until 46")
            .then(48, unsure(&part(0)), "find .p0 since 0")
            .then(48, missing(&part(0)), "send .p0 #5 until 58")
            .then(60, unsure(&part(0)), "find .p0 since 0")
            .then(60, missing(&part(0)), "send .p0 #6 until 70")
            .then(72, unsure(&part(0)), "find .p0 since 0")
            .then(72, missing(&part(0)), ask),
        sending("no report before the deadline", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(72, Event::Due, ask),
        sending("a report in time", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(40, done(&part(0)), "replied 1"),
        sending("a report of a failure", Find::Event)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(
                40,
                failed(&part(0), ErrorKind::Forbidden),
                "open .p0 Failed(Forbidden) 1 at 107; asked",
            ),
        sending("the deadline is counted from the restart", Find::Event)
            .then(1_000, unsure(&part(0)), "wait Receipt until 1060")
            .then(1_060, Event::Due, ask),
        sending("the owner prefers to resend", Find::Event)
            .limits(resend)
            .then(4, unsure(&part(0)), "wait Receipt until 72")
            .then(72, Event::Due, "send .p0 #2 until 82")
            .then(73, done(&part(0)), "replied 1"),
        sending("the channel never reports", Find::None)
            .then(4, unsure(&part(0)), "wait Receipt until 12")
            .then(12, Event::Due, ask),
        sending(
            "the channel never reports, and the message is resent",
            Find::None,
        )
        .limits(resend)
        .then(4, unsure(&part(0)), "wait Receipt until 12")
        .then(12, Event::Due, "send .p0 #2 until 22")
        .then(13, done(&part(0)), "replied 1"),
    ] {
        path.check();
    }
}

#[test]
fn a_person_decides_and_the_turn_after_it_acts() {
    let undelivered = || {
        let mut input = delivered("gone.p0", DeliveryState::Failed);
        input.undelivered = Some(7);
        input
    };
    let second = "close old.i1 Decided; send old.p1 #1 of 3 until 10";
    for path in [
        path("it arrived", vec![decided(Decision::Arrived)], second).then(
            0,
            done("old.p1"),
            "replied 1",
        ),
        path(
            "send it again",
            vec![decided(Decision::Resend)],
            "close old.i1 Decided; send old.p0 #1 of 3 until 10",
        )
        .then(0, done("old.p0"), "send old.p1 #1 of 3 until 10")
        .then(0, done("old.p1"), "replied 2"),
        path(
            "its text was erased",
            vec![decided(Decision::Resend)],
            "close old.i1 Decided; send old.p0 #1 of 3 until 10",
        )
        .then(
            0,
            failed("old.p0", ErrorKind::Cancelled),
            "silent Forgotten",
        ),
        path(
            "sent again, it is unresolved again: a new item for a new decision",
            vec![decided(Decision::Resend)],
            "close old.i1 Decided; send old.p0 #1 of 3 until 10",
        )
        .started(|started| started.channel.find = Find::None)
        .then(4, unsure("old.p0"), "wait Receipt until 12")
        .then(12, Event::Due, "open old.p0 Unresolved 2 at 3; asked"),
        path(
            "the provider reports late",
            vec![reported(DeliveryState::Delivered)],
            "close old.i1 Settled; send old.p1 #1 of 3 until 10",
        )
        .then(0, done("old.p1"), "replied 1"),
        path(
            "the provider reports a failure late",
            vec![reported(DeliveryState::Failed)],
            "close old.i1 Settled; open old.p0 NotDelivered 2 at 3; asked",
        ),
        path(
            "others continue to write",
            vec![message_input("hello")],
            "gather",
        )
        .then(0, gathered(), "model 1 .m1")
        .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
        .then(0, done(&part(0)), "replied 1"),
        path(
            "send it again, and then it had arrived after all",
            vec![decided(Decision::Resend), reported(DeliveryState::Read)],
            "close old.i1 Decided; send old.p1 #1 of 3 until 10",
        )
        .then(0, done("old.p1"), "replied 1"),
        path(
            "it was accepted, and failed",
            vec![undelivered()],
            "open gone.p0 NotDelivered 1 at 7; asked",
        ),
        path(
            "it was accepted and failed, together with a message",
            vec![undelivered(), message_input("hello")],
            "open gone.p0 NotDelivered 1 at 7; gather",
        )
        .then(0, gathered(), "model 1 .m1")
        .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
        .then(0, done(&part(0)), "replied 1"),
    ] {
        path.check();
    }
}

#[test]
fn a_fixed_phrase_is_sent_in_time_while_the_model_is_down() {
    let waits = |started: &mut Started| started.deadline = Some(NOW + Duration::from_secs(45));
    let unavailable = || call_failed(ErrorKind::Unavailable);
    for path in [
        asked("a fixed phrase, and an open question")
            .started(waits)
            .then(0, unavailable(), "wait ModelRetry until 1")
            .then(1, Event::Due, "model 2 .m2")
            .then(20, unavailable(), "wait ModelRetry until 22")
            .then(22, Event::Due, "model 3 .m3")
            .then(
                43,
                unavailable(),
                "reply Fixed(Model); send .p0 #1 until 53",
            )
            .then(
                44,
                done(&part(0)),
                "open question Model, again at 74; replied 1 as Model",
            ),
        asked("an answer after a crash is better than a promise")
            .started(waits)
            .then(99, Event::CallLost { call: 1 }, "model 2 .m2")
            .then(99, text("Hi."), "reply Answer; send .p0 #1 until 109")
            .then(99, done(&part(0)), "replied 1"),
        asked("a turn that called a tool is not cut short")
            .started(waits)
            .then(0, tools(&["pay"]), "tool pay Once .t1")
            .then(50, returned("id-pay"), "listen")
            .reads_inbox(50, vec![], "model 2 .m2")
            .then(50, unavailable(), "wait ModelRetry until 52")
            .then(52, Event::Due, "model 3 .m3")
            .then(52, text("Hi."), "reply Answer; send .p0 #1 until 62")
            .then(52, done(&part(0)), "replied 1"),
    ] {
        path.check();
    }
}

#[test]
fn a_question_is_tried_again_by_itself() {
    let follows = |started: &mut Started| {
        started.follow_up = Some(question());
        started.questions = vec![question().id];
    };
    let again = |name| {
        path(name, vec![], "gather")
            .started(follows)
            .then(60, gathered(), "model 1 .m1")
    };
    let unavailable = || call_failed(ErrorKind::Unavailable);
    for path in [
        again("the model is back")
            .then(60, text("Hi."), "reply Answer; send .p0 #1 until 70")
            .then(60, done(&part(0)), "close old.i1 Answered; replied 1"),
        again("the model is still down: no message is sent, and the question is retried later")
            .limits(|limits| limits.model_calls = 1)
            .then(
                60,
                unavailable(),
                "open question Model, again at 120; silent Unanswered",
            ),
        again("too old to be retried: a person must decide")
            .limits(|limits| {
                limits.model_calls = 1;
                limits.question_age_secs = 90;
            })
            .then(60, unavailable(), "open question Model; silent Unanswered"),
        path(
            "the person asks again, and is answered",
            vec![message_input("hello?")],
            "gather",
        )
        .started(|started| started.questions = vec![question().id])
        .then(0, gathered(), "model 1 .m1")
        .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
        .then(0, done(&part(0)), "close old.i1 Answered; replied 1"),
    ] {
        path.check();
    }
    let mut wanted = decided(Decision::Answer);
    wanted.about = Some(question());
    path(
        "a person wants it answered",
        vec![wanted],
        "close old.i1 Decided; gather",
    )
    .then(0, gathered(), "model 1 .m1")
    .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
    .then(0, done(&part(0)), "replied 1")
    .check();
}

#[test]
fn late_questions_need_a_decision() {
    let mut late = message_input("hello");
    late.accepted_at = Timestamp::from_secs(NOW.as_secs() - 5 * 60 * 60);
    path(
        "four hours are over",
        vec![late.clone()],
        "open question Late; silent Late",
    )
    .check();
    asked("no age limit").check_begins();
    path("no age limit", vec![late], "gather")
        .limits(|limits| limits.question_age_secs = 0)
        .check_begins();
}

#[test]
fn a_reply_waits_for_its_connection() {
    let refused = || failed(&part(0), ErrorKind::Unauthorized);
    sending("the token is renewed", Find::Query)
        .then(0, refused(), "wait Connection until 15")
        .then(15, Event::Due, "send .p0 #2 until 25")
        .then(15, refused(), "wait Connection until 45")
        .then(45, Event::Due, "send .p0 #3 until 55")
        .then(45, done(&part(0)), "replied 1")
        .check();
    sending("the token is never renewed", Find::Query)
        .limits(|limits| limits.question_age_secs = 20)
        .then(0, refused(), "wait Connection until 15")
        .then(15, Event::Due, "send .p0 #2 until 25")
        .then(
            15,
            refused(),
            "open .p0 Failed(Unauthorized) 1 at 107; asked",
        )
        .check();
}

#[test]
fn cut_and_blank_answers_are_not_sent_as_if_whole() {
    let cut = || answer("The first half", &[], Finish::Length);
    for path in [
        asked("it is continued")
            .then(0, cut(), "model 2 .m2")
            .then(
                0,
                text(" and the second."),
                "reply Answer; send .p0 #1 until 10",
            )
            .then(0, done(&part(0)), "replied 1"),
        asked("it is truncated each time")
            .then(0, cut(), "model 2 .m2")
            .then(0, cut(), "model 3 .m3")
            .then(0, cut(), "reply Fixed(Cut); send .p0 #1 until 10")
            .then(0, done(&part(0)), "open question Cut; replied 1 as Cut"),
        asked("a filter stopped it")
            .then(
                0,
                answer("The first", &[], Finish::ContentFilter),
                "reply Fixed(Cut); send .p0 #1 until 10",
            )
            .then(0, done(&part(0)), "open question Cut; replied 1 as Cut"),
        asked("a blank answer is requested again")
            .then(0, text(" \n"), "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        asked("it is blank each time")
            .then(0, text(""), "model 2 .m2")
            .then(0, text(""), "reply Fixed(Blank); send .p0 #1 until 10")
            .then(
                0,
                done(&part(0)),
                "open question Blank, again at 30; replied 1 as Blank",
            ),
    ] {
        path.check();
    }
}

#[test]
fn the_rest_of_a_long_reply_can_be_asked_for() {
    asked("it is offered")
        .in_parts(1, true)
        .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
        .then(0, done(&part(0)), "open Rest; replied 1")
        .check();
    let mut pressed = input(Body::Action {
        kind: "button".into(),
        action: "old.i1".into(),
        value: String::new(),
    });
    pressed.about = Some({
        let mut item = open();
        item.kind = ItemKind::Rest;
        item
    });
    path(
        "the rest is requested, and sent without the model",
        vec![pressed],
        "close old.i1 Answered; reply Rest(3); send .p0 #1 until 10",
    )
    .then(0, done(&part(0)), "replied 1")
    .check();
}

#[test]
fn forgetting_a_person_discards_the_models_output() {
    let forgotten = || Event::Forgotten {
        persons: [PersonId::from_bytes([5; 16])].into(),
    };
    for path in [
        asked("the turn gathers and calls the model again")
            .then(0, forgotten(), "gather")
            .then(0, gathered(), "model 2 .m2")
            .then(0, text("Hi."), "reply Answer; send .p0 #1 until 10")
            .then(0, done(&part(0)), "replied 1"),
        sending("the reply is already being sent", Find::Query).then(
            0,
            forgotten(),
            "silent Forgotten",
        ),
        asked("a tool has run")
            .then(0, tools(&["pay"]), "tool pay Once .t1")
            .then(0, forgotten(), "silent Forgotten"),
    ] {
        path.check();
    }
}

/// Begins a turn in which a person has said hello.
fn begin_asked(employee: &Employee) -> State {
    let mut started = started();
    started.inputs = 1;
    let (mut state, _) = begin(employee, turn(), NOW, started).unwrap();
    let received = Event::Received(Box::new(message_input("hello")));
    step(employee, &mut state, NOW, &received).unwrap();
    state
}

#[test]
fn an_event_that_does_not_fit_is_refused_and_changes_nothing() {
    let employee = employee();
    let mut state = begin_asked(&employee);
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
    let part = ReplyPart {
        key: part(0),
        what: Outgoing::markdown("Hi."),
    };
    let rendered = Event::Rendered {
        parts: vec![part],
        rest: None,
    };
    for event in [gathered(), text("Hi."), rendered] {
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
