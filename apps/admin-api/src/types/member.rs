//! Who is let in: members, invitations, and sessions.

use konstruct_core::{TenantId, id::MemberId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Role;

/// A member of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its id, the same in every tenant of which the person is a member.
    #[schemars(with = "String")]
    pub id: MemberId,
    /// The address to which the invitation was sent.
    pub email: String,
    /// The name that the team sees.
    pub name: String,
    /// What the member may do.
    pub role: Role,
    /// When the member joined, RFC 3339.
    pub joined_at: String,
    /// The version, which is also the ETag.
    pub version: u32,
}

/// A member's role to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRole {
    /// Any role but `operator`.
    pub role: Role,
}

/// An invitation to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// The address whose owner is invited.
    pub email: String,
    /// The role to give: any but `operator`.
    pub role: Role,
}

/// An open invitation. It can be accepted once, within seven days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The address whose owner is invited.
    pub email: String,
    /// The role to give.
    pub role: Role,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it expires, RFC 3339.
    pub expires_at: String,
}

/// An invitation that was just created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedInvitation {
    /// The link that accepts it, shown this once: send it to the owner of the address, and to nobody else. Absent if the server sends
    /// it by mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its description.
    pub details: Invitation,
}

/// A link to create, with which somebody signs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSignInLink {
    /// The address of the person who sets a new password with it. Absent: the link signs the operator in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A link that was just created. It can be used once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignInLink {
    /// The link, shown this once.
    pub link: String,
    /// When it expires, RFC 3339.
    pub expires_at: String,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The id of the person; absent for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub id: Option<MemberId>,
    /// The address of the person; absent for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name that the team sees.
    pub name: String,
    /// The tenants of which the person is a member.
    pub tenants: Vec<TenantAccess>,
}

/// A tenant of which a person is a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantAccess {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// What the person may do there.
    pub role: Role,
}

/// Where somebody is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionKind {
    /// In a browser.
    Browser,
    /// In the desktop program.
    Device,
}

/// A session. It ends after 30 days, or after seven days without being used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Where the person is signed in.
    pub kind: SessionKind,
    /// What the program calls itself.
    pub program: String,
    /// When it began, RFC 3339.
    pub created_at: String,
    /// When it was last used, RFC 3339, to within an hour.
    pub last_used_at: String,
    /// When it ends unless it is used, RFC 3339.
    pub expires_at: String,
    /// Whether it is the session that asks.
    pub is_current: bool,
}
