//! A turn under way: its records on their way to the journal, and the performing of its actions.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Either, select},
    pin_mut,
};
use serde_json::Value;
use tracing::Instrument as _;

use super::{
    Action, Append, AppendOutcome, Claim, Entry, Event, Evidence, Failure, Outcome, RECORD_VERSION,
    Record, Refusal, Reserve, Settle, State, TimerChange,
    driver::{Driver, DriverStats},
    inbox::{evidence, inputs, newest},
    prompt::render,
    step,
};
use crate::{
    Basis, CallContext, Error, ErrorKind, FindQuery, LedgerRow, ModelAnswer, ModelRequest, NanoUsd,
    Op, Result, Staff, Timestamp, Usage,
    llm::Collector,
    tool::{Effect, ToolContext, ToolError},
};

/// How long one model call may take, and how much longer a backend that does not keep to it is waited for.
const MODEL_TIMEOUT: Duration = Duration::from_secs(120);
const MODEL_GRACE: Duration = Duration::from_secs(10);
/// By how much the lease outlives a send's request and its grace.
const SEND_MARGIN: Duration = Duration::from_secs(5);
/// How many bytes of a tool's result the model is shown.
const LARGEST_RESULT: usize = 32 * 1024;

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

    async fn request(&self) -> Result<ModelRequest> {
        let (window, recalled) = self
            .driver
            .gathered(self.claim, &self.state, self.turn_from)
            .await?;
        let mut tools = self.staff.tools.specs(&self.staff.employee.tools);
        tools.retain(|spec| self.state.started().tools.contains_key(&spec.name));
        Ok(render(
            &self.staff.employee,
            &self.state,
            &window,
            &recalled,
            tools,
        ))
    }

    async fn call_model(&mut self, call: u32, key: String) -> Result<Performed> {
        let request = self.request().await?;
        let worst = self.worst_case(&request);
        self.append.reserve = worst
            .filter(|worst| *worst > NanoUsd(0))
            .map(|amount| Reserve {
                call: key.clone(),
                amount,
                cap: self.staff.employee.monthly_cap,
            });
        match self.flush().await? {
            AppendOutcome::Appended => {}
            AppendOutcome::OverBudget => {
                self.append.reserve = None;
                return Ok(Performed::Next(Event::CallRefused {
                    call,
                    reason: Refusal::OverBudget,
                }));
            }
            AppendOutcome::FenceLost => return Ok(Performed::Stop(Stop::Lost)),
        }
        DriverStats::count(&self.driver.stats.model_calls);
        let info = self.staff.model.describe().clone();
        let span = tracing::info_span!(
            "chat",
            gen_ai.provider.name = info.provider,
            gen_ai.request.model = info.model
        );
        let answering = self.in_time(self.answer(request, &key)).instrument(span);
        let answering = self.with_progress(answering);
        let Some(answer) = self.driver.holding(self.claim, answering).await else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        let (usage, basis) = match &answer {
            Ok(ModelAnswer {
                usage: Some(usage), ..
            }) => (Some(*usage), Basis::Reported),
            Err((_, Spent::Nothing)) => (Some(Usage::default()), Basis::Estimated),
            Ok(_) | Err((_, Spent::Unknown)) => (None, Basis::WorstCase),
        };
        let price = self.state.started().model.price;
        let cost = usage.map_or(worst, |usage| price.map(|price| price.of(&usage)));
        self.settle(key, usage.unwrap_or_default(), cost, basis);
        Ok(Performed::Next(match answer {
            Ok(answer) => Event::Answered { call, answer },
            Err((error, _)) => {
                tracing::warn!(%error, "the model call failed");
                Event::CallFailed {
                    call,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    async fn answer(
        &self,
        request: ModelRequest,
        key: &str,
    ) -> Result<ModelAnswer, (Error, Spent)> {
        let call = CallContext {
            tenant: self.claim.tenant,
            idempotency_key: key.to_owned(),
            timeout: MODEL_TIMEOUT,
        };
        let mut stream = self
            .staff
            .model
            .stream(request, &call)
            .await
            .map_err(|error| {
                // A backend that cannot say whether its request was carried out cannot say that it was free.
                let open = matches!(error.kind(), ErrorKind::Ambiguous | ErrorKind::Truncated);
                let spent = if open { Spent::Unknown } else { Spent::Nothing };
                (error, spent)
            })?;
        let mut collector = Collector::default();
        while let Some(event) = stream.next().await {
            let whole = event
                .and_then(|event| collector.push(event))
                .map_err(|error| (error, Spent::Unknown))?;
            if let Some(answer) = whole {
                return Ok(answer);
            }
        }
        Err((
            Error::new(ErrorKind::Truncated, "the stream ended without a finish"),
            Spent::Unknown,
        ))
    }

    /// Cuts a call whose backend does not keep to its timeout.
    async fn in_time(
        &self,
        answering: impl Future<Output = Result<ModelAnswer, (Error, Spent)>>,
    ) -> Result<ModelAnswer, (Error, Spent)> {
        let clock = &self.driver.clock;
        let late = clock.sleep_until(clock.now() + MODEL_TIMEOUT + MODEL_GRACE);
        pin_mut!(answering);
        match select(answering, late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let error = Error::new(ErrorKind::Truncated, "the model did not end in time");
                Err((error, Spent::Unknown))
            }
        }
    }

    /// Returns the most that a request can cost; `None` where the price is unknown.
    fn worst_case(&self, request: &ModelRequest) -> Option<NanoUsd> {
        let price = self.state.started().model.price?;
        Some(price.worst_case(request.input_bytes(), u64::from(request.max_tokens)))
    }

    /// Shows that the employee is at work while it thinks, as far as the channel can.
    async fn with_progress<T>(&self, work: impl Future<Output = T>) -> T {
        let progress = async {
            let started = self.state.started();
            let channel = self
                .driver
                .directory
                .channel(self.claim.tenant, started.connection)
                .await?;
            if channel.capabilities().progress {
                let message =
                    started
                        .inputs
                        .iter()
                        .rev()
                        .find_map(|input| match &input.event.body {
                            crate::Body::Message { message, .. } => Some(message.clone()),
                            _ => None,
                        });
                channel
                    .perform(Op::Progress {
                        to: started.conversation.clone(),
                        message,
                    })
                    .await?;
            }
            Ok::<_, Error>(())
        };
        pin_mut!(work, progress);
        match select(work, progress).await {
            Either::Left((done, _)) => done,
            Either::Right((_, work)) => work.await,
        }
    }

    /// Settles a call whose answer was lost: it has cost the most that it can have, which is what was set aside for it.
    pub(super) async fn settle_lost(&mut self, call: u32) -> Result<()> {
        let worst = self.worst_case(&self.request().await?);
        let key = format!("{}.m{call}", self.state.turn());
        self.settle(key, Usage::default(), worst, Basis::WorstCase);
        Ok(())
    }

    fn settle(&mut self, call: String, usage: Usage, cost: Option<NanoUsd>, basis: Basis) {
        let info = &self.state.started().model;
        let (provider, model) = (info.provider.clone(), info.model.clone());
        if let Some(cost) = cost {
            self.append.settle.push(Settle {
                call: call.clone(),
                cost,
            });
        }
        self.append.ledger.push(LedgerRow {
            call,
            provider,
            model,
            usage,
            cost,
            basis,
        });
    }

    async fn call_tool(
        &mut self,
        id: String,
        name: String,
        arguments: String,
        effect: Effect,
        key: String,
    ) -> Result<Performed> {
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        let returned = |content: String, error: bool| Event::ToolReturned {
            id: id.clone(),
            content,
            error,
        };
        let Some(tool) = self
            .staff
            .tools
            .granted(&self.staff.employee.tools, &name)
            .cloned()
        else {
            return Ok(Performed::Next(returned(
                "There is no such tool any more.".into(),
                true,
            )));
        };
        let arguments: Value = match serde_json::from_str(&arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                return Ok(Performed::Next(returned(
                    format!("The arguments are not JSON: {error}"),
                    true,
                )));
            }
        };
        DriverStats::count(&self.driver.stats.tool_calls);
        let context = ToolContext::new(
            self.claim.tenant,
            self.claim.conversation,
            self.state.turn(),
            key,
        );
        let span = tracing::info_span!("execute_tool", gen_ai.tool.name = name);
        let deadline = self.driver.clock.now() + tool.timeout();
        let call = async {
            let call = AssertUnwindSafe(tool.call(&context, arguments).instrument(span));
            let (call, late) = (call.catch_unwind(), self.driver.clock.sleep_until(deadline));
            pin_mut!(call, late);
            match select(call, late).await {
                Either::Left((Ok(result), _)) => Some(result),
                // A tool that panics may have done anything, as one that is late.
                Either::Left((Err(_), _)) if effect == Effect::Once => None,
                Either::Left((Err(_), _)) => Some(Err(ToolError::internal(
                    "The tool failed.",
                    "the tool panicked",
                ))),
                Either::Right(_) => None,
            }
        };
        let Some(result) = self.driver.holding(self.claim, call).await else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        Ok(Performed::Next(match result {
            Some(Ok(Value::String(text))) => returned(bounded(text), false),
            Some(Ok(value)) => returned(bounded(value.to_string()), false),
            Some(Err(error)) => {
                tracing::warn!(tool = name, %error, "the tool failed");
                returned(bounded(error.for_model().to_owned()), true)
            }
            None if effect == Effect::Once => Event::ToolLost { id },
            None => returned("The tool took too long.".into(), true),
        }))
    }

    async fn listen(&mut self) -> Result<Performed> {
        let Some(loaded) = self.driver.journal.load(self.claim).await? else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        let consumed = self.append.consume_to.unwrap_or(0);
        let to = newest(&loaded);
        let (journal, latest) = (&*self.driver.journal, self.state.carry().latest);
        let mut inputs = inputs(journal, self.claim, &loaded, latest, to).await?;
        inputs.retain(|input| input.seq > consumed);
        if to > consumed {
            self.append.consume_to = Some(to);
        }
        Ok(Performed::Next(Event::Heard { inputs }))
    }

    async fn send(
        &mut self,
        key: String,
        text: String,
        reply_to: Option<String>,
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        self.append.delivery_keys.push(key.clone());
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        let started = self.state.started();
        let directory = &self.driver.directory;
        let channel = match directory
            .channel(self.claim.tenant, started.connection)
            .await
        {
            Ok(channel) => channel,
            Err(error) => return Ok(Performed::Next(unsent(key, &error))),
        };
        // The lease outlives the request and its grace, so that nobody else can take it for lost while it is in flight.
        let flight = Duration::from_millis(
            started
                .channel
                .timeout_ms
                .saturating_add(started.channel.grace_ms),
        );
        let lease = self.driver.lease.max(flight + SEND_MARGIN);
        if !self.driver.journal.renew(self.claim, lease).await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        if self.driver.clock.now() >= give_up_at {
            let error = Error::new(
                ErrorKind::Unavailable,
                "the time to send was over before it began",
            );
            return Ok(Performed::Next(unsent(key, &error)));
        }
        DriverStats::count(&self.driver.stats.sends);
        let op = Op::Send {
            to: started.conversation.clone(),
            key: key.clone(),
            text,
            reply_to,
        };
        let (sending, late) = (
            channel.perform(op),
            self.driver.clock.sleep_until(give_up_at),
        );
        pin_mut!(sending, late);
        let sent = match select(sending, late).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err(Error::new(
                ErrorKind::Ambiguous,
                "the channel did not answer in time",
            )),
        };
        Ok(Performed::Next(match sent {
            Ok(receipt) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Answer,
            },
            Err(error) if error.kind() == ErrorKind::Ambiguous => {
                tracing::warn!(%error, "it is not known whether the message arrived");
                Event::SendAmbiguous { key }
            }
            Err(error) => {
                tracing::warn!(%error, "the message was not sent");
                Event::SendFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    async fn find(&mut self, key: String, since: Timestamp) -> Result<Performed> {
        let started = self.state.started();
        let channel = self
            .driver
            .directory
            .channel(self.claim.tenant, started.connection)
            .await?;
        let query = FindQuery {
            to: started.conversation.clone(),
            key: key.clone(),
            since,
        };
        let clock = &self.driver.clock;
        let late = clock.sleep_until(clock.now() + channel.capabilities().request_timeout);
        let asking = async {
            let asking = channel.find(query);
            pin_mut!(asking, late);
            match select(asking, late).await {
                Either::Left((found, _)) => found,
                Either::Right(_) => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the channel did not answer in time",
                )),
            }
        };
        let Some(found) = self.driver.holding(self.claim, asking).await else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        Ok(Performed::Next(match found {
            Ok(Some(receipt)) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Query,
            },
            Ok(None) => Event::NotFound { key },
            Err(error) => {
                tracing::warn!(%error, "the channel could not be asked about a message");
                Event::FindFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    async fn wait(&mut self, until: Timestamp) -> Result<Performed> {
        // The provider's word may have come in while the request was open, or while the process was down. What comes in
        // after this look brings the conversation up again by itself.
        if let Some(key) = self.state.awaits() {
            let Some(loaded) = self.driver.journal.load(self.claim).await? else {
                return Ok(Performed::Stop(Stop::Lost));
            };
            if let Some(told) = evidence(&loaded, key) {
                return Ok(Performed::Next(told));
            }
        }
        if until <= self.driver.clock.now() {
            return Ok(Performed::Next(Event::Due));
        }
        self.append.timer = TimerChange::Set(until);
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        Ok(Performed::Stop(Stop::Parked))
    }

    async fn flush_or_lost(&mut self) -> Result<bool> {
        Ok(self.flush().await? != AppendOutcome::Appended)
    }
}

/// Whether a failed call can have cost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    Nothing,
    Unknown,
}

/// A send that was certainly not made, because its channel was not to be had or its time was over.
fn unsent(key: String, error: &Error) -> Event {
    tracing::warn!(%error, "the message was not sent");
    let mut failure = Failure::from(error);
    let lasting = matches!(
        failure.kind,
        ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Unauthorized
    );
    if !lasting {
        failure.kind = ErrorKind::Unavailable;
    }
    Event::SendFailed { key, failure }
}

fn bounded(mut text: String) -> String {
    if text.len() > LARGEST_RESULT {
        let end = (0..=LARGEST_RESULT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str("\n[cut: the result is longer than the model is shown]");
    }
    text
}
