//! Downloads attachments: only from the provider's own hosts, limited in size, and verified.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use konstruct_core::{
    Error, ErrorKind, Result, Secret,
    http::{Client, Response, Url},
};
use sha2::{Digest as _, Sha256};

/// The maximum number of redirects.
const REDIRECTS: usize = 3;

/// The hosts and the token for downloads.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) client: Client,
    pub(crate) token: Secret,
    /// The configured API; its origin is trusted, even without HTTPS.
    pub(crate) api: Url,
    /// The provider's file hosts, over HTTPS.
    pub(crate) hosts: &'static [&'static str],
}

impl Source {
    /// Downloads a file. Every step of a redirect must be permitted, and only the first origin receives the token.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for a host that is not the provider's, [`ErrorKind::TooLarge`], and the errors of the host.
    pub(crate) async fn fetch(&self, url: &str, max_bytes: u64) -> Result<(Bytes, String)> {
        let mut url = Url::parse(url).map_err(|error| Error::invalid("url", error))?;
        let first = url.origin();
        for _ in 0..=REDIRECTS {
            if !self.allows(&url) {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    "the file's host is not one of the provider's file hosts",
                ));
            }
            let mut request = self.client.get(&url)?;
            if url.origin() == first {
                request = request.bearer(&self.token);
            }
            let response = request.send().await.map_err(retryable)?;
            if (300..400).contains(&response.status()) {
                url = target(&url, &response)?;
                continue;
            }
            if !response.is_success() {
                let message = format!("status {}", response.status());
                let error = Error::new(response.kind(), message);
                return Err(retryable(match response.retry_after() {
                    Some(wait) => error.with_retry_after(wait),
                    None => error,
                }));
            }
            let mime = response.header("content-type").unwrap_or_default();
            let mime = mime.to_owned();
            let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
            return Ok((response.body(most).await.map_err(retryable)?, mime));
        }
        Err(Error::new(ErrorKind::Protocol, "too many redirects"))
    }

    fn allows(&self, url: &Url) -> bool {
        is_theirs(url, self.hosts, &self.api)
    }
}

/// Returns whether a URL belongs to the provider: one of its hosts over HTTPS, or the origin of the configured API.
pub(crate) fn is_theirs(url: &Url, hosts: &[&str], api: &Url) -> bool {
    let theirs = url.scheme() == "https"
        && url.port_or_known_default() == Some(443)
        && url.host_str().is_some_and(|host| hosts.contains(&host));
    theirs || url.origin() == api.origin()
}

fn target(from: &Url, response: &Response) -> Result<Url> {
    response
        .header("location")
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "a redirect without a valid location"))
}

/// Marks a failed download as retryable, because it has no effect.
fn retryable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Ambiguous | ErrorKind::Truncated => {
            let retryable = Error::new(ErrorKind::Unavailable, error.message());
            let retryable = match error.retry_after() {
                Some(wait) => retryable.with_retry_after(wait),
                None => retryable,
            };
            retryable.with_source(error)
        }
        _ => error,
    }
}

/// Compares a file with its announced SHA-256, in base64 or hex.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if they differ.
pub(crate) fn check_digest(bytes: &[u8], announced: &str) -> Result<()> {
    let digest = Sha256::digest(bytes);
    let same = announced.eq_ignore_ascii_case(&hex::encode(digest))
        || announced.trim_end_matches('=') == STANDARD.encode(digest).trim_end_matches('=');
    if same {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::Corrupt,
            "the file does not match its announced SHA-256",
        ))
    }
}
