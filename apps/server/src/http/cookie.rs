//! The cookie of a session, and the check that a page of this server sent the request that carries it.

use axum::http::{
    HeaderMap, HeaderValue, Method,
    header::{COOKIE, ORIGIN},
};
use konstruct_core::{Error, Result, Secret};

use crate::directory::SESSION_LIFETIME;

/// The names of the cookie over HTTP and over HTTPS. Browsers let no other host or subdomain set a cookie with the prefix `__Host-`.
const PLAIN: &str = "konstruct_session";
const SECURE: &str = "__Host-konstruct_session";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

/// Returns the token in the cookie of a request.
pub(crate) fn token(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(found, value)| (found == name(secure)).then_some(value))
}

/// Returns the value of `Set-Cookie` that starts a session.
///
/// # Errors
/// None for a token of a session, which is ASCII.
pub(crate) fn start(token: &Secret, secure: bool) -> Result<HeaderValue> {
    set(token.expose(), SESSION_LIFETIME.as_secs(), secure)
}

/// Returns the value of `Set-Cookie` that removes the cookie.
///
/// # Errors
/// None.
pub(crate) fn end(secure: bool) -> Result<HeaderValue> {
    set("", 0, secure)
}

fn set(value: &str, max_age: u64, secure: bool) -> Result<HeaderValue> {
    let name = name(secure);
    let secure = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&cookie)
        .map_err(|error| Error::internal("could not format a cookie").with_source(error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns whether a request may act with its cookie: it only reads, or a page of this server sent it.
///
/// Browsers state the origin of a request that can change something. The allow-list of the listener has compared a stated one with
/// the server's own; here, it must be stated.
pub(crate) fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    if [Method::GET, Method::HEAD].contains(method) {
        return true;
    }
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin" || site == "none",
        None => headers.contains_key(ORIGIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_cookie_of_the_scheme_counts() {
        let both = headers(&[(
            "cookie",
            "a=b; konstruct_session=plain; __Host-konstruct_session=s",
        )]);
        assert_eq!(token(&both, false), Some("plain"));
        assert_eq!(token(&both, true), Some("s"));
        assert_eq!(
            token(&headers(&[("cookie", "x_konstruct_session=a")]), false),
            None
        );
        let set = start(&Secret::new("kse_1"), true).unwrap();
        assert_eq!(
            set,
            "__Host-konstruct_session=kse_1; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(set.is_sensitive());
        let gone = end(false).unwrap();
        assert_eq!(
            gone,
            "konstruct_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn writes_of_other_pages_are_refused() {
        let check = |method: Method, pairs: &[(&'static str, &str)], expected: bool| {
            assert_eq!(
                is_ours(&method, &headers(pairs)),
                expected,
                "{method} {pairs:?}"
            );
        };
        let origin = ("origin", "https://k.example");
        check(Method::GET, &[("sec-fetch-site", "cross-site")], true);
        check(Method::POST, &[], false);
        check(Method::POST, &[origin], true);
        check(Method::POST, &[("sec-fetch-site", "same-origin")], true);
        check(
            Method::POST,
            &[("sec-fetch-site", "same-site"), origin],
            false,
        );
        check(Method::DELETE, &[("sec-fetch-site", "cross-site")], false);
        check(Method::PUT, &[("sec-fetch-site", "none")], true);
    }
}
