//! The client: one TLS set-up for everything that Konstruct sends.

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

/// How long connecting may take unless told otherwise. A request that fails here has done nothing.
const CONNECT: Duration = Duration::from_secs(5);

/// An HTTP client. Clones share their connections.
///
/// The connections are set up with the first request.
#[derive(Clone, Debug)]
pub struct Client {
    settings: ClientBuilder,
    /// For any server, and for public ones only.
    made: Arc<[OnceLock<StdResult<reqwest::Client, String>>; 2]>,
}

/// Makes a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    connect: Duration,
    timeout: Option<Duration>,
    guard: Option<Guard>,
    direct: bool,
}

impl ClientBuilder {
    /// Bounds the time to connect: 5 seconds unless told otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect = timeout;
        self
    }

    /// Bounds the time of a whole exchange, from the request to the last byte of the body. Without it, the caller bounds its waits.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets through only what the guard does: for URLs that a tenant chose. No proxy is used then, because it would look names up itself.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Ignores the proxies of the environment: for servers of this machine.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Makes the client.
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

/// The one TLS set-up. The provider and the roots are named here, so that neither a global default nor the system is asked.
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
    /// Begins a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            connect: CONNECT,
            timeout: None,
            guard: None,
            direct: false,
        }
    }

    /// Begins a client with the same settings, and with connections of its own.
    pub fn to_builder(&self) -> ClientBuilder {
        self.settings.clone()
    }

    /// Sets the connections up now instead of with the first request.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if TLS cannot be set up.
    pub fn prepare(&self) -> Result<()> {
        self.connections(true).map(drop)
    }

    /// Begins a request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is not a URL; [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden)
    /// when the guard does not let it pass; [`ErrorKind::Internal`](crate::ErrorKind::Internal) if TLS cannot be set up.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> Result<Request> {
        let url = Url::parse(url.as_ref())
            .map_err(|_| Error::invalid("base_url", "not a URL to call"))?;
        let any = match &self.settings.guard {
            None => true,
            Some(guard) => guard.passes(&url)?,
        };
        Ok(Request::new(self.connections(any)?.request(method, url)))
    }

    /// Begins a GET request.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub fn get(&self, url: impl AsRef<str>) -> Result<Request> {
        self.request(Method::GET, url)
    }

    /// Begins a POST request.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub fn post(&self, url: impl AsRef<str>) -> Result<Request> {
        self.request(Method::POST, url)
    }

    /// Returns the connections to any server, or to public ones only.
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
