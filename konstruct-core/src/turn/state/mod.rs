//! The turn as a pure state machine: `step(state, event) -> actions`. No clock, no randomness, no IO.
//!
//! A turn is its records. [`State::apply`] folds a record that exists, [`decide`] says what follows from a state, and
//! [`step`] is both: it applies an event, decides until there is nothing more to decide, and applies what it decided.
//! Resuming only folds; replaying steps and compares.

mod apply;
mod decide;
mod inputs;

use std::collections::VecDeque;

pub use self::decide::decide;
use super::{
    Action, Carry, Entry, Event, FallbackReason, Gathered, Input, OpenReason, Outcome, Record,
    ReplyPart, SilenceReason, Started, WaitReason,
};
use crate::{
    Employee, Error, ErrorKind, ModelAnswer, Result, Timestamp, ToolCall, TurnId, tool::Effect,
};

/// How often a part is tried before a person is asked.
const SEND_ATTEMPTS: u32 = 6;

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

    fn current(&self) -> Option<&Part> {
        self.parts.iter().find(|part| !part.done)
    }

    fn current_mut(&mut self) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| !part.done)
    }
}

fn misfit(message: &str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
