//! Caps, and what is spent under them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cap limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapScope {
    /// All calls of the tenant, including those that embed documents.
    Tenant,
    /// The calls of the employee.
    Employee,
    /// The calls in the conversations of one connected workspace or number; each has this cap.
    Channel,
    /// The calls that answer one person; each has this cap.
    Person,
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

/// The most that may be spent in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// What it limits.
    pub scope: CapScope,
    /// The period after which spending starts at zero.
    pub period: Period,
    /// The most, in billionths of a US dollar.
    pub nano_usd: u64,
}

/// What is spent under the caps in the current periods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budgets {
    /// The budgets: those of which most is spent first. Of persons and channels, at most 100 that have spent something.
    pub budgets: Vec<Budget>,
}

/// What is spent under a cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// What the cap limits.
    pub scope: CapScope,
    /// The employee, connection or person; absent for the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The period.
    pub period: Period,
    /// When the period ends, RFC 3339.
    pub until: String,
    /// The cap in billionths of a US dollar.
    pub cap_nano_usd: u64,
    /// The amount spent, in billionths of a US dollar.
    pub spent_nano_usd: u64,
    /// The amount reserved for running calls, in billionths of a US dollar.
    pub reserved_nano_usd: u64,
    /// 80, 95 or 100 if at least this percentage is spent; also 100 if a call was refused. Absent below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_percent: Option<u8>,
}

/// A cap to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RaisedCap {
    /// What it limits.
    pub scope: CapScope,
    /// Its period.
    pub period: Period,
    /// The new cap in billionths of a US dollar, higher than the present one. Absent: twice the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
}
