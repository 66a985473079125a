//! E-mail addresses of people who sign in.

use std::fmt;

use konstruct_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The most characters of an address (RFC 5321).
const LONGEST: usize = 254;

/// An e-mail address in lower case, so that one mailbox has one login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Email(String);

impl Email {
    /// Parses an address.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names `email`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim().to_lowercase();
        // A domain without a dot is a machine's, and a comment or a quoted text is not what people type.
        let plain = |text: &str| !text.contains(['"', '(', '<', '[', ',', ';']);
        let public = text
            .rsplit_once('@')
            .is_some_and(|(_, domain)| domain.contains('.'));
        let valid = text.len() <= LONGEST && text.parse::<lettre::Address>().is_ok();
        if valid && public && plain(&text) {
            return Ok(Self(text));
        }
        let problem = "must be an e-mail address such as ana@example.com";
        Err(Error::invalid("email", problem))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the `@`, the name of a person who has given no other.
    pub(crate) fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(local, _)| local)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_has_one_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = Email::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Email::as_str), expected, "{text}");
        };
        check(" Ana@Example.COM ", Some("ana@example.com"));
        check("ana+shop@example.com", Some("ana+shop@example.com"));
        check("", None);
        check("ana", None);
        check("ana@localhost", None);
        check("ana@example.com\nBcc: eve@example.com", None);
        check("ana@example.com, eve@example.com", None);
        check("<ana@example.com>", None);
        check(&format!("{}@example.com", "a".repeat(250)), None);
    }
}
