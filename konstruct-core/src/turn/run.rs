//! A turn under way: its records on their way to the journal, and the performing of its actions.

use std::{future::Future, time::Duration};

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
    driver::{Driver, DriverStats, evidence, inputs, newest},
    prompt::render,
    step,
};
use crate::{
    Basis, CallContext, Error, ErrorKind, FindQuery, LedgerRow, ModelAnswer, ModelRequest, NanoUsd,
    Op, Result, Staff, Timestamp, Usage,
    llm::Collector,
    tool::{Effect, ToolContext},
};

/// How long one model call may take.
const MODEL_TIMEOUT: Duration = Duration::from_secs(120);
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
        if let Event::CallLost { call } = &event {
            self.lost_call(*call);
        }
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
                let gathered = self
                    .driver
                    .gather(
                        self.claim,
                        &self.staff.employee,
                        &self.state,
                        self.turn_from,
                    )
                    .await?;
                Event::Gathered(gathered)
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

    /// Waits for something while the lease is kept; `None` when the lease was lost.
    async fn holding<T>(&self, work: impl Future<Output = T>) -> Result<Option<T>> {
        pin_mut!(work);
        loop {
            let tick = self
                .driver
                .clock
                .sleep_until(self.driver.clock.now() + self.driver.lease / 3);
            match select(work.as_mut(), tick).await {
                Either::Left((done, _)) => return Ok(Some(done)),
                Either::Right(((), _)) => {
                    if !self
                        .driver
                        .journal
                        .renew(self.claim, self.driver.lease)
                        .await?
                    {
                        return Ok(None);
                    }
                }
            }
        }
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
        let price = self.state.started().model.price;
        let worst = price
            .map(|price| price.worst_case(request.input_bytes(), u64::from(request.max_tokens)));
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
        let answering = self.answer(request, &key).instrument(span);
        let Some(answer) = self.holding(self.with_progress(answering)).await? else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        let (usage, basis) = match &answer {
            Ok(ModelAnswer {
                usage: Some(usage), ..
            }) => (Some(*usage), Basis::Reported),
            Err((_, Spent::Nothing)) => (Some(Usage::default()), Basis::Estimated),
            Ok(_) | Err((_, Spent::Unknown)) => (None, Basis::WorstCase),
        };
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
            .map_err(|error| (error, Spent::Nothing))?;
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

    /// A call whose answer was lost has cost the most that it can have.
    fn lost_call(&mut self, call: u32) {
        let key = format!("{}.m{call}", self.state.turn());
        let price = self.state.started().model.price;
        let free = price.is_some_and(|price| price.worst_case(1, 1) == NanoUsd(0));
        let info = &self.state.started().model;
        let row = LedgerRow {
            call: key,
            provider: info.provider.clone(),
            model: info.model.clone(),
            usage: Usage::default(),
            cost: free.then_some(NanoUsd(0)),
            basis: Basis::WorstCase,
        };
        // What was reserved for it stays reserved: it may have been spent.
        self.append.ledger.push(row);
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
            let (call, late) = (
                tool.call(&context, arguments).instrument(span),
                self.driver.clock.sleep_until(deadline),
            );
            pin_mut!(call, late);
            match select(call, late).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        };
        let Some(result) = self.holding(call).await? else {
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
        let mut inputs = inputs(&loaded, self.state.carry().latest, to);
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
        // The lease outlives the request, so that nobody else can take it for lost while it is in flight.
        if !self
            .driver
            .journal
            .renew(self.claim, self.driver.lease)
            .await?
        {
            return Ok(Performed::Stop(Stop::Lost));
        }
        let started = self.state.started();
        let channel = match self
            .driver
            .directory
            .channel(self.claim.tenant, started.connection)
            .await
        {
            Ok(channel) => channel,
            Err(error) => {
                return Ok(Performed::Next(Event::SendFailed {
                    key,
                    failure: Failure::from(&error),
                }));
            }
        };
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
        let Some(found) = self.holding(channel.find(query)).await? else {
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
        if until <= self.driver.clock.now() {
            return Ok(Performed::Next(Event::Due));
        }
        self.append.timer = TimerChange::Set(until);
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        // The provider's word may have come in while the request was open.
        let told = match (
            self.state.awaits(),
            self.driver.journal.load(self.claim).await?,
        ) {
            (_, None) => return Ok(Performed::Stop(Stop::Lost)),
            (Some(key), Some(loaded)) => evidence(&loaded, key),
            (None, Some(_)) => None,
        };
        Ok(told.map_or(Performed::Stop(Stop::Parked), Performed::Next))
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
