//! Who may do what: roles, API tokens, and the audit log.

use std::{collections::BTreeMap, fmt};

use konstruct_core::id::MemberId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a caller may do. A role includes those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything of the tenant except its tokens and its audit log.
    Viewer,
    /// Also replies to people, hands conversations back and decides questions.
    Agent,
    /// Also changes the employee, connections, models and knowledge, and reads the audit log.
    Admin,
    /// Also manages members and API tokens, and erases data.
    Owner,
    /// Also adds and removes tenants. Only the operator of the server has this role.
    Operator,
}

impl Role {
    /// All roles, from the least.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Agent,
        Self::Admin,
        Self::Owner,
        Self::Operator,
    ];

    /// Returns its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Agent => "agent",
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An API token to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// A name by which the audit log shows it, 1 to 100 characters.
    pub name: String,
    /// What its bearer may do in this tenant: any role but `operator`.
    pub role: Role,
    /// After how many days it expires, 1 to 3,650; never if absent.
    #[serde(default)]
    pub expires_in_days: Option<u16>,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiToken {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was last used, RFC 3339, to within an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// An API token that was just created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedApiToken {
    /// The token itself. The server keeps only its hash, and cannot show it again.
    pub token: String,
    /// Its description.
    pub details: ApiToken,
}

/// Who called the admin API, or caused what the audit log names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Who {
    /// The operator of the server.
    Operator,
    /// The server itself, at a time that was set before.
    Schedule,
    /// The bearer of an API token.
    ApiToken {
        /// The token's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// A person who is signed in.
    Member {
        /// The member's id.
        #[schemars(with = "String")]
        id: MemberId,
        /// The member's name.
        name: String,
    },
}

/// An entry of the audit log: an operation that changes something, before it was carried out, or the refusal of an earlier one.
///
/// An operation without a refusal was carried out, unless the server died in the middle of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written, RFC 3339.
    pub at: String,
    /// Who called.
    pub who: Who,
    /// What they could do.
    pub role: Role,
    /// The operation, by its id in the OpenAPI document.
    pub operation: String,
    /// The ids in the path, by the names of the parameters.
    pub target: BTreeMap<String, String>,
    /// The entry whose operation failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_of: Option<u64>,
    /// The status with which it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The hash of the entry before it, in hexadecimal; empty for the first.
    pub previous: String,
    /// The SHA-256 of this entry without this field, as compact JSON in this order of fields, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// The result of checking an audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerification {
    /// Whether each entry has its number, its hash and the hash of the one before it.
    pub intact: bool,
    /// The number of entries that were checked.
    pub entries: u64,
    /// The hash of the newest entry; empty without entries. A copy of it, kept elsewhere, also proves that no newer entry was cut off.
    pub head: String,
    /// The newest entry that does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
}
