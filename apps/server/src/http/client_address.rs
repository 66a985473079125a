//! The address of the client that sent a request.

use std::{convert::Infallible, net::IpAddr};

use axum::{extract::FromRequestParts, http::request::Parts};

/// The address of a client, an extension of its requests. The listener sets it; where it is not known, limits of an address do not
/// apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

impl ClientAddress {
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
        let name = |text: &str| ClientAddress(Some(text.parse().unwrap())).name();
        assert_eq!(name("192.0.2.7"), name("::ffff:192.0.2.7"));
        assert_ne!(name("192.0.2.7"), name("192.0.2.8"));
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:2"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_eq!(ClientAddress(None).name(), None);
    }
}
