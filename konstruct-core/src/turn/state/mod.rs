//! The turn as a pure state machine: `step(state, event) -> actions`. No clock, no randomness, no IO.
//!
//! A turn is its records. [`State::apply`] folds a record that exists and needs no settings: every choice that depends on the
//! employee's settings is made once, in [`decide`], and its result is recorded. [`step`] is both: it applies an event, decides
//! until an action is open, and applies what it decided. Resuming only folds; replaying steps and compares.

mod apply;
mod decide;
mod inputs;

use std::collections::{BTreeSet, VecDeque};

pub use self::decide::decide;
use super::{
    Action, CloseReason, ConversationState, Entry, Event, Failure, FallbackReason, Gathered, Input,
    ItemId, Outcome, Record, ReplyPart, ReplySource, SilenceReason, Started, WaitReason,
};
use crate::{
    Employee, Error, ErrorKind, Outgoing, PersonId, Result, Timestamp, TurnId,
    llm::{Finish, ModelAnswer, ToolCall},
    tool::Effect,
};

/// How often a part is tried before a person is asked.
const SEND_ATTEMPTS: u32 = 6;

/// What is known of a turn after some of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    turn: TurnId,
    began_at: Timestamp,
    started: Started,
    /// How many records were folded.
    records: u64,
    /// How many inputs were announced and have not been folded yet.
    awaited: u32,
    inputs: Vec<Input>,
    gathered: Option<Gathered>,
    /// The persons who were forgotten while the turn was open.
    forgotten: BTreeSet<PersonId>,
    rounds: Vec<Round>,
    tool_queue: VecDeque<ToolCall>,
    calls: u32,
    tool_calls: u32,
    parts: Vec<Part>,
    /// The index in the log of the turn's own [`Event::Rendered`].
    rendered_at: Option<u64>,
    has_rest: bool,
    fallback: Option<FallbackReason>,
    /// Items that are to be closed.
    closing: VecDeque<(ItemId, CloseReason)>,
    /// Sends that the inputs report as failed: an item is to be opened for each.
    undelivered: VecDeque<(Vec<String>, u64)>,
    /// The number of the next item that the turn opens.
    items: u32,
    /// Whether the items that follow from the end are opened.
    wrapped_up: bool,
    /// The latest item that was opened for a send.
    asked: Option<ItemId>,
    phase: Phase,
}

/// A model's answer and what its tools returned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) answer: ModelAnswer,
    pub(crate) results: Vec<ToolOutcome>,
    /// What came in after the tools returned, as indices of [`State::inputs`].
    pub(crate) heard: std::ops::Range<usize>,
}

/// What came of one tool call, as the model is shown it.
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
    key: String,
    /// What it says. `None`: an earlier turn's [`Event::Rendered`] holds it, at `record`.
    what: Option<Outgoing>,
    record: Option<u64>,
    attempts: u32,
    finds: u32,
    /// When its first intent was recorded, and when its last request is given up.
    since: Timestamp,
    give_up_at: Timestamp,
    done: bool,
}

/// Where a turn stands. A phase with an open action waits for that action's event; in the others, `decide` has the word.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// What do the inputs ask for?
    Begin,
    Gathering,
    /// Should the model be called?
    Thinking,
    Calling,
    CallFailed(Failure),
    CallRefused,
    /// What does the model's answer ask for?
    Answered,
    Acting(ToolCall, Effect),
    Listening,
    Replying(ReplySource),
    /// Send the next part, or end.
    Speaking,
    Sending,
    SendFailed(Failure),
    /// It is unknown whether the part arrived.
    Doubtful,
    Finding,
    FindFailed(Failure),
    NotFound,
    /// The vendor did not report about the part in time.
    Unreported,
    Waiting(Timestamp, WaitReason),
    /// The turn has to end so.
    Ending(SilenceReason),
    Finished(Outcome),
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
    state.apply_event(event)?;
    settle(employee, state, at)
}

/// Begins a turn: its first event is [`Event::Started`]; the inputs that it announces must be stepped next.
///
/// # Errors
/// Those of [`step`].
pub fn begin(
    employee: &Employee,
    turn: TurnId,
    at: Timestamp,
    started: Started,
) -> Result<(State, Vec<Action>)> {
    let mut state = State::new(turn, at, started);
    let actions = settle(employee, &mut state, at)?;
    Ok((state, actions))
}

/// Decides, and applies what was decided, until an action is open.
fn settle(employee: &Employee, state: &mut State, at: Timestamp) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    while let Some(action) = decide(employee, state, at) {
        state.apply_action(at, &action)?;
        actions.push(action);
    }
    Ok(actions)
}

impl State {
    fn new(turn: TurnId, at: Timestamp, started: Started) -> Self {
        Self {
            turn,
            began_at: at,
            records: 1,
            awaited: started.inputs,
            inputs: Vec::new(),
            gathered: None,
            forgotten: BTreeSet::new(),
            rounds: Vec::new(),
            tool_queue: VecDeque::new(),
            calls: 0,
            tool_calls: 0,
            parts: Vec::new(),
            rendered_at: None,
            has_rest: false,
            fallback: None,
            closing: VecDeque::new(),
            undelivered: VecDeque::new(),
            items: 0,
            wrapped_up: false,
            asked: None,
            phase: Phase::Begin,
            started,
        }
    }

    /// Folds the records of one turn, from its [`Event::Started`] on.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when they are not one turn's records in their order.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self> {
        let mut records = records.into_iter();
        let first = records
            .next()
            .ok_or_else(|| corrupt("a turn without records"))?;
        let Entry::Event(Event::Started(started)) = &first.entry else {
            return Err(corrupt("a turn that does not begin with `started`"));
        };
        let mut state = Self::new(first.turn, first.at, (**started).clone());
        for record in records {
            if record.turn != state.turn {
                return Err(corrupt("records of two turns are mixed"));
            }
            state.apply(record)?;
        }
        Ok(state)
    }

    /// Folds one more record.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a record that does not fit.
    pub fn apply(&mut self, record: &Record) -> Result<()> {
        match &record.entry {
            Entry::Event(event) => self.apply_event(event),
            Entry::Action(action) => self.apply_action(record.at, action),
        }
    }

    /// Returns the turn's id.
    pub fn turn(&self) -> TurnId {
        self.turn
    }

    /// Returns what it began with.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Returns its inputs so far.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
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

    /// Returns the persons whose words the model was shown so far: what it produces is sealed to them.
    pub fn shown(&self) -> BTreeSet<PersonId> {
        let gathered = self.gathered.iter().flat_map(|gathered| &gathered.persons);
        let inputs = self.inputs.iter().flat_map(|input| &input.persons);
        gathered.chain(inputs).copied().collect()
    }

    /// Returns whether one of these persons was forgotten while the turn was open: nothing that holds their words is used.
    pub(crate) fn has_forgotten<'a>(
        &self,
        persons: impl IntoIterator<Item = &'a PersonId>,
    ) -> bool {
        let mut persons = persons.into_iter();
        persons.any(|person| self.forgotten.contains(person))
    }

    /// Returns what outlives the turn, with the turn's inputs in it.
    pub fn conversation(&self) -> &ConversationState {
        &self.started.state
    }

    /// Returns what one of the turn's own parts says.
    pub(crate) fn part(&self, key: &str) -> Option<&Outgoing> {
        let part = self.parts.iter().find(|part| part.key == key)?;
        part.what.as_ref()
    }

    /// Whether the reply is a fixed sentence of the employee.
    pub(crate) fn says_fixed(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns the number of the item that the turn opens next.
    pub(crate) fn next_item(&self) -> u32 {
        self.items + 1
    }

    /// Returns the person who asks, if it is one person.
    pub(crate) fn requester(&self) -> Option<PersonId> {
        let mut persons = self.inputs.iter().rev().flat_map(|input| &input.persons);
        persons.next().copied().or(self.started.state.person)
    }

    pub(crate) fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// Returns the inputs that the turn began with.
    pub(crate) fn first_inputs(&self) -> &[Input] {
        let first = usize::try_from(self.started.inputs).unwrap_or(usize::MAX);
        &self.inputs[..first.min(self.inputs.len())]
    }

    /// Returns the model's answer: the text of its last call, with what was cut off before it in front.
    pub(crate) fn answer(&self) -> String {
        let mut from = self.rounds.len().saturating_sub(1);
        while from > 0 && self.rounds[from - 1].is_cut() {
            from -= 1;
        }
        let rounds = self.rounds[from..].iter();
        rounds.map(|round| round.answer.text()).collect()
    }

    /// Counts the last rounds of which something holds.
    fn trailing(&self, holds: impl Fn(&Round) -> bool) -> usize {
        self.rounds
            .iter()
            .rev()
            .take_while(|round| holds(round))
            .count()
    }

    /// Returns the delivery key whose outcome a report of the vendor can settle now, if there is one.
    pub fn awaits(&self) -> Option<&str> {
        matches!(
            self.phase,
            Phase::Waiting(
                _,
                WaitReason::Receipt | WaitReason::InFlight | WaitReason::FindRetry
            )
        )
        .then(|| self.current().map(|part| part.key.as_str()))
        .flatten()
    }

    /// Returns what to do about the action that was open when the process ended.
    pub fn resume(&self, at: Timestamp) -> Resume {
        let current = || self.current();
        let key = || current().map(|part| part.key.clone()).unwrap_or_default();
        match &self.phase {
            Phase::Gathering => Resume::Perform(Action::Gather),
            Phase::Listening => Resume::Perform(Action::Listen),
            Phase::Replying(source) => Resume::Perform(Action::Reply { source: *source }),
            Phase::Calling => Resume::Feed(Event::CallLost { call: self.calls }),
            Phase::Acting(call, Effect::Once) => Resume::Feed(Event::ToolLost {
                id: call.id.clone(),
            }),
            Phase::Acting(call, effect) => Resume::Perform(Action::CallTool {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                effect: *effect,
                key: self.tool_key(self.tool_calls),
            }),
            Phase::Sending => Resume::Feed(Event::SendAmbiguous { key: key() }),
            Phase::Finding => Resume::Perform(Action::Find {
                key: key(),
                since: current().map_or(Timestamp::default(), |part| part.since),
            }),
            Phase::Waiting(until, _) if *until <= at => Resume::Feed(Event::Due),
            Phase::Waiting(until, _) => Resume::Park(*until),
            // `step` never leaves the others: it decides until an action is open.
            _ => Resume::Over,
        }
    }

    fn tool_key(&self, number: u32) -> String {
        format!("{}.t{number}", self.turn)
    }

    /// Queues parts that an earlier turn rendered.
    fn queue(&mut self, keys: &[String], record: u64) {
        self.parts.extend(keys.iter().map(|key| Part {
            key: key.clone(),
            what: None,
            record: Some(record),
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

impl Round {
    fn calls_tools(&self) -> bool {
        self.answer.tool_calls().next().is_some()
    }

    /// Whether the answer ended before it was whole, and the model can continue it.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.answer.finish, Finish::Length | Finish::Pause) && !self.calls_tools()
    }

    fn is_blank(&self) -> bool {
        !self.calls_tools() && self.answer.text().trim().is_empty()
    }
}

impl From<ReplyPart> for Part {
    fn from(part: ReplyPart) -> Self {
        Self {
            key: part.key,
            what: Some(part.what),
            record: None,
            attempts: 0,
            finds: 0,
            since: Timestamp::default(),
            give_up_at: Timestamp::default(),
            done: false,
        }
    }
}

fn misfit(message: &str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
