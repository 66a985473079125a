//! Secrets that are not printed.

use std::fmt;

use serde::Deserialize;

/// A token, key or password. It prints as `***`; [`Secret::expose`] returns the value.
///
/// It can be deserialised, from configuration and requests, but not serialised. A struct that derives `Serialize` and contains a
/// secret does not compile unless the field names a function that writes it (`#[serde(serialize_with = "..")]`).
///
/// ```compile_fail
/// serde_json::to_string(&konstruct_core::Secret::new("xoxb-1")).unwrap();
/// ```
///
/// ```
/// use konstruct_core::Secret;
///
/// let token = Secret::new("xoxb-1");
/// assert_eq!(format!("{token:?} {token}"), "*** ***");
/// assert_eq!(token.expose(), "xoxb-1");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret itself. Use it in a header or a hash, but never in a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the last four characters to identify the secret, or nothing if it is shorter than 12 characters.
    pub fn end(&self) -> &str {
        let from = self.0.char_indices().rev().nth(3).map(|(at, _)| at);
        from.filter(|from| *from >= 8)
            .map_or("", |from| &self.0[from..])
    }

    /// Returns whether the secret is empty. An empty signing key makes signatures forgeable.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
