//! Turns made at random: every path of the state machine, without a journal or a provider.

use std::collections::BTreeMap;

use super::message;
use crate::{
    ActorKind, Body, ConnectionId, ConversationRef, Decision, DeliveryState, Employee, EmployeeId,
    ErrorKind, Find, Finish, MidTurn, ModelAnswer, NanoUsd, Part, PersonId, Price, Rates, Receipt,
    Timestamp, ToolCall, TurnId, TurnLimits, Unresolved, Usage,
    tool::Effect,
    turn::{
        Action, Carry, ENGINE_VERSION, Entry, Event, Evidence, Failure, Gathered, Input,
        PinnedChannel, PinnedModel, RECORD_VERSION, Record, Refusal, ReplyPart, Started, State,
        begin, step,
    },
};

/// Makes `n` finished turns, each with the employee that it is pinned to. Equal seeds give equal turns.
///
/// A few turns follow each other in a conversation, so that what one leaves open is what the next has to deal with.
///
/// ```
/// use konstruct_core::{testkit::random_turns, turn::{Replay, replay}};
///
/// for (employee, records) in random_turns(7, 10) {
///     assert!(matches!(replay(&employee, &records)?, Replay::Same { .. }));
/// }
/// # Ok::<(), konstruct_core::Error>(())
/// ```
pub fn random_turns(seed: u64, n: usize) -> Vec<(Employee, Vec<Record>)> {
    let mut dice = Dice(seed);
    let mut turns = Vec::with_capacity(n);
    let mut at = Timestamp::from_secs(1_767_225_600);
    let (mut employee, mut carry, mut seq) = (dice.employee(), Carry::default(), 0);
    while turns.len() < n {
        if dice.one_in(4) {
            (employee, carry, seq) = (dice.employee(), Carry::default(), 0);
        }
        at = at + std::time::Duration::from_secs(dice.below(100));
        let started = dice.started(&employee, at, carry, &mut seq);
        let records = dice.play(&employee, started, &mut at, &mut seq);
        carry = match records.last().map(|record| &record.entry) {
            Some(Entry::Action(Action::Finish { carry, .. })) => carry.clone(),
            _ => Carry::default(),
        };
        turns.push((employee.clone(), records));
    }
    turns
}

/// A small generator of numbers (splitmix64): the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).unwrap_or(0)].clone()
    }

    fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        bytes
    }

    fn words(&mut self) -> String {
        let words = [
            "bike",
            "is",
            "ready",
            "tomorrow.",
            "Übergabe",
            "at",
            "noon",
            "🚲",
            "\n\n",
        ];
        let count = 1 + self.below(30);
        let words: Vec<_> = (0..count).map(|_| self.pick(&words)).collect();
        words.join(" ")
    }

    fn employee(&mut self) -> Employee {
        let limits = TurnLimits {
            model_calls: 1 + u32::try_from(self.below(4)).unwrap_or(0),
            tool_calls: 1 + u32::try_from(self.below(3)).unwrap_or(0),
            bot_turns: 2,
            unresolved: self.pick(&[Unresolved::Ask, Unresolved::Resend]),
            mid_turn: self.pick(&[MidTurn::Fold, MidTurn::Queue]),
            ..TurnLimits::default()
        };
        let employee = Employee::builder("Ava")
            .tool("look")
            .tool("pay")
            .limits(limits)
            .build();
        let Ok(mut employee) = employee else {
            unreachable!("every field is within its limits")
        };
        employee.id = EmployeeId::from_bytes(self.bytes());
        employee.monthly_cap = self.one_in(3).then_some(NanoUsd(1_000_000));
        employee.hours = self.one_in(3).then(|| crate::WorkingHours {
            time_zone: "UTC".into(),
            open: Vec::new(),
            closed_message: self.pick(&["", "We are closed."]).into(),
        });
        employee
    }

    fn started(
        &mut self,
        employee: &Employee,
        at: Timestamp,
        carry: Carry,
        seq: &mut u64,
    ) -> Started {
        let price = Price::from(Rates::flat(3_000_000, 15_000_000));
        let tools = [
            ("look", Effect::Read),
            ("book", Effect::Idempotent),
            ("pay", Effect::Once),
        ];
        let tools: BTreeMap<_, _> = tools.map(|(name, effect)| (name.to_owned(), effect)).into();
        let inputs = self.inputs(at, &carry, seq, 1);
        Started {
            engine: ENGINE_VERSION,
            employee: 1,
            model: PinnedModel {
                provider: "scripted".into(),
                model: "script-1".into(),
                price: (!self.one_in(4)).then_some(price),
            },
            channel: PinnedChannel {
                kind: crate::ChannelKind::new("scripted"),
                find: self.pick(&[Find::Query, Find::Event, Find::None]),
                max_text: 10 + usize::try_from(self.below(90)).unwrap_or(0),
                timeout_ms: 10_000,
                grace_ms: 2_000,
            },
            connection: ConnectionId::from_bytes([1; 16]),
            conversation: ConversationRef::direct("place"),
            tools,
            closed: employee.hours.is_some(),
            inputs,
            carry,
        }
    }

    fn inputs(&mut self, at: Timestamp, carry: &Carry, seq: &mut u64, least: u64) -> Vec<Input> {
        let count = least + self.below(3);
        (0..count).map(|_| self.input(at, carry, seq)).collect()
    }

    fn input(&mut self, at: Timestamp, carry: &Carry, seq: &mut u64) -> Input {
        *seq += 1;
        let text = self.words();
        let mut event = message("place", &format!("e{seq}"), &text, at);
        event.sender.kind = self.pick(&[
            ActorKind::Human,
            ActorKind::Human,
            ActorKind::Bot,
            ActorKind::Operator,
        ]);
        event.addressed.direct = !self.one_in(5);
        event.addressed.thread = self.one_in(3);
        let key = carry.open.first().map(|open| open.key.clone());
        let mut undelivered = None;
        match (self.below(5), key) {
            (0, Some(key)) => {
                let decision = self.pick(&[Decision::Arrived, Decision::Resend, Decision::Drop]);
                event.body = Body::Decision { key, decision };
            }
            (1, key) => {
                let state = self.pick(&[DeliveryState::Failed, DeliveryState::Delivered]);
                let key = key.unwrap_or_else(|| format!("old.p{seq}"));
                undelivered = (state == DeliveryState::Failed).then(|| ReplyPart {
                    key: key.clone(),
                    text,
                });
                event.body = Body::Delivery {
                    message: "m".into(),
                    state,
                    key: Some(key),
                    errors: Vec::new(),
                    billed: None,
                };
            }
            _ => {}
        }
        Input {
            seq: *seq,
            late: self.one_in(9),
            persons: vec![PersonId::from_bytes([2; 16])],
            undelivered,
            event,
        }
    }

    /// Plays a turn to its end, with something that fits each of its actions.
    fn play(
        &mut self,
        employee: &Employee,
        started: Started,
        at: &mut Timestamp,
        seq: &mut u64,
    ) -> Vec<Record> {
        let turn = TurnId::from_bytes(self.bytes());
        let record = |at, entry| Record {
            v: RECORD_VERSION,
            turn,
            at,
            persons: Default::default(),
            entry,
        };
        let first = Event::Started(Box::new(started.clone()));
        let mut records = vec![record(*at, Entry::Event(first))];
        let Ok((mut state, mut actions)) = begin(employee, turn, *at, started) else {
            return records;
        };
        loop {
            let open = actions.last().cloned();
            records.extend(
                actions
                    .drain(..)
                    .map(|action| record(*at, Entry::Action(action))),
            );
            let Some(event) = open.and_then(|action| self.event(&state, action, at, seq)) else {
                return records;
            };
            *at = *at + std::time::Duration::from_millis(self.below(500));
            records.push(record(*at, Entry::Event(event.clone())));
            match step(employee, &mut state, *at, &event) {
                Ok(next) => actions = next,
                // It does not replay either, and is found so.
                Err(_) => return records,
            }
        }
    }

    fn event(
        &mut self,
        state: &State,
        action: Action,
        at: &mut Timestamp,
        seq: &mut u64,
    ) -> Option<Event> {
        let failure = Failure {
            kind: self.pick(&[
                ErrorKind::Unavailable,
                ErrorKind::RateLimited,
                ErrorKind::Forbidden,
                ErrorKind::Truncated,
            ]),
            retry_after_ms: self.one_in(3).then_some(3_000),
        };
        let done = |key, evidence| Event::SendDone {
            key,
            receipt: Receipt {
                message: Some("m".into()),
            },
            evidence,
        };
        Some(match action {
            Action::Gather => Event::Gathered(Gathered {
                window_from: self.below(100),
                ..Gathered::default()
            }),
            Action::CallModel { call, .. } => match self.below(8) {
                0 => Event::CallFailed { call, failure },
                1 => Event::CallLost { call },
                2 => Event::CallRefused {
                    call,
                    reason: Refusal::OverBudget,
                },
                _ => Event::Answered {
                    call,
                    answer: self.answer(),
                },
            },
            Action::CallTool { id, effect, .. } => match self.below(3) {
                0 if effect == Effect::Once => Event::ToolLost { id },
                n => Event::ToolReturned {
                    id,
                    content: self.words(),
                    error: n == 1,
                },
            },
            Action::Listen => Event::Heard {
                inputs: self.inputs(*at, state.carry(), seq, 0),
            },
            Action::Send { key, .. } => match self.below(4) {
                0 => Event::SendFailed { key, failure },
                1 => Event::SendAmbiguous { key },
                _ => done(key, Evidence::Answer),
            },
            Action::Find { key, .. } => match self.below(3) {
                0 => Event::FindFailed { key, failure },
                1 => Event::NotFound { key },
                _ => done(key, Evidence::Query),
            },
            Action::Wait { until, .. } => match state.awaits() {
                Some(key) if self.one_in(3) => done(key.to_owned(), Evidence::Event { seq: *seq }),
                _ => {
                    *at = until;
                    Event::Due
                }
            },
            Action::Finish { .. } => return None,
        })
    }

    fn answer(&mut self) -> ModelAnswer {
        let mut parts = Vec::new();
        if !self.one_in(4) {
            parts.push(Part::Text { text: self.words() });
        }
        let calls = self.below(6).saturating_sub(3);
        parts.extend((0..calls).map(|n| {
            Part::ToolCall(ToolCall {
                id: format!("c{n}"),
                name: self.pick(&["look", "book", "pay", "steal"]).into(),
                arguments: "{}".into(),
            })
        }));
        ModelAnswer {
            model: "script-1".into(),
            parts,
            finish: self.pick(&[
                Finish::Stop,
                Finish::ToolCalls,
                Finish::Length,
                Finish::Refusal,
            ]),
            usage: (!self.one_in(3)).then(|| Usage {
                input: self.below(1_000),
                output: self.below(1_000),
                ..Usage::default()
            }),
        }
    }
}
