//! Device codes: the desktop program shows a short code, a person who is signed in confirms it in a browser, and the program gets a
//! session (RFC 8628).

use std::time::Duration;

use konstruct_core::{Clock as _, Error, ErrorKind, Result, Secret, SystemClock, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{
    Principal, ServerDirectory, SessionKind, decode, encode,
    opaque::{self, Minted, TokenHash},
};
use crate::secrets::random;

const TABLE: &str = "device_codes";
const PREFIX: &str = "kdc_";
/// How long a device code can be confirmed and fetched.
pub(crate) const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The most device codes that wait at the same time, in all processes.
const MOST: usize = 500;
/// The letters of a short code: consonants, so that it forms no word, and none that look alike.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// The number of letters of a short code: 20 to the power of 8 are possible.
const LENGTH: usize = 8;
/// The most characters of a program's name.
const PROGRAM: usize = 60;

/// A device code, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeviceCode {
    id: String,
    hash: TokenHash,
    /// What the person compares.
    pub(crate) user_code: String,
    pub(crate) program: String,
    expires_at: Timestamp,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Waiting,
    Confirmed(Principal),
    Refused,
}

/// What the program gets for its device code.
#[derive(Debug)]
pub(crate) enum Polled {
    Waiting,
    Refused,
    /// It is unknown, used or expired.
    Expired,
    /// The token of the new session.
    Session(Secret),
}

/// Returns the letters of a short code that a person typed, with or without hyphen.
fn letters(typed: &str) -> Option<String> {
    let letters: String = typed
        .chars()
        .filter(|it| !it.is_whitespace() && *it != '-')
        .map(|it| it.to_ascii_uppercase())
        .take(LENGTH + 1)
        .collect();
    let all = letters.bytes().all(|letter| LETTERS.contains(&letter));
    (letters.len() == LENGTH && all).then_some(letters)
}

/// Creates a short code, as it is shown: two groups of four letters.
fn short_code() -> Result<String> {
    let mut code = String::new();
    while code.len() < LENGTH {
        for byte in random::<16>()? {
            // A multiple of the number of letters, so that each is as likely.
            if byte < 240 && code.len() < LENGTH {
                code.push(LETTERS[usize::from(byte) % LETTERS.len()].into());
            }
        }
    }
    code.insert(LENGTH / 2, '-');
    Ok(code)
}

impl ServerDirectory {
    /// Begins to sign a program in. Returns its secret code, and the short code to show.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] if too many wait, and those of the store.
    pub(crate) async fn begin_device(&self, program: &str) -> Result<(Secret, String)> {
        let now = SystemClock.now();
        let known = self.list::<DeviceCode>(None, TABLE).await?;
        let (waiting, old): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|known| known.expires_at > now);
        if waiting.len() >= MOST {
            let problem = "too many programs wait to be signed in; try again in ten minutes";
            return Err(Error::new(ErrorKind::RateLimited, problem).with_retry_after(LIFETIME));
        }
        let user_code = loop {
            let code = short_code()?;
            if waiting.iter().all(|other| other.user_code != code) {
                break code;
            }
        };
        let Minted { token, id, hash } = opaque::mint(PREFIX, &[0; 16])?;
        let visible = program.chars().filter(|it| !it.is_control());
        let device = DeviceCode {
            id,
            hash,
            user_code: user_code.clone(),
            program: visible.take(PROGRAM).collect(),
            expires_at: now + LIFETIME,
            state: State::Waiting,
        };
        let delete = |old: &DeviceCode| RowChange::delete(None, TABLE, &old.id);
        let mut changes: Vec<_> = old.iter().map(delete).collect();
        changes.push(RowChange::put(None, TABLE, &device.id, encode(&device)?));
        self.rows.write_rows(changes).await?;
        Ok((token, user_code))
    }

    /// Returns the device code that waits under a short code.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn waiting_device(&self, typed: &str) -> Result<Option<DeviceCode>> {
        let Some(typed) = letters(typed) else {
            return Ok(None);
        };
        let now = SystemClock.now();
        let known = self.list::<DeviceCode>(None, TABLE).await?;
        Ok(known.into_iter().find(|known| {
            let same = letters(&known.user_code).as_ref() == Some(&typed);
            same && known.state == State::Waiting && known.expires_at > now
        }))
    }

    /// Confirms a device code for a person, or refuses it. Returns whether it still waited.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn decide_device(
        &self,
        device: DeviceCode,
        confirmed: Option<Principal>,
    ) -> Result<bool> {
        let expected = Expect::Exact(encode(&device)?);
        let decided = DeviceCode {
            state: confirmed.map_or(State::Refused, State::Confirmed),
            ..device
        };
        let change = RowChange::put(None, TABLE, &decided.id, encode(&decided)?);
        self.rows.write_rows(vec![change.expecting(expected)]).await
    }

    /// Returns what became of a device code. A session is given out once.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn poll_device(&self, code: &str) -> Result<Polled> {
        let Some((_, id)) = opaque::named(PREFIX, code) else {
            return Ok(Polled::Expired);
        };
        let Some(row) = self.rows.get_row(None, TABLE, &id).await? else {
            return Ok(Polled::Expired);
        };
        let device: DeviceCode = decode(&row)?;
        if !device.hash.matches(code) || device.expires_at <= SystemClock.now() {
            return Ok(Polled::Expired);
        }
        let principal = match device.state {
            State::Waiting => return Ok(Polled::Waiting),
            State::Refused => return Ok(Polled::Refused),
            State::Confirmed(principal) => principal,
        };
        let used = RowChange::delete(None, TABLE, id).expecting(Expect::Exact(row));
        if !self.rows.write_rows(vec![used]).await? {
            return Ok(Polled::Expired);
        }
        let session = self.start_session(principal, SessionKind::Device, &device.program);
        session.await.map(Polled::Session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_code_is_read_as_people_type_it() {
        let code = short_code().unwrap();
        assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'));
        let expected = code.replace('-', "");
        for typed in [
            code.clone(),
            code.to_lowercase(),
            expected.clone(),
            format!(" {} ", code.replace('-', " ")),
        ] {
            assert_eq!(letters(&typed), Some(expected.clone()), "{typed}");
        }
        for typed in ["", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "ÄCDF-GHJK"] {
            assert_eq!(letters(typed), None, "{typed}");
        }
    }
}
