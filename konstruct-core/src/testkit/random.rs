//! Randomly generated turns that cover every path of the state machine, without a store or a provider.

use std::collections::BTreeMap;

use super::message;
use crate::{
    ConnectionId, ConversationId, ConversationRef, Employee, EmployeeId, ErrorKind, NanoUsd,
    Outgoing, PersonId, Timestamp, TurnId,
    channel::{Find, Receipt},
    employee::{MidTurn, TurnLimits, Unresolved},
    limit::{BudgetKey, Cap, CapScope, LimitScope, Limited, Period},
    llm::{Finish, ModelAnswer, Part, ToolCall},
    message::{ActorKind, Attachment, AttachmentKind, Body, Decision, DeliveryState, Unavailable},
    money::{Price, Rates, Usage},
    tool::Effect,
    turn::{
        Action, AttachmentContent, Cause, ConversationState, ENGINE_VERSION, Entry, Event,
        Evidence, Failure, Gathered, Input, ItemId, ItemKind, OpenItem, PinnedChannel, PinnedModel,
        RECORD_VERSION, Record, Refusal, ReplyPart, ReplySource, Started, State, Unread, begin,
        step,
    },
};

/// Generates `n` finished turns, each with the employee that it is pinned to. Equal seeds generate equal turns.
///
/// Several turns follow each other in one conversation, so that a turn has to deal with what earlier ones left open.
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
    let (mut employee, mut left, mut seq) = (dice.employee(), Left::default(), 0);
    while turns.len() < n {
        if dice.one_in(4) {
            (employee, left, seq) = (dice.employee(), Left::default(), 0);
        }
        at = at + std::time::Duration::from_secs(dice.below(100));
        let records = dice.play(&employee, &mut left, &mut at, &mut seq);
        turns.push((employee.clone(), records));
    }
    turns
}

/// The state that a turn leaves to the next.
#[derive(Default)]
struct Left {
    state: ConversationState,
    items: Vec<OpenItem>,
}

impl Left {
    fn note(&mut self, action: &Action) {
        match action {
            Action::Open(item) => {
                self.items.retain(|open| open.id != item.id);
                self.items.push(item.clone());
            }
            Action::Close { item, .. } => self.items.retain(|open| open.id != *item),
            _ => {}
        }
    }

    fn questions(&self) -> Vec<ItemId> {
        let open = self.items.iter();
        let questions = open.filter(|item| matches!(item.kind, ItemKind::Question { .. }));
        questions.map(|item| item.id.clone()).collect()
    }
}

/// A small random number generator (splitmix64) with the same output on every machine.
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
            hold_secs: self.pick(&[0, 60]),
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
        let cap = Cap::new(CapScope::Tenant, Period::Month, NanoUsd(1_000_000));
        employee.caps = self.one_in(3).then_some(cap).into_iter().collect();
        employee.hours = self.one_in(3).then(|| {
            let closed_message = self.pick(&["", "We are closed."]);
            crate::employee::WorkingHours::new("UTC").closed_message(closed_message)
        });
        employee
    }

    fn started(&mut self, employee: &Employee, at: Timestamp, left: &Left) -> Started {
        let price = Price::from(Rates::flat(3_000_000, 15_000_000));
        let tools = [
            ("look", Effect::Read),
            ("book", Effect::Idempotent),
            ("pay", Effect::Once),
        ];
        let tools: BTreeMap<_, _> = tools.map(|(name, effect)| (name.to_owned(), effect)).into();
        let questions = left.questions();
        let asked = left.items.iter().find(|item| questions.contains(&item.id));
        let follow_up = asked.cloned().filter(|_| self.one_in(3));
        let patience = std::time::Duration::from_secs(u64::from(employee.limits.deadline_secs));
        Started {
            engine: ENGINE_VERSION,
            employee: 1,
            first: self.below(1_000),
            model: PinnedModel {
                provider: "scripted".into(),
                model: "script-1".into(),
                price: (!self.one_in(4)).then_some(price),
            },
            channel: PinnedChannel {
                kind: crate::ChannelKind::new("scripted"),
                find: self.pick(&[Find::Query, Find::Event, Find::None]),
                timeout_ms: 10_000,
                grace_ms: 2_000,
            },
            connection: ConnectionId::from_bytes([1; 16]),
            conversation: ConversationRef::direct("place"),
            tools,
            closed: employee.hours.is_some(),
            inputs: match &follow_up {
                Some(_) => 0,
                None => 1 + u32::try_from(self.below(3)).unwrap_or(0),
            },
            state: left.state.clone(),
            questions,
            limited: (follow_up.is_none() && self.one_in(4)).then(|| Limited {
                scope: self.pick(&[LimitScope::Person, LimitScope::Channel]),
                until: at + std::time::Duration::from_secs(self.below(1_000)),
            }),
            deadline: follow_up.is_none().then(|| at + patience),
            follow_up,
        }
    }

    fn input(&mut self, at: Timestamp, left: &Left, seq: &mut u64) -> Input {
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
        let about = left.items.first().cloned();
        let (mut input_about, mut undelivered) = (None, None);
        match (self.below(5), about) {
            (0, Some(item)) => {
                let decision = self.pick(&[
                    Decision::Arrived,
                    Decision::Resend,
                    Decision::Answer,
                    Decision::Drop,
                ]);
                event.body = Body::Decision {
                    target: ConversationId::from_bytes([3; 16]),
                    item: item.id.clone(),
                    decision,
                };
                input_about = Some(item);
            }
            (1, about) => {
                let state = self.pick(&[DeliveryState::Failed, DeliveryState::Delivered]);
                let key = match &about {
                    Some(OpenItem {
                        kind: ItemKind::Send { keys, .. },
                        ..
                    }) => {
                        input_about.clone_from(&about);
                        keys.first().cloned()
                    }
                    _ => None,
                };
                let known = key.is_some();
                let key = key.unwrap_or_else(|| format!("old.p{seq}"));
                undelivered = (!known && state == DeliveryState::Failed).then_some(7);
                event.body = Body::Delivery {
                    message: "m".into(),
                    state,
                    key: Some(key),
                    errors: Vec::new(),
                    billed: None,
                };
            }
            (2, Some(item)) if item.kind == ItemKind::Rest => {
                event.body = Body::Action {
                    kind: "button".into(),
                    action: item.id.0.clone(),
                    value: text,
                };
                input_about = Some(item);
            }
            _ => {}
        }
        if let Body::Message { content, .. } = &mut event.body
            && self.one_in(4)
        {
            let count = self.pick(&[1, 2, 12]);
            content.attachments = (0..count).map(|_| self.attachment()).collect();
            if self.one_in(2) {
                content.text.clear();
            }
        }
        Input {
            seq: *seq,
            accepted_at: at,
            late: self.one_in(9),
            persons: vec![PersonId::from_bytes([2; 16])],
            about: input_about,
            undelivered,
            event,
        }
    }

    fn attachment(&mut self) -> Attachment {
        Attachment {
            kind: self.pick(&[
                AttachmentKind::Voice,
                AttachmentKind::Image,
                AttachmentKind::Document,
                AttachmentKind::Sticker,
                AttachmentKind::Location,
            ]),
            id: format!("f{}", self.below(20)),
            url: None,
            mime: None,
            name: None,
            size: None,
            sha256: None,
            unavailable: self.one_in(8).then_some(Unavailable::Deleted),
        }
    }

    fn content(&mut self) -> AttachmentContent {
        match self.below(4) {
            0 => AttachmentContent::Speech {
                text: self.words(),
                language: None,
                seconds: Some(self.below(60)),
            },
            1 => AttachmentContent::Image {
                media_type: "image/png".into(),
                bytes: self.below(1_000),
            },
            _ => AttachmentContent::unread(self.pick(&[
                Unread::NoTranscriber,
                Unread::Silent,
                Unread::OverBudget,
                Unread::Forbidden,
            ])),
        }
    }

    /// Runs a turn to its end with random events that fit its actions.
    fn play(
        &mut self,
        employee: &Employee,
        left: &mut Left,
        at: &mut Timestamp,
        seq: &mut u64,
    ) -> Vec<Record> {
        let turn = TurnId::from_bytes(self.bytes());
        let started = self.started(employee, *at, left);
        let record = |at, entry| Record {
            v: RECORD_VERSION,
            turn,
            at,
            cause: Cause::Rule,
            persons: Default::default(),
            entry,
        };
        let mut awaited = started.inputs;
        let first = Event::Started(Box::new(started.clone()));
        let mut records = vec![record(*at, Entry::Event(first))];
        let Ok((mut state, mut actions)) = begin(employee, turn, *at, started) else {
            return records;
        };
        loop {
            let open = actions.last().cloned();
            for action in actions.drain(..) {
                left.note(&action);
                records.push(record(*at, Entry::Action(action)));
            }
            let over = matches!(open, None | Some(Action::Finish { .. }));
            let event = if awaited == 0 && !over && self.one_in(40) {
                Some(Event::Forgotten {
                    persons: [PersonId::from_bytes([4; 16])].into(),
                })
            } else if awaited > 0 {
                awaited -= 1;
                Some(Event::Received(Box::new(self.input(*at, left, seq))))
            } else {
                open.and_then(|action| self.event(&state, action, at, seq))
            };
            let Some(event) = event else {
                left.state = state.conversation().clone();
                return records;
            };
            if let Event::InboxRead { inputs } = &event {
                awaited = *inputs;
            }
            *at = *at + std::time::Duration::from_millis(self.below(500));
            records.push(record(*at, Entry::Event(event.clone())));
            match step(employee, &mut state, *at, &event) {
                Ok(next) => actions = next,
                // The turn does not replay either, which a caller detects.
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
                ErrorKind::InvalidInput,
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
            Action::ReadAttachment {
                attachment, read, ..
            } => match self.below(6) {
                0 => Event::AttachmentFailed {
                    attachment,
                    failure,
                },
                1 => Event::AttachmentLost { read },
                _ => Event::AttachmentRead {
                    attachment,
                    message: "m".into(),
                    name: "A person".into(),
                    content: self.content(),
                },
            },
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
                    cap: self.one_in(2).then_some(BudgetKey::MONTH),
                },
                3 => Event::CallLimited {
                    call,
                    limited: Limited {
                        scope: LimitScope::Tenant,
                        until: *at + std::time::Duration::from_secs(self.below(100)),
                    },
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
            Action::Listen => Event::InboxRead {
                inputs: u32::try_from(self.below(3)).unwrap_or(0),
            },
            Action::Reply { source } => {
                let turn = state.turn();
                let parts = (0..1 + self.below(3)).map(|n| ReplyPart {
                    key: format!("{turn}.p{n}"),
                    what: Outgoing::markdown(self.words()),
                });
                let parts = parts.collect();
                let long = source == ReplySource::Answer && self.one_in(4);
                Event::Rendered {
                    parts,
                    rest: long.then(|| Outgoing::markdown(self.words())),
                }
            }
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
            Action::SkipAttachment { .. }
            | Action::SkipTool { .. }
            | Action::Open(_)
            | Action::Close { .. }
            | Action::Finish { .. } => return None,
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
                Finish::ContentFilter,
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
