//! The guard that prevents a tenant's base URL from reaching the operator's network.

mod address;
mod lookup;

use std::{collections::BTreeSet, error::Error as StdError, fmt, net::IpAddr, sync::Arc};

use reqwest::Url;

use self::{
    address::is_public,
    lookup::{Lookup, Resolver, System},
};
use crate::{Error, ErrorKind, Result};

/// Restricts a client to public servers over TLS, for URLs that a tenant chose.
///
/// * The URL must be `https`.
/// * Every address of the host must be public, including a literal one: not of this machine, a private, link-local or carrier
///   network, a cloud's metadata service, multicast, documentation, or IPv6 with such an IPv4 address embedded.
/// * A name is resolved once for each connection, and the client connects to the addresses that were checked, so that DNS
///   rebinding has no effect. The proxies of the environment are not used.
/// * Clients never follow redirects, with or without a guard.
///
/// Hosts that the operator allows, such as its own Ollama server, are not checked. A refused URL is [`ErrorKind::Forbidden`]. The
/// error does not contain the address, so it cannot be used to probe a network.
///
/// ```
/// use konstruct_core::{ErrorKind, http::{Client, Guard}};
///
/// let client = Client::builder().guard(Guard::new().allow("10.0.0.7:11434")).build();
/// assert!(client.get("http://10.0.0.7:11434/api/tags").is_ok());
/// let error = client.get("https://169.254.169.254/latest").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Forbidden);
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: BTreeSet<String>,
    lookup: Arc<dyn Lookup>,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard {
    /// Creates a guard that allows only public servers.
    pub fn new() -> Self {
        Self {
            allowed: BTreeSet::new(),
            lookup: Arc::new(System),
        }
    }

    /// Also allows a host of the operator, over HTTP as well: `host:port`, or a host with all of its ports. IPv6 addresses are in
    /// brackets.
    #[must_use]
    pub fn allow(mut self, host: impl AsRef<str>) -> Self {
        self.allowed.insert(host.as_ref().trim().to_lowercase());
        self
    }

    /// Checks a base URL before it is stored, and resolves its host. A request checks again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an invalid URL, [`ErrorKind::Forbidden`] for one that is not allowed, and
    /// [`ErrorKind::Unavailable`] for an unknown host.
    pub async fn check(&self, base_url: &str) -> Result<()> {
        let url =
            Url::parse(base_url).map_err(|_| Error::invalid("base_url", "is not a valid URL"))?;
        if self.passes(&url)? || literal(&url).is_some() {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        match self.resolver(false).addresses(host).await {
            Ok(_) => Ok(()),
            Err(error) => {
                match Blocked::cause(&*error) {
                    Some(blocked) => Err(blocked.error()),
                    None => Err(Error::new(ErrorKind::Unavailable, "the host is unknown")
                        .with_source(error)),
                }
            }
        }
    }

    /// Returns whether the operator allows a URL explicitly; `false` if its resolved addresses must still be checked.
    pub(crate) fn passes(&self, url: &Url) -> Result<bool> {
        let Some(host) = url.host_str() else {
            return Err(Error::invalid("base_url", "has no host"));
        };
        let port = url.port_or_known_default().unwrap_or_default();
        if self.allowed.contains(host) || self.allowed.contains(&format!("{host}:{port}")) {
            return Ok(true);
        }
        if url.scheme() != "https" {
            return Err(Blocked::Scheme.error());
        }
        match literal(url) {
            Some(address) if !is_public(address) => Err(Blocked::Address.error()),
            _ => Ok(false),
        }
    }

    /// Returns the resolver, for all addresses or for public ones only.
    pub(crate) fn resolver(&self, any: bool) -> Resolver {
        Resolver {
            lookup: Arc::clone(&self.lookup),
            any,
        }
    }
}

/// Returns the literal address in a URL, if it has one. The URL parser has normalised unusual notations already.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let host = host.strip_prefix('[').unwrap_or(host);
    host.strip_suffix(']').unwrap_or(host).parse().ok()
}

/// The reason why a URL was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blocked {
    Scheme,
    Address,
}

impl Blocked {
    /// Finds the guard's refusal among the sources of an error.
    pub(crate) fn cause(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(blocked) = error.downcast_ref() {
                return Some(*blocked);
            }
            next = error.source();
        }
        None
    }

    pub(crate) fn error(self) -> Error {
        Error::new(ErrorKind::Forbidden, format!("base_url: {self}"))
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "must begin with https://",
            Self::Address => "is not on the public network",
        })
    }
}

impl StdError for Blocked {}

#[cfg(test)]
mod tests;
