//! What keeps a tenant's own base URL from reaching into the operator's network.

mod address;
mod lookup;

use std::{collections::BTreeSet, error::Error as StdError, fmt, net::IpAddr, sync::Arc};

use reqwest::Url;

use self::{
    address::is_public,
    lookup::{Lookup, Resolver, System},
};
use crate::{Error, ErrorKind, Result};

/// Lets a client ask only public servers, over TLS: for a URL that a tenant chose.
///
/// * The URL is `https`.
/// * Every address that its name stands for is public, also a literal one: not of this machine, a private or link-local network, a
///   carrier's, a cloud's metadata, multicast, documentation, or IPv6 with such an address in it.
/// * Names are looked up once for each connection, and what was checked is what is connected to, so that a name that changes its
///   address in between gains nothing. No proxy of the environment is used.
/// * No client follows a redirect, guarded or not.
///
/// Hosts that the operator allows, such as an Ollama of its own, are asked as they are. What is not let through is
/// [`ErrorKind::Forbidden`]; the error does not tell the address, for that is nothing to probe a network with.
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
    /// Lets only public servers through.
    pub fn new() -> Self {
        Self {
            allowed: BTreeSet::new(),
            lookup: Arc::new(System),
        }
    }

    /// Lets a host of the operator's through too, over HTTP as well: `host:port`, or a host with all of its ports. IPv6 stands in
    /// brackets.
    #[must_use]
    pub fn allow(mut self, host: impl AsRef<str>) -> Self {
        self.allowed.insert(host.as_ref().trim().to_lowercase());
        self
    }

    /// Checks a base URL before it is kept, and looks its name up. A call checks again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what is no URL; [`ErrorKind::Forbidden`] for one that is not let through;
    /// [`ErrorKind::Unavailable`] when the name is not known.
    pub async fn check(&self, base_url: &str) -> Result<()> {
        let url =
            Url::parse(base_url).map_err(|_| Error::invalid("base_url", "not a URL to call"))?;
        if self.passes(&url)? || literal(&url).is_some() {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        match self.resolver(false).addresses(host).await {
            Ok(_) => Ok(()),
            Err(error) => match Blocked::cause(&*error) {
                Some(blocked) => Err(blocked.error()),
                None => Err(Error::new(ErrorKind::Unavailable, "no such host").with_source(error)),
            },
        }
    }

    /// Returns whether a URL is one that the operator allows; `false` where what its name stands for is to be checked still.
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

    /// Returns how names are looked up: as they are, or only public ones.
    pub(crate) fn resolver(&self, any: bool) -> Resolver {
        Resolver {
            lookup: Arc::clone(&self.lookup),
            any,
        }
    }
}

/// Returns the address that stands in a URL in the place of a name. The URL's parser has made one of its odd forms already.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let host = host.strip_prefix('[').unwrap_or(host);
    host.strip_suffix(']').unwrap_or(host).parse().ok()
}

/// Why something was not let through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blocked {
    Scheme,
    Address,
}

impl Blocked {
    /// Finds the guard's refusal among the causes of an error.
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
