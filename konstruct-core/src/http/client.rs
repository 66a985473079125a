//! The HTTP client: one TLS configuration for all outgoing requests.

use std::{
    error::Error as StdError,
    result::Result as StdResult,
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Method, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};

use super::{Guard, Request};
use crate::{Error, Result};

/// The default connect timeout. A request that fails while connecting has had no effect.
const CONNECT: Duration = Duration::from_secs(5);

/// An HTTP client. Clones share a connection pool.
///
/// The pool is created with the first request.
#[derive(Clone, Debug)]
pub struct Client {
    settings: ClientBuilder,
    /// The pools for any server, and for public servers only.
    made: Arc<[OnceLock<StdResult<reqwest::Client, String>>; 2]>,
}

/// Builds a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    connect: Duration,
    timeout: Option<Duration>,
    guard: Option<Guard>,
    direct: bool,
}

impl ClientBuilder {
    /// Sets the connect timeout; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect = timeout;
        self
    }

    /// Sets the timeout of a whole exchange, from the request to the last byte of the body. Without it, the caller must limit its
    /// own waits.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Restricts requests to what a guard allows, for URLs that a tenant chose. Disables proxies, because a proxy would resolve
    /// names itself.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Ignores the proxy settings of the environment, for servers on this machine.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Builds the client.
    pub fn build(self) -> Client {
        Client {
            settings: self,
            made: Arc::default(),
        }
    }

    fn make(&self, any: bool) -> StdResult<reqwest::Client, Box<dyn StdError + Send + Sync>> {
        let connect = self
            .timeout
            .map_or(self.connect, |all| all.min(self.connect));
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(connect)
            .user_agent(concat!("konstruct/", env!("CARGO_PKG_VERSION")));
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if self.direct {
            builder = builder.no_proxy();
        }
        if let Some(guard) = &self.guard {
            builder = builder.no_proxy().dns_resolver(guard.resolver(any));
        }
        Ok(builder.build()?)
    }
}

/// The TLS configuration. It names the crypto provider and the root certificates explicitly, so it does not depend on a global
/// default or on the system.
fn tls() -> StdResult<ClientConfig, rustls::Error> {
    static TLS: OnceLock<StdResult<ClientConfig, rustls::Error>> = OnceLock::new();
    TLS.get_or_init(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    })
    .clone()
}

impl Client {
    /// Starts building a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            connect: CONNECT,
            timeout: None,
            guard: None,
            direct: false,
        }
    }

    /// Starts building a client with the same settings and its own connection pool.
    pub fn to_builder(&self) -> ClientBuilder {
        self.settings.clone()
    }

    /// Creates the connection pool now instead of with the first request.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if TLS cannot be configured.
    pub fn prepare(&self) -> Result<()> {
        self.connections(true).map(drop)
    }

    /// Starts a request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid URL,
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) if the guard does not allow it, and
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if TLS cannot be configured.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> Result<Request> {
        let url = Url::parse(url.as_ref())
            .map_err(|_| Error::invalid("base_url", "is not a valid URL"))?;
        let any = match &self.settings.guard {
            None => true,
            Some(guard) => guard.passes(&url)?,
        };
        Ok(Request::new(self.connections(any)?.request(method, url)))
    }

    /// Starts a GET request.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub fn get(&self, url: impl AsRef<str>) -> Result<Request> {
        self.request(Method::GET, url)
    }

    /// Starts a POST request.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub fn post(&self, url: impl AsRef<str>) -> Result<Request> {
        self.request(Method::POST, url)
    }

    /// Returns the connection pool for any server, or for public servers only.
    fn connections(&self, any: bool) -> Result<&reqwest::Client> {
        let made = self.made[usize::from(!any)].get_or_init(|| {
            let made = self.settings.make(any);
            made.map_err(|error| error.to_string())
        });
        made.as_ref().map_err(|problem| {
            Error::internal(format!("could not set up the HTTP client: {problem}"))
        })
    }
}
