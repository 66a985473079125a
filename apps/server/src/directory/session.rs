//! Sessions: who has signed in, in a browser or in the desktop program. A row holds the hash of a session's token only.

use std::time::Duration;

use konstruct_admin_api as api;
use konstruct_core::{Clock as _, Error, Result, Secret, SystemClock, Timestamp, id::MemberId};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{
    ServerDirectory, decode, encode,
    opaque::{self, Minted, TokenHash},
    rows_of,
};

const TABLE: &str = "sessions";
const PREFIX: &str = "kse_";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a session lasts, and how long it lasts without being used.
pub(crate) const LIFETIME: Duration = DAY.saturating_mul(30);
const IDLE: Duration = DAY.saturating_mul(7);
/// How exactly the time of the last use is kept.
const USED_WITHIN: Duration = Duration::from_secs(60 * 60);
/// The most sessions of one principal; another one ends the oldest.
const MOST: usize = 50;
/// The most characters of the description of a program.
const PROGRAM: usize = 120;

/// Who has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Principal {
    /// The operator of the server.
    Operator,
    /// A person with a login.
    Member(MemberId),
}

impl From<MemberId> for Principal {
    fn from(id: MemberId) -> Self {
        Self::Member(id)
    }
}

impl Principal {
    /// Returns the bytes that name it in tokens. The operator's are those of no member.
    pub(super) fn bytes(&self) -> [u8; 16] {
        match self {
            Self::Operator => [0; 16],
            Self::Member(id) => *id.as_bytes(),
        }
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        if bytes == [0; 16] {
            Self::Operator
        } else {
            Self::Member(MemberId::from_bytes(bytes))
        }
    }

    /// Returns the prefix of the keys of its rows.
    pub(super) fn prefix(&self) -> String {
        format!("{}/", hex::encode(self.bytes()))
    }
}

/// What a session was started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionKind {
    /// A browser, whose cookie is the token.
    Browser,
    /// The desktop program, which sends the token as a bearer token.
    Device,
}

/// A session, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) kind: SessionKind,
    /// What the program calls itself.
    pub(crate) program: String,
    hash: TokenHash,
    created_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    fn has_ended(&self, now: Timestamp) -> bool {
        now.since(self.created_at) >= LIFETIME || now.since(self.used_at) >= IDLE
    }

    /// Returns it as the API shows it to its principal, who calls with the `current` one.
    pub(crate) fn shown(&self, current: Option<&str>) -> api::Session {
        api::Session {
            id: self.id.clone(),
            kind: match self.kind {
                SessionKind::Browser => api::SessionKind::Browser,
                SessionKind::Device => api::SessionKind::Device,
            },
            program: self.program.clone(),
            created_at: self.created_at.to_string(),
            last_used_at: self.used_at.to_string(),
            expires_at: (self.created_at + LIFETIME)
                .min(self.used_at + IDLE)
                .to_string(),
            is_current: current == Some(self.id.as_str()),
        }
    }
}

fn key(principal: &Principal, id: &str) -> String {
    format!("{}{id}", principal.prefix())
}

impl ServerDirectory {
    /// Starts a session. Returns its token.
    ///
    /// # Errors
    /// Those of the store, and of the system's random number generator.
    pub(crate) async fn start_session(
        &self,
        principal: Principal,
        kind: SessionKind,
        program: &str,
    ) -> Result<Secret> {
        let now = SystemClock.now();
        let mut known = self.stored_sessions(&principal).await?;
        known.sort_by_key(|session| session.used_at);
        let (ended, mut open): (Vec<_>, Vec<_>) = known
            .into_iter()
            .partition(|session| session.has_ended(now));
        let too_many = (open.len() + 1).saturating_sub(MOST);
        let old = ended.into_iter().chain(open.drain(..too_many));
        let mut changes: Vec<_> = old
            .map(|session| RowChange::delete(None, TABLE, key(&principal, &session.id)))
            .collect();
        let Minted { token, id, hash } = opaque::mint(PREFIX, &principal.bytes())?;
        let visible = program.chars().filter(|it| !it.is_control());
        let session = Session {
            id,
            kind,
            program: visible.take(PROGRAM).collect(),
            hash,
            created_at: now,
            used_at: now,
        };
        let row = encode(&session)?;
        changes.push(RowChange::put(
            None,
            TABLE,
            key(&principal, &session.id),
            row,
        ));
        self.rows.write_rows(changes).await?;
        Ok(token)
    }

    /// Returns the session of a token and its principal; `None` if it is unknown, revoked or has ended.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn session(&self, token: &str) -> Result<Option<(Principal, Session)>> {
        let Some((owner, id)) = opaque::named(PREFIX, token) else {
            return Ok(None);
        };
        let principal = Principal::from_bytes(owner);
        let key = key(&principal, &id);
        let Some(row) = self.rows.get_row(None, TABLE, &key).await? else {
            return Ok(None);
        };
        let mut session: Session = decode(&row)?;
        let now = SystemClock.now();
        if !session.hash.matches(token) || session.has_ended(now) {
            return Ok(None);
        }
        if now.since(session.used_at) >= USED_WITHIN {
            session.used_at = now;
            let change = RowChange::put(None, TABLE, key, encode(&session)?);
            // A session that is revoked meanwhile stays revoked.
            let change = change.expecting(Expect::Exact(row));
            self.rows.write_rows(vec![change]).await?;
        }
        Ok(Some((principal, session)))
    }

    /// Lists the open sessions of a principal, the last used first.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn sessions(&self, principal: &Principal) -> Result<Vec<Session>> {
        let mut all = self.stored_sessions(principal).await?;
        let now = SystemClock.now();
        all.retain(|session| !session.has_ended(now));
        all.sort_by_key(|session| std::cmp::Reverse(session.used_at));
        Ok(all)
    }

    async fn stored_sessions(&self, principal: &Principal) -> Result<Vec<Session>> {
        let rows = rows_of(&*self.rows, None, TABLE, &principal.prefix()).await?;
        rows.iter().map(|(_, row)| decode(row)).collect()
    }

    /// Ends a session, whose token is refused from now on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](konstruct_core::ErrorKind::NotFound), and those of the store.
    pub(crate) async fn end_session(&self, principal: &Principal, id: &str) -> Result<()> {
        if opaque::is_id(id)
            && self
                .rows
                .delete_row(None, TABLE, &key(principal, id))
                .await?
        {
            return Ok(());
        }
        Err(Error::not_found("session"))
    }

    /// Ends the sessions of a principal, except one.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn end_sessions(
        &self,
        principal: &Principal,
        except: Option<&str>,
    ) -> Result<()> {
        for session in self.stored_sessions(principal).await? {
            if except != Some(session.id.as_str()) {
                let key = key(principal, &session.id);
                self.rows.delete_row(None, TABLE, &key).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(created_days: u64, used_days: u64) -> (Session, Timestamp) {
        let minted = opaque::mint(PREFIX, &[1; 16]).unwrap();
        let begin = Timestamp::from_secs(1_700_000_000);
        let at = |days: u64| begin + DAY.saturating_mul(u32::try_from(days).unwrap());
        let session = Session {
            id: minted.id,
            kind: SessionKind::Browser,
            program: String::new(),
            hash: minted.hash,
            created_at: at(created_days),
            used_at: at(used_days),
        };
        (session, begin)
    }

    #[test]
    fn a_session_ends_after_30_days_or_a_week_without_use() {
        let check = |used_days, now_days: u32, ended| {
            let (session, begin) = session(0, used_days);
            let now = begin + DAY.saturating_mul(now_days);
            assert_eq!(session.has_ended(now), ended, "{used_days} {now_days}");
        };
        check(0, 0, false);
        check(0, 6, false);
        check(0, 7, true);
        check(24, 29, false);
        check(29, 30, true);
    }

    #[test]
    fn the_operator_is_no_member() {
        let member = Principal::Member(MemberId::new());
        for principal in [Principal::Operator, member] {
            assert_eq!(Principal::from_bytes(principal.bytes()), principal);
        }
        assert_ne!(Principal::Operator.prefix(), member.prefix());
    }
}
