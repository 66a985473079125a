//! The driver: takes a claimed conversation as far as it goes now.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    future::{Either, select},
    pin_mut,
};
use tracing::Instrument as _;

use super::{
    Append, AppendOutcome, Claim, ENGINE_VERSION, Entry, Event, Journal, Loaded, PinnedChannel,
    PinnedModel, Record, Resume, Started, State, TimerChange, begin,
    inbox::{inputs, newest},
    open::{self, Open},
    run::{Run, Stop},
};
use crate::{
    Body, Channel, Clock, Directory, Error, ErrorKind, MemoryStore, Result, Staff, TenantId,
    Timestamp, TurnId, learn::Lessons,
};

/// How many events one turn takes in at most; the others come next.
const LARGEST_TURN: usize = 200;
/// How long a conversation rests after a failure of a store or a directory: as long as it has waited already, so that what
/// stays broken (nobody works there any more) is asked about ever more rarely.
const REST: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);

/// Performs turns: one conversation at a time, as often as it is called.
///
/// Cloning is cheap; any number of drivers, in any number of processes, may work on one journal.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) memory: Option<Arc<dyn MemoryStore>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lessons: Option<Lessons>,
    pub(super) lease: Duration,
    pub(super) stats: Arc<DriverStats>,
    /// Set when no further turn is to begin.
    pub(super) draining: Arc<AtomicBool>,
}

/// Counts of what a driver did since it was made.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DriverStats {
    /// Conversations that were claimed.
    pub claims: AtomicU64,
    /// Turns that ended with a reply.
    pub replied: AtomicU64,
    /// Turns that ended in silence.
    pub silent: AtomicU64,
    /// Turns that ended with a question to a person.
    pub asked: AtomicU64,
    /// Model calls that were made.
    pub model_calls: AtomicU64,
    /// Tool calls that were made.
    pub tool_calls: AtomicU64,
    /// Send requests that were made.
    pub sends: AtomicU64,
    /// Claims that ended with a failure of a store, a directory or a log.
    pub failures: AtomicU64,
    first_claim: OnceLock<Instant>,
}

impl DriverStats {
    /// Returns when the first conversation was claimed.
    pub fn first_claim(&self) -> Option<Instant> {
        self.first_claim.get().copied()
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the work on a claimed conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Worked {
    /// Nothing is left to do now: it is given back, and a timer or an event will bring it up again.
    Released,
    /// Somebody else holds it now.
    Lost,
}

impl Driver {
    /// Makes a driver. Without a memory store the employee knows the window of history and nothing else.
    pub fn new(
        journal: Arc<dyn Journal>,
        directory: Arc<dyn Directory>,
        memory: Option<Arc<dyn MemoryStore>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let lease = Duration::from_secs(60);
        Self {
            journal,
            directory,
            memory,
            clock,
            lessons: None,
            lease,
            stats: Arc::default(),
            draining: Arc::default(),
        }
    }

    /// Says how long a claim lasts without being renewed; the default is a minute. Before a send it is renewed for longer
    /// than the channel's request and its grace can last, whatever is set here.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Has what was worked learned from.
    #[must_use]
    pub fn with_lessons(mut self, lessons: Lessons) -> Self {
        self.lessons = Some(lessons);
        self
    }

    /// Returns the counts.
    pub fn stats(&self) -> &Arc<DriverStats> {
        &self.stats
    }

    /// Works a claimed conversation: takes up its open turn, begins turns for what came in, until nothing is left or it
    /// has to wait. Then gives it back.
    ///
    /// # Errors
    /// Those of the journal, the directory and the memory store. The conversation is given back all the same, and comes up
    /// again after a rest.
    ///
    /// # Cancel safety
    /// A dropped future is like a crash: the next claim takes the turn up where its records end.
    pub async fn work(&self, claim: Claim) -> Result<Worked> {
        DriverStats::count(&self.stats.claims);
        self.stats.first_claim.get_or_init(Instant::now);
        let span = tracing::info_span!("conversation", tenant = %claim.tenant, conversation = %claim.conversation);
        let result = self.turns(&claim).instrument(span).await;
        match &result {
            Ok(Worked::Released) => {
                if let Some(lessons) = &self.lessons {
                    lessons.worked(claim.tenant, claim.conversation);
                }
            }
            Ok(Worked::Lost) => {}
            Err(error) => {
                DriverStats::count(&self.stats.failures);
                tracing::warn!(tenant = %claim.tenant, conversation = %claim.conversation, %error, "the turn rests");
                self.rest(&claim).await?;
            }
        }
        result
    }

    /// Gives a conversation back after a failure, to be taken up again in a while.
    async fn rest(&self, claim: &Claim) -> Result<()> {
        let Some(loaded) = self.journal.load(claim).await? else {
            return Ok(());
        };
        let waits = loaded.inbox.iter().map(|item| item.accepted_at).min();
        let worked = || Some(loaded.records.last()?.record.as_ref()?.at);
        let since = waits.or_else(worked).unwrap_or(loaded.now);
        let rest = loaded.now.since(since).clamp(*REST.start(), *REST.end());
        // An open turn's own timer is set again when this one is due, see `take_up`.
        let append = Append {
            timer: TimerChange::Set(loaded.now + rest),
            ..Append::default()
        };
        self.journal.append(claim, loaded.len, append).await?;
        self.journal.release(claim, newest(&loaded)).await
    }

    async fn turns(&self, claim: &Claim) -> Result<Worked> {
        loop {
            let Some(loaded) = self.journal.load(claim).await? else {
                return Ok(Worked::Lost);
            };
            let seen = newest(&loaded);
            let stop = match open::turn(&loaded) {
                Open::Turn(records) => self.take_up(claim, &loaded, records).await?,
                Open::Forgotten(turn) => self.give_up(claim, &loaded, turn).await?,
                Open::None if loaded.inbox.is_empty() => {
                    if loaded.due {
                        let clear = Append {
                            timer: TimerChange::Clear,
                            ..Append::default()
                        };
                        self.journal.append(claim, loaded.len, clear).await?;
                    }
                    Stop::Parked
                }
                Open::None => match self.begin(claim, loaded).await? {
                    Some(stop) => stop,
                    None => continue,
                },
            };
            match stop {
                Stop::Finished if self.draining.load(Ordering::Relaxed) => {
                    // Whatever waits is for the next start.
                    self.journal.release(claim, 0).await?;
                    return Ok(Worked::Released);
                }
                Stop::Finished => {}
                Stop::Parked => {
                    self.journal.release(claim, seen).await?;
                    return Ok(Worked::Released);
                }
                Stop::Lost => return Ok(Worked::Lost),
            }
        }
    }

    /// Goes on with a turn that a crash, a wait or another worker left open.
    async fn take_up(&self, claim: &Claim, loaded: &Loaded, records: Vec<Record>) -> Result<Stop> {
        let version = match records.first().map(|record| &record.entry) {
            Some(Entry::Event(Event::Started(started))) if started.engine == ENGINE_VERSION => {
                started.employee
            }
            Some(Entry::Event(Event::Started(started))) => {
                let message = format!(
                    "a turn of engine {} cannot go on in {ENGINE_VERSION}",
                    started.engine
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "an open turn that does not begin with `started`",
                ));
            }
        };
        let staff = self.directory.staff(claim.tenant, Some(version)).await?;
        let state = State::fold(&staff.employee, &records)?;
        let now = self.clock.now();
        let told = state
            .awaits()
            .and_then(|key| super::inbox::evidence(loaded, key));
        let resume = told.map_or_else(|| state.resume(now), Resume::Feed);
        if let Resume::Park(until) = resume {
            // A rest may have changed the timer, or the store's clock is ahead of this one: the turn waits for as long as
            // it still has to, in the store's time.
            if loaded.due {
                let append = Append {
                    timer: TimerChange::Set(loaded.now + until.since(now)),
                    ..Append::default()
                };
                self.journal.append(claim, loaded.len, append).await?;
            }
            return Ok(Stop::Parked);
        }
        let turn_from = loaded.len - records.len() as u64;
        let mut run = Run::new(self, claim, staff, state, loaded.len, turn_from);
        match resume {
            Resume::Perform(action) => run.go_on(action).await,
            Resume::Feed(event) => {
                if let Event::CallLost { call } = event {
                    run.settle_lost(call).await?;
                }
                let action = run.feed(event)?;
                run.go_on(action).await
            }
            Resume::Park(_) | Resume::Over => Ok(Stop::Finished),
        }
    }

    /// Ends an open turn that cannot be read any more, because a person in it was forgotten.
    async fn give_up(&self, claim: &Claim, loaded: &Loaded, turn: Option<TurnId>) -> Result<Stop> {
        let carry = open::carry(&*self.journal, claim, loaded).await?;
        let append = Append {
            records: vec![open::forgotten(turn, self.clock.now(), carry)],
            timer: TimerChange::Clear,
            checkpoint: true,
            ..Append::default()
        };
        let written = self.journal.append(claim, loaded.len, append).await?;
        if written != AppendOutcome::Appended {
            return Ok(Stop::Lost);
        }
        DriverStats::count(&self.stats.silent);
        Ok(Stop::Finished)
    }

    /// Begins a turn for what came in; `None` when more came in while the burst was waited for.
    async fn begin(&self, claim: &Claim, loaded: Loaded) -> Result<Option<Stop>> {
        let staff = self.directory.staff(claim.tenant, None).await?;
        let Some(loaded) = self.burst_over(claim, loaded, &staff).await? else {
            return Ok(None);
        };
        let channel = self
            .directory
            .channel(claim.tenant, loaded.connection)
            .await?;
        let carry = open::carry(&*self.journal, claim, &loaded).await?;
        let consume_to = loaded
            .inbox
            .iter()
            .take(LARGEST_TURN)
            .map(|item| item.seq)
            .max()
            .unwrap_or(0);
        let inputs = inputs(&*self.journal, claim, &loaded, carry.latest, consume_to).await?;
        let now = self.clock.now();
        let started = Started {
            inputs,
            carry,
            ..pinned(&staff, &*channel, &loaded, now)
        };
        let turn = TurnId::new();
        let event = Event::Started(Box::new(started.clone()));
        let (state, actions) = begin(&staff.employee, turn, now, started)?;
        let mut run = Run::new(self, claim, staff, state, loaded.len, loaded.len);
        run.consume(consume_to);
        let action = run.note(now, event, actions)?;
        run.go_on(action).await.map(Some)
    }

    /// Waits until nobody has said anything for a moment; `None` when something came in meanwhile, else what is known then.
    async fn burst_over(
        &self,
        claim: &Claim,
        loaded: Loaded,
        staff: &Staff,
    ) -> Result<Option<Loaded>> {
        let quiet = Duration::from_millis(u64::from(staff.employee.limits.burst_ms));
        let said = |item: &&super::InboxItem| {
            item.event
                .as_ref()
                .is_some_and(|routed| matches!(routed.event.body, Body::Message { .. }))
        };
        let times = || {
            let messages = loaded.inbox.iter().filter(said);
            messages.map(|item| item.accepted_at)
        };
        let (Some(oldest), Some(last)) = (times().min(), times().max()) else {
            return Ok(Some(loaded));
        };
        // Somebody who never pauses is answered all the same.
        let over = (last + quiet).min(oldest + quiet * 10);
        let left = over.since(loaded.now);
        if left.is_zero() || loaded.inbox.len() >= LARGEST_TURN {
            return Ok(Some(loaded));
        }
        let quiet = self.clock.sleep_until(self.clock.now() + left);
        if self.holding(claim, quiet).await.is_none() {
            return Ok(None);
        }
        // Even where nothing new came in, a twin may have told meanwhile that a message names the employee.
        let again = self.journal.load(claim).await?;
        Ok(again.filter(|again| newest(again) == newest(&loaded)))
    }

    /// Waits for something while the lease is kept; `None` when the lease was lost.
    pub(super) async fn holding<T>(
        &self,
        claim: &Claim,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        pin_mut!(work);
        loop {
            let tick = self.clock.sleep_until(self.clock.now() + self.lease / 3);
            match select(work.as_mut(), tick).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right(((), _)) => match self.journal.renew(claim, self.lease).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    // What is under way may have cost money: it goes on, and the next write tells whether the lease holds.
                    Err(error) => tracing::warn!(%error, "the lease was not renewed"),
                },
            }
        }
    }

    pub(super) fn turn_span(tenant: TenantId, turn: TurnId) -> tracing::Span {
        tracing::info_span!("turn", tenant = %tenant, turn = %turn)
    }
}

/// What a turn begins with, and what could otherwise change under it.
fn pinned(staff: &Staff, channel: &dyn Channel, loaded: &Loaded, now: Timestamp) -> Started {
    let (employee, info) = (&staff.employee, staff.model.describe());
    let capabilities = channel.capabilities();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let granted = staff.tools.specs(&employee.tools).into_iter();
    let tools: BTreeMap<_, _> = granted
        .filter_map(|spec| {
            let effect = staff.tools.granted(&employee.tools, &spec.name)?.effect();
            Some((spec.name, effect))
        })
        .collect();
    Started {
        engine: ENGINE_VERSION,
        employee: staff.version,
        model: PinnedModel {
            provider: info.provider.clone(),
            model: info.model.clone(),
            price: info.price.clone(),
        },
        channel: PinnedChannel {
            kind: channel.kind(),
            find: capabilities.find,
            max_text: capabilities.max_text,
            timeout_ms: millis(capabilities.request_timeout),
            grace_ms: millis(capabilities.grace),
        },
        connection: loaded.connection,
        conversation: super::inbox::place(loaded),
        tools,
        closed: employee
            .hours
            .as_ref()
            .is_some_and(|hours| !hours.is_open(now).unwrap_or(true)),
        inputs: Vec::new(),
        carry: super::Carry::default(),
    }
}
