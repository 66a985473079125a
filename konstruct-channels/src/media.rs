//! Fetching what was attached: from the provider's own hosts only, bounded, and checked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use konstruct_core::{Error, ErrorKind, Result, Secret};
use reqwest::{
    Client, Response, Url,
    header::{CONTENT_TYPE, LOCATION},
};
use sha2::{Digest as _, Sha256};

use crate::http;

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
            let mut request = self.client.get(url.clone());
            if url.origin() == first {
                request = request.bearer_auth(self.token.expose());
            }
            let response = request.send().await.map_err(unavailable)?;
            if response.status().is_redirection() {
                url = target(&url, &response)?;
                continue;
            }
            if !response.status().is_success() {
                // A fetch changes nothing: whatever failed may be tried again.
                let kind = match http::status_kind(response.status()) {
                    ErrorKind::Ambiguous => ErrorKind::Unavailable,
                    kind => kind,
                };
                return Err(Error::new(
                    kind,
                    format!("status {}", response.status().as_u16()),
                ));
            }
            let mime = response.headers().get(CONTENT_TYPE);
            let mime = mime
                .and_then(|mime| mime.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            return Ok((http::read(response, max_bytes).await?, mime));
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
    let location = response.headers().get(LOCATION);
    location
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "a redirect to nowhere"))
}

/// A fetch changes nothing, so a failed one has done nothing.
pub(crate) fn unavailable(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "not reached").with_source(error.without_url())
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
