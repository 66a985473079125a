//! Addresses of an API: a base from the configuration, and paths under it.

use reqwest::Url;

use crate::{Error, Result};

/// Parses a base URL from the configuration. `field` names the setting in the error.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) unless it is an HTTP or HTTPS URL.
pub fn base_url(field: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| Error::invalid(field, error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Error::invalid(
            field,
            "must be a URL that starts with https:// or http://",
        ));
    }
    Ok(url)
}

/// Appends segments to the path of a base URL, and escapes them: an id from outside cannot lead to another path.
///
/// ```
/// use konstruct_core::http::{base_url, join};
///
/// let api = base_url("api_url", "https://api.example/v1/")?;
/// assert_eq!(join(&api, &["chats", "a/../b"]).as_str(), "https://api.example/v1/chats/a%2F..%2Fb");
/// assert!(base_url("api_url", "api.example").is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
pub fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
