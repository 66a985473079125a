//! A turn under way: its records on their way to the journal, and the performing of its actions.

mod act;
mod speak;
mod think;

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{
    Action, Append, AppendOutcome, Claim, Entry, Event, Outcome, RECORD_VERSION, Record, State,
    TimerChange,
    driver::{Driver, DriverStats},
    inbox::{inputs, newest},
    step,
};
use crate::{Error, Result, Staff, Timestamp};

/// Why a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The turn is over.
    Finished,
    /// It waits: its timer is set.
    Parked,
    /// The claim is not valid any more.
    Lost,
}

/// A turn under way.
pub(super) struct Run<'a> {
    driver: &'a Driver,
    claim: &'a Claim,
    staff: Staff,
    state: State,
    len: u64,
    turn_from: u64,
    append: Append,
}

/// What performing an action leads to.
enum Performed {
    Next(Event),
    Stop(Stop),
}

impl<'a> Run<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        claim: &'a Claim,
        staff: Staff,
        state: State,
        len: u64,
        turn_from: u64,
    ) -> Self {
        Self {
            driver,
            claim,
            staff,
            state,
            len,
            turn_from,
            append: Append::default(),
        }
    }

    pub(super) fn consume(&mut self, to: u64) {
        self.append.consume_to = Some(to);
    }

    /// Writes an event and what was decided because of it into the next append; returns the one action that is open now.
    pub(super) fn note(
        &mut self,
        at: Timestamp,
        event: Event,
        actions: Vec<Action>,
    ) -> Result<Action> {
        let open = actions
            .last()
            .cloned()
            .ok_or_else(|| Error::internal("a turn that decides nothing"))?;
        let entries =
            std::iter::once(Entry::Event(event)).chain(actions.into_iter().map(Entry::Action));
        let (turn, persons) = (self.state.turn(), self.state.carry().persons.clone());
        self.append.records.extend(entries.map(|entry| Record {
            v: RECORD_VERSION,
            turn,
            at,
            persons: persons.clone(),
            entry,
        }));
        Ok(open)
    }

    /// Feeds an event; returns the action that follows.
    pub(super) fn feed(&mut self, event: Event) -> Result<Action> {
        let at = self.driver.clock.now();
        let actions = step(&self.staff.employee, &mut self.state, at, &event)?;
        self.note(at, event, actions)
    }

    /// Performs an action and all that follow from it, until the turn is over or has to wait.
    pub(super) async fn go_on(mut self, mut action: Action) -> Result<Stop> {
        let span = Driver::turn_span(self.claim.tenant, self.state.turn());
        async move {
            loop {
                // Each action's future is boxed: the states of a turn differ in size by orders of magnitude.
                match self.perform(action).boxed().await? {
                    Performed::Next(event) => action = self.feed(event)?,
                    Performed::Stop(stop) => return Ok(stop),
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn perform(&mut self, action: Action) -> Result<Performed> {
        let event = match action {
            Action::Gather => {
                let (driver, employee) = (self.driver, &self.staff.employee);
                let gathering = driver.gather(self.claim, employee, &self.state, self.turn_from);
                match driver.holding(self.claim, gathering).await {
                    Some(gathered) => Event::Gathered(gathered?),
                    None => return Ok(Performed::Stop(Stop::Lost)),
                }
            }
            Action::CallModel { call, key, .. } => return self.call_model(call, key).await,
            Action::CallTool {
                id,
                name,
                arguments,
                effect,
                key,
            } => {
                return self.call_tool(id, name, arguments, effect, key).await;
            }
            Action::Listen => return self.listen().await,
            Action::Send {
                key,
                text,
                reply_to,
                give_up_at,
                ..
            } => {
                return self.send(key, text, reply_to, give_up_at).await;
            }
            Action::Find { key, since } => return self.find(key, since).await,
            Action::Wait { until, .. } => return self.wait(until).await,
            Action::Finish { outcome, .. } => {
                self.append.timer = TimerChange::Clear;
                self.append.checkpoint = true;
                let written = self.flush().await?;
                if written == AppendOutcome::Appended {
                    self.count(&outcome);
                    return Ok(Performed::Stop(Stop::Finished));
                }
                return Ok(Performed::Stop(Stop::Lost));
            }
        };
        Ok(Performed::Next(event))
    }

    fn count(&self, outcome: &Outcome) {
        let stats = &self.driver.stats;
        DriverStats::count(match outcome {
            Outcome::Replied { .. } => &stats.replied,
            Outcome::Silent { .. } => &stats.silent,
            Outcome::Asked { .. } => &stats.asked,
        });
    }

    /// Writes what has come together. After anything but `Appended` the append is still there.
    async fn flush(&mut self) -> Result<AppendOutcome> {
        let added = self.append.records.len() as u64;
        let written = self
            .driver
            .journal
            .append(self.claim, self.len, self.append.clone())
            .await?;
        if written == AppendOutcome::Appended {
            self.append = Append::default();
            self.len += added;
        }
        Ok(written)
    }

    async fn listen(&mut self) -> Result<Performed> {
        let Some(loaded) = self.driver.journal.load(self.claim).await? else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        // What the turn began with was consumed before its first call of the model.
        let to = newest(&loaded);
        let (journal, latest) = (&*self.driver.journal, self.state.carry().latest);
        let inputs = inputs(journal, self.claim, &loaded, latest, to).await?;
        if to > 0 {
            self.append.consume_to = Some(to);
        }
        Ok(Performed::Next(Event::Heard { inputs }))
    }

    async fn flush_or_lost(&mut self) -> Result<bool> {
        Ok(self.flush().await? != AppendOutcome::Appended)
    }
}
