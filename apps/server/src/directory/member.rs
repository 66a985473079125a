//! Members: who may do what in a tenant. A member is a [login](super::login) with a role.
//!
//! A member's row is the tenant's. A second row, the operator's, lists the tenants of a login, and is written with the first.

use konstruct_admin_api::{self as api, Role};
use konstruct_core::{
    Clock as _, Error, ErrorKind, Result, SystemClock, TenantId, Timestamp, id::MemberId,
};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{Email, Login, Replaces, ServerDirectory, decode, encode, rows_of};

const TABLE: &str = "members";
/// The tenants of each login.
const MEMBERSHIPS: &str = "memberships";
/// A counter that each change of a tenant's members increases, so that of two changes at the same time one sees the other: two
/// owners cannot remove each other.
const VERSION: &str = "members_version";
const KEY: &str = "version";
/// The most members of a tenant.
const MOST: usize = 200;

/// A member of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The id of the login.
    pub(crate) id: MemberId,
    /// The address to which the invitation was sent.
    pub(crate) email: Email,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) joined_at: Timestamp,
    /// Increased by each change.
    pub(crate) version: u32,
}

impl Member {
    pub(super) fn new(login: &Login, role: Role) -> Self {
        Self {
            id: login.id,
            email: login.email.clone(),
            name: login.name.clone(),
            role,
            joined_at: SystemClock.now(),
            version: 1,
        }
    }

    pub(crate) fn shown(&self) -> api::Member {
        api::Member {
            id: self.id,
            email: self.email.to_string(),
            name: self.name.clone(),
            role: self.role,
            joined_at: self.joined_at.to_string(),
            version: self.version,
        }
    }
}

/// Returns the error for a change after which a tenant would have no owner.
fn last_owner() -> Error {
    let problem = "this is the last owner; make another member an owner first";
    Error::new(ErrorKind::Conflict, problem)
}

/// Checks a role that a member can have.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] that names `role`.
pub(super) fn checked(role: Role) -> Result<Role> {
    if role == Role::Operator {
        let problem = "must be `viewer`, `agent`, `admin` or `owner`";
        return Err(Error::invalid("role", problem));
    }
    Ok(role)
}

fn membership_key(member: MemberId, tenant: TenantId) -> String {
    format!("{member}/{tenant}")
}

impl ServerDirectory {
    /// Lists a tenant's members by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn members(&self, tenant: TenantId) -> Result<Vec<Member>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Returns a member of a tenant.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn member(&self, tenant: TenantId, id: MemberId) -> Result<Option<Member>> {
        self.read(Some(tenant), TABLE, &id.to_string()).await
    }

    /// Lists the tenants of a login, with what it is there.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn memberships(&self, id: MemberId) -> Result<Vec<(TenantId, Member)>> {
        let mut found = Vec::new();
        for tenant in self.membership_tenants(id).await? {
            // The row of a removed tenant may be left.
            if let Some(member) = self.member(tenant, id).await? {
                found.push((tenant, member));
            }
        }
        Ok(found)
    }

    async fn membership_tenants(&self, id: MemberId) -> Result<Vec<TenantId>> {
        let rows = rows_of(&*self.rows, None, MEMBERSHIPS, &format!("{id}/")).await?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// Changes the role of a member.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for the last owner, and for another version than the one to replace; [`ErrorKind::NotFound`],
    /// [`ErrorKind::InvalidInput`], and those of the store.
    pub(crate) async fn change_role(
        &self,
        tenant: TenantId,
        id: MemberId,
        role: Role,
        replaces: Replaces,
    ) -> Result<Member> {
        checked(role)?;
        loop {
            let version = self.members_version(tenant).await?;
            let members = self.members(tenant).await?;
            let mut member = found(&members, id)?.clone();
            replaces.check(Some(member.version))?;
            if role != Role::Owner {
                keeps_an_owner(&members, id)?;
            }
            member.role = role;
            member.version += 1;
            let change = RowChange::put(Some(tenant), TABLE, id.to_string(), encode(&member)?);
            if self.write_members(tenant, version, vec![change]).await? {
                return Ok(member);
            }
        }
    }

    /// Removes a member. A login that is a member of nothing else is removed too, with its sessions.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for the last owner, [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn remove_member(&self, tenant: TenantId, id: MemberId) -> Result<()> {
        loop {
            let version = self.members_version(tenant).await?;
            let members = self.members(tenant).await?;
            found(&members, id)?;
            keeps_an_owner(&members, id)?;
            let mut changes = vec![RowChange::delete(Some(tenant), TABLE, id.to_string())];
            let login_ends = self.leave(tenant, id, &mut changes).await?;
            if self.write_members(tenant, version, changes).await? {
                if login_ends {
                    self.end_login(id).await?;
                }
                return Ok(());
            }
        }
    }

    /// Removes the rows outside a tenant that its members have, before the tenant is erased.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn forget_members(&self, tenant: TenantId) -> Result<()> {
        for member in self.members(tenant).await? {
            loop {
                let mut changes = Vec::new();
                let login_ends = self.leave(tenant, member.id, &mut changes).await?;
                if self.rows.write_rows(changes).await? {
                    if login_ends {
                        self.end_login(member.id).await?;
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Ends what a removed login has left.
    async fn end_login(&self, id: MemberId) -> Result<()> {
        self.end_sessions(&id.into(), None).await?;
        self.end_codes(&id.into()).await
    }

    /// Adds the changes by which a login leaves a tenant. Returns whether the login ends with it.
    async fn leave(
        &self,
        tenant: TenantId,
        id: MemberId,
        changes: &mut Vec<RowChange>,
    ) -> Result<bool> {
        // Read before the tenants: joining one changes the login.
        let stored = self.stored_login(id).await?;
        let mut stays = false;
        for of in self.membership_tenants(id).await? {
            // The row of a removed tenant may be left.
            if of != tenant && self.member(of, id).await?.is_some() {
                stays = true;
            } else {
                changes.push(RowChange::delete(None, MEMBERSHIPS, membership_key(id, of)));
            }
        }
        let Some(stored) = stored.filter(|_| !stays) else {
            return Ok(false);
        };
        changes.extend(self.removed_login(&stored).await?);
        Ok(true)
    }

    /// Returns the changes by which a login joins a tenant, without those of the login itself.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for a tenant with too many members.
    pub(super) async fn joined(&self, tenant: TenantId, member: &Member) -> Result<Vec<RowChange>> {
        let version = self.members_version(tenant).await?;
        if self.members(tenant).await?.len() >= MOST {
            let problem = format!("a tenant has at most {MOST} members; remove one first");
            return Err(Error::new(ErrorKind::Conflict, problem));
        }
        let id = member.id;
        let key = membership_key(id, tenant);
        Ok(vec![
            RowChange::put(Some(tenant), TABLE, id.to_string(), encode(member)?)
                .expecting(Expect::Absent),
            RowChange::put(None, MEMBERSHIPS, key, encode(&tenant)?),
            next(tenant, version)?,
        ])
    }

    async fn members_version(&self, tenant: TenantId) -> Result<Option<Vec<u8>>> {
        self.rows.get_row(Some(tenant), VERSION, KEY).await
    }

    /// Makes changes if the tenant's members are still of this version. Returns whether they were.
    async fn write_members(
        &self,
        tenant: TenantId,
        version: Option<Vec<u8>>,
        mut changes: Vec<RowChange>,
    ) -> Result<bool> {
        changes.push(next(tenant, version)?);
        self.rows.write_rows(changes).await
    }
}

/// Returns the change of a tenant's members from this version to the next.
fn next(tenant: TenantId, version: Option<Vec<u8>>) -> Result<RowChange> {
    let number: u64 = version.as_deref().map(decode).transpose()?.unwrap_or(0);
    let expect = version.map_or(Expect::Absent, Expect::Exact);
    let put = RowChange::put(Some(tenant), VERSION, KEY, encode(&(number + 1))?);
    Ok(put.expecting(expect))
}

fn found(members: &[Member], id: MemberId) -> Result<&Member> {
    let member = members.iter().find(|member| member.id == id);
    member.ok_or_else(|| Error::not_found("member"))
}

/// Checks that a tenant has an owner without this member, unless the member is no owner.
fn keeps_an_owner(members: &[Member], without: MemberId) -> Result<()> {
    let mut owners = members.iter().filter(|member| member.role == Role::Owner);
    let is_owner = owners.clone().any(|owner| owner.id == without);
    if is_owner && owners.all(|owner| owner.id == without) {
        return Err(last_owner());
    }
    Ok(())
}
