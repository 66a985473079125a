//! Calls the model and accounts for its cost.

use std::{
    future::Future,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
    pin_mut,
};

use super::{Performed, Run, Stop, count};
use crate::{
    Error, ErrorKind, NanoUsd, Result, Timestamp,
    channel::Op,
    limit::{Budget, Limited, Request, Subject},
    llm::{CallContext, Collector, ModelAnswer, ModelRequest, OnBreak},
    money::{Basis, LedgerKind, LedgerRow, Usage},
    store::{Reserve, Settle},
    turn::{CallBudget, Event, Failure, Paid, Refusal, prompt::render, settle_lost},
};

/// How long to wait for a backend that exceeds the timeout of a call.
const MODEL_GRACE: Duration = Duration::from_secs(2);
/// How long a model call must take before the employee is shown as working. That costs a request to the provider.
const SHOWN_AFTER: Duration = Duration::from_millis(300);

impl Run<'_> {
    async fn request(&mut self, give_up_at: Timestamp) -> Result<ModelRequest> {
        if self.material.is_none() {
            let claim = self.lease.claim();
            let gathered = self.driver.gathered(claim, &self.state, self.turn_from);
            self.material = Some(gathered.await?);
        }
        let mut material = self.material.take().unwrap_or_default();
        let question = (&*material.question, &material.readings);
        material.images = self.images(question, give_up_at).await;
        let material = &*self.material.insert(material);
        let mut tools = self.staff.tools.specs(&self.staff.employee.tools);
        tools.retain(|spec| self.state.started().tools.contains_key(&spec.name));
        Ok(render(
            &self.staff.employee,
            &self.state,
            material,
            &self.items,
            tools,
        ))
    }

    /// Counts a model call against the rate limits. Returns the limit that delays it.
    async fn limited(&self) -> Result<Option<Limited>> {
        let claim = self.lease.claim();
        let person = self.state.requester();
        let subject = Subject {
            tenant: claim.tenant,
            connection: self.state.started().connection,
            conversation: claim.conversation,
            persons: person.as_slice(),
        };
        let now = self.driver.clock.now();
        let since = self.state.began_at();
        self.driver
            .limited(Request::ModelCall, &self.staff, &subject, (since, now))
            .await
    }

    pub(super) async fn call_model(
        &mut self,
        call: u32,
        key: String,
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        if let Some(limited) = self.limited().await? {
            count(&self.driver.stats.limited);
            return Ok(ControlFlow::Continue(Event::CallLimited { call, limited }));
        }
        let request = self.request(give_up_at).await?;
        let worst = self.worst_case(&request);
        let reserve = worst
            .filter(|worst| *worst > NanoUsd(0))
            .map(|amount| Reserve {
                call: key.clone(),
                amount,
                caps: self.caps(),
            });
        match self.reserve(reserve).await? {
            ControlFlow::Continue(None) => {}
            ControlFlow::Continue(Some(budget)) => {
                let claim = self.lease.claim();
                tracing::warn!(
                    tenant = %claim.tenant, conversation = %claim.conversation, cap = %budget,
                    "a cap leaves no money for an answer; raise the cap or answer the open item"
                );
                return Ok(ControlFlow::Continue(Event::CallRefused {
                    call,
                    reason: Refusal::OverBudget,
                    cap: Some(budget),
                }));
            }
            ControlFlow::Break(stop) => return Ok(ControlFlow::Break(stop)),
        }
        count(&self.driver.stats.model_calls);
        let claim = self.lease.claim();
        let budget = Arc::new(CallBudget::new(
            &self.driver.store,
            claim.tenant,
            &key,
            (worst, self.caps()),
        ));
        let time = give_up_at.since(self.driver.clock.now());
        let context = CallContext::new(claim.tenant, &key, time)
            .in_conversation(claim.conversation)
            // Nothing is shown before the answer is complete and recorded.
            .on_break(OnBreak::Restart)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let answering =
            self.with_progress(self.in_time(give_up_at, self.answer(request, &context)));
        let Some(answer) = self.lease.keep_while(answering).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        let paid = budget.close(self.driver.clock.now());
        if paid.rows.is_empty() {
            self.pay(key, &answer, worst);
        } else {
            self.record_payment(paid, LedgerKind::Model);
        }
        Ok(ControlFlow::Continue(match answer {
            Ok(answer) => {
                if answer.text().trim().is_empty() && answer.tool_calls().next().is_none() {
                    tracing::warn!(call, finish = ?answer.finish, "the model returned a blank answer");
                }
                Event::Answered { call, answer }
            }
            Err((error, _)) => {
                tracing::warn!(%error, "the model call failed");
                Event::CallFailed {
                    call,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    /// Accounts for a call of a backend that does not report its attempts.
    fn pay(
        &mut self,
        key: String,
        answer: &Result<ModelAnswer, (Error, Spent)>,
        worst: Option<NanoUsd>,
    ) {
        let free = worst == Some(NanoUsd(0));
        let (usage, basis) = match &answer {
            // Servers that do not count tokens report zero, which is not a real usage.
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
        let now = self.driver.clock.now();
        let row = LedgerRow::new(key, now, &*info.provider, &*info.model).costing(
            cost,
            usage.unwrap_or_default(),
            basis,
        );
        let paid = Paid {
            settle: settle.into_iter().collect(),
            rows: vec![row],
        };
        self.record_payment(paid, LedgerKind::Model);
    }

    pub(super) fn record_payment(&mut self, paid: Paid, kind: LedgerKind) {
        self.has_spent = true;
        self.append.settle.extend(paid.settle);
        let conversation = self.lease.claim().conversation;
        let rows = paid.rows.into_iter();
        self.append
            .ledger
            .extend(rows.map(|row| row.of_kind(kind).in_conversation(conversation)));
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
                // A backend that does not know whether its request was carried out does not know that it was free.
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
            Error::new(
                ErrorKind::Truncated,
                "the stream ended without a finish event",
            ),
            Spent::Unknown,
        ))
    }

    /// Cancels a call whose backend exceeds its timeout.
    async fn in_time(
        &self,
        give_up_at: Timestamp,
        answering: impl Future<Output = Result<ModelAnswer, (Error, Spent)>>,
    ) -> Result<ModelAnswer, (Error, Spent)> {
        let answer = self.by(give_up_at + MODEL_GRACE, answering).await;
        answer.unwrap_or_else(|| {
            let error = Error::new(ErrorKind::Truncated, "the model did not answer in time");
            Err((error, Spent::Unknown))
        })
    }

    /// Returns the maximum cost of a request; `None` if the price is unknown.
    fn worst_case(&self, request: &ModelRequest) -> Option<NanoUsd> {
        let price = self.state.started().model.price.as_ref()?;
        Some(price.worst_case(request.input_bound(), u64::from(request.max_tokens)))
    }

    /// Shows that the employee is working, if the channel supports it and the work does not finish at once.
    pub(super) async fn with_progress<T>(&self, work: impl Future<Output = T>) -> T {
        let clock = &self.driver.clock;
        let progress = async {
            clock.sleep_until(clock.now() + SHOWN_AFTER).await;
            let started = self.state.started();
            let channel = self.channel().await?;
            if channel.capabilities().progress {
                self.marked_read.store(true, Ordering::Relaxed);
                let (to, message) = (started.conversation.clone(), self.latest_message());
                channel.perform(Op::Progress { to, message }).await?;
            }
            Ok::<_, Error>(())
        };
        pin_mut!(work, progress);
        match select(work, progress).await {
            Either::Left((done, _)) => done,
            Either::Right((_, work)) => work.await,
        }
    }

    /// Settles a call whose answer was lost at its maximum cost, which is the reserved amount.
    pub(in crate::turn) async fn settle_lost(&mut self, call: u32) -> Result<()> {
        let key = self.state.call_key(call);
        let info = &self.state.started().model;
        let model = (&*info.provider, &*info.model, info.price.is_some());
        let (tenant, now) = (self.lease.claim().tenant, self.driver.clock.now());
        let paid = settle_lost(&*self.driver.store, tenant, &key, model, now).await?;
        self.record_payment(paid, LedgerKind::Model);
        Ok(())
    }
}

/// Whether a failed call may have cost money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    Nothing,
    Unknown,
}
