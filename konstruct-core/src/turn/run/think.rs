//! Thinking: the call of the model, and what it costs.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
    pin_mut,
};

use super::{Performed, Run, Stop};
use crate::{
    Basis, Body, CallContext, Error, ErrorKind, LedgerRow, ModelAnswer, ModelRequest, NanoUsd,
    OnBreak, Op, Result, Usage,
    limit::Budget,
    llm::Collector,
    turn::{
        AppendOutcome, CallBudget, Event, Failure, Paid, Refusal, Reserve, Settle,
        driver::DriverStats, prompt::render, settle_lost,
    },
};

/// How long one model call may take, and how much longer a backend that does not keep to it is waited for.
const MODEL_TIMEOUT: Duration = Duration::from_secs(120);
const MODEL_GRACE: Duration = Duration::from_secs(10);

impl Run<'_> {
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

    pub(super) async fn call_model(&mut self, call: u32, key: String) -> Result<Performed> {
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
        let cap = self.staff.employee.monthly_cap;
        let budget = Arc::new(CallBudget::new(
            &self.driver.journal,
            self.claim.tenant,
            &key,
            (worst, cap),
        ));
        let context = CallContext::new(self.claim.tenant, &key, MODEL_TIMEOUT)
            .in_conversation(self.claim.conversation)
            // Nothing is shown before the answer is whole and journaled.
            .on_break(OnBreak::Restart)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let answering = self.with_progress(self.in_time(self.answer(request, &context)));
        let Some(answer) = self.driver.holding(self.claim, answering).await else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        let paid = budget.close();
        if paid.rows.is_empty() {
            self.pay(key, &answer, worst);
        } else {
            self.book(paid);
        }
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

    /// Pays for a call of a backend that keeps no account of its own.
    fn pay(
        &mut self,
        key: String,
        answer: &Result<ModelAnswer, (Error, Spent)>,
        worst: Option<NanoUsd>,
    ) {
        let free = worst == Some(NanoUsd(0));
        let (usage, basis) = match &answer {
            // Servers that do not count say zero, which is not what anything costs.
            Ok(ModelAnswer {
                usage: Some(usage), ..
            }) if usage.all_input() > 0 || free => (Some(*usage), Basis::Reported),
            Err((_, Spent::Nothing)) => (Some(Usage::default()), Basis::Estimated),
            Ok(_) | Err((_, Spent::Unknown)) => (None, Basis::WorstCase),
        };
        let info = &self.state.started().model;
        let price = info.price.as_ref();
        let cost = usage.map_or(worst, |usage| price.map(|price| price.of(&usage)));
        let settle = cost.map(|cost| Settle {
            call: key.clone(),
            cost,
        });
        let row = LedgerRow {
            call: key,
            provider: info.provider.clone(),
            model: info.model.clone(),
            usage: usage.unwrap_or_default(),
            cost,
            basis,
        };
        self.book(Paid {
            settle: settle.into_iter().collect(),
            rows: vec![row],
        });
    }

    fn book(&mut self, paid: Paid) {
        self.append.settle.extend(paid.settle);
        self.append.ledger.extend(paid.rows);
    }

    async fn answer(
        &self,
        request: ModelRequest,
        call: &CallContext,
    ) -> Result<ModelAnswer, (Error, Spent)> {
        let mut stream = self
            .staff
            .model
            .stream(request, call)
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
        let price = self.state.started().model.price.as_ref()?;
        Some(price.worst_case(request.input_bound(), u64::from(request.max_tokens)))
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
                            Body::Message { message, .. } => Some(message.clone()),
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
    pub(in crate::turn) async fn settle_lost(&mut self, call: u32) -> Result<()> {
        let key = format!("{}.m{call}", self.state.turn());
        let info = &self.state.started().model;
        let model = (&*info.provider, &*info.model, info.price.is_some());
        let paid = settle_lost(&*self.driver.journal, self.claim.tenant, &key, model).await?;
        self.book(paid);
        Ok(())
    }
}

/// Whether a failed call can have cost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    Nothing,
    Unknown,
}
