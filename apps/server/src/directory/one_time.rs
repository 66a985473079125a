//! Codes that are used once: the operator signs in with one, and the owner of a login sets a new password with one.

use std::time::Duration;

use konstruct_core::{Clock as _, Result, Secret, SystemClock, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{
    Principal, ServerDirectory, decode, encode,
    opaque::{self, Minted, TokenHash},
    rows_of,
};

const TABLE: &str = "one_time_codes";
const PREFIX: &str = "kot_";
/// How long a code of the operator and one for a new password can be used.
pub(crate) const OPERATOR_LIFETIME: Duration = Duration::from_secs(15 * 60);
pub(crate) const RESET_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The most open codes of one principal; another one ends the oldest.
const MOST: usize = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: String,
    hash: TokenHash,
    expires_at: Timestamp,
}

/// A code that can be used, with the change that uses it up.
#[derive(Debug)]
pub(crate) struct OneTime {
    pub(crate) principal: Principal,
    pub(crate) used: RowChange,
}

impl ServerDirectory {
    /// Issues a code. Returns it with the time at which it expires.
    ///
    /// # Errors
    /// Those of the store, and of the system's random number generator.
    pub(crate) async fn issue_code(&self, principal: Principal) -> Result<(Secret, Timestamp)> {
        let now = SystemClock.now();
        let lifetime = match principal {
            Principal::Operator => OPERATOR_LIFETIME,
            Principal::Member(_) => RESET_LIFETIME,
        };
        let known = rows_of(&*self.rows, None, TABLE, &principal.prefix()).await?;
        let known: Result<Vec<Row>> = known.iter().map(|(_, row)| decode(row)).collect();
        let mut known = known?;
        known.sort_by_key(|row| std::cmp::Reverse(row.expires_at));
        let (kept, mut dropped): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|row| row.expires_at > now);
        dropped.extend(kept.into_iter().skip(MOST - 1));
        let key = |id: &str| format!("{}{id}", principal.prefix());
        let delete = |row: &Row| RowChange::delete(None, TABLE, key(&row.id));
        let mut changes: Vec<_> = dropped.iter().map(delete).collect();
        let Minted { token, id, hash } = opaque::mint(PREFIX, &principal.bytes())?;
        let row = Row {
            id,
            hash,
            expires_at: now + lifetime,
        };
        changes.push(RowChange::put(None, TABLE, key(&row.id), encode(&row)?));
        self.rows.write_rows(changes).await?;
        Ok((token, row.expires_at))
    }

    /// Returns a code that can be used; `None` if it is unknown, used or expired.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn one_time_code(&self, code: &str) -> Result<Option<OneTime>> {
        let Some((owner, id)) = opaque::named(PREFIX, code) else {
            return Ok(None);
        };
        let principal = Principal::from_bytes(owner);
        let key = format!("{}{id}", principal.prefix());
        let Some(bytes) = self.rows.get_row(None, TABLE, &key).await? else {
            return Ok(None);
        };
        let row: Row = decode(&bytes)?;
        let usable = row.hash.matches(code) && row.expires_at > SystemClock.now();
        let used = RowChange::delete(None, TABLE, key).expecting(Expect::Exact(bytes));
        Ok(usable.then_some(OneTime { principal, used }))
    }

    /// Ends the open codes of a principal.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn end_codes(&self, principal: &Principal) -> Result<()> {
        for (key, _) in rows_of(&*self.rows, None, TABLE, &principal.prefix()).await? {
            self.rows.delete_row(None, TABLE, &key).await?;
        }
        Ok(())
    }

    /// Uses a code up. Returns whether nobody else did.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn use_code(&self, code: OneTime) -> Result<bool> {
        self.rows.write_rows(vec![code.used]).await
    }
}
