//! Resolves host names to the addresses that a client connects to.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Blocked, address::is_public};

/// A resolver of host names.
#[async_trait]
pub(super) trait Lookup: fmt::Debug + Send + Sync {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Debug)]
pub(super) struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// The resolver of one client. The client connects to the addresses that it returns.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(super) lookup: Arc<dyn Lookup>,
    /// Whether all addresses are allowed.
    pub(super) any: bool,
}

impl Resolver {
    /// Returns the addresses of a host if all of them are allowed. A mix of public and private addresses is treated as an attack.
    pub(super) async fn addresses(
        &self,
        host: &str,
    ) -> Result<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>> {
        let addresses = self.lookup.lookup(host).await?;
        if !self.any && !addresses.iter().all(|address| is_public(address.ip())) {
            return Err(Blocked::Address.into());
        }
        Ok(addresses)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
