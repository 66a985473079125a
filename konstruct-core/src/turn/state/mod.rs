//! The turn as a pure state machine: `step(state, event) -> actions`. It has no clock, no randomness and no IO.
//!
//! The state of a turn is a fold of its records. [`State::apply`] folds a record without reading any settings. All choices that
//! depend on the employee's settings are made once, in [`decide`], and their results are recorded. [`step`] applies an event,
//! then decides and applies actions until an action is open. Resuming a turn only folds its records; a replay runs `step` and
//! compares.

mod apply;
mod attachments;
mod decide;
mod hold;
mod inputs;
mod via;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::decide::decide;
use super::{
    Action, AttachmentContent, AttachmentRef, CloseReason, ConversationState, Entry, Event,
    Failure, FallbackReason, Gathered, Input, ItemId, OpenItem, Outcome, Record, ReplyPart,
    ReplySource, SentVia, SilenceReason, Started, WaitReason,
};
use crate::{
    Employee, Error, ErrorKind, Outgoing, PersonId, Result, Timestamp, TurnId,
    limit::Limited,
    llm::{Finish, ModelAnswer, ToolCall},
    outgoing::Choices,
    tool::Effect,
};

/// How often a part is sent before a person is asked.
const SEND_ATTEMPTS: u32 = 6;

/// The state of a turn after some of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    turn: TurnId,
    began_at: Timestamp,
    started: Started,
    /// The number of records that were folded.
    records: u64,
    /// The number of inputs that were announced but not folded yet.
    awaited: u32,
    inputs: Vec<Input>,
    /// Whether an input is the first of several messages that cannot be read.
    first_unreadable: bool,
    /// What was found in the attachments of the inputs.
    readings: BTreeMap<AttachmentRef, AttachmentContent>,
    /// The number of attempts to read an attachment, and of those for the current one.
    reads: u32,
    read_tries: u32,
    /// Whether the model is not shown the images, because it refused a call with them.
    without_images: bool,
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
    /// The rate limit that delays the answer.
    limited: Option<Limited>,
    /// Items to close.
    closing: VecDeque<(ItemId, CloseReason)>,
    /// Sends that the inputs report as failed. An item is opened for each.
    undelivered: VecDeque<(Vec<String>, u64)>,
    /// The number of the next item that the turn opens.
    items: u32,
    /// Whether the items at the end of the turn were opened.
    wrapped_up: bool,
    /// How often the turn sent something to the address for responses.
    responses: u32,
    /// The last item that was opened for a send.
    send_item: Option<ItemId>,
    phase: Phase,
}

/// A model's answer and the results of its tool calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) answer: ModelAnswer,
    pub(crate) results: Vec<ToolOutcome>,
    /// The events that arrived during the tool calls, as indices of [`State::inputs`].
    pub(crate) inputs: std::ops::Range<usize>,
}

/// The result of a tool call, as the model is shown it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolOutcome {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) error: bool,
}

/// A part of the reply and its progress.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    key: String,
    /// The content; `None` if the [`Event::Rendered`] at `record`, of an earlier turn, contains it.
    what: Option<Outgoing>,
    record: Option<u64>,
    /// Whether only the person who asked may see it, if it is of an earlier turn.
    private: bool,
    /// How it was sent last.
    via: SentVia,
    attempts: u32,
    finds: u32,
    /// When its first attempt was recorded, and the deadline of its last attempt.
    since: Timestamp,
    give_up_at: Timestamp,
    done: bool,
}

/// The progress of a turn. A phase with an open action waits for that action's event; in the others, `decide` chooses the next
/// action.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Decide on the first action.
    Begin,
    Reading(AttachmentRef),
    ReadFailed(AttachmentRef, Failure),
    Gathering,
    /// Decide whether to call the model.
    Thinking,
    Calling,
    CallFailed(Failure),
    CallRefused,
    CallLimited(Limited),
    /// Decide on the model's answer.
    Answered,
    Acting(ToolCall, Effect),
    Listening,
    Replying(ReplySource),
    /// Send the next part, or end the turn.
    Speaking,
    Sending,
    SendFailed(Failure),
    /// It is unknown whether the part arrived.
    Ambiguous,
    Finding,
    FindFailed(Failure),
    NotFound,
    /// The provider did not report about the part in time.
    Unreported,
    Waiting(Timestamp, WaitReason),
    /// The turn must end with this reason.
    Ending(SilenceReason),
    Finished(Outcome),
}

/// What a driver does about an action that was open when its process ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Resume {
    /// Perform the action: it did not happen, or may be repeated.
    Perform(Action),
    /// Apply the event: the outcome is unknown, or was known before.
    Feed(Event),
    /// Wait until this time.
    Park(Timestamp),
    /// The turn is over.
    Over,
}

/// Applies an event and decides what follows.
///
/// # Errors
/// [`ErrorKind::Protocol`] for an event that does not fit the state: a defect of the driver, or a log of another engine version.
pub fn step(
    employee: &Employee,
    state: &mut State,
    at: Timestamp,
    event: &Event,
) -> Result<Vec<Action>> {
    state.apply_event(event)?;
    settle(employee, state, at)
}

/// Begins a turn. Its first event is [`Event::Started`]; the inputs that it announces must follow.
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

/// Decides on actions and applies them until one is open.
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
            first_unreadable: false,
            readings: BTreeMap::new(),
            reads: 0,
            read_tries: 0,
            without_images: false,
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
            limited: started.limited,
            closing: VecDeque::new(),
            undelivered: VecDeque::new(),
            items: 0,
            wrapped_up: false,
            responses: 0,
            send_item: None,
            phase: Phase::Begin,
            started,
        }
    }

    /// Folds the records of one turn, from its [`Event::Started`] on.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if they are not the records of one turn, in order.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self> {
        let mut records = records.into_iter();
        let first = records
            .next()
            .ok_or_else(|| corrupt("the turn has no records"))?;
        let Entry::Event(Event::Started(started)) = &first.entry else {
            return Err(corrupt("the first record of the turn is not `started`"));
        };
        let mut state = Self::new(first.turn, first.at, (**started).clone());
        for record in records {
            if record.turn != state.turn {
                return Err(corrupt("the records belong to more than one turn"));
            }
            state.apply(record)?;
        }
        Ok(state)
    }

    /// Folds one more record.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a record that does not fit the state.
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

    /// Returns when the turn began.
    pub(crate) fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// Returns the turn's first record.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Returns the turn's inputs so far.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Returns what was found in the attachments of the inputs so far.
    pub fn readings(&self) -> &BTreeMap<AttachmentRef, AttachmentContent> {
        &self.readings
    }

    /// Returns whether the next model call shows the images of the inputs.
    pub(crate) fn shows_images(&self) -> bool {
        !self.without_images
    }

    /// Returns the content that the model is shown, once it was selected.
    pub fn gathered(&self) -> Option<&Gathered> {
        self.gathered.as_ref()
    }

    /// Returns the outcome of the turn, if it has ended.
    pub fn outcome(&self) -> Option<&Outcome> {
        if let Phase::Finished(outcome) = &self.phase {
            Some(outcome)
        } else {
            None
        }
    }

    /// Returns the persons whose words the model was shown so far. Its output is encrypted for them.
    pub fn shown(&self) -> BTreeSet<PersonId> {
        let gathered = self.gathered.iter().flat_map(|gathered| &gathered.persons);
        let inputs = self.inputs.iter().flat_map(|input| &input.persons);
        gathered.chain(inputs).copied().collect()
    }

    /// Returns whether one of these persons was forgotten while the turn was open, so that content with their words must not be
    /// used.
    pub(crate) fn has_forgotten<'a>(
        &self,
        persons: impl IntoIterator<Item = &'a PersonId>,
    ) -> bool {
        let mut persons = persons.into_iter();
        persons.any(|person| self.forgotten.contains(person))
    }

    /// Returns the state that outlives the turn, updated with the turn's inputs.
    pub fn conversation(&self) -> &ConversationState {
        &self.started.state
    }

    /// Returns the content of one of the turn's own parts.
    pub(crate) fn part(&self, key: &str) -> Option<&Outgoing> {
        let part = self.parts.iter().find(|part| part.key == key)?;
        part.what.as_ref()
    }

    /// Returns whether the reply is a fixed phrase of the employee.
    pub(crate) fn says_fixed(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns the number of the next item that the turn opens.
    pub(crate) fn next_item(&self) -> u32 {
        self.items + 1
    }

    /// Returns the person whose input came last.
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

    /// Returns the model's answer: the text of its last call, with the truncated answers before it prepended.
    pub(crate) fn answer(&self) -> String {
        let mut from = self.rounds.len().saturating_sub(1);
        while from > 0 && self.rounds[from - 1].is_cut() {
            from -= 1;
        }
        let rounds = self.rounds[from..].iter();
        rounds.map(|round| round.answer.text()).collect()
    }

    /// Returns the options that the model's answer offers.
    pub(crate) fn choices(&self) -> Option<&Choices> {
        self.rounds.last()?.answer.choices()
    }

    /// Counts how many of the last rounds match.
    fn trailing(&self, matches: impl Fn(&Round) -> bool) -> usize {
        self.rounds
            .iter()
            .rev()
            .take_while(|round| matches(round))
            .count()
    }

    /// Returns the delivery key whose outcome a report of the provider can settle now, if there is one.
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
            Phase::Reading(_) => Resume::Feed(Event::AttachmentLost { read: self.reads }),
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
            // `step` never stops in the other phases: it decides until an action is open.
            _ => Resume::Over,
        }
    }

    /// Returns the idempotency key of a model call.
    pub(super) fn call_key(&self, call: u32) -> String {
        format!("{}.m{call}", self.turn)
    }

    /// Returns the idempotency key of an attempt to read an attachment.
    pub(super) fn reading_key(&self, read: u32) -> String {
        format!("{}.r{read}", self.turn)
    }

    fn tool_key(&self, number: u32) -> String {
        format!("{}.t{number}", self.turn)
    }

    /// Queues parts that an earlier turn rendered.
    fn queue(&mut self, keys: &[String], item: &OpenItem) {
        self.parts.extend(keys.iter().map(|key| Part {
            key: key.clone(),
            what: None,
            record: Some(item.record),
            private: item.private,
            via: SentVia::default(),
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

    /// Returns whether the answer is incomplete and the model can continue it.
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
            private: false,
            via: SentVia::default(),
            attempts: 0,
            finds: 0,
            since: Timestamp::default(),
            give_up_at: Timestamp::default(),
            done: false,
        }
    }
}

fn protocol_error(message: &str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
