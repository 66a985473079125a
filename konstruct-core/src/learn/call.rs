//! Model calls outside of any turn, which are reserved, settled and recorded in the ledger.

use std::{sync::Arc, time::Duration};

use super::Learner;
use crate::{
    Clock as _, ConversationId, NanoUsd, Result, SystemClock, TenantId,
    directory::Staff,
    limit::{Budget, Payers, over_cap, unknown_price},
    llm::{
        CallContext, LlmBackendExt as _, ModelInfo, ModelMessage, ModelRequest, OnBreak, Purpose,
        Role,
    },
    money::{Basis, LedgerRow, Usage},
    store::{Charge, Charged, Reserve, Settle},
    turn::{CallBudget, Paid, pay_lost},
};

/// The timeout of a call. Nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum number of tokens of an answer.
const ANSWER: u32 = 1024;

impl Learner {
    /// Calls the employee's model and pays for the call.
    pub(super) async fn call_model(
        &self,
        (tenant, conversation): (TenantId, ConversationId),
        staff: &Staff,
        (call, system, text): (&str, &str, String),
    ) -> Result<String> {
        let request = ModelRequest {
            system: system.to_owned(),
            messages: vec![ModelMessage::text(Role::User, text)],
            max_tokens: ANSWER,
            temperature: Some(0.0),
            ..ModelRequest::default()
        };
        let info = staff.model.describe().clone();
        let payers = Payers {
            employee: Some(staff.employee.id),
            ..Payers::default()
        };
        let caps = payers.caps(&staff.employee.caps);
        let model = (&*info.provider, &*info.model, info.price.is_some());
        pay_lost(&*self.store, tenant, call, model, SystemClock.now()).await?;
        let worst = info
            .price
            .as_ref()
            .map(|price| price.worst_case(request.input_bound(), u64::from(ANSWER)));
        if worst.is_none() && !caps.is_empty() {
            return Err(unknown_price());
        }
        let reserve = worst
            .filter(|worst| *worst > NanoUsd(0))
            .map(|amount| Reserve {
                call: call.to_owned(),
                amount,
                caps: caps.clone(),
            });
        let charge = Charge {
            reserve,
            ..Charge::default()
        };
        if let Charged::OverBudget(budget) = self.store.charge(tenant, charge).await? {
            return Err(over_cap(budget));
        }
        let budget = Arc::new(CallBudget::new(&self.store, tenant, call, (worst, caps)));
        let context = CallContext::new(tenant, call, TIMEOUT)
            .for_purpose(Purpose::Fast)
            .on_break(OnBreak::Restart)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let answer = staff.model.complete(request, &context).await;
        let mut paid = budget.close(SystemClock.now());
        if paid.rows.is_empty() {
            let usage = answer.as_ref().ok().and_then(|answer| answer.usage);
            // Servers that do not count tokens report zero, which is not a real usage.
            let free = worst == Some(NanoUsd(0));
            let usage = usage.filter(|usage| usage.all_input() > 0 || free);
            paid = unmetered(call, info, usage, worst);
        }
        self.charge(tenant, conversation, paid).await?;
        Ok(answer?.text())
    }

    async fn charge(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        paid: Paid,
    ) -> Result<()> {
        let rows = paid.rows.into_iter();
        let charge = Charge {
            reserve: None,
            settle: paid.settle,
            ledger: rows.map(|row| row.in_conversation(conversation)).collect(),
        };
        self.store.charge(tenant, charge).await.map(drop)
    }
}

/// Returns the cost of a call of a backend that does not report its attempts.
fn unmetered(call: &str, info: ModelInfo, usage: Option<Usage>, worst: Option<NanoUsd>) -> Paid {
    let cost = match usage {
        Some(usage) => info.price.map(|price| price.of(&usage)),
        None => worst,
    };
    let settle = cost.map(|cost| Settle {
        call: call.to_owned(),
        cost,
    });
    let basis = match usage {
        Some(_) => Basis::Reported,
        None => Basis::WorstCase,
    };
    let row = LedgerRow::new(call, SystemClock.now(), info.provider, info.model).costing(
        cost,
        usage.unwrap_or_default(),
        basis,
    );
    Paid {
        settle: settle.into_iter().collect(),
        rows: vec![row],
    }
}
