//! Links to this server, as people get them.

use std::net::SocketAddr;

use konstruct_core::Secret;

use crate::{config::Config, directory::Principal};

/// Makes links to this server.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    base: String,
    /// Whether browsers use HTTPS.
    secure: bool,
}

impl Links {
    /// Returns links below the public URL or, without one, of a listener at this address.
    pub(crate) fn new(config: &Config, listening: SocketAddr) -> Self {
        if let Some(url) = config.public_uri() {
            return Self {
                base: config.public_url.trim_end_matches('/').to_owned(),
                secure: url.scheme_str() == Some("https"),
            };
        }
        let host = match listening.ip() {
            ip if ip.is_unspecified() => format!("localhost:{}", listening.port()),
            _ => listening.to_string(),
        };
        Self {
            base: format!("http://{host}"),
            secure: false,
        }
    }

    /// Returns whether browsers use HTTPS.
    pub(crate) fn are_secure(&self) -> bool {
        self.secure
    }

    /// Returns the link of a page.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the link that accepts an invitation.
    pub(crate) fn invitation(&self, code: &Secret) -> String {
        self.page(&format!("/sign-in/invitation?code={}", code.expose()))
    }

    /// Returns the link that uses a one-time code.
    pub(crate) fn one_time(&self, principal: Principal, code: &Secret) -> String {
        let page = match principal {
            Principal::Operator => "operator",
            Principal::Member(_) => "reset",
        };
        self.page(&format!("/sign-in/{page}?code={}", code.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_public_url_or_the_listener() {
        let check = |public: &'static str, listening: &str, expected: &str, secure: bool| {
            let variable = |name: &str| (name == "KONSTRUCT_PUBLIC_URL").then(|| public.to_owned());
            let config = Config::load(None, variable).unwrap();
            let links = Links::new(&config, listening.parse().unwrap());
            assert_eq!(links.page("/x"), expected);
            assert_eq!(links.are_secure(), secure);
        };
        check("", "127.0.0.1:8080", "http://127.0.0.1:8080/x", false);
        check("", "0.0.0.0:80", "http://localhost:80/x", false);
        check("", "[::1]:80", "http://[::1]:80/x", false);
        check(
            "https://k.example/",
            "0.0.0.0:80",
            "https://k.example/x",
            true,
        );
        check(
            "http://k.example",
            "0.0.0.0:80",
            "http://k.example/x",
            false,
        );
    }
}
