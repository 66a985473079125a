//! Fetching what was attached: from the provider's own hosts only, bounded, and checked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use konstruct_core::{
    Error, ErrorKind, Result, Secret,
    http::{Client, Response, Url},
};
use sha2::{Digest as _, Sha256};

/// How many redirects are followed.
const REDIRECTS: usize = 3;

/// Where files may be fetched from, and what with.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) client: Client,
    pub(crate) token: Secret,
    /// The configured API; its origin is trusted, whatever its scheme.
    pub(crate) api: Url,
    /// The provider's hosts of files, over HTTPS.
    pub(crate) hosts: &'static [&'static str],
}

impl Source {
    /// Fetches a file. Every step of a redirect must be allowed, and the token goes to the first origin only.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for a host that is not the provider's, [`ErrorKind::TooLarge`], and what the host answers.
    pub(crate) async fn fetch(&self, url: &str, max_bytes: u64) -> Result<(Bytes, String)> {
        let mut url = Url::parse(url).map_err(|error| Error::invalid("url", error))?;
        let first = url.origin();
        for _ in 0..=REDIRECTS {
            if !self.allows(&url) {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    "not a host of the provider's files",
                ));
            }
            let mut request = self.client.get(&url)?;
            if url.origin() == first {
                request = request.bearer(&self.token);
            }
            let response = request.send().await.map_err(undone)?;
            if (300..400).contains(&response.status()) {
                url = target(&url, &response)?;
                continue;
            }
            if !response.is_success() {
                let message = format!("status {}", response.status());
                let error = Error::new(response.kind(), message);
                return Err(undone(match response.retry_after() {
                    Some(wait) => error.with_retry_after(wait),
                    None => error,
                }));
            }
            let mime = response.header("content-type").unwrap_or_default();
            let mime = mime.to_owned();
            let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
            return Ok((response.body(most).await.map_err(undone)?, mime));
        }
        Err(Error::new(ErrorKind::Protocol, "too many redirects"))
    }

    fn allows(&self, url: &Url) -> bool {
        let theirs = url.scheme() == "https"
            && url.port_or_known_default() == Some(443)
            && url
                .host_str()
                .is_some_and(|host| self.hosts.contains(&host));
        theirs || url.origin() == self.api.origin()
    }
}

fn target(from: &Url, response: &Response) -> Result<Url> {
    response
        .header("location")
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "a redirect to nowhere"))
}

/// A fetch changes nothing, so one that broke has done nothing and may be tried again.
fn undone(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Ambiguous | ErrorKind::Truncated => {
            let undone = Error::new(ErrorKind::Unavailable, error.message());
            let undone = match error.retry_after() {
                Some(wait) => undone.with_retry_after(wait),
                None => undone,
            };
            undone.with_source(error)
        }
        _ => error,
    }
}

/// Compares a file with the SHA-256 that was announced, in base64 or hex.
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
            "the file is not the one that was announced",
        ))
    }
}
