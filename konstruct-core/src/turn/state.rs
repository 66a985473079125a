//! The turn as a pure state machine: `step(state, event) -> actions`. No clock, no randomness, no IO.
//!
//! A turn is its records. [`State::apply`] folds a record that exists, [`decide`] says what follows from a state, and
//! [`step`] is both: it applies an event, decides until there is nothing more to decide, and applies what it decided.
//! Resuming only folds; replaying steps and compares.

use std::{collections::VecDeque, time::Duration};

use super::{
    Action, Carry, Entry, Event, Failure, FallbackReason, Gathered, Input, OpenReason, OpenSend,
    Outcome, Record, ReplyPart, SilenceReason, Started, WaitReason, reply,
};
use crate::{
    ActorKind, Body, Decision, DeliveryState, Employee, Error, ErrorKind, Find, Finish, MidTurn,
    ModelAnswer, Result, Timestamp, ToolCall, TurnId, Unresolved, tool::Effect,
};

/// How often a part is tried before a person is asked.
const SEND_ATTEMPTS: u32 = 6;
/// How often the provider is asked about a part before a person is.
const FIND_ATTEMPTS: u32 = 6;
/// The longest wait between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What is known of a turn after some of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    turn: TurnId,
    started: Started,
    gathered: Option<Gathered>,
    heard: Vec<Input>,
    rounds: Vec<Round>,
    tool_queue: VecDeque<ToolCall>,
    calls: u32,
    tool_calls: u32,
    parts: Vec<Part>,
    fallback: Option<FallbackReason>,
    phase: Phase,
}

/// A model's answer and what its tools returned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) answer: ModelAnswer,
    pub(crate) results: Vec<ToolOutcome>,
    /// What came in after the tools returned, as indices of [`State::heard`].
    pub(crate) heard: std::ops::Range<usize>,
}

/// What came of one tool call, as the model is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolOutcome {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) error: bool,
}

/// A part of the reply, and how far it is.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    reply: ReplyPart,
    attempts: u32,
    finds: u32,
    /// When its first intent was recorded, and when its last request is given up.
    since: Timestamp,
    give_up_at: Timestamp,
    done: bool,
}

/// Where a turn stands. A phase with an open action waits for that action's event.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Decide what the inputs ask for.
    Begin,
    Gathering,
    /// Call the model, or give up.
    Thinking,
    Calling,
    /// Run the next tool, listen, or speak.
    Answered,
    Acting(ToolCall, Effect),
    Listening,
    /// Send the next part, or finish.
    Speaking,
    Sending,
    /// It is open whether the part arrived.
    Doubtful,
    Finding,
    /// A retry is due at this time.
    Backoff(Timestamp, WaitReason),
    Waiting(Timestamp, WaitReason),
    /// The turn has to end so.
    Ending(End),
    Finished(Outcome),
}

/// Why a turn has to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Silent(SilenceReason),
    Asked(OpenReason),
}

/// What a driver has to do about an action that was open when its process ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Resume {
    /// Perform it: it has not happened, or may happen again.
    Perform(Action),
    /// Feed this event: what happened is not known, or was known before.
    Feed(Event),
    /// Wait until then.
    Park(Timestamp),
    /// Nothing: the turn is over.
    Over,
}

/// Applies an event and decides what follows.
///
/// # Errors
/// [`ErrorKind::Protocol`] for an event that does not fit the state: a defect of the driver, or a log of another engine.
pub fn step(
    employee: &Employee,
    state: &mut State,
    at: Timestamp,
    event: &Event,
) -> Result<Vec<Action>> {
    state.apply_event(employee, at, event)?;
    settle(employee, state, at)
}

/// Begins a turn: its first event decides its first actions.
///
/// # Errors
/// Those of [`step`].
pub fn begin(
    employee: &Employee,
    turn: TurnId,
    at: Timestamp,
    started: Started,
) -> Result<(State, Vec<Action>)> {
    let mut state = State::new(turn, started);
    let actions = settle(employee, &mut state, at)?;
    Ok((state, actions))
}

fn settle(employee: &Employee, state: &mut State, at: Timestamp) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    while let Some(action) = decide(employee, state, at) {
        state.apply_action(at, &action)?;
        actions.push(action);
    }
    Ok(actions)
}

/// Says what follows from a state: the next action, or nothing while an action is open.
pub fn decide(employee: &Employee, state: &State, at: Timestamp) -> Option<Action> {
    match &state.phase {
        Phase::Begin => Some(state.first_action(employee, at)),
        Phase::Thinking => Some(Action::CallModel {
            call: state.calls + 1,
            key: format!("{}.m{}", state.turn, state.calls + 1),
            max_tokens: employee.limits.answer_tokens,
        }),
        Phase::Answered => match state.tool_queue.front() {
            Some(call) => Some(Action::CallTool {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                effect: state
                    .started
                    .tools
                    .get(&call.name)
                    .copied()
                    .unwrap_or(Effect::Once),
                key: format!("{}.t{}", state.turn, state.tool_calls + 1),
            }),
            None => Some(Action::Listen),
        },
        Phase::Speaking => Some(state.send(at)),
        Phase::Doubtful => state.doubt(employee, at),
        Phase::Backoff(until, reason) => Some(Action::Wait {
            until: *until,
            reason: *reason,
        }),
        Phase::Ending(End::Silent(reason)) => {
            Some(state.finish(Outcome::Silent { reason: *reason }))
        }
        Phase::Ending(End::Asked(reason)) => Some(state.ask(*reason)),
        Phase::Gathering
        | Phase::Calling
        | Phase::Acting(..)
        | Phase::Listening
        | Phase::Sending
        | Phase::Finding
        | Phase::Waiting(..)
        | Phase::Finished(_) => None,
    }
}

impl State {
    fn new(turn: TurnId, started: Started) -> Self {
        let mut state = Self {
            turn,
            gathered: None,
            heard: Vec::new(),
            rounds: Vec::new(),
            tool_queue: VecDeque::new(),
            calls: 0,
            tool_calls: 0,
            parts: Vec::new(),
            fallback: None,
            phase: Phase::Begin,
            started,
        };
        state.take_in();
        state
    }

    /// Folds the records of one turn, from its [`Event::Started`] on.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when they are not one turn's records in their order.
    pub fn fold<'a>(
        employee: &Employee,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Self> {
        let mut records = records.into_iter();
        let first = records
            .next()
            .ok_or_else(|| corrupt("a turn without records"))?;
        let Entry::Event(Event::Started(started)) = &first.entry else {
            return Err(corrupt("a turn that does not begin with `started`"));
        };
        let mut state = Self::new(first.turn, (**started).clone());
        for record in records {
            if record.turn != state.turn {
                return Err(corrupt("records of two turns are mixed"));
            }
            state.apply(employee, record)?;
        }
        Ok(state)
    }

    /// Folds one more record.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a record that does not fit.
    pub fn apply(&mut self, employee: &Employee, record: &Record) -> Result<()> {
        match &record.entry {
            Entry::Event(event) => self.apply_event(employee, record.at, event),
            Entry::Action(action) => self.apply_action(record.at, action),
        }
    }

    /// Returns the turn's id.
    pub fn turn(&self) -> TurnId {
        self.turn
    }

    /// Returns with what it began.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Returns what the model is shown, once it was chosen.
    pub fn gathered(&self) -> Option<&Gathered> {
        self.gathered.as_ref()
    }

    /// Returns how it ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        if let Phase::Finished(outcome) = &self.phase {
            Some(outcome)
        } else {
            None
        }
    }

    /// Returns the carry of the turns before with this turn's inputs in it, as the next turn gets it.
    pub fn carry(&self) -> &Carry {
        &self.started.carry
    }

    pub(crate) fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    pub(crate) fn heard(&self) -> &[Input] {
        &self.heard
    }

    /// Returns the delivery key whose outcome a word of the provider can settle now, if there is one.
    pub fn awaits(&self) -> Option<&str> {
        matches!(
            self.phase,
            Phase::Waiting(
                _,
                WaitReason::Receipt | WaitReason::InFlight | WaitReason::FindRetry
            )
        )
        .then(|| self.current().map(|part| part.reply.key.as_str()))
        .flatten()
    }

    /// Says what to do about the action that was open when the process ended.
    pub fn resume(&self, at: Timestamp) -> Resume {
        let key = || {
            self.current()
                .map(|part| part.reply.key.clone())
                .unwrap_or_default()
        };
        match &self.phase {
            Phase::Gathering => Resume::Perform(Action::Gather),
            Phase::Listening => Resume::Perform(Action::Listen),
            Phase::Calling => Resume::Feed(Event::CallLost { call: self.calls }),
            Phase::Acting(call, Effect::Once) => Resume::Feed(Event::ToolLost {
                id: call.id.clone(),
            }),
            Phase::Acting(call, effect) => Resume::Perform(Action::CallTool {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                effect: *effect,
                key: format!("{}.t{}", self.turn, self.tool_calls),
            }),
            Phase::Sending => Resume::Feed(Event::SendAmbiguous { key: key() }),
            Phase::Finding => Resume::Perform(Action::Find {
                key: key(),
                since: self
                    .current()
                    .map_or(Timestamp::default(), |part| part.since),
            }),
            Phase::Waiting(until, _) if *until <= at => Resume::Feed(Event::Due),
            Phase::Waiting(until, _) => Resume::Park(*until),
            Phase::Finished(_) => Resume::Over,
            // `step` never leaves these: it decides until an action is open.
            Phase::Begin
            | Phase::Thinking
            | Phase::Answered
            | Phase::Speaking
            | Phase::Doubtful
            | Phase::Backoff(..)
            | Phase::Ending(_) => Resume::Over,
        }
    }

    /// Takes the inputs into the carry: the latest time, the speakers, deliveries and decisions.
    fn take_in(&mut self) {
        let inputs = std::mem::take(&mut self.started.inputs);
        for input in &inputs {
            self.take_in_one(input);
        }
        self.started.inputs = inputs;
    }

    fn take_in_one(&mut self, input: &Input) {
        let event = &input.event;
        self.started.carry.latest = self.started.carry.latest.max(event.occurred_at);
        self.started
            .carry
            .persons
            .extend(input.persons.iter().copied());
        match (&event.body, event.sender.kind) {
            (
                Body::Message { .. } | Body::Command { .. } | Body::Action { .. },
                ActorKind::Human,
            ) => {
                self.started.carry.bot_turns = 0;
            }
            (
                Body::Delivery {
                    key: Some(key),
                    state,
                    ..
                },
                _,
            ) => self.take_delivery(key, *state, input.undelivered.clone()),
            (Body::Decision { key, decision }, _) => self.take_decision(key, *decision),
            _ => {}
        }
    }

    /// A provider's word about a send that a person was asked about, or one that failed after it was taken.
    fn take_delivery(&mut self, key: &str, state: DeliveryState, undelivered: Option<ReplyPart>) {
        if state != DeliveryState::Failed {
            if let Some(open) = self.close(key) {
                self.queue(open.parts.into_iter().skip(1));
            }
            // A person had it sent again, and before that could begin the provider told that it had arrived.
            let again = |part: &Part| part.reply.key == key && part.attempts == 0;
            self.parts.retain(|part| !again(part));
            return;
        }
        let carry = &mut self.started.carry;
        if let Some(open) = carry.open.iter_mut().find(|open| open.key == key) {
            open.reason = OpenReason::NotDelivered;
        } else if let Some(part) = undelivered {
            carry.open.push(OpenSend {
                key: key.into(),
                reason: OpenReason::NotDelivered,
                since: carry.latest,
                parts: vec![part],
            });
        }
    }

    fn take_decision(&mut self, key: &str, decision: Decision) {
        let Some(open) = self.close(key) else { return };
        match decision {
            Decision::Resend => self.queue(open.parts.into_iter()),
            Decision::Arrived => self.queue(open.parts.into_iter().skip(1)),
            Decision::Drop => {}
        }
    }

    fn close(&mut self, key: &str) -> Option<OpenSend> {
        let open = &mut self.started.carry.open;
        open.iter()
            .position(|send| send.key == key)
            .map(|at| open.remove(at))
    }

    fn queue(&mut self, parts: impl Iterator<Item = ReplyPart>) {
        self.parts.extend(parts.map(|reply| Part {
            reply,
            attempts: 0,
            finds: 0,
            since: Timestamp::default(),
            give_up_at: Timestamp::default(),
            done: false,
        }));
    }

    fn first_action(&self, employee: &Employee, at: Timestamp) -> Action {
        let silent = |reason| self.finish(Outcome::Silent { reason });
        let decided = self
            .started
            .inputs
            .iter()
            .any(|input| matches!(input.event.body, Body::Decision { .. }));
        match self.asks() {
            Some(ActorKind::Bot)
                if self.started.carry.bot_turns >= employee.limits.bot_turns
                    && self.current().is_none() =>
            {
                silent(SilenceReason::BotLoop)
            }
            Some(_) => Action::Gather,
            None if self.current().is_some() => self.send(at),
            None if let Some(key) = self.undelivered() => self.finish(Outcome::Asked { key }),
            None if decided => silent(SilenceReason::Dropped),
            None => silent(SilenceReason::NotAddressed),
        }
    }

    /// Returns the key of a send that, as this turn's inputs say, did not arrive: a person is asked about it.
    fn undelivered(&self) -> Option<String> {
        self.started.inputs.iter().find_map(|input| {
            let key = &input.undelivered.as_ref()?.key;
            let open = self.started.carry.open.iter().any(|open| open.key == *key);
            open.then(|| key.clone())
        })
    }

    /// Returns who asks the employee something in this turn's inputs: a person before a bot, nobody if nothing is for it.
    fn asks(&self) -> Option<ActorKind> {
        let taken_back = |id: &str| {
            self.started.inputs.iter().any(
                |input| matches!(&input.event.body, Body::Deleted { message } if message == id),
            )
        };
        let kinds = self.started.inputs.iter().filter_map(|input| {
            let event = &input.event;
            if matches!(&event.body, Body::Message { message, .. } if taken_back(message)) {
                return None;
            }
            let to_it = event.addressed.direct
                || event.addressed.mention
                || event.addressed.command
                || (event.addressed.thread && self.started.carry.spoke);
            let says = matches!(
                event.body,
                Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
            );
            (to_it && says && matches!(event.sender.kind, ActorKind::Human | ActorKind::Bot))
                .then_some(event.sender.kind)
        });
        kinds.min_by_key(|kind| u8::from(*kind == ActorKind::Bot))
    }

    fn current(&self) -> Option<&Part> {
        self.parts.iter().find(|part| !part.done)
    }

    fn current_mut(&mut self) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| !part.done)
    }

    /// Sends the next part, or finishes.
    fn send(&self, at: Timestamp) -> Action {
        match self.current() {
            Some(part) => Action::Send {
                key: part.reply.key.clone(),
                attempt: part.attempts + 1,
                text: part.reply.text.clone(),
                reply_to: None,
                give_up_at: at + Duration::from_millis(self.started.channel.timeout_ms),
            },
            None => self.finish(Outcome::Replied {
                parts: u32::try_from(self.parts.len()).unwrap_or(u32::MAX),
                fallback: self.fallback,
            }),
        }
    }

    /// What to do about a part of which nobody knows whether it arrived.
    fn doubt(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        let part = self.current()?;
        let landed = part.give_up_at + Duration::from_millis(self.started.channel.grace_ms);
        Some(match self.started.channel.find {
            Find::Query if at < landed => Action::Wait {
                until: landed,
                reason: WaitReason::InFlight,
            },
            Find::Query => Action::Find {
                key: part.reply.key.clone(),
                since: part.since,
            },
            Find::Event => {
                // While the process was down nobody listened: the silence is counted from the doubt on.
                let silence = Duration::from_secs(u64::from(employee.limits.receipt_deadline_secs));
                let deadline = landed.max(at) + silence;
                Action::Wait {
                    until: deadline,
                    reason: WaitReason::Receipt,
                }
            }
            Find::None => Action::Wait {
                until: landed,
                reason: WaitReason::Receipt,
            },
        })
    }

    fn finish(&self, outcome: Outcome) -> Action {
        let mut carry = self.started.carry.clone();
        if matches!(outcome, Outcome::Replied { .. } | Outcome::Asked { .. }) {
            carry.spoke = true;
            if self.asks() == Some(ActorKind::Bot) {
                carry.bot_turns += 1;
            }
        }
        Action::Finish { outcome, carry }
    }

    /// Ends the turn with a question to a person about the current part and all after it.
    fn ask(&self, reason: OpenReason) -> Action {
        let mut open: Vec<&Part> = self.parts.iter().filter(|part| !part.done).collect();
        let Some(first) = open.first().copied() else {
            return self.finish(Outcome::Silent {
                reason: SilenceReason::NothingToSay,
            });
        };
        let key = first.reply.key.clone();
        let parts = open.drain(..).map(|part| part.reply.clone()).collect();
        let since = first.since;
        match self.finish(Outcome::Asked { key: key.clone() }) {
            Action::Finish { outcome, mut carry } => {
                carry.open.push(OpenSend {
                    key,
                    reason,
                    since,
                    parts,
                });
                Action::Finish { outcome, carry }
            }
            other => other,
        }
    }

    fn apply_action(&mut self, at: Timestamp, action: &Action) -> Result<()> {
        self.phase = match action {
            Action::Gather => Phase::Gathering,
            Action::CallModel { call, .. } => {
                self.calls = *call;
                Phase::Calling
            }
            Action::CallTool { effect, .. } => {
                self.tool_calls += 1;
                let call = self
                    .tool_queue
                    .pop_front()
                    .ok_or_else(|| misfit("a tool call that no answer asked for"))?;
                Phase::Acting(call, *effect)
            }
            Action::Listen => Phase::Listening,
            Action::Send {
                attempt,
                give_up_at,
                ..
            } => {
                let part = self
                    .current_mut()
                    .ok_or_else(|| misfit("a send without a part"))?;
                if *attempt == 1 {
                    part.since = at;
                }
                part.attempts = *attempt;
                part.give_up_at = *give_up_at;
                Phase::Sending
            }
            Action::Find { .. } => {
                let part = self
                    .current_mut()
                    .ok_or_else(|| misfit("a find without a part"))?;
                part.finds += 1;
                Phase::Finding
            }
            Action::Wait { until, reason } => Phase::Waiting(*until, *reason),
            Action::Finish { outcome, .. } => Phase::Finished(outcome.clone()),
        };
        Ok(())
    }

    fn apply_event(&mut self, employee: &Employee, at: Timestamp, event: &Event) -> Result<()> {
        if let Event::SendDone { key, .. }
        | Event::SendFailed { key, .. }
        | Event::SendAmbiguous { key }
        | Event::NotFound { key }
        | Event::FindFailed { key, .. } = event
            && self.current().is_none_or(|part| part.reply.key != *key)
        {
            return Err(misfit("a word about another part"));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Begin);
        self.phase = match (phase, event) {
            (Phase::Gathering, Event::Gathered(gathered)) => {
                self.gathered = Some(gathered.clone());
                if self.started.closed && !closed_message(employee).is_empty() {
                    self.speak(closed_message(employee), Some(FallbackReason::Closed))
                } else {
                    self.think(employee)
                }
            }
            (Phase::Calling, Event::Answered { answer, .. }) => self.answered(employee, answer),
            (Phase::Calling, Event::CallFailed { failure, .. }) => {
                self.call_failed(employee, at, *failure)
            }
            (Phase::Calling, Event::CallLost { .. }) => self.think(employee),
            (Phase::Calling, Event::CallRefused { .. }) => {
                self.speak(&employee.fallback, Some(FallbackReason::Budget))
            }
            (Phase::Acting(call, _), Event::ToolReturned { content, error, .. }) => {
                self.tool_result(call, content.clone(), *error);
                self.next_tool(employee)
            }
            (Phase::Acting(call, _), Event::ToolLost { .. }) => {
                let told = "The outcome is unknown: the call may or may not have had its effect. It was not repeated.";
                self.tool_result(call, told.into(), true);
                self.next_tool(employee)
            }
            (Phase::Listening, Event::Heard { inputs }) => {
                let from = self.heard.len();
                for input in inputs {
                    self.take_in_one(input);
                }
                self.heard.extend(inputs.iter().cloned());
                if let Some(round) = self.rounds.last_mut() {
                    round.heard = from..self.heard.len();
                }
                self.think(employee)
            }
            (Phase::Sending | Phase::Finding | Phase::Waiting(..), Event::SendDone { .. }) => {
                if let Some(part) = self.current_mut() {
                    part.done = true;
                }
                Phase::Speaking
            }
            (Phase::Sending, Event::SendAmbiguous { .. }) => Phase::Doubtful,
            (Phase::Sending | Phase::Waiting(..), Event::SendFailed { failure, .. }) => {
                self.send_failed(at, *failure)
            }
            (Phase::Finding, Event::NotFound { .. }) => {
                if self
                    .current()
                    .is_some_and(|part| part.attempts < SEND_ATTEMPTS)
                {
                    Phase::Speaking
                } else {
                    Phase::Ending(End::Asked(OpenReason::Unresolved))
                }
            }
            (Phase::Finding, Event::FindFailed { failure, .. }) => {
                let finds = self.current().map_or(0, |part| part.finds);
                if finds >= FIND_ATTEMPTS || !may_retry(failure.kind) {
                    Phase::Ending(End::Asked(OpenReason::Unresolved))
                } else {
                    Phase::Backoff(at + backoff(finds, *failure), WaitReason::FindRetry)
                }
            }
            (Phase::Waiting(_, reason), Event::Due) => match reason {
                WaitReason::ModelRetry => self.think(employee),
                WaitReason::SendRetry => Phase::Speaking,
                WaitReason::InFlight | WaitReason::FindRetry => Phase::Doubtful,
                WaitReason::Receipt => match employee.limits.unresolved {
                    Unresolved::Resend
                        if self
                            .current()
                            .is_some_and(|part| part.attempts < SEND_ATTEMPTS) =>
                    {
                        Phase::Speaking
                    }
                    _ => Phase::Ending(End::Asked(OpenReason::Unresolved)),
                },
            },
            (phase, _) => {
                self.phase = phase;
                return Err(misfit("an event that does not fit the turn's state"));
            }
        };
        Ok(())
    }

    /// The model is to be called, unless that cannot be.
    fn think(&mut self, employee: &Employee) -> Phase {
        if self.calls >= employee.limits.model_calls {
            return self.speak(&employee.fallback, Some(FallbackReason::Limit));
        }
        if employee.monthly_cap.is_some() && self.started.model.price.is_none() {
            return self.speak(&employee.fallback, Some(FallbackReason::Budget));
        }
        Phase::Thinking
    }

    /// A text is to be sent, in as many parts as the channel needs.
    fn speak(&mut self, text: &str, fallback: Option<FallbackReason>) -> Phase {
        self.fallback = fallback;
        let own = format!("{}.p", self.turn);
        let texts = reply::split(text, self.started.channel.max_text);
        self.queue(texts.into_iter().enumerate().map(|(n, text)| ReplyPart {
            key: format!("{own}{n}"),
            text,
        }));
        Phase::Speaking
    }

    fn answered(&mut self, employee: &Employee, answer: &ModelAnswer) -> Phase {
        let calls: Vec<ToolCall> = answer.tool_calls().cloned().collect();
        let silent = matches!(answer.finish, Finish::Stop | Finish::ToolCalls);
        let text = answer.text();
        self.rounds.push(Round {
            answer: answer.clone(),
            results: Vec::new(),
            heard: 0..0,
        });
        if calls.is_empty() {
            return match text.trim() {
                "" if !silent => self.speak(&employee.fallback, Some(FallbackReason::Model)),
                "" if self.parts.is_empty() => {
                    Phase::Ending(End::Silent(SilenceReason::NothingToSay))
                }
                text => self.speak(text, None),
            };
        }
        for call in calls {
            let spent = self.tool_calls as usize + self.tool_queue.len()
                >= employee.limits.tool_calls as usize;
            if !self.started.tools.contains_key(&call.name) {
                self.tool_result(
                    call,
                    "There is no such tool, or it was not granted.".into(),
                    true,
                );
            } else if spent {
                self.tool_result(
                    call,
                    "The limit of tool calls is reached: answer with what is known.".into(),
                    true,
                );
            } else {
                self.tool_queue.push_back(call);
            }
        }
        self.next_tool(employee)
    }

    fn next_tool(&mut self, employee: &Employee) -> Phase {
        if self.tool_queue.is_empty() && employee.limits.mid_turn == MidTurn::Queue {
            self.think(employee)
        } else {
            Phase::Answered
        }
    }

    fn tool_result(&mut self, call: ToolCall, content: String, error: bool) {
        if let Some(round) = self.rounds.last_mut() {
            round.results.push(ToolOutcome {
                id: call.id,
                name: call.name,
                content,
                error,
            });
        }
    }

    fn call_failed(&mut self, employee: &Employee, at: Timestamp, failure: Failure) -> Phase {
        if self.calls >= employee.limits.model_calls || !may_retry(failure.kind) {
            self.speak(&employee.fallback, Some(FallbackReason::Model))
        } else {
            Phase::Backoff(at + backoff(self.calls, failure), WaitReason::ModelRetry)
        }
    }

    fn send_failed(&mut self, at: Timestamp, failure: Failure) -> Phase {
        let attempts = self.current().map_or(0, |part| part.attempts);
        let transient = matches!(
            failure.kind,
            ErrorKind::RateLimited | ErrorKind::Unavailable
        );
        if transient && attempts < SEND_ATTEMPTS {
            Phase::Backoff(at + backoff(attempts, failure), WaitReason::SendRetry)
        } else {
            Phase::Ending(End::Asked(OpenReason::Failed(failure.kind)))
        }
    }
}

fn closed_message(employee: &Employee) -> &str {
    employee
        .hours
        .as_ref()
        .map_or("", |hours| hours.closed_message.trim())
}

fn may_retry(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Ambiguous
            | ErrorKind::Truncated
            | ErrorKind::Protocol
    )
}

/// One second, doubled with each try, or what the other side asks for.
fn backoff(tries: u32, failure: Failure) -> Duration {
    let own = Duration::from_secs(1 << tries.saturating_sub(1).min(6)).min(LONGEST_BACKOFF);
    failure
        .retry_after_ms
        .map_or(own, |asked| Duration::from_millis(asked).max(own))
}

fn misfit(message: &str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
