//! The address of the client that sent a request.

use std::{convert::Infallible, net::IpAddr};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::proxy::ClientAddress;

/// The address of a client, as the guard found it. Where there is none, limits of an address do not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CalledFrom(pub(crate) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for CalledFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<ClientAddress>();
        Ok(Self(client.map(|client| client.0)))
    }
}

impl CalledFrom {
    /// Returns the name under which its attempts are counted: of an IPv6 address the network, of which a client can use every address.
    pub(crate) fn name(self) -> Option<String> {
        Some(match self.0?.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => hex::encode(&address.octets()[..8]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_have_one_name() {
        let name = |text: &str| CalledFrom(Some(text.parse().unwrap())).name();
        assert_eq!(name("192.0.2.7"), name("::ffff:192.0.2.7"));
        assert_ne!(name("192.0.2.7"), name("192.0.2.8"));
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:2"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_eq!(CalledFrom(None).name(), None);
    }
}
