//! Lists of IP addresses and networks.

use std::{net::IpAddr, str::FromStr};

use serde::Deserialize;

/// IP addresses and networks, such as `10.0.0.7, 10.1.0.0/16, fd00::/8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// The number of leading bits that all addresses of the network share.
    prefix: u32,
}

impl Networks {
    /// Returns whether an address is in one of the networks.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        // A shift by all bits, for a prefix of 0, leaves nothing to compare.
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not an IP address or a network such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
            None => most,
        };
        // An IPv4 address in IPv6 notation is compared with what the system reports, which is IPv4.
        let network = Self {
            address: if prefix == most {
                address.to_canonical()
            } else {
                address
            },
            prefix: if prefix == most && address.to_canonical().is_ipv4() {
                32
            } else {
                prefix
            },
        };
        if prefix > most {
            Err(bad())
        } else {
            Ok(network)
        }
    }
}

impl TryFrom<String> for Networks {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Networks {
        Networks::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn addresses_belong_to_their_networks() {
        let check = |text: &str, address: &str, expected: bool| {
            let found = networks(text).contain(address.parse().unwrap());
            assert_eq!(found, expected, "{address} in {text}");
        };
        for (text, address, expected) in [
            ("", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.9.9.9/8", "10.1.1.1", true),
            ("192.0.2.1, 10.0.0.0/31 ,", "10.0.0.1", true),
            ("10.0.0.0/31", "10.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            check(text, address, expected);
        }
    }

    #[test]
    fn what_is_not_a_network_is_named() {
        for text in [
            "proxy",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::/129",
            "10.0.0.1:80",
            "10.0.0.1 10.0.0.2",
        ] {
            let error = Networks::try_from(format!("127.0.0.1,{text}")).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
