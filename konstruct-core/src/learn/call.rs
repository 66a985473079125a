//! A model call that belongs to no turn: set aside before, settled after, a row of the ledger each.

use std::time::Duration;

use super::Learner;
use crate::{
    Basis, CallContext, Error, ErrorKind, LedgerRow, LlmBackendExt as _, ModelMessage,
    ModelRequest, NanoUsd, Result, Role, Staff, TenantId, Usage,
    turn::{Charge, Reserve, Settle},
};

/// How long a call may take: nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The most tokens of an answer.
const ANSWER: u32 = 1024;

impl Learner {
    /// Asks the employee's model, and pays.
    pub(super) async fn ask(
        &self,
        tenant: TenantId,
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
        let cap = staff.employee.monthly_cap;
        let worst = info
            .price
            .map(|price| price.worst_case(request.input_bytes(), u64::from(ANSWER)));
        if worst.is_none() && cap.is_some() {
            return Err(Error::new(
                ErrorKind::QuotaExhausted,
                "the model's price is unknown, and there is a cap",
            ));
        }
        let reserve = worst
            .filter(|worst| *worst > NanoUsd(0))
            .map(|amount| Reserve {
                call: call.to_owned(),
                amount,
                cap,
            });
        let charge = Charge {
            reserve,
            ..Charge::default()
        };
        if !self.journal.charge(tenant, charge).await? {
            return Err(Error::new(
                ErrorKind::QuotaExhausted,
                "learning does not fit under the cap",
            ));
        }
        let context = CallContext {
            tenant,
            idempotency_key: call.to_owned(),
            timeout: TIMEOUT,
        };
        let answer = staff.model.complete(request, &context).await;
        let usage = answer.as_ref().ok().and_then(|answer| answer.usage);
        let cost = match usage {
            Some(usage) => info.price.map(|price| price.of(&usage)),
            None => worst,
        };
        let settle = cost.map(|cost| Settle {
            call: call.to_owned(),
            cost,
        });
        let charge = Charge {
            reserve: None,
            settle: settle.into_iter().collect(),
            ledger: vec![LedgerRow {
                call: call.to_owned(),
                provider: info.provider,
                model: info.model,
                usage: usage.unwrap_or_else(Usage::default),
                cost,
                basis: if usage.is_some() {
                    Basis::Reported
                } else {
                    Basis::WorstCase
                },
            }],
        };
        self.journal.charge(tenant, charge).await?;
        Ok(answer?.text())
    }
}
