//! The driver: takes a claimed conversation as far as it goes now.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::Instrument as _;

use super::{
    Append, Claim, ENGINE_VERSION, Entry, Event, Evidence, Failure, Input, Journal, Loaded,
    PinnedChannel, PinnedModel, Resume, Started, State, Stored, TimerChange, begin,
    run::{Run, Stop},
};
use crate::{
    Body, Clock, DeliveryState, Directory, Error, ErrorKind, MemoryStore, Result, RoutedEvent,
    Staff, TenantId, TurnId,
};

/// How many events one turn takes in at most; the others come next.
const LARGEST_TURN: usize = 200;
/// How long a conversation rests after a failure of a store or a directory.
const REST: Duration = Duration::from_secs(5);

/// Performs turns: one conversation at a time, as often as it is called.
///
/// Cloning is cheap; any number of drivers, in any number of processes, may work on one journal.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) memory: Option<Arc<dyn MemoryStore>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lease: Duration,
    pub(super) stats: Arc<DriverStats>,
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
            lease,
            stats: Arc::default(),
        }
    }

    /// Says how long a claim lasts without being renewed. It has to be well above the time of one request to a channel.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
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
            Ok(_) => {}
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
        let timer = TimerChange::Set(loaded.now + REST);
        self.journal
            .append(
                claim,
                loaded.len,
                Append {
                    timer,
                    ..Append::default()
                },
            )
            .await?;
        self.journal.release(claim, newest(&loaded)).await
    }

    async fn turns(&self, claim: &Claim) -> Result<Worked> {
        loop {
            let Some(mut loaded) = self.journal.load(claim).await? else {
                return Ok(Worked::Lost);
            };
            let seen = newest(&loaded);
            let stop = match open_turn(&loaded) {
                Some(records) => {
                    let records = records.to_vec();
                    self.take_up(claim, &loaded, &records).await?
                }
                None if loaded.inbox.is_empty() => {
                    if loaded.due {
                        let clear = Append {
                            timer: TimerChange::Clear,
                            ..Append::default()
                        };
                        self.journal.append(claim, loaded.len, clear).await?;
                    }
                    Stop::Parked
                }
                None => match self.begin(claim, &mut loaded).await? {
                    Some(stop) => stop,
                    None => continue,
                },
            };
            match stop {
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
    async fn take_up(&self, claim: &Claim, loaded: &Loaded, records: &[Stored]) -> Result<Stop> {
        let records: Vec<_> = records
            .iter()
            .filter_map(|stored| stored.record.clone())
            .collect();
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
        let told = state.awaits().and_then(|key| evidence(loaded, key));
        let resume = told.map_or_else(|| state.resume(now), Resume::Feed);
        if let Resume::Park(until) = resume {
            // The timer may have been changed by a rest: it is set again if it is not the turn's.
            if loaded.due {
                let timer = TimerChange::Set(until);
                self.journal
                    .append(
                        claim,
                        loaded.len,
                        Append {
                            timer,
                            ..Append::default()
                        },
                    )
                    .await?;
            }
            return Ok(Stop::Parked);
        }
        let turn_from =
            loaded.records.last().map_or(0, |last| last.index + 1) - records.len() as u64;
        let mut run = Run::new(self, claim, staff, state, loaded.len, turn_from);
        match resume {
            Resume::Perform(action) => run.go_on(action).await,
            Resume::Feed(event) => {
                let action = run.feed(event)?;
                run.go_on(action).await
            }
            Resume::Park(_) | Resume::Over => Ok(Stop::Finished),
        }
    }

    /// Begins a turn for what came in; `None` when more came in while the burst was waited for.
    async fn begin(&self, claim: &Claim, loaded: &mut Loaded) -> Result<Option<Stop>> {
        let staff = self.directory.staff(claim.tenant, None).await?;
        if self.burst_goes_on(claim, loaded, &staff).await? {
            return Ok(None);
        }
        let channel = self
            .directory
            .channel(claim.tenant, loaded.connection)
            .await?;
        let carry = last_carry(loaded);
        let consume_to = loaded
            .inbox
            .iter()
            .take(LARGEST_TURN)
            .map(|item| item.seq)
            .max()
            .unwrap_or(0);
        let inputs = inputs(loaded, carry.latest, consume_to);
        let now = self.clock.now();
        let capabilities = channel.capabilities();
        let info = staff.model.describe();
        let granted: BTreeMap<_, _> = staff
            .tools
            .specs(&staff.employee.tools)
            .into_iter()
            .filter_map(|spec| {
                let effect = staff
                    .tools
                    .granted(&staff.employee.tools, &spec.name)?
                    .effect();
                Some((spec.name, effect))
            })
            .collect();
        let started = Started {
            engine: ENGINE_VERSION,
            employee: staff.version,
            model: PinnedModel {
                provider: info.provider.clone(),
                model: info.model.clone(),
                price: info.price,
            },
            channel: PinnedChannel {
                kind: channel.kind(),
                find: capabilities.find,
                max_text: capabilities.max_text,
                timeout_ms: u64::try_from(capabilities.request_timeout.as_millis())
                    .unwrap_or(u64::MAX),
                grace_ms: u64::try_from(capabilities.grace.as_millis()).unwrap_or(u64::MAX),
            },
            connection: loaded.connection,
            conversation: inputs
                .iter()
                .rev()
                .find_map(|input| input.event.conversation.clone())
                .unwrap_or_else(|| loaded.place.clone()),
            tools: granted,
            closed: staff
                .employee
                .hours
                .as_ref()
                .is_some_and(|hours| !hours.is_open(now).unwrap_or(true)),
            inputs,
            carry,
        };
        let turn = TurnId::new();
        let event = Event::Started(Box::new(started.clone()));
        let (state, actions) = begin(&staff.employee, turn, now, started)?;
        let mut run = Run::new(self, claim, staff, state, loaded.len, loaded.len);
        run.consume(consume_to);
        let action = run.note(now, event, actions)?;
        run.go_on(action).await.map(Some)
    }

    /// Waits until nobody has said anything for a moment; returns whether something came in meanwhile.
    async fn burst_goes_on(&self, claim: &Claim, loaded: &Loaded, staff: &Staff) -> Result<bool> {
        let quiet = Duration::from_millis(u64::from(staff.employee.limits.burst_ms));
        let said = |item: &&super::InboxItem| {
            item.event
                .as_ref()
                .is_some_and(|routed| matches!(routed.event.body, Body::Message { .. }))
        };
        let Some(newest) = loaded
            .inbox
            .iter()
            .filter(said)
            .map(|item| item.accepted_at)
            .max()
        else {
            return Ok(false);
        };
        let oldest = loaded
            .inbox
            .iter()
            .filter(said)
            .map(|item| item.accepted_at)
            .min()
            .unwrap_or(newest);
        // Somebody who never pauses is answered all the same.
        let over = (newest + quiet).min(oldest + quiet * 10);
        let left = over.since(loaded.now);
        if left.is_zero() || loaded.inbox.len() >= LARGEST_TURN {
            return Ok(false);
        }
        self.clock.sleep_until(self.clock.now() + left).await;
        let Some(again) = self.journal.load(claim).await? else {
            return Ok(true);
        };
        Ok(super::driver::newest(&again) != super::driver::newest(loaded))
    }

    pub(super) fn turn_span(tenant: TenantId, turn: TurnId) -> tracing::Span {
        tracing::info_span!("turn", tenant = %tenant, turn = %turn)
    }
}

/// Returns the highest number of the inbox that is known.
pub(super) fn newest(loaded: &Loaded) -> u64 {
    loaded.inbox.iter().map(|item| item.seq).max().unwrap_or(0)
}

/// Returns the records of the turn that is open, if one is.
fn open_turn(loaded: &Loaded) -> Option<&[Stored]> {
    let from = loaded
        .records
        .iter()
        .rposition(|stored| {
            matches!(&stored.record, Some(record) if matches!(&record.entry, Entry::Action(super::Action::Finish { .. })))
        })
        .map_or(0, |finish| finish + 1);
    let open = &loaded.records[from..];
    (!open.is_empty()).then_some(open)
}

fn last_carry(loaded: &Loaded) -> super::Carry {
    loaded
        .records
        .iter()
        .rev()
        .find_map(|stored| match &stored.record.as_ref()?.entry {
            Entry::Action(super::Action::Finish { carry, .. }) => Some(carry.clone()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Puts what came in into the order in which it is worked: by the provider's time, ties by arrival.
pub(super) fn inputs(loaded: &Loaded, latest: crate::Timestamp, consume_to: u64) -> Vec<Input> {
    let mut inputs: Vec<Input> = loaded
        .inbox
        .iter()
        .filter(|item| item.seq <= consume_to)
        .filter_map(|item| {
            let RoutedEvent { mut event, .. } = item.event.clone()?;
            if !matches!(event.body, Body::Unsupported { .. }) {
                // What was understood needs no second copy; what was not is kept as it came.
                event.raw = None;
            }
            Some(Input {
                seq: item.seq,
                late: event.occurred_at < latest,
                persons: item.persons.clone(),
                event,
            })
        })
        .collect();
    inputs.sort_by_key(|input| (input.event.occurred_at, input.seq));
    inputs
}

/// Looks for the provider's word about a send among what came in. The event itself stays for a later turn.
pub(super) fn evidence(loaded: &Loaded, key: &str) -> Option<Event> {
    loaded
        .inbox
        .iter()
        .find_map(|item| match &item.event.as_ref()?.event.body {
            Body::Delivery {
                message,
                state,
                key: Some(of),
                ..
            } if of == key => Some(if *state == DeliveryState::Failed {
                let failure = Failure {
                    kind: ErrorKind::Forbidden,
                    retry_after_ms: None,
                };
                Event::SendFailed {
                    key: key.to_owned(),
                    failure,
                }
            } else {
                let message = (!message.is_empty()).then(|| message.clone());
                let receipt = crate::Receipt { message };
                Event::SendDone {
                    key: key.to_owned(),
                    receipt,
                    evidence: Evidence::Event { seq: item.seq },
                }
            }),
            _ => None,
        })
}
