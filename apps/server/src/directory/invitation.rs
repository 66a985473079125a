//! Invitations: a code, sent to an e-mail address, with which its owner becomes a member of a tenant once.

use std::time::Duration;

use konstruct_admin_api::{self as api, Role};
use konstruct_core::{
    Clock as _, Error, ErrorKind, Result, Secret, SystemClock, TenantId, Timestamp, id::MemberId,
};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{
    Email, Login, Member, ServerDirectory, decode, encode,
    member::checked,
    opaque::{self, Minted, TokenHash},
};
use crate::password::PasswordHash;

const TABLE: &str = "invitations";
const PREFIX: &str = "kin_";
/// How long an invitation can be accepted.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most open invitations of a tenant.
const MOST: usize = 100;

/// An invitation, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    pub(crate) id: String,
    pub(crate) email: Email,
    pub(crate) role: Role,
    hash: TokenHash,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Invitation {
    pub(crate) fn shown(&self) -> api::Invitation {
        api::Invitation {
            id: self.id.clone(),
            email: self.email.to_string(),
            role: self.role,
            created_at: self.created_at.to_string(),
            expires_at: self.expires_at.to_string(),
        }
    }
}

/// Who accepts an invitation.
#[derive(Debug)]
pub(crate) enum Joining {
    /// Somebody without a login, with a name and the hash of the password that they chose.
    New(String, PasswordHash),
    /// The owner of a login, who has signed in.
    Login(MemberId),
}

/// Returns the error for a code that opens nothing.
pub(crate) fn unknown_invitation() -> Error {
    let problem = "this invitation was used, revoked or has expired; ask for a new one";
    Error::new(ErrorKind::NotFound, problem)
}

impl ServerDirectory {
    /// Invites the owner of an address. An open invitation of the address is replaced. Returns the code and the invitation.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the field, [`ErrorKind::Conflict`] for a member, and those of the store.
    pub(crate) async fn invite(
        &self,
        tenant: TenantId,
        new: &api::NewInvitation,
    ) -> Result<(Secret, Invitation)> {
        let email = Email::parse(&new.email)?;
        let role = checked(new.role)?;
        let members = self.members(tenant).await?;
        if members.iter().any(|member| member.email == email) {
            let problem = "email: is a member already; change the member's role instead";
            return Err(Error::new(ErrorKind::Conflict, problem).with_field("email"));
        }
        let now = SystemClock.now();
        let known: Vec<Invitation> = self.list(Some(tenant), TABLE).await?;
        let (old, open): (Vec<_>, Vec<_>) = known
            .into_iter()
            .partition(|known| known.expires_at <= now || known.email == email);
        if open.len() >= MOST {
            let problem = format!("a tenant has at most {MOST} open invitations; revoke one first");
            return Err(Error::invalid("email", problem));
        }
        let Minted { token, id, hash } = opaque::mint(PREFIX, tenant.as_bytes())?;
        let invitation = Invitation {
            id,
            email,
            role,
            hash,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        let delete = |old: &Invitation| RowChange::delete(Some(tenant), TABLE, &old.id);
        let mut changes: Vec<_> = old.iter().map(delete).collect();
        let row = encode(&invitation)?;
        changes.push(RowChange::put(Some(tenant), TABLE, &invitation.id, row));
        self.rows.write_rows(changes).await?;
        Ok((token, invitation))
    }

    /// Lists a tenant's open invitations by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn invitations(&self, tenant: TenantId) -> Result<Vec<Invitation>> {
        let mut all: Vec<Invitation> = self.list(Some(tenant), TABLE).await?;
        let now = SystemClock.now();
        all.retain(|invitation| invitation.expires_at > now);
        Ok(all)
    }

    /// Revokes an invitation, which cannot be accepted from now on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn revoke_invitation(&self, tenant: TenantId, id: &str) -> Result<()> {
        if opaque::is_id(id) && self.rows.delete_row(Some(tenant), TABLE, id).await? {
            return Ok(());
        }
        Err(Error::not_found("invitation"))
    }

    /// Returns the invitation that a code opens, with its tenant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a code that opens nothing, and those of the store.
    pub(crate) async fn invitation(&self, code: &str) -> Result<(TenantId, Invitation)> {
        let (tenant, invitation, _) = self.stored_invitation(code).await?;
        Ok((tenant, invitation))
    }

    async fn stored_invitation(&self, code: &str) -> Result<(TenantId, Invitation, RowChange)> {
        let (owner, id) = opaque::named(PREFIX, code).ok_or_else(unknown_invitation)?;
        if owner == [0; 16] {
            return Err(unknown_invitation());
        }
        let tenant = TenantId::from_bytes(owner);
        let row = self.rows.get_row(Some(tenant), TABLE, &id).await?;
        let row = row.ok_or_else(unknown_invitation)?;
        let stored: Invitation = decode(&row)?;
        if !stored.hash.matches(code) || stored.expires_at <= SystemClock.now() {
            return Err(unknown_invitation());
        }
        let delete = RowChange::delete(Some(tenant), TABLE, id).expecting(Expect::Exact(row));
        Ok((tenant, stored, delete))
    }

    /// Accepts an invitation: its code is used up in the transaction that adds the member.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a code that opens nothing, [`ErrorKind::Conflict`] if the address has a login but none was given,
    /// or the login has another address or is a member already, and those of the store.
    pub(crate) async fn accept_invitation(
        &self,
        code: &str,
        joining: &Joining,
    ) -> Result<(TenantId, Login)> {
        loop {
            let (tenant, invitation, used) = self.stored_invitation(code).await?;
            let mut changes = vec![used];
            let login = match joining {
                Joining::New(name, password) => {
                    if self.login_of(&invitation.email).await?.is_some() {
                        let problem = "this address has a login; sign in to accept the invitation";
                        return Err(Error::new(ErrorKind::Conflict, problem));
                    }
                    let login = Login::new(invitation.email, name.clone(), password.clone());
                    changes.extend(self.added_login(&login).await?);
                    login
                }
                Joining::Login(id) => {
                    let stored = self.stored_login(*id).await?;
                    let stored = stored.ok_or_else(unknown_invitation)?;
                    if stored.login.email != invitation.email {
                        let problem = "this invitation is for another address than the one that is signed in; sign out first";
                        return Err(Error::new(ErrorKind::Conflict, problem));
                    }
                    if self.member(tenant, *id).await?.is_some() {
                        let problem = "this login is a member already";
                        return Err(Error::new(ErrorKind::Conflict, problem));
                    }
                    // The version of the login changes, so that it does not end at the same time.
                    changes.push(stored.changed(|_| ())?);
                    stored.login
                }
            };
            let member = Member::new(&login, invitation.role);
            changes.extend(self.joined(tenant, &member).await?);
            if self.rows.write_rows(changes).await? {
                return Ok((tenant, login));
            }
        }
    }
}
