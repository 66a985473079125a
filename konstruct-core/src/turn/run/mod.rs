//! A running turn: performs its actions and writes its records to the store.

mod act;
mod reach;
mod read;
mod reply;
mod speak;
mod think;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};
use tracing::Instrument as _;

use super::{
    Action, AttachmentRef, Cause, Entry, Event, Material, OpenItem, RECORD_VERSION, Record,
    Started, State,
    driver::{Driver, DriverStats, received},
    inbox::{self, inputs},
    lease::Lease,
    step,
};
use crate::{
    Channel, PersonId, Result, Timestamp,
    directory::Staff,
    limit::{AppliedCap, BudgetKey, Payers},
    llm::Media,
    message::Body,
    store::{
        Append, AppendOutcome, Charge, Charged, DeliveryKey, ItemChange, Reserve, TimerChange,
        TimerName,
    },
};

/// Why a run stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The turn is over.
    Finished,
    /// The turn waits, and its timer is set.
    Parked,
    /// The claim is no longer valid.
    Lost,
    /// Persons were forgotten whose words the turn contains. The turn must be resumed without them.
    Forgotten(BTreeSet<PersonId>),
}

/// The result of performing an action: the event that it caused, or the end of the run.
type Performed = ControlFlow<Stop, Event>;

/// A turn that is running.
pub(super) struct Run<'a> {
    driver: &'a Driver,
    lease: &'a Lease<'a>,
    staff: Staff,
    state: State,
    len: u64,
    turn_from: u64,
    items: Vec<OpenItem>,
    /// The content that was gathered in this run, so that it is not read again.
    material: Option<Material>,
    /// The images that were fetched in this run.
    images: BTreeMap<AttachmentRef, Media>,
    /// The persons of an earlier reply that this one repeats.
    repeated: BTreeSet<PersonId>,
    /// Whether the person's message was marked as read in this run.
    marked_read: AtomicBool,
    /// Whether money was moved, or refused, in this run.
    has_spent: bool,
    append: Append,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        lease: &'a Lease<'a>,
        staff: Staff,
        state: State,
        (len, turn_from): (u64, u64),
        items: Vec<OpenItem>,
    ) -> Self {
        Self {
            driver,
            lease,
            staff,
            state,
            len,
            turn_from,
            items,
            material: None,
            images: BTreeMap::new(),
            repeated: BTreeSet::new(),
            marked_read: AtomicBool::new(false),
            has_spent: false,
            append: Append::default(),
        }
    }

    /// Returns the provider's id of the latest message that the turn answers.
    fn latest_message(&self) -> Option<String> {
        let mut inputs = self.state.inputs().iter().rev();
        inputs.find_map(|input| match &input.event.body {
            Body::Message { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    /// Returns the channel of the turn's connection.
    async fn channel(&self) -> Result<Arc<dyn Channel>> {
        let (tenant, connection) = (self.lease.claim().tenant, self.state.started().connection);
        self.driver.directory.channel(tenant, connection).await
    }

    /// Returns the output of a future, or `None` if the deadline comes first.
    async fn by<T>(&self, deadline: Timestamp, work: impl Future<Output = T>) -> Option<T> {
        let late = self.driver.clock.sleep_until(deadline);
        pin_mut!(work, late);
        match select(work, late).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Adds the first record of the turn to the next append, and consumes its events.
    pub(super) fn begin(
        &mut self,
        at: Timestamp,
        started: Started,
        persons: BTreeSet<PersonId>,
        due: &[TimerName],
        consume_to: u64,
    ) {
        let event = Entry::Event(Event::Started(Box::new(started)));
        self.record(at, Cause::Rule, persons, event);
        self.append.consume_to = Some(consume_to).filter(|to| *to > 0);
        let timers = due.iter().cloned().map(TimerChange::clear);
        self.append.timers.extend(timers);
    }

    fn record(&mut self, at: Timestamp, cause: Cause, persons: BTreeSet<PersonId>, entry: Entry) {
        self.append.records.push(Record {
            v: RECORD_VERSION,
            turn: self.state.turn(),
            at,
            cause,
            persons,
            entry,
        });
    }

    /// Adds decided actions to the next append. Returns the action that is open now, if there is one.
    pub(super) fn decided(&mut self, at: Timestamp, actions: Vec<Action>) -> Option<Action> {
        let open = actions.last().cloned();
        for action in actions {
            self.note(&action);
            let cause = match &action {
                Action::Wait { .. }
                | Action::Find { .. }
                | Action::ReadAttachment { .. }
                | Action::SkipAttachment { .. }
                | Action::SkipTool { .. }
                | Action::Open(_)
                | Action::Close { .. } => Cause::Rule,
                _ => Cause::Employee,
            };
            let persons = match &action {
                Action::CallTool { .. } | Action::SkipTool { .. } => self.state.shown(),
                _ => BTreeSet::new(),
            };
            self.record(at, cause, persons, Entry::Action(action));
        }
        open
    }

    /// Adds the changes of timers, items and delivery keys that belong to an action.
    fn note(&mut self, action: &Action) {
        let append = &mut self.append;
        match action {
            Action::Send { key, .. } => append.delivery_keys.push(DeliveryKey {
                key: key.clone(),
                index: self.len + append.records.len() as u64,
            }),
            Action::Open(item) => {
                let name = TimerName::item(&item.id);
                append.timers.push(TimerChange {
                    name,
                    at: item.retry_at,
                });
                append.items.push(ItemChange::Put(item.clone()));
            }
            Action::Close { item, .. } => {
                append
                    .timers
                    .push(TimerChange::clear(TimerName::item(item)));
                append.items.push(ItemChange::Close(item.clone()));
                self.items.retain(|open| open.id != *item);
            }
            Action::Wait { until, .. } => {
                append
                    .timers
                    .push(TimerChange::set(TimerName::turn(), *until));
            }
            Action::Finish { .. } => {
                append.timers.push(TimerChange::clear(TimerName::turn()));
                append.timers.push(TimerChange::clear(TimerName::retry()));
                append.state = Some(self.state.conversation().clone());
                if self.state.conversation().held_since.is_none() {
                    // The conversation may have been handed back: what waits for that can be sent.
                    let now = self.driver.clock.now();
                    let held = self.items.iter().filter(|item| item.is_held());
                    let check = held.map(|item| TimerChange::set(TimerName::item(&item.id), now));
                    append.timers.extend(check);
                }
                append.checkpoint = true;
            }
            _ => {}
        }
    }

    /// Applies an event. Returns the next action, unless more inputs must be applied first.
    pub(super) fn feed(&mut self, event: Event) -> Result<Option<Action>> {
        let at = self.driver.clock.now();
        let actions = step(&self.staff.employee, &mut self.state, at, &event)?;
        if let Event::SendDone { key, .. } = &event {
            self.append.settled.push(key.clone());
        }
        match event {
            Event::Received(input) => {
                let record = received(self.state.turn(), at, *input);
                self.append.records.push(record);
            }
            event => {
                let (cause, persons) = self.about(&event);
                self.record(at, cause, persons, Entry::Event(event));
            }
        }
        Ok(self.decided(at, actions))
    }

    /// Returns who caused an event, and the persons that it is encrypted for.
    fn about(&self, event: &Event) -> (Cause, BTreeSet<PersonId>) {
        match event {
            Event::Answered { .. } => (Cause::Employee, self.state.shown()),
            Event::ToolReturned { .. } => (Cause::Vendor, self.state.shown()),
            Event::AttachmentRead { attachment, .. } => {
                let mut inputs = self.state.inputs().iter();
                let input = inputs.find(|input| input.seq == attachment.seq);
                let persons: BTreeSet<_> =
                    input.iter().flat_map(|it| &it.persons).copied().collect();
                let cause = persons
                    .first()
                    .map_or(Cause::Vendor, |it| Cause::Person(*it));
                (cause, persons)
            }
            Event::Rendered { .. } if self.state.says_fixed() => (Cause::Rule, BTreeSet::new()),
            Event::Rendered { .. } => {
                let mut persons = self.state.shown();
                persons.extend(&self.repeated);
                (Cause::Employee, persons)
            }
            Event::Gathered(_)
            | Event::CallLimited { .. }
            | Event::InboxRead { .. }
            | Event::Due
            | Event::Forgotten { .. } => (Cause::Rule, BTreeSet::new()),
            _ => (Cause::Vendor, BTreeSet::new()),
        }
    }

    /// Performs an action and all that follow from it, until the turn ends or has to wait.
    pub(super) async fn drive(mut self, action: Option<Action>) -> Result<Stop> {
        let span = Driver::turn_span(self.lease.claim().tenant, self.state.turn());
        async move {
            let mut action = action;
            while let Some(open) = action {
                // Each action's future is boxed, because their sizes differ by orders of magnitude.
                match self.perform(open).boxed().await? {
                    ControlFlow::Continue(Event::InboxRead { inputs: _ }) => {
                        action = self.read_inbox().await?;
                    }
                    ControlFlow::Continue(event) => action = self.feed(event)?,
                    ControlFlow::Break(stop) => return Ok(stop),
                }
            }
            Err(crate::Error::internal("the turn decided on no action"))
        }
        .instrument(span)
        .await
    }

    async fn perform(&mut self, action: Action) -> Result<Performed> {
        match action {
            Action::ReadAttachment {
                attachment,
                key,
                give_up_at,
                ..
            } => self.read_attachment((attachment, key), give_up_at).await,
            Action::Gather => self.gather().await,
            Action::CallModel {
                call,
                key,
                give_up_at,
                ..
            } => self.call_model(call, key, give_up_at).await,
            Action::CallTool {
                id,
                name,
                arguments,
                effect,
                key,
            } => self.call_tool(id, name, arguments, effect, key).await,
            Action::Listen => Ok(ControlFlow::Continue(Event::InboxRead { inputs: 0 })),
            Action::Reply { source } => self.render(source).await,
            Action::Send {
                key,
                record,
                via,
                give_up_at,
                ..
            } => self.send(key, (record, via), give_up_at).await,
            Action::Find { key, since } => self.find(key, since).await,
            Action::Wait { until, .. } => self.wait(until).await,
            Action::Finish { outcome } => Ok(ControlFlow::Break(match self.flush().await? {
                None => {
                    self.driver.stats.count_outcome(&outcome);
                    if self.has_spent && !self.staff.employee.caps.is_empty() {
                        let tenant = self.lease.claim().tenant;
                        self.driver.report_budgets(tenant).await;
                    }
                    Stop::Finished
                }
                Some(stop) => stop,
            })),
            // These are never open: `step` applies them and continues to decide.
            Action::SkipAttachment { .. }
            | Action::SkipTool { .. }
            | Action::Open(_)
            | Action::Close { .. } => Err(crate::Error::internal("this action is never open")),
        }
    }

    async fn gather(&mut self) -> Result<Performed> {
        // What a transcription found was paid for, so it is made durable at once.
        if !self.state.readings().is_empty()
            && let Some(stop) = self.flush().await?
        {
            return Ok(ControlFlow::Break(stop));
        }
        let claim = self.lease.claim();
        let gathering = self
            .driver
            .gather(claim, &self.staff, &self.state, self.turn_from);
        let Some(gathered) = self.lease.keep_while(gathering).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        let (gathered, material) = gathered?;
        self.material = Some(material);
        Ok(ControlFlow::Continue(Event::Gathered(gathered)))
    }

    /// Reads the inbox and applies the new events.
    async fn read_inbox(&mut self) -> Result<Option<Action>> {
        let claim = self.lease.claim();
        let Some(loaded) = self.driver.store.load(claim).await? else {
            // The next write reports that the claim is lost.
            return self.feed(Event::InboxRead { inputs: 0 });
        };
        // The first inputs of the turn were consumed before its first model call.
        // A proactive message waits until this turn has ended.
        // So does an answer that goes elsewhere, and messages do not join a turn that answers elsewhere.
        let to = match self.state.origin() {
            Some((origin, _)) if inbox::is_apart(origin) => 0,
            _ => inbox::before_apart(&loaded.inbox).unwrap_or(0),
        };
        let latest = self.state.conversation().latest;
        let inputs = inputs(&*self.driver.store, claim, &loaded, latest, to).await?;
        if to > 0 {
            self.append.consume_to = Some(to);
        }
        let count = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
        let mut action = self.feed(Event::InboxRead { inputs: count })?;
        for input in inputs {
            action = self.feed(Event::Received(Box::new(input)))?;
        }
        Ok(action)
    }

    /// Writes the next append. Returns why the run stops if it was not written.
    async fn flush(&mut self) -> Result<Option<Stop>> {
        self.flush_for(self.driver.lease).await
    }

    /// Writes the next append and extends the lease to at least this long.
    async fn flush_for(&mut self, lease: Duration) -> Result<Option<Stop>> {
        Ok(stop(self.write(lease).await?))
    }

    /// Writes the next append with a reservation. Returns the sum under whose cap it does not fit, if there is one; what was to be
    /// written is kept then.
    async fn reserve(
        &mut self,
        reserve: Option<Reserve>,
    ) -> Result<ControlFlow<Stop, Option<BudgetKey>>> {
        let tenant = self.lease.claim().tenant;
        self.append.reserve.clone_from(&reserve);
        let mut written = self.write(self.driver.lease).await?;
        if matches!(written, AppendOutcome::OverBudget(_)) {
            // Outside of the append, the refusal is recorded. If money was freed in the meantime, the reservation is granted.
            let charge = Charge {
                reserve,
                ..Charge::default()
            };
            if let Charged::OverBudget(budget) = self.driver.store.charge(tenant, charge).await? {
                self.append.reserve = None;
                self.has_spent = true;
                return Ok(ControlFlow::Continue(Some(budget)));
            }
            written = self.write(self.driver.lease).await?;
        }
        Ok(match stop(written) {
            Some(stop) => ControlFlow::Break(stop),
            None => ControlFlow::Continue(None),
        })
    }

    /// Returns the caps that the calls of this turn must fit under.
    fn caps(&self) -> Vec<AppliedCap> {
        let payers = Payers {
            employee: Some(self.staff.employee.id),
            channel: Some(self.state.started().connection),
            person: self.state.requester(),
        };
        payers.caps(&self.staff.employee.caps)
    }

    /// Writes the next append and extends the lease to at least this long. After `OverBudget` the append is kept.
    async fn write(&mut self, lease: Duration) -> Result<AppendOutcome> {
        let added = self.append.records.len() as u64;
        let at = self.driver.clock.now();
        self.append.lease = Some(lease);
        // Only a refused reservation lets the turn continue with what was not written.
        let kept = self.append.reserve.is_some().then(|| self.append.clone());
        let append = std::mem::take(&mut self.append);
        let store = &self.driver.store;
        let written = store.append(self.lease.claim(), self.len, append).await?;
        if matches!(written, AppendOutcome::OverBudget(_)) {
            self.append = kept.unwrap_or_default();
        }
        if written == AppendOutcome::Appended {
            self.len += added;
            self.lease.renewed(at);
        }
        Ok(written)
    }
}

/// Returns why a run stops if an append was not written.
fn stop(written: AppendOutcome) -> Option<Stop> {
    match written {
        AppendOutcome::Appended => None,
        AppendOutcome::Forgotten(persons) => Some(Stop::Forgotten(persons.into_iter().collect())),
        _ => Some(Stop::Lost),
    }
}

/// Increments a counter of the driver.
fn count(counter: &std::sync::atomic::AtomicU64) {
    DriverStats::count(counter);
}
