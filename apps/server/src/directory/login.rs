//! Logins: a person's e-mail address and password. One login is a member of any number of tenants, so it is a row of the operator.
//!
//! Keys of rows are not sealed, so the index by address has a keyed hash of it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_core::{Clock as _, Error, Result, Secret, SystemClock, Timestamp, id::MemberId};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Email, ServerDirectory, decode, encode};
use crate::{password::PasswordHash, secrets};

const TABLE: &str = "logins";
const BY_EMAIL: &str = "login_emails";
/// The name of the secret that keys hashes.
const HASH_KEY: &str = "keyed_hashes";

/// A person who signs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) id: MemberId,
    pub(crate) email: Email,
    /// The name that the team sees, 1 to 100 characters.
    pub(crate) name: String,
    pub(crate) password: PasswordHash,
    pub(crate) created_at: Timestamp,
    /// Increased by each change.
    pub(crate) version: u32,
}

/// A login as it is stored, with the bytes that a change expects.
#[derive(Clone, Debug)]
pub(super) struct StoredLogin {
    pub(super) login: Login,
    bytes: Vec<u8>,
}

impl StoredLogin {
    /// Returns the change to the next version, with a change of its own.
    pub(super) fn changed(&self, change: impl FnOnce(&mut Login)) -> Result<RowChange> {
        let mut next = self.login.clone();
        change(&mut next);
        next.version += 1;
        let put = RowChange::put(None, TABLE, next.id.to_string(), encode(&next)?);
        Ok(put.expecting(Expect::Exact(self.bytes.clone())))
    }

    /// Returns the change that removes it.
    pub(super) fn deleted(&self) -> RowChange {
        let delete = RowChange::delete(None, TABLE, self.login.id.to_string());
        delete.expecting(Expect::Exact(self.bytes.clone()))
    }
}

/// Checks the name that a person has chosen.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names `name`.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let problem = "must be 1 to 100 characters, none of them a control character";
        return Err(Error::invalid("name", problem));
    }
    Ok(name.into())
}

impl Login {
    /// Creates a login.
    pub(super) fn new(email: Email, name: String, password: PasswordHash) -> Self {
        Self {
            id: MemberId::new(),
            email,
            name,
            password,
            created_at: SystemClock.now(),
            version: 1,
        }
    }
}

impl ServerDirectory {
    /// Returns a login.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn login(&self, id: MemberId) -> Result<Option<Login>> {
        Ok(self.stored_login(id).await?.map(|stored| stored.login))
    }

    /// Returns the login of an address.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn login_of(&self, email: &Email) -> Result<Option<Login>> {
        let key = self.email_key(email).await?;
        match self.read::<MemberId>(None, BY_EMAIL, &key).await? {
            Some(id) => self.login(id).await,
            None => Ok(None),
        }
    }

    /// Sets the password of a login, together with other changes, and ends its links to a new password. Returns whether the login and
    /// the rows of the other changes were as expected; otherwise nothing is changed.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn set_password(
        &self,
        login: MemberId,
        password: PasswordHash,
        mut with: Vec<RowChange>,
    ) -> Result<bool> {
        let Some(stored) = self.stored_login(login).await? else {
            return Ok(false);
        };
        with.push(stored.changed(|login| login.password = password)?);
        if !self.rows.write_rows(with).await? {
            return Ok(false);
        }
        // Other links to a new password are of the time before it.
        self.end_codes(&login.into()).await?;
        Ok(true)
    }

    pub(super) async fn stored_login(&self, id: MemberId) -> Result<Option<StoredLogin>> {
        let Some(bytes) = self.rows.get_row(None, TABLE, &id.to_string()).await? else {
            return Ok(None);
        };
        let login = decode(&bytes)?;
        Ok(Some(StoredLogin { login, bytes }))
    }

    /// Returns the changes that add a login whose address has none.
    pub(super) async fn added_login(&self, login: &Login) -> Result<[RowChange; 2]> {
        let key = self.email_key(&login.email).await?;
        Ok([
            RowChange::put(None, TABLE, login.id.to_string(), encode(login)?)
                .expecting(Expect::Absent),
            RowChange::put(None, BY_EMAIL, key, encode(&login.id)?).expecting(Expect::Absent),
        ])
    }

    /// Returns the changes that remove a login.
    pub(super) async fn removed_login(&self, stored: &StoredLogin) -> Result<[RowChange; 2]> {
        let key = self.email_key(&stored.login.email).await?;
        Ok([stored.deleted(), RowChange::delete(None, BY_EMAIL, key)])
    }

    /// Returns a keyed hash of an address, which names it in keys of rows and of rate limits.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn email_key(&self, email: &Email) -> Result<String> {
        self.keyed_hash(email.as_str()).await
    }

    /// Returns a keyed hash of a text that could be guessed from a plain one.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn keyed_hash(&self, text: &str) -> Result<String> {
        let (key, _) = secrets::ensure(&*self.rows, HASH_KEY, &Secret::new("")).await?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
            .map_err(|error| Error::internal("could not key a hash").with_source(error))?;
        mac.update(text.as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }
}
