//! Secrets that do not print.

use std::fmt;

use serde::Deserialize;

/// A token, key or password. It prints as `***`, and must be asked for with [`Secret::expose`].
///
/// It is read from configuration and requests, and never serialised by itself: a struct that is derived `Serialize` and holds a secret
/// does not compile, until the field names the function that writes it (`#[serde(serialize_with = "..")]`).
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

    /// Returns the secret itself, for a header or a hash, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns its last four characters, to tell it by; of a short one nothing, for that would be too much of it.
    pub fn end(&self) -> &str {
        let from = self.0.char_indices().rev().nth(3).map(|(at, _)| at);
        from.filter(|from| *from >= 8)
            .map_or("", |from| &self.0[from..])
    }

    /// Returns whether there is nothing in it; an empty signing key is forgeable.
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
