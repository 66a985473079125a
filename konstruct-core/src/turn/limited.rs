//! Rate limits: whether a turn begins now, later, or with a notice.

use std::time::Duration;

use super::{Input, ItemKind, OpenItem, driver::Driver, driver::DriverStats};
use crate::{
    ConversationId, PersonId, Result, Timestamp,
    directory::Staff,
    limit::{Decision, LimitScope, Limited, Request, Subject, keys},
    message::{ActorKind, Addressing, Body},
    store::{Claim, Loaded},
};

/// The longest pause between two checks of a limit that many conversations wait for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The decision about the turn of some inputs.
pub(super) enum Admission {
    /// It begins.
    Now,
    /// It begins and ends with a notice; the question is answered later.
    Notice(Limited),
    /// The inputs stay in the inbox. A timer is set.
    Later,
}

impl Driver {
    /// Counts a turn against the rate limits, unless the employee does not answer it with a model.
    pub(super) async fn admit(
        &self,
        claim: &Claim,
        staff: &Staff,
        loaded: &Loaded,
        (inputs, follow_up): (&[Input], Option<&OpenItem>),
    ) -> Result<Admission> {
        let asks: Vec<&Input> = inputs.iter().filter(|input| asks(input)).collect();
        let retries = follow_up.is_some_and(|it| matches!(it.kind, ItemKind::Question { .. }));
        let held = loaded.state.held_until(&staff.employee);
        if held.is_some_and(|until| loaded.now < until) || (asks.is_empty() && !retries) {
            return Ok(Admission::Now);
        }
        let mut persons: Vec<PersonId> = asks
            .iter()
            .flat_map(|it| it.persons.iter().copied())
            .collect();
        persons.sort_unstable();
        persons.dedup();
        if retries {
            persons.extend(loaded.state.person);
        }
        let subject = Subject {
            tenant: claim.tenant,
            connection: loaded.connection,
            conversation: claim.conversation,
            persons: &persons,
        };
        let oldest = asks.iter().map(|input| input.accepted_at).min();
        let since = oldest.or(follow_up.map(|item| item.opened_at));
        let since = since.unwrap_or(loaded.now);
        let limited = self
            .limited(Request::Turn, staff, &subject, (since, loaded.now))
            .await?;
        let Some(limited) = limited else {
            return Ok(Admission::Now);
        };
        DriverStats::count(&self.stats.limited);
        let long = limited.until.since(since) > staff.employee.rates.patience();
        let by_person = asks
            .last()
            .is_some_and(|it| it.event.sender.kind == ActorKind::Human);
        if long && by_person && loaded.state.may_say_busy(&staff.employee, self.clock.now()) {
            return Ok(Admission::Notice(limited));
        }
        self.postpone(claim, loaded, limited.until).await?;
        Ok(Admission::Later)
    }

    /// Counts a request against all of its limits, or against none. Returns the limit that delays it. A limiter that fails allows
    /// the request.
    pub(super) async fn limited(
        &self,
        request: Request,
        staff: &Staff,
        subject: &Subject<'_>,
        (since, now): (Timestamp, Timestamp),
    ) -> Result<Option<Limited>> {
        let Some(limiter) = &self.limiter else {
            return Ok(None);
        };
        let found = keys(request, &staff.employee.rates, &staff.plan, subject)?;
        let (scopes, keys): (Vec<LimitScope>, Vec<_>) = found.into_iter().unzip();
        if keys.is_empty() {
            return Ok(None);
        }
        let decision = limiter.check(&keys).await.unwrap_or_else(|error| {
            tracing::warn!(tenant = %subject.tenant, %error, "could not check a rate limit; the request is allowed");
            Decision::Allowed
        });
        let Decision::Limited { key, retry_after } = decision else {
            return Ok(None);
        };
        let scope = scopes.get(key).copied().unwrap_or(LimitScope::Tenant);
        let wait = match scope {
            LimitScope::Person | LimitScope::Conversation => retry_after,
            _ => spread(subject.conversation, retry_after, now.since(since)),
        };
        Ok(Some(Limited {
            scope,
            // From the decision on: the limiter would refuse it again before.
            until: self.clock.now() + wait,
        }))
    }
}

/// Returns how long a conversation waits for a limit that others wait for as well. Without it, all would be ready at the same time,
/// and all but one would wait again.
fn spread(conversation: ConversationId, retry_after: Duration, waited: Duration) -> Duration {
    let wait = retry_after.max((waited / 4).min(LONGEST_PAUSE));
    let [.., a, b] = *conversation.as_bytes();
    let share = f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX);
    wait + (wait / 2).max(Duration::from_millis(250)).mul_f64(share)
}

/// Returns whether somebody addresses the employee and expects an answer.
fn asks(input: &Input) -> bool {
    let event = &input.event;
    let says = matches!(
        event.body,
        Body::Message { .. }
            | Body::Command { .. }
            | Body::Action { .. }
            | Body::Unsupported { .. }
    );
    says && event.addressed != Addressing::default()
}
