//! API tokens: what lets a program act for a tenant. A row holds the hash of a token only.
//!
//! A token is `kst_` and two parts in base64url: the tenant and the token's id, 24 bytes, then 32 random bytes. Thus the tenant is
//! known before any row is read, and the row lies with the tenant's others.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use konstruct_admin_api::{self as api, Role};
use konstruct_core::{Clock as _, Error, Result, SystemClock, TenantId, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{ServerDirectory, encode};
use crate::secrets::random;

const TABLE: &str = "api_tokens";
/// The most tokens of a tenant.
const MOST: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How exactly the time of the last use is kept.
const USED_WITHIN: Duration = Duration::from_secs(60 * 60);

const PREFIX: &str = "kst_";
/// The lengths of the two parts, encoded.
const NAMED: usize = 32;
const SECRET: usize = 43;

/// An API token, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiToken {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The SHA-256 of the whole token, in hexadecimal.
    hash: String,
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
    ) -> Result<(String, ApiToken)> {
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
        let (id, secret) = (random::<8>()?, random::<32>()?);
        let named = URL_SAFE_NO_PAD.encode([tenant.as_bytes(), &id[..]].concat());
        let token = format!("{PREFIX}{named}{}", URL_SAFE_NO_PAD.encode(secret));
        let now = SystemClock.now();
        let stored = ApiToken {
            id: hex::encode(id),
            name: name.into(),
            role: new.role,
            hash: hash(&token),
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
        // The store refuses keys that are too long.
        if id.len() == 16 && self.rows.delete_row(Some(tenant), TABLE, id).await? {
            return Ok(());
        }
        Err(Error::not_found("token"))
    }

    /// Returns the tenant and the description of an API token; `None` if it is unknown, revoked or expired.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Option<(TenantId, ApiToken)>> {
        let Some((tenant, id)) = named(token) else {
            return Ok(None);
        };
        let Some(stored) = self.read::<ApiToken>(Some(tenant), TABLE, &id).await? else {
            return Ok(None);
        };
        let now = SystemClock.now();
        let same: bool = hash(token).as_bytes().ct_eq(stored.hash.as_bytes()).into();
        if !same || stored.expires_at.is_some_and(|at| at <= now) {
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

/// Returns the tenant and the id that a token names.
fn named(token: &str) -> Option<(TenantId, String)> {
    let rest = token.strip_prefix(PREFIX)?;
    if rest.len() != NAMED + SECRET || !rest.is_ascii() {
        return None;
    }
    let bytes: [u8; 24] = URL_SAFE_NO_PAD
        .decode(&rest[..NAMED])
        .ok()?
        .try_into()
        .ok()?;
    let (tenant, id) = bytes.split_first_chunk::<16>()?;
    // The operator has no API tokens.
    (*tenant != [0; 16]).then(|| (TenantId::from_bytes(*tenant), hex::encode(id)))
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_tenant_and_its_id() {
        let tenant = TenantId::new();
        let part = URL_SAFE_NO_PAD.encode([tenant.as_bytes(), &[7; 8][..]].concat());
        let secret = "s".repeat(SECRET);
        let check = |token: &str, expected: Option<(TenantId, String)>| {
            assert_eq!(named(token), expected, "{token}");
        };
        let good = format!("kst_{part}{secret}");
        check(&good, Some((tenant, "0707070707070707".into())));
        check(&good[1..], None);
        check(&good[..good.len() - 1], None);
        check(&format!("{good}s"), None);
        check(&format!("kst_{}{secret}", "*".repeat(NAMED)), None);
        check(&format!("kst_{}{secret}", "A".repeat(NAMED)), None);
        check(&format!("kst_{}", "é".repeat(37)), None);
        check("", None);
    }
}
