//! Sessions of the demo's visitors: a cookie that only this server can create.

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use konstruct_core::{Error, Result, Secret};
use subtle::ConstantTimeEq as _;

use super::deliver::{hex_hmac, random};

/// The name of the cookie.
const NAME: &str = "konstruct_demo";
/// The length of a visitor's id in hex digits.
const ID_DIGITS: usize = 24;
/// The lifetime of the cookie, in seconds.
const MAX_AGE_SECS: u32 = 30 * 24 * 60 * 60;

/// A visitor of the demo. The id names a conversation and is not a secret; the cookie is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visitor(String);

impl Visitor {
    /// Returns the id.
    pub(super) fn id(&self) -> &str {
        &self.0
    }
}

/// Creates and verifies the demo's cookies.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    key: Secret,
    /// Whether browsers must send the cookie only over HTTPS.
    secure: bool,
}

impl Sessions {
    pub(crate) fn new(key: Secret, secure: bool) -> Self {
        Self { key, secure }
    }

    /// Returns the visitor of a request with a valid cookie.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let cookies = headers.get_all(COOKIE).into_iter();
        let pairs = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = pairs.flat_map(|value| value.split(';'));
        pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == NAME).then(|| self.check(value))?
        })
    }

    fn check(&self, value: &str) -> Option<Visitor> {
        let (id, mac) = value.split_once('.')?;
        let known = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let genuine: bool = self.mac(id).as_bytes().ct_eq(mac.as_bytes()).into();
        (known && genuine).then(|| Visitor(id.to_owned()))
    }

    fn mac(&self, id: &str) -> String {
        hex_hmac(&self.key, format!("demo visitor {id}").as_bytes())
    }

    /// Creates a visitor, and returns the value of the `Set-Cookie` header.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub(super) fn create(&self) -> Result<HeaderValue> {
        let id = random("")?;
        let mac = self.mac(&id);
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{NAME}={id}.{mac}; Path=/demo; Max-Age={MAX_AGE_SECS}; HttpOnly; SameSite=Lax{secure}"
        );
        HeaderValue::from_str(&cookie).map_err(|error| {
            Error::internal("could not format the session cookie").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_an_issued_cookie_names_a_visitor() {
        let sessions = Sessions::new(Secret::new("key"), true);
        let set = sessions.create().unwrap();
        let set = set.to_str().unwrap();
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/demo"] {
            assert!(set.contains(attribute), "{set}");
        }
        let issued = set.split(';').next().unwrap();
        let visitor = sessions.visitor(&cookie(&format!("a=b; {issued}")));
        let visitor = visitor.expect("the issued cookie is valid");
        let (_, mac) = issued.split_once('.').unwrap();
        let id = visitor.id();
        for forged in [
            String::new(),
            "konstruct_demo=".into(),
            format!("konstruct_demo={id}"),
            format!("konstruct_demo={id}."),
            format!("konstruct_demo={}.{mac}", "0".repeat(ID_DIGITS)),
            format!("konstruct_demo={id}.{}", "0".repeat(mac.len())),
            format!("other={id}.{mac}"),
        ] {
            assert_eq!(sessions.visitor(&cookie(&forged)), None, "{forged}");
        }
        let others = Sessions::new(Secret::new("another key"), true);
        assert_eq!(others.visitor(&cookie(issued)), None);
    }
}
