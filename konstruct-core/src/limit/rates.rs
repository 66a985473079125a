//! The rates of a tenant: per person, conversation, channel, tenant and plan.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LimitKey, Quota};
use crate::{ConnectionId, ConversationId, Error, PersonId, Result, TenantId, Timestamp};

/// A number of requests in a time. As many may arrive at once; after that, they are spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The number of requests, 1 to 1,000,000.
    pub count: u32,
    /// The time in seconds, 1 to 86,400.
    pub per_secs: u32,
}

impl Rate {
    /// Creates a rate of `count` requests in `per_secs` seconds.
    pub const fn new(count: u32, per_secs: u32) -> Self {
        Self { count, per_secs }
    }

    fn validate(&self, field: &str) -> Result<()> {
        for (name, value, most) in [
            ("count", self.count, 1_000_000),
            ("per_secs", self.per_secs, 86_400),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Error::invalid(
                    &format!("{field}.{name}"),
                    format!("must be 1 to {most}"),
                ));
            }
        }
        Ok(())
    }

    fn quota(self) -> Result<Quota> {
        let per = Duration::from_secs(u64::from(self.per_secs));
        Quota::new(self.count, per, self.count)
    }
}

/// The rates of one kind of request. `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ScopeRates {
    /// The most requests of one person, in all of their conversations.
    pub person: Option<Rate>,
    /// The most requests in one conversation.
    pub conversation: Option<Rate>,
    /// The most requests of one connected account, such as a workspace or a phone number.
    pub channel: Option<Rate>,
    /// The most requests of the tenant.
    pub tenant: Option<Rate>,
}

impl ScopeRates {
    /// No limits.
    pub const NONE: Self = Self {
        person: None,
        conversation: None,
        channel: None,
        tenant: None,
    };

    /// Applies changes to the fields.
    ///
    /// ```
    /// use konstruct_core::limit::{Rate, ScopeRates};
    ///
    /// let calm = ScopeRates::default().with(|rates| rates.person = Some(Rate::new(10, 60)));
    /// assert_eq!(calm.person, Some(Rate::new(10, 60)));
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn scopes(&self) -> [(&'static str, Option<Rate>); 4] {
        [
            ("person", self.person),
            ("conversation", self.conversation),
            ("channel", self.channel),
            ("tenant", self.tenant),
        ]
    }
}

impl Default for ScopeRates {
    fn default() -> Self {
        Self {
            person: Some(Rate::new(120, 60)),
            conversation: Some(Rate::new(240, 60)),
            channel: Some(Rate::new(6_000, 60)),
            tenant: Some(Rate::new(12_000, 60)),
        }
    }
}

/// How many turns and model calls an employee may start, and what happens to a message beyond that: it waits, and is answered
/// when the limits allow.
///
/// ```
/// use konstruct_core::{Employee, limit::{Rate, RateLimits}};
///
/// let limits = RateLimits::default().with(|it| it.turns.channel = Some(Rate::new(100, 60)));
/// let ava = Employee::builder("Ava").rates(limits).build()?;
/// assert_eq!(ava.rates.turns.channel, Some(Rate::new(100, 60)));
///
/// let never = RateLimits::default().with(|it| it.turns.person = Some(Rate::new(0, 60)));
/// let error = Employee::builder("Ava").rates(never).build().unwrap_err();
/// assert_eq!(error.message(), "rates.turns.person.count: must be 1 to 1000000");
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RateLimits {
    /// The turns: a burst of messages in a conversation is one turn.
    pub turns: ScopeRates,
    /// The model calls of the turns.
    pub model_calls: ScopeRates,
    /// The most seconds that a message waits without a notice to the person. At most 3,600.
    pub patience_secs: u32,
    /// The fewest seconds between two notices in a conversation, 60 to 86,400.
    pub notice_secs: u32,
}

impl RateLimits {
    /// No limits.
    pub const NONE: Self = Self {
        turns: ScopeRates::NONE,
        model_calls: ScopeRates::NONE,
        patience_secs: 15,
        notice_secs: 900,
    };

    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Validates every field; the names of the fields begin with `rates`.
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, rates) in [("turns", self.turns), ("model_calls", self.model_calls)] {
            for (scope, rate) in rates.scopes() {
                if let Some(rate) = rate {
                    rate.validate(&format!("rates.{name}.{scope}"))?;
                }
            }
        }
        if self.patience_secs > 3_600 {
            return Err(Error::invalid(
                "rates.patience_secs",
                "must be at most 3600",
            ));
        }
        if !(60..=86_400).contains(&self.notice_secs) {
            return Err(Error::invalid("rates.notice_secs", "must be 60 to 86400"));
        }
        Ok(())
    }

    /// Returns how long a message waits without a notice.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.patience_secs))
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let rates = ScopeRates::default();
        Self::NONE.with(|limits| (limits.turns, limits.model_calls) = (rates, rates))
    }
}

/// The rates that a tenant's plan allows, in addition to those of the employee. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanRates {
    /// The most turns of the tenant.
    pub turns: Option<Rate>,
    /// The most model calls of the tenant.
    pub model_calls: Option<Rate>,
}

impl PlanRates {
    /// Validates every field; `field` is the prefix of their names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with the name of the first invalid field.
    pub fn validate(&self, field: &str) -> Result<()> {
        for (name, rate) in [("turns", self.turns), ("model_calls", self.model_calls)] {
            if let Some(rate) = rate {
                rate.validate(&format!("{field}.{name}"))?;
            }
        }
        Ok(())
    }
}

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitScope {
    /// A person.
    Person,
    /// A conversation.
    Conversation,
    /// A connected account.
    Channel,
    /// The tenant.
    Tenant,
    /// The tenant, by its plan.
    Plan,
}

/// A limit that delays a turn or a model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The limit with the longest wait.
    pub scope: LimitScope,
    /// When the request is tried again.
    pub until: Timestamp,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Turn,
    ModelCall,
}

/// Who and where a request comes from.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) connection: ConnectionId,
    pub(crate) conversation: ConversationId,
    pub(crate) persons: &'a [PersonId],
}

/// Returns the scopes of a request that have a limit, with their keys and quotas.
pub(crate) fn keys(
    request: Request,
    limits: &RateLimits,
    plan: &PlanRates,
    subject: &Subject<'_>,
) -> Result<Vec<(LimitScope, (LimitKey, Quota))>> {
    let (name, rates, plan) = match request {
        Request::Turn => ("turn", limits.turns, plan.turns),
        Request::ModelCall => ("call", limits.model_calls, plan.model_calls),
    };
    let persons = subject.persons.iter();
    let persons =
        persons.map(|person| (LimitScope::Person, rates.person, format!("person:{person}")));
    let others = [
        (
            LimitScope::Conversation,
            rates.conversation,
            format!("conversation:{}", subject.conversation),
        ),
        (
            LimitScope::Channel,
            rates.channel,
            format!("channel:{}", subject.connection),
        ),
        (LimitScope::Tenant, rates.tenant, "tenant".into()),
        (LimitScope::Plan, plan, "plan".into()),
    ];
    let mut found = Vec::new();
    for (scope, rate, of) in persons.chain(others) {
        if let Some(rate) = rate {
            let key = LimitKey {
                tenant: subject.tenant,
                of: format!("{name}:{of}"),
            };
            found.push((scope, (key, rate.quota()?)));
        }
    }
    Ok(found)
}
