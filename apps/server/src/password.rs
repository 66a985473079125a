//! Passwords: Argon2id on blocking threads, a few at a time, because each needs 19 MiB and much of a core.

use std::{collections::HashSet, fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _},
};
use konstruct_core::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::secrets::random;

/// The most passwords that are hashed at the same time, on half of the cores at most.
const AT_ONCE: usize = 4;
/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(10);
/// The number of characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 10..=200;
/// The fewest different characters of a password.
const DIFFERENT: usize = 5;
/// A hash with the current parameters that no password has, for people without a login.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$S29uc3RydWN0Tm9ib2R5IQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash of a password with its salt and parameters, in the PHC string format.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Hashes and verifies passwords.
#[derive(Clone, Debug)]
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new((cores / 2).clamp(1, AT_ONCE))))
    }
}

impl Passwords {
    /// Checks and hashes a new password.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names `password`, and [`ErrorKind::Unavailable`] if too many are being hashed.
    pub(crate) async fn hash(&self, password: Secret) -> Result<PasswordHash> {
        if !LENGTH.contains(&password.expose().chars().count()) {
            let problem = format!(
                "must have {} to {} characters",
                LENGTH.start(),
                LENGTH.end()
            );
            return Err(Error::invalid("password", problem));
        }
        let different: HashSet<char> = password.expose().chars().collect();
        if different.len() < DIFFERENT {
            let problem = format!("must have {DIFFERENT} different characters");
            return Err(Error::invalid("password", problem));
        }
        let salt = random::<16>()?;
        self.run(move || {
            let hashed =
                Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
            hashed
                .map(|hash| PasswordHash(hash.to_string()))
                .map_err(|error| Error::internal("could not hash a password").with_source(error))
        })
        .await?
    }

    /// Returns whether a password has this hash. Without a hash it has none, after the same time.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if too many are being hashed.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        hash: Option<PasswordHash>,
    ) -> Result<bool> {
        // A longer one has no hash, and would keep a core busy.
        if password.expose().chars().count() > *LENGTH.end() {
            return Ok(false);
        }
        self.run(move || {
            let (known, hash) = match &hash {
                Some(hash) => (true, hash.0.as_str()),
                None => (false, NOBODY),
            };
            let verified = Argon2::default().verify_password(password.expose().as_bytes(), hash);
            known && verified.is_ok()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit = self.permit().await?;
        let done = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, even if its caller is gone.
            let _permit = permit;
            work()
        });
        done.await
            .map_err(|error| Error::internal("hashing a password panicked").with_source(error))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.0).acquire_owned()).await;
        permit.ok().and_then(|permit| permit.ok()).ok_or_else(|| {
            let problem = "too many people sign in just now; try again";
            Error::new(ErrorKind::Unavailable, problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash() {
        let passwords = Passwords::default();
        let given = |text: &str| Secret::new(text);
        let hash = passwords.hash(given("correct horse")).await.unwrap();
        assert!(
            hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.0
        );
        assert_eq!(format!("{hash:?}"), "***");
        let again = passwords.hash(given("correct horse")).await.unwrap();
        assert_ne!(hash, again, "each hash has its own salt");
        let check = async |text: &str, hash: Option<&PasswordHash>, expected: bool| {
            let verified = passwords.verify(given(text), hash.cloned()).await.unwrap();
            assert_eq!(verified, expected, "{text}");
        };
        check("correct horse", Some(&hash), true).await;
        check("correct horsE", Some(&hash), false).await;
        check("", Some(&hash), false).await;
        check("correct horse", None, false).await;
        check("", None, false).await;
        check(&"x".repeat(201), Some(&hash), false).await;
        for bad in ["", "ninechars", "1212121212", &"x".repeat(201)] {
            let error = passwords.hash(given(bad)).await.unwrap_err();
            assert_eq!(error.field(), Some("password"), "{error}");
        }
    }

    #[test]
    fn people_without_a_login_cost_the_same() {
        let nobody = argon2::password_hash::phc::PasswordHash::new(NOBODY).unwrap();
        let params = argon2::Params::try_from(&nobody).unwrap();
        let same = [
            (params.m_cost(), argon2::Params::DEFAULT_M_COST),
            (params.t_cost(), argon2::Params::DEFAULT_T_COST),
            (params.p_cost(), argon2::Params::DEFAULT_P_COST),
        ];
        for (nobody, everybody) in same {
            assert_eq!(nobody, everybody);
        }
        assert_eq!(nobody.hash.map(|hash| hash.len()), Some(32));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_refused_and_not_queued_for_ever() {
        let passwords = Passwords(Arc::new(Semaphore::new(1)));
        let _busy = Arc::clone(&passwords.0).acquire_owned().await.unwrap();
        let error = passwords.verify(Secret::new("x"), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
