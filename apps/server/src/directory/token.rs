//! API tokens: what lets a program act for a tenant. A row holds the hash of a token only.
//!
//! A token is [opaque](super::opaque) and names its tenant, so the row lies with the tenant's others.

use std::time::Duration;

use konstruct_admin_api::{self as api, Role};
use konstruct_core::{Clock as _, Error, Result, Secret, SystemClock, TenantId, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{
    ServerDirectory, encode,
    opaque::{self, Minted, TokenHash},
};

const TABLE: &str = "api_tokens";
/// The most tokens of a tenant.
const MOST: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How exactly the time of the last use is kept.
const USED_WITHIN: Duration = Duration::from_secs(60 * 60);

const PREFIX: &str = "kst_";

/// An API token, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiToken {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    hash: TokenHash,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl ApiToken {
    pub(crate) fn shown(&self) -> api::ApiToken {
        let shown = |at: Timestamp| at.to_string();
        api::ApiToken {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
            created_at: shown(self.created_at),
            expires_at: self.expires_at.map(shown),
            last_used_at: self.last_used_at.map(shown),
        }
    }
}

impl ServerDirectory {
    /// Creates an API token. Returns it with its description.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field, and those of the store.
    pub(crate) async fn add_token(
        &self,
        tenant: TenantId,
        new: &api::NewApiToken,
    ) -> Result<(Secret, ApiToken)> {
        let name = new.name.trim();
        if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            let problem = "must be 1 to 100 characters, none of them a control character";
            return Err(Error::invalid("name", problem));
        }
        if new.role == Role::Operator {
            let problem = "must be `viewer`, `agent`, `admin` or `owner`";
            return Err(Error::invalid("role", problem));
        }
        let days = new.expires_in_days;
        if days.is_some_and(|days| !(1..=3_650).contains(&days)) {
            return Err(Error::invalid("expires_in_days", "must be 1 to 3650"));
        }
        if self.tokens(tenant).await?.len() >= MOST {
            let problem = format!("a tenant has at most {MOST} tokens; revoke one first");
            return Err(Error::invalid("name", problem));
        }
        let Minted { token, id, hash } = opaque::mint(PREFIX, tenant.as_bytes())?;
        let now = SystemClock.now();
        let stored = ApiToken {
            id,
            name: name.into(),
            role: new.role,
            hash,
            created_at: now,
            expires_at: days.map(|days| now + DAY * u32::from(days)),
            last_used_at: None,
        };
        self.rows
            .put_row(Some(tenant), TABLE, &stored.id, &encode(&stored)?)
            .await?;
        Ok((token, stored))
    }

    /// Lists a tenant's API tokens by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn tokens(&self, tenant: TenantId) -> Result<Vec<ApiToken>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Revokes an API token, which is refused from now on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](konstruct_core::ErrorKind::NotFound), and those of the store.
    pub(crate) async fn revoke_token(&self, tenant: TenantId, id: &str) -> Result<()> {
        if opaque::is_id(id) && self.rows.delete_row(Some(tenant), TABLE, id).await? {
            return Ok(());
        }
        Err(Error::not_found("token"))
    }

    /// Returns the tenant and the description of an API token; `None` if it is unknown, revoked or expired.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Option<(TenantId, ApiToken)>> {
        let Some((owner, id)) = opaque::named(PREFIX, token) else {
            return Ok(None);
        };
        // The operator has no API tokens.
        if owner == [0; 16] {
            return Ok(None);
        }
        let tenant = TenantId::from_bytes(owner);
        let Some(stored) = self.read::<ApiToken>(Some(tenant), TABLE, &id).await? else {
            return Ok(None);
        };
        let now = SystemClock.now();
        if !stored.hash.matches(token) || stored.expires_at.is_some_and(|at| at <= now) {
            return Ok(None);
        }
        let recent = |at: Timestamp| now.since(at) < USED_WITHIN;
        if !stored.last_used_at.is_some_and(recent) {
            let used = ApiToken {
                last_used_at: Some(now),
                ..stored.clone()
            };
            let change = RowChange::put(Some(tenant), TABLE, id, encode(&used)?);
            // A token that is revoked meanwhile stays revoked.
            let change = change.expecting(Expect::Exact(encode(&stored)?));
            self.rows.write_rows(vec![change]).await?;
        }
        Ok(Some((tenant, stored)))
    }
}
