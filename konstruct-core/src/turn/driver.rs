//! The driver: processes a claimed conversation until it has to wait.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::Instrument as _;

use super::{
    Cause, ENGINE_VERSION, Entry, Event, Input, ItemId, ItemKind, OpenItem, Outcome,
    RECORD_VERSION, Record, Resume, SilenceReason, State,
    alerts::Alerts,
    begin,
    inbox::{self, inputs},
    lease::Lease,
    limited::Admission,
    open::{self, Open},
    run::{Run, Stop},
    start::{follow_up, start},
};
use crate::{
    Clock, ConnectionId, Directory, DocumentReader, Error, ErrorKind, MemoryStore, PersonId,
    Result, TenantId, Timestamp, TurnId,
    directory::{ConnectionState, Staff},
    learn::LearnQueue,
    limit::{AlertLevel, BudgetObserver, RateLimiter},
    message::{Body, Lifecycle},
    store::{
        Append, AppendOutcome, Claim, InboxItem, ItemChange, Loaded, Store, TimerChange, TimerName,
    },
};

/// The most events of one turn; later events are left for the next turn.
const LARGEST_TURN: usize = 200;
/// How long a conversation pauses after a failure of a store or a directory: as long as it has already waited, within these
/// limits.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(300);
/// The shortest pause of a conversation whose connection cannot be used.
const CONNECTION_BACKOFF: Duration = Duration::from_secs(30);
/// How long a conversation pauses if it cannot be read.
const UNREADABLE_BACKOFF: Duration = Duration::from_secs(3600);
/// How long an employee or a connection may be missing before an item is opened for the owner.
const MISSING_GRACE: Duration = Duration::from_secs(600);

/// Runs the turns of claimed conversations, one conversation for each call of [`work`](Self::work).
///
/// Cloning is cheap. Any number of drivers, in any number of processes, may use one store.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) memory: Option<Arc<dyn MemoryStore>>,
    pub(super) document_reader: Option<Arc<dyn DocumentReader>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) limiter: Option<Arc<dyn RateLimiter>>,
    pub(super) alerts: Arc<Alerts>,
    pub(super) learn_queue: Option<LearnQueue>,
    /// Counts processed conversations, so that code in this process can wait for them.
    pub(super) processed: Arc<watch::Sender<u64>>,
    pub(super) lease: Duration,
    pub(super) stats: Arc<DriverStats>,
}

/// Counters of a driver since it was created.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DriverStats {
    /// Claimed conversations.
    pub claims: AtomicU64,
    /// Turns that ended with a reply.
    pub replied: AtomicU64,
    /// Turns that ended without a reply.
    pub silent: AtomicU64,
    /// Turns that ended with an open item for a person, because the outcome of a send is unknown.
    pub asked: AtomicU64,
    /// Model calls.
    pub model_calls: AtomicU64,
    /// Tool calls.
    pub tool_calls: AtomicU64,
    /// Turns and model calls that a rate limit delayed; repeated checks of one are counted each time.
    pub limited: AtomicU64,
    /// Reports that 80, 95 and 100 % of a cap are spent.
    pub budget_alerts: [AtomicU64; 3],
    /// Send requests.
    pub sends: AtomicU64,
    /// Claims that ended with an error of a store, a directory or a log.
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

    pub(super) fn count_alert(&self, level: AlertLevel) {
        let [eighty, ninety_five, reached] = &self.budget_alerts;
        Self::count(match level {
            AlertLevel::Eighty => eighty,
            AlertLevel::NinetyFive => ninety_five,
            AlertLevel::Reached => reached,
        });
    }

    pub(super) fn count_outcome(&self, outcome: &Outcome) {
        Self::count(match outcome {
            Outcome::Replied { .. } => &self.replied,
            Outcome::Silent { .. } => &self.silent,
            Outcome::Asked { .. } => &self.asked,
        });
    }
}

/// The result of processing a claimed conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkOutcome {
    /// Nothing is left to do now. The claim was released; a timer or an event makes the conversation ready again.
    Released,
    /// The claim was lost to another worker.
    Lost,
}

impl Driver {
    /// Creates a driver. Without a memory store, the employee sees only the most recent history.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<dyn Directory>,
        memory: Option<Arc<dyn MemoryStore>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            memory,
            document_reader: None,
            clock,
            limiter: None,
            alerts: Arc::default(),
            learn_queue: None,
            processed: Arc::new(watch::Sender::new(0)),
            lease: Duration::from_secs(60),
            stats: Arc::default(),
        }
    }

    /// Sets how long a claim lasts without being renewed; the default is a minute. Before a send it is always extended to cover
    /// the channel's request timeout and grace period.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Reads the documents that people send. Without a reader, the model is told that it cannot open them.
    #[must_use]
    pub fn with_document_reader(mut self, reader: Arc<dyn DocumentReader>) -> Self {
        self.document_reader = Some(reader);
        self
    }

    /// Limits the rates of turns and model calls by the employee's [`rates`](crate::Employee::rates) and the tenant's plan. Without
    /// a limiter, there are no limits.
    #[must_use]
    pub fn with_limiter(mut self, limiter: Arc<dyn RateLimiter>) -> Self {
        self.limiter = Some(limiter);
        self
    }

    /// Sets who is told how much of the caps is spent.
    #[must_use]
    pub fn with_budget_observer(mut self, observer: Arc<dyn BudgetObserver>) -> Self {
        self.alerts = Arc::new(Alerts::new(observer));
        self
    }

    /// Adds processed conversations to a learner's queue.
    #[must_use]
    pub fn with_learn_queue(mut self, learn_queue: LearnQueue) -> Self {
        self.learn_queue = Some(learn_queue);
        self
    }

    /// Returns a receiver that changes whenever a driver of this process has processed a conversation.
    pub(crate) fn processed(&self) -> watch::Receiver<u64> {
        self.processed.subscribe()
    }

    /// Returns the counters.
    pub fn stats(&self) -> &Arc<DriverStats> {
        &self.stats
    }

    /// Processes a claimed conversation: resumes its open turn, or begins one for new events, and runs it until it ends or has to
    /// wait. Then releases the claim. Events that arrived meanwhile make the conversation ready again.
    ///
    /// # Errors
    /// Those of the store, the directory and the memory store. The claim is released anyway, and the conversation is ready again
    /// after a pause.
    ///
    /// # Cancel safety
    /// Dropping the future has the effect of a crash: the next claim resumes the turn from its records.
    pub async fn work(&self, claim: Claim) -> Result<WorkOutcome> {
        DriverStats::count(&self.stats.claims);
        self.stats.first_claim.get_or_init(Instant::now);
        let span = tracing::info_span!("conversation", tenant = %claim.tenant, conversation = %claim.conversation);
        let result = self.run_turns(&claim).instrument(span).await;
        self.processed.send_modify(|count| *count += 1);
        match &result {
            Ok(WorkOutcome::Released) => {
                if let Some(learn_queue) = &self.learn_queue {
                    learn_queue.push(claim.tenant, claim.conversation);
                }
            }
            Ok(WorkOutcome::Lost) => {}
            Err(error) => {
                DriverStats::count(&self.stats.failures);
                tracing::warn!(tenant = %claim.tenant, conversation = %claim.conversation, %error, "could not process the conversation; it is retried after a pause");
                self.back_off(&claim, error).await?;
            }
        }
        result
    }

    /// Releases a claim after a failure. The conversation is retried after a pause, or ended if a retry cannot help.
    async fn back_off(&self, claim: &Claim, error: &Error) -> Result<()> {
        let loaded = match self.store.load(claim).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(()),
            // The store is unavailable, for example because it recovers from a full disk: the claim is left to its lease, after
            // which the conversation is ready again.
            Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                return Ok(());
            }
            Err(unreadable) => {
                self.quarantine(claim, &unreadable).await?;
                // Events in the inbox wait for the timer as well.
                return self.store.release(claim, u64::MAX).await;
            }
        };
        let waits = loaded.inbox.iter().map(|item| item.accepted_at).min();
        let last = || Some(loaded.records.last()?.record.as_ref()?.at);
        let since = waits.or_else(last).unwrap_or(loaded.now);
        let waited = loaded.now.since(since);
        let lasting = match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Unsupported => true,
            ErrorKind::NotFound => waited >= MISSING_GRACE,
            _ => false,
        };
        let mut seen = loaded.newest();
        if lasting {
            self.end_broken(claim, &loaded).await?;
            seen = 0;
        } else {
            let pause = waited.clamp(*BACKOFF.start(), *BACKOFF.end());
            let until = loaded.now + pause;
            self.postpone(claim, &loaded, until).await?;
        }
        self.store.release(claim, seen).await
    }

    /// Makes the conversation ready again at a time, unless an event arrives earlier. Due timers are postponed as well; otherwise
    /// the conversation would be ready again immediately. [`resume`](Self::resume) sets the timer of an open turn again.
    pub(super) async fn postpone(
        &self,
        claim: &Claim,
        loaded: &Loaded,
        until: Timestamp,
    ) -> Result<()> {
        let due = loaded.due.iter().cloned().chain([TimerName::retry()]);
        let append = Append {
            timers: due.map(|name| TimerChange::set(name, until)).collect(),
            ..Append::default()
        };
        self.store.append(claim, loaded.len, append).await.map(drop)
    }

    /// Pauses a conversation that cannot be read, and opens one item for the owner.
    async fn quarantine(&self, claim: &Claim, error: &Error) -> Result<()> {
        tracing::error!(tenant = %claim.tenant, conversation = %claim.conversation, %error, "could not read a conversation");
        let now = self.clock.now();
        let turn = TurnId::from_bytes(*claim.conversation.as_bytes());
        let (_, item) = open::closing_records(turn, now, SilenceReason::Broken, 0);
        let append = Append {
            items: item.map(ItemChange::Put).into_iter().collect(),
            // The due timers cannot be read.
            timers: [TimerName::every(), TimerName::retry(), TimerName::turn()]
                .map(|name| TimerChange::set(name, now + UNREADABLE_BACKOFF))
                .into(),
            ..Append::default()
        };
        self.store.append(claim, 0, append).await.map(drop)
    }

    /// Ends the open turn, or the events that wait, with an item for the owner. Called when a retry cannot help.
    async fn end_broken(&self, claim: &Claim, loaded: &Loaded) -> Result<Stop> {
        let readable = |stored: &crate::store::Stored| Some(stored.record.as_ref()?.turn);
        if !matches!(open::turn(loaded), Open::None) {
            let turn = loaded.records.iter().rev().find_map(readable);
            return self.end(claim, loaded, turn, SilenceReason::Broken).await;
        }
        let turn = TurnId::new();
        let now = self.clock.now();
        let consume_to = loaded.newest();
        let latest = loaded.state.latest;
        let inputs = inputs(&*self.store, claim, loaded, latest, consume_to).await?;
        let mut records: Vec<Record> = inputs
            .into_iter()
            .map(|input| received(turn, now, input))
            .collect();
        let (end, item) = open::closing_records(turn, now, SilenceReason::Broken, loaded.len);
        records.extend(end);
        let append = Append {
            records,
            consume_to: Some(consume_to),
            items: item.map(ItemChange::Put).into_iter().collect(),
            timers: vec![TimerChange::clear(TimerName::retry())],
            checkpoint: true,
            ..Append::default()
        };
        self.ended(claim, loaded, append).await
    }

    async fn run_turns(&self, claim: &Claim) -> Result<WorkOutcome> {
        let lease = Lease::new(self, claim);
        let mut forgotten = BTreeSet::new();
        loop {
            let Some(loaded) = self.store.load(claim).await? else {
                return Ok(WorkOutcome::Lost);
            };
            let seen = loaded.newest();
            let stop = match open::turn(&loaded) {
                Open::Turn(records) => {
                    let forgotten = std::mem::take(&mut forgotten);
                    self.resume(&lease, loaded, records, forgotten).await?
                }
                Open::Unreadable(turn) => {
                    self.end(claim, &loaded, turn, SilenceReason::Forgotten)
                        .await?
                }
                Open::None => match self.next(&lease, loaded).await? {
                    Some(stop) => stop,
                    None => continue,
                },
            };
            match stop {
                Stop::Finished => {
                    // If more events wait, the conversation is ready again. Its next turn needs another claim, after those of
                    // other conversations.
                    self.store.release(claim, 0).await?;
                    return Ok(WorkOutcome::Released);
                }
                Stop::Forgotten(persons) => forgotten = persons,
                Stop::Parked => {
                    self.store.release(claim, seen).await?;
                    return Ok(WorkOutcome::Released);
                }
                Stop::Lost => return Ok(WorkOutcome::Lost),
            }
        }
    }

    /// Takes the next step while no turn is open; `None` if the conversation has to be loaded again.
    async fn next(&self, lease: &Lease<'_>, loaded: Loaded) -> Result<Option<Stop>> {
        if loaded
            .inbox
            .iter()
            .any(|item| inbox::needs_turn(&loaded, item))
        {
            return self.begin(lease, loaded).await;
        }
        let item = follow_up(&loaded);
        if item.is_none() {
            // Nothing here needs a turn: delivery statuses of settled messages, and timers of finished turns.
            let timers = loaded.due.iter().cloned().map(TimerChange::clear).collect();
            if !loaded.inbox.is_empty() || !loaded.due.is_empty() {
                let append = Append {
                    consume_to: Some(loaded.newest()).filter(|to| *to > 0),
                    timers,
                    ..Append::default()
                };
                self.store.append(lease.claim(), loaded.len, append).await?;
            }
            return Ok(Some(Stop::Parked));
        }
        let staff = self.directory.staff(lease.claim().tenant, None).await?;
        self.start(lease, staff, loaded, item).await
    }

    /// Resumes a turn that was left open by a crash, a wait or another worker.
    async fn resume(
        &self,
        lease: &Lease<'_>,
        loaded: Loaded,
        records: Vec<Record>,
        forgotten: BTreeSet<PersonId>,
    ) -> Result<Stop> {
        let claim = lease.claim();
        let version = match records.first().map(|record| &record.entry) {
            Some(Entry::Event(Event::Started(started))) if started.engine == ENGINE_VERSION => {
                started.employee
            }
            Some(Entry::Event(Event::Started(started))) => {
                let message = format!(
                    "a turn of engine version {} cannot be resumed by engine version {ENGINE_VERSION}",
                    started.engine
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the first record of the open turn is not `started`",
                ));
            }
        };
        let staff = self.directory.staff(claim.tenant, Some(version)).await?;
        let state = State::fold(&records)?;
        let now = self.clock.now();
        let reported = state
            .awaits()
            .and_then(|key| inbox::delivery_report(&loaded, key));
        let resume = if forgotten.is_empty() {
            reported.map_or_else(|| state.resume(now), Resume::Feed)
        } else {
            Resume::Feed(Event::Forgotten { persons: forgotten })
        };
        if let Resume::Park(until) = resume {
            // A pause may have changed the timer, or the store's clock is ahead of this one: the turn waits for its remaining
            // time, by the store's clock.
            if !loaded.due.is_empty() {
                let at = loaded.now + until.since(now);
                let mut timers: Vec<_> =
                    loaded.due.iter().cloned().map(TimerChange::clear).collect();
                timers.push(TimerChange::set(TimerName::turn(), at));
                let append = Append {
                    timers,
                    ..Append::default()
                };
                self.store.append(claim, loaded.len, append).await?;
            }
            return Ok(Stop::Parked);
        }
        let turn_from = loaded.len - records.len() as u64;
        let mut run = Run::new(
            self,
            lease,
            staff,
            state,
            (loaded.len, turn_from),
            loaded.items,
        );
        match resume {
            Resume::Perform(action) => run.drive(Some(action)).await,
            Resume::Feed(event) => {
                if let Event::CallLost { call } = event {
                    run.settle_lost(call).await?;
                }
                if let Event::AttachmentLost { read } = event {
                    run.settle_lost_reading(read).await?;
                }
                let action = run.feed(event)?;
                run.drive(action).await
            }
            Resume::Park(_) | Resume::Over => Ok(Stop::Finished),
        }
    }

    /// Ends an open turn that cannot be read or continued.
    async fn end(
        &self,
        claim: &Claim,
        loaded: &Loaded,
        turn: Option<TurnId>,
        reason: SilenceReason,
    ) -> Result<Stop> {
        let turn = turn.unwrap_or_else(TurnId::new);
        let first = loaded.records.iter().find(|stored| {
            let record = stored.record.as_ref();
            record.is_some_and(|record| record.turn == turn)
        });
        let at = first.map_or(loaded.len, |first| first.index);
        let (records, item) = open::closing_records(turn, self.clock.now(), reason, at);
        let append = Append {
            records,
            items: item.map(ItemChange::Put).into_iter().collect(),
            timers: vec![
                TimerChange::clear(TimerName::turn()),
                TimerChange::clear(TimerName::retry()),
            ],
            checkpoint: true,
            ..Append::default()
        };
        self.ended(claim, loaded, append).await
    }

    async fn ended(&self, claim: &Claim, loaded: &Loaded, append: Append) -> Result<Stop> {
        let written = self.store.append(claim, loaded.len, append).await?;
        if written != AppendOutcome::Appended {
            return Ok(Stop::Lost);
        }
        DriverStats::count(&self.stats.silent);
        Ok(Stop::Finished)
    }

    /// Begins a turn for new events; `None` if more events arrived during the wait for the end of the burst.
    async fn begin(&self, lease: &Lease<'_>, loaded: Loaded) -> Result<Option<Stop>> {
        let staff = self.directory.staff(lease.claim().tenant, None).await?;
        let Some(loaded) = self.wait_for_burst(lease, loaded, &staff).await? else {
            return Ok(None);
        };
        self.start(lease, staff, loaded, None).await
    }

    async fn start(
        &self,
        lease: &Lease<'_>,
        staff: Staff,
        loaded: Loaded,
        follow_up: Option<OpenItem>,
    ) -> Result<Option<Stop>> {
        let claim = lease.claim();
        self.note_lifecycle(claim, &loaded).await?;
        let replies = follow_up.is_some() || inbox::expects_reply(&loaded);
        if replies && self.is_paused(claim, &loaded).await? {
            return Ok(Some(Stop::Parked));
        }
        let channel = self
            .directory
            .channel(claim.tenant, loaded.connection)
            .await?;
        let consume_to = match follow_up {
            Some(_) => 0,
            None => {
                let inbox = &loaded.inbox[..loaded.inbox.len().min(LARGEST_TURN)];
                inbox::turn_end(inbox).unwrap_or(0)
            }
        };
        let latest = loaded.state.latest;
        let inputs = inputs(&*self.store, claim, &loaded, latest, consume_to).await?;
        let now = self.clock.now();
        let limited = match self
            .admit(claim, &staff, &loaded, (&inputs, follow_up.as_ref()))
            .await?
        {
            Admission::Now => None,
            Admission::Notice(limited) => Some(limited),
            Admission::Later => return Ok(Some(Stop::Parked)),
        };
        let Some(mut started) = start(&staff, &*channel, &loaded, (&inputs, follow_up), now) else {
            // The person of a direct conversation was forgotten, so there is no recipient.
            let timers = loaded.due.iter().cloned().map(TimerChange::clear).collect();
            let append = Append {
                consume_to: Some(consume_to).filter(|to| *to > 0),
                timers,
                ..Append::default()
            };
            self.store.append(claim, loaded.len, append).await?;
            return Ok(Some(Stop::Parked));
        };
        started.limited = limited;
        let turn = TurnId::new();
        let persons = started_persons(&started, &inputs);
        // The message that waits is checked by a turn of its own, after this one.
        let mut due = loaded.due.clone();
        let checked = started.follow_up.as_ref().map(|item| &item.id);
        due.retain(|timer| {
            let item = item_of(&loaded.items, timer).filter(|item| item.is_held());
            item.is_none_or(|item| Some(&item.id) == checked)
        });
        let (state, actions) = begin(&staff.employee, turn, now, started.clone())?;
        let place = (loaded.len, loaded.len);
        let mut run = Run::new(self, lease, staff, state, place, loaded.items);
        run.begin(now, started, persons, &due, consume_to);
        let mut action = run.decided(now, actions);
        for input in inputs {
            action = run.feed(Event::Received(Box::new(input)))?;
        }
        run.drive(action).await.map(Some)
    }

    /// Updates the connection's state from lifecycle events of the provider.
    async fn note_lifecycle(&self, claim: &Claim, loaded: &Loaded) -> Result<()> {
        for item in &loaded.inbox {
            let Some(event) = item.event.as_ref().map(|routed| &routed.event) else {
                continue;
            };
            let Body::Lifecycle { change } = &event.body else {
                continue;
            };
            let since = item.accepted_at;
            let state = match change {
                Lifecycle::Disconnected => ConnectionState::Disconnected { since },
                Lifecycle::Restricted { .. } => ConnectionState::Paused {
                    reason: ErrorKind::Forbidden,
                    since,
                },
                Lifecycle::Reconnected => ConnectionState::Active,
                Lifecycle::RateLimited => {
                    tracing::warn!(tenant = %claim.tenant, connection = %loaded.connection, "the provider is withholding events because its event limit is reached");
                    continue;
                }
                _ => continue,
            };
            self.set_state(claim, loaded.connection, state).await?;
        }
        Ok(())
    }

    pub(super) async fn set_state(
        &self,
        claim: &Claim,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        let (tenant, directory) = (claim.tenant, &self.directory);
        let before = directory.connection_state(tenant, connection).await?;
        if std::mem::discriminant(&before) == std::mem::discriminant(&state) {
            return Ok(());
        }
        if state.is_active() {
            tracing::info!(%tenant, %connection, "the connection is active again");
        } else {
            tracing::error!(%tenant, %connection, ?state, "the connection cannot be used; nothing is sent and no model is called until it is repaired");
        }
        directory
            .set_connection_state(tenant, connection, state)
            .await
    }

    /// Returns whether the connection cannot send at the moment, in which case no model call is paid for. The conversation is
    /// checked again after a pause.
    async fn is_paused(&self, claim: &Claim, loaded: &Loaded) -> Result<bool> {
        let state = self
            .directory
            .connection_state(claim.tenant, loaded.connection)
            .await?;
        if state.is_active() {
            return Ok(false);
        }
        let waits = loaded.inbox.iter().map(|item| item.accepted_at).min();
        let waited = waits.map_or(CONNECTION_BACKOFF, |since| loaded.now.since(since));
        let pause = waited.clamp(CONNECTION_BACKOFF, *BACKOFF.end());
        self.postpone(claim, loaded, loaded.now + pause).await?;
        Ok(true)
    }

    /// Waits until no message has arrived for a moment. Returns what is loaded then; `None` if a message arrived meanwhile.
    async fn wait_for_burst(
        &self,
        lease: &Lease<'_>,
        loaded: Loaded,
        staff: &Staff,
    ) -> Result<Option<Loaded>> {
        let quiet = Duration::from_millis(u64::from(staff.employee.limits.burst_ms));
        let channel = self
            .directory
            .channel(lease.claim().tenant, loaded.connection)
            .await;
        if quiet.is_zero() || channel.is_ok_and(|channel| !channel.capabilities().bursts) {
            return Ok(Some(loaded));
        }
        let is_message = |item: &&InboxItem| {
            item.event
                .as_ref()
                .is_some_and(|routed| matches!(routed.event.body, Body::Message { .. }))
        };
        let times = || {
            let messages = loaded.inbox.iter().filter(is_message);
            messages.map(|item| item.accepted_at)
        };
        let (Some(oldest), Some(last)) = (times().min(), times().max()) else {
            return Ok(Some(loaded));
        };
        // A person who never pauses is answered after ten such intervals.
        let over = (last + quiet).min(oldest + quiet * 10);
        let left = over.since(loaded.now);
        if left.is_zero() || loaded.inbox.len() >= LARGEST_TURN {
            return Ok(Some(loaded));
        }
        let quiet = self.clock.sleep_until(self.clock.now() + left);
        if lease.keep_while(quiet).await.is_none() {
            return Ok(None);
        }
        // Even without new events, a duplicate delivery may have marked a message as a mention of the employee.
        let again = self.store.load(lease.claim()).await?;
        Ok(again.filter(|again| again.newest() == loaded.newest()))
    }

    pub(super) fn turn_span(tenant: TenantId, turn: TurnId) -> tracing::Span {
        tracing::info_span!("turn", tenant = %tenant, turn = %turn)
    }
}

/// Returns the record of an input. It is sealed only to the person who wrote it.
pub(super) fn received(turn: TurnId, at: Timestamp, input: Input) -> Record {
    let cause = match (&input.event.body, input.persons.first()) {
        (Body::Proactive { .. }, _) => Cause::Rule,
        (_, Some(person)) => Cause::Person(*person),
        (_, None) => Cause::Vendor,
    };
    Record {
        v: RECORD_VERSION,
        turn,
        at,
        cause,
        persons: input.persons.iter().copied().collect(),
        entry: Entry::Event(Event::Received(Box::new(input))),
    }
}

/// Returns the persons that the first record of a turn is encrypted for. In a direct conversation the address identifies the person.
fn started_persons(started: &super::Started, inputs: &[Input]) -> BTreeSet<PersonId> {
    if started.conversation.kind != crate::message::ConversationKind::Direct {
        return BTreeSet::new();
    }
    let wrote = inputs.iter().flat_map(|input| input.persons.clone());
    wrote.chain(started.state.person).collect()
}

/// Returns the open question, or the item of a message that waits, that a timer belongs to.
pub(super) fn item_of<'a>(items: &'a [OpenItem], timer: &TimerName) -> Option<&'a OpenItem> {
    items
        .iter()
        .filter(|item| matches!(item.kind, ItemKind::Question { .. }) || item.is_held())
        .find(|item| TimerName::item(&item.id) == *timer)
}

/// Returns the ids of the open questions.
pub(super) fn questions(items: &[OpenItem]) -> Vec<ItemId> {
    let questions = items
        .iter()
        .filter(|item| matches!(item.kind, ItemKind::Question { .. }));
    questions.map(|item| item.id.clone()).collect()
}
