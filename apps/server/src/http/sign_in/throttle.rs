//! Limits on attempts: of an address, on a login, and of both together. An unknown login is limited like a known one.

use std::time::Duration;

use konstruct_core::{
    TenantId,
    limit::{Decision, LimitKey, Quota},
};

use super::Page;
use crate::{App, http::called_from::CalledFrom};

const MINUTE: Duration = Duration::from_secs(60);

/// Something that can be guessed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attempt<'a> {
    /// The password of a login, by the hash of its address.
    Password(&'a str),
    /// A code in a link. Only wrong ones are counted: a code is too long to be guessed, and whoever guesses must not be able to
    /// keep its owner out.
    Code,
    /// The short code of a device, by somebody who is signed in.
    DeviceCode(&'a str),
    /// The code of a device that waits.
    Poll(&'a str),
    /// A mail with a link, by the hash of the address.
    Mail(&'a str),
    /// A device that begins to wait.
    Device,
}

impl Attempt<'_> {
    /// Returns the limits: each a name, a number of attempts, and the time in which they are allowed again.
    fn limits(self, from: Option<String>) -> Vec<(String, u32, Duration)> {
        let of_address = |what: &str, count: u32| {
            let from = from.clone()?;
            Some((format!("{what}:from:{from}"), count, 15 * MINUTE))
        };
        let mut limits = match self {
            Self::Password(login) => {
                let pair = format!("password:{login}:{}", from.clone().unwrap_or_default());
                vec![
                    (pair, 10, 15 * MINUTE),
                    (format!("password:{login}"), 50, 60 * MINUTE),
                ]
            }
            Self::Code => vec![("code".into(), 60, MINUTE)],
            Self::DeviceCode(principal) => vec![(format!("device:{principal}"), 10, 10 * MINUTE)],
            Self::Poll(code) => vec![(format!("poll:{code}"), 15, MINUTE)],
            Self::Mail(login) => vec![(format!("mail:{login}"), 3, 60 * MINUTE)],
            Self::Device => vec![("devices".into(), 120, MINUTE)],
        };
        limits.extend(match self {
            Self::Password(_) => of_address("password", 50),
            Self::Code => of_address("code", 30),
            Self::Mail(_) => of_address("mail", 20),
            Self::Device => of_address("device", 20),
            Self::DeviceCode(_) | Self::Poll(_) => None,
        });
        limits
    }
}

/// Counts an attempt.
///
/// # Errors
/// The time to wait, if there were too many.
pub(super) async fn count(
    app: &App,
    from: CalledFrom,
    attempt: Attempt<'_>,
) -> Result<(), Duration> {
    let keys: Vec<_> = attempt
        .limits(from.name())
        .into_iter()
        .filter_map(|(of, count, per)| {
            let key = LimitKey {
                tenant: TenantId::from_bytes([0; 16]),
                of: format!("sign-in:{of}"),
            };
            Some((key, Quota::new(count, per, count).ok()?))
        })
        .collect();
    match app.limiter.check(&keys).await {
        Ok(Decision::Limited { retry_after, .. }) => Err(retry_after),
        Ok(Decision::Allowed) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "could not count an attempt to sign in");
            Ok(())
        }
    }
}

/// Counts an attempt, and returns the page that refuses one too many.
pub(super) async fn limited(app: &App, from: CalledFrom, attempt: Attempt<'_>) -> Result<(), Page> {
    count(app, from, attempt).await.map_err(Page::too_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_limited_by_login_and_by_address() {
        let names = |attempt: Attempt<'_>, from: Option<&str>| {
            let limits = attempt.limits(from.map(str::to_owned)).into_iter();
            limits.map(|(name, ..)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Attempt::Password("h"), Some("a")),
            ["password:h:a", "password:h", "password:from:a"]
        );
        assert_eq!(
            names(Attempt::Password("h"), None),
            ["password:h:", "password:h"]
        );
        assert_eq!(names(Attempt::Code, Some("a")), ["code", "code:from:a"]);
        assert_eq!(names(Attempt::Poll("c"), Some("a")), ["poll:c"]);
    }
}
