//! Caps: the most that may be spent in a period, for the tenant and for parts of it.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use jiff::{ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{ConnectionId, EmployeeId, Error, NanoUsd, PersonId, Result, TenantId, Timestamp};

/// The most caps of an employee: one for each scope and period.
const MOST: usize = 12;

/// What a cap limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CapScope {
    /// All calls of the tenant, including those that embed documents.
    Tenant,
    /// The calls of the employee: its turns, and what it learns from them.
    Employee,
    /// The calls in the conversations of one connected account, such as a workspace or a phone number.
    Channel,
    /// The calls that answer one person.
    Person,
}

impl fmt::Display for CapScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tenant => "tenant",
            Self::Employee => "employee",
            Self::Channel => "channel",
            Self::Person => "person",
        })
    }
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

impl Period {
    /// Returns the end of the period that contains a time.
    ///
    /// ```
    /// use konstruct_core::{Timestamp, limit::Period};
    ///
    /// let noon: Timestamp = "2026-12-31T12:00:00Z".parse()?;
    /// assert_eq!(Period::Hour.end(noon).to_string(), "2026-12-31T13:00:00Z");
    /// assert_eq!(Period::Day.end(noon).to_string(), "2027-01-01T00:00:00Z");
    /// assert_eq!(Period::Month.end(noon).to_string(), "2027-01-01T00:00:00Z");
    /// # Ok::<(), konstruct_core::Error>(())
    /// ```
    pub fn end(self, at: Timestamp) -> Timestamp {
        let fixed = |secs: i64| {
            Timestamp::from_secs(
                at.as_secs()
                    .div_euclid(secs)
                    .saturating_add(1)
                    .saturating_mul(secs),
            )
        };
        match self {
            Self::Hour => fixed(3_600),
            Self::Day => fixed(86_400),
            Self::Month => next_month(at).unwrap_or(at),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

/// Returns the beginning of the next month; `None` at the end of the calendar.
fn next_month(at: Timestamp) -> Option<Timestamp> {
    let time = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    let day = TimeZone::UTC.to_datetime(time).date();
    let next = day.first_of_month().checked_add(1.month()).ok()?;
    let next = TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()?;
    Some(Timestamp::from_micros(next.as_microsecond()))
}

/// The most that may be spent in a period.
///
/// ```
/// use konstruct_core::{Employee, NanoUsd, limit::{Cap, CapScope, Period}};
///
/// // At most $50 a month, and at most $1 an hour for one person.
/// let ava = Employee::builder("Ava")
///     .monthly_cap(NanoUsd::from_usd_micros(50_000_000))
///     .cap(Cap::new(CapScope::Person, Period::Hour, NanoUsd::from_usd_micros(1_000_000)))
///     .build()?;
/// assert_eq!(ava.caps.len(), 2);
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// What is limited. A cap of a person or a channel applies to each of them separately.
    pub scope: CapScope,
    /// The period after which spending starts at zero.
    pub period: Period,
    /// The most that may be spent and reserved in a period.
    pub amount: NanoUsd,
}

impl Cap {
    /// Creates a cap.
    pub const fn new(scope: CapScope, period: Period, amount: NanoUsd) -> Self {
        Self {
            scope,
            period,
            amount,
        }
    }
}

/// Validates the caps of an employee.
pub(crate) fn validate(caps: &[Cap]) -> Result<()> {
    if caps.len() > MOST {
        return Err(Error::invalid("caps", format!("must be at most {MOST}")));
    }
    for (i, cap) in caps.iter().enumerate() {
        let same = |other: &Cap| (other.scope, other.period) == (cap.scope, cap.period);
        if caps.iter().take(i).any(same) {
            let problem = format!(
                "there is a cap for each {} and {} already",
                cap.scope, cap.period
            );
            return Err(Error::invalid(&format!("caps[{i}]"), problem));
        }
    }
    Ok(())
}

/// What the money of a call is counted against: all of the tenant's, or the part of someone or something in the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BudgetScope {
    /// The tenant.
    Tenant,
    /// An employee.
    Employee(EmployeeId),
    /// A connected account.
    Channel(ConnectionId),
    /// A person.
    Person(PersonId),
}

impl BudgetScope {
    /// Returns the kind of caps that apply to this scope.
    pub fn kind(&self) -> CapScope {
        match self {
            Self::Tenant => CapScope::Tenant,
            Self::Employee(_) => CapScope::Employee,
            Self::Channel(_) => CapScope::Channel,
            Self::Person(_) => CapScope::Person,
        }
    }
}

/// The name of a sum in the ledger: whose money, and in which kind of period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BudgetKey {
    /// Whose money.
    pub scope: BudgetScope,
    /// The period.
    pub period: Period,
}

impl BudgetKey {
    /// The tenant's spending in a month, which every store counts, with or without a cap.
    pub const MONTH: Self = Self {
        scope: BudgetScope::Tenant,
        period: Period::Month,
    };
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, period } = self;
        match scope {
            BudgetScope::Tenant => write!(f, "tenant/{period}"),
            BudgetScope::Employee(id) => write!(f, "employee/{id}/{period}"),
            BudgetScope::Channel(id) => write!(f, "channel/{id}/{period}"),
            BudgetScope::Person(id) => write!(f, "person/{id}/{period}"),
        }
    }
}

/// A sum and the most that it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedCap {
    /// The sum.
    pub budget: BudgetKey,
    /// The most that may be spent and reserved.
    pub cap: NanoUsd,
}

/// The caps that apply to the calls of an employee, in one place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Payers {
    pub(crate) employee: Option<EmployeeId>,
    pub(crate) channel: Option<ConnectionId>,
    pub(crate) person: Option<PersonId>,
}

impl Payers {
    /// Returns the caps of those whose money a call is counted against.
    pub(crate) fn caps(&self, caps: &[Cap]) -> Vec<AppliedCap> {
        let scope = |cap: &Cap| match cap.scope {
            CapScope::Tenant => Some(BudgetScope::Tenant),
            CapScope::Employee => self.employee.map(BudgetScope::Employee),
            CapScope::Channel => self.channel.map(BudgetScope::Channel),
            CapScope::Person => self.person.map(BudgetScope::Person),
        };
        let applied = caps.iter().filter_map(|cap| {
            Some(AppliedCap {
                budget: BudgetKey {
                    scope: scope(cap)?,
                    period: cap.period,
                },
                cap: cap.amount,
            })
        });
        applied.collect()
    }
}

/// How much of a cap is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertLevel {
    /// At least 80 %.
    Eighty,
    /// At least 95 %.
    NinetyFive,
    /// All of it, or so much that a call was refused.
    Reached,
}

impl AlertLevel {
    /// Returns the level of an amount spent under a cap; `None` below 80 %.
    pub fn of(spent: NanoUsd, cap: NanoUsd) -> Option<Self> {
        let (spent, cap) = (u128::from(spent.0), u128::from(cap.0));
        if spent >= cap {
            Some(Self::Reached)
        } else if spent * 100 >= cap * 95 {
            Some(Self::NinetyFive)
        } else if spent * 100 >= cap * 80 {
            Some(Self::Eighty)
        } else {
            None
        }
    }

    /// Returns the percentage of the cap at which the level begins.
    pub fn percent(self) -> u8 {
        match self {
            Self::Eighty => 80,
            Self::NinetyFive => 95,
            Self::Reached => 100,
        }
    }
}

/// What is spent and reserved in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The amount spent.
    pub spent: NanoUsd,
    /// The amount reserved for running calls.
    pub reserved: NanoUsd,
    /// The cap of the latest reservation, granted or refused; `None` if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<NanoUsd>,
    /// How much of that cap is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertLevel>,
}

impl Sum {
    /// Returns whether an amount fits under a cap. A sum that overflows exceeds every cap, and none.
    pub fn fits(&self, amount: NanoUsd, cap: Option<NanoUsd>) -> bool {
        let taken = self.spent.0.checked_add(self.reserved.0);
        let after = taken.and_then(|taken| taken.checked_add(amount.0));
        after.is_some_and(|after| cap.is_none_or(|cap| after <= cap.0))
    }

    /// Adds a reservation.
    pub fn reserve(&mut self, amount: NanoUsd, cap: Option<NanoUsd>) {
        self.reserved = self.reserved.saturating_add(amount);
        self.enforce(cap);
    }

    /// Records that a call did not fit under a cap.
    pub fn refuse(&mut self, cap: Option<NanoUsd>) {
        self.enforce(cap);
        self.alert = Some(AlertLevel::Reached);
    }

    /// Frees the reservation of a call and adds its cost to the amount spent.
    pub fn settle(&mut self, reserved: NanoUsd, cost: NanoUsd) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(cost);
        self.alert = self.alert.max(self.level());
    }

    fn enforce(&mut self, cap: Option<NanoUsd>) {
        if self.cap != cap {
            self.cap = cap;
            self.alert = self.level();
        }
    }

    fn level(&self) -> Option<AlertLevel> {
        AlertLevel::of(self.spent, self.cap?)
    }
}

/// A sum of a tenant's ledger, with its name and the end of its period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSum {
    /// Its name.
    pub budget: BudgetKey,
    /// When the period ends.
    pub until: Timestamp,
    /// The amounts.
    pub sum: Sum,
}

/// Is told how much of the caps is spent.
#[async_trait]
pub trait BudgetObserver: fmt::Debug + Send + Sync + 'static {
    /// Called after a turn if a sum has reached a higher [level](Sum::alert): once for each level and period in each process. The
    /// turn is over, but its conversation waits for the call to return.
    async fn reached(&self, tenant: TenantId, sum: BudgetSum);
}

/// Returns the sums that a reservation counts against, each with its cap: first the tenant's month, and then every other one with
/// a cap. Of several caps of one sum the lowest applies.
pub fn budgets(caps: &[AppliedCap]) -> Vec<(BudgetKey, Option<NanoUsd>)> {
    let mut others: BTreeMap<BudgetKey, NanoUsd> = BTreeMap::new();
    for AppliedCap { budget, cap } in caps {
        let lowest = others.entry(*budget).or_insert(*cap);
        *lowest = (*lowest).min(*cap);
    }
    let month = others.remove(&BudgetKey::MONTH);
    let others = others.into_iter().map(|(budget, cap)| (budget, Some(cap)));
    [(BudgetKey::MONTH, month)]
        .into_iter()
        .chain(others)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_at_their_percentage() {
        for (spent, cap, expected) in [
            (0, 100, None),
            (79, 100, None),
            (80, 100, Some(AlertLevel::Eighty)),
            (94, 100, Some(AlertLevel::Eighty)),
            (95, 100, Some(AlertLevel::NinetyFive)),
            (100, 100, Some(AlertLevel::Reached)),
            (0, 0, Some(AlertLevel::Reached)),
            (u64::MAX - 1, u64::MAX, Some(AlertLevel::NinetyFive)),
        ] {
            assert_eq!(
                AlertLevel::of(NanoUsd(spent), NanoUsd(cap)),
                expected,
                "{spent} of {cap}"
            );
        }
    }

    #[test]
    fn an_overflow_fits_under_no_cap() {
        let sum = Sum {
            spent: NanoUsd(u64::MAX - 1),
            ..Sum::default()
        };
        assert!(sum.fits(NanoUsd(1), None));
        assert!(!sum.fits(NanoUsd(2), None));
        assert!(!sum.fits(NanoUsd(2), Some(NanoUsd(u64::MAX))));
    }

    #[test]
    fn a_raised_cap_ends_its_alert() {
        let mut sum = Sum::default();
        sum.reserve(NanoUsd(90), Some(NanoUsd(100)));
        sum.settle(NanoUsd(90), NanoUsd(90));
        assert_eq!(sum.alert, Some(AlertLevel::Eighty));
        sum.refuse(Some(NanoUsd(100)));
        assert_eq!(sum.alert, Some(AlertLevel::Reached));
        sum.reserve(NanoUsd(5), Some(NanoUsd(100)));
        assert_eq!(sum.alert, Some(AlertLevel::Reached), "the cap is the same");
        sum.reserve(NanoUsd(5), Some(NanoUsd(200)));
        assert_eq!(sum.alert, None);
    }

    #[test]
    fn months_end_at_midnight_utc() {
        for (at, end) in [
            ("1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2000-02-29T23:59:59Z", "2000-03-01T00:00:00Z"),
            ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(Period::Month.end(at).to_string(), end, "{at}");
        }
    }
}
