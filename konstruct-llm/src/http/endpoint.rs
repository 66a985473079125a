//! Identifies the server and the credential of a model.

use konstruct_core::{http::Url, llm::ModelInfo};
use sha2::{Digest as _, Sha256};

/// Adds the server's address and the credential's fingerprint to a model's description.
pub(crate) fn describe(info: &mut ModelInfo, base_url: &str, credential: &str) {
    info.server = server(base_url);
    info.origin = Some(origin(&info.provider, credential));
}

/// Returns a base URL without spaces around it and without a slash at its end.
#[cfg(feature = "openai")]
pub(crate) fn without_slash(url: impl AsRef<str>) -> String {
    url.as_ref().trim().trim_end_matches('/').into()
}

/// Returns `host:port` of a base URL.
pub(crate) fn server(base_url: &str) -> Option<String> {
    let url = Url::parse(base_url).ok()?;
    Some(format!(
        "{}:{}",
        url.host_str()?,
        url.port_or_known_default()?
    ))
}

/// Returns the provider's name and a fingerprint of the credential, which is stable across restarts.
fn origin(provider: &str, credential: &str) -> String {
    let digest = Sha256::digest(credential.as_bytes());
    let hex: String = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{provider}/{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let check = |url, expected: Option<&str>| {
            assert_eq!(server(url).as_deref(), expected, "{url}");
        };
        check("https://api.anthropic.com", Some("api.anthropic.com:443"));
        check("http://127.0.0.1:11434", Some("127.0.0.1:11434"));
        check("http://[::1]/v1", Some("[::1]:80"));
        check("no url", None);
    }

    #[test]
    fn origins_are_distinct_and_stable() {
        assert_eq!(origin("openai", "abc"), "openai/ba7816bf");
        assert_ne!(origin("openai", "abc"), origin("openai", "abd"));
    }
}
