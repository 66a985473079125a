//! Who sent a request: the peer of the connection, or whom a trusted proxy names.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use super::listen::Peer;
use crate::networks::Networks;

/// The header in which proxies name their clients.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The header with the id of a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest accepted id.
const LONGEST_ID: usize = 128;

/// The address that sent a request, as far as the trusted proxies tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// A request that claims to be forwarded by a proxy that is not in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoofed;

/// Adds the [`ClientAddress`] to a request, and removes headers that only a trusted proxy may set.
pub(super) async fn identify(
    State(trusted): State<Arc<Networks>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let by_proxy = peer.is_some_and(|peer| trusted.contain(peer));
    let forwarded = request.headers().contains_key(FORWARDED_FOR);
    if let Some(peer) = peer {
        let client = match by_proxy {
            true => client(peer, request.headers(), &trusted),
            false => peer,
        };
        request.extensions_mut().insert(ClientAddress(client));
    }
    let id = request.headers().get(REQUEST_ID);
    if id.is_some_and(|id| !by_proxy || !is_id(id)) {
        request.headers_mut().remove(REQUEST_ID);
    }
    if forwarded && !by_proxy {
        request.headers_mut().remove(FORWARDED_FOR);
        // Without a list, an unknown proxy may be in front of the server, and what it says is not used.
        if !trusted.is_empty() {
            request.extensions_mut().insert(Spoofed);
        }
    }
    next.run(request).await
}

/// Returns the right-most address that is not one of a trusted proxy. An entry that is not an address ends the search: what is left
/// of it was written by whoever sent it.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut client = peer;
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = lines.into_iter().rev().flat_map(|line| {
        let line = line.to_str().unwrap_or_default();
        line.rsplit(',')
    });
    for entry in entries {
        let Some(address) = address(entry.trim()) else {
            break;
        };
        client = address;
        if !trusted.contain(address) {
            break;
        }
    }
    client
}

/// Reads an address; some proxies add the port, or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bracketed.unwrap_or(text).parse().ok();
    let address = address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// Returns whether an id is short and of a single word, so that it cannot forge a log line.
fn is_id(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        let trusted = Networks::try_from("127.0.0.1, 10.0.0.0/8".to_owned()).unwrap();
        let check = |lines: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let found = client("127.0.0.1".parse().unwrap(), &headers, &trusted);
            assert_eq!(found.to_string(), expected, "{lines:?}");
        };
        for (lines, expected) in [
            (&[] as &[&str], "127.0.0.1"),
            (&["203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            // What the client itself sent is on the left.
            (&["192.0.2.66, 203.0.113.9"], "203.0.113.9"),
            (&["192.0.2.66", "203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            (&["203.0.113.9", "10.1.2.3, 10.1.2.4"], "203.0.113.9"),
            (&["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (&["10.1.2.3"], "10.1.2.3"),
            (&["192.0.2.66, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["192.0.2.66, "], "127.0.0.1"),
            (&["unknown"], "127.0.0.1"),
        ] {
            check(lines, expected);
        }
    }

    #[test]
    fn ids_are_single_words() {
        for (id, expected) in [
            ("018f6f5e-7c1b-7000-8000-000000000000", true),
            ("1-67891233-abcdef012345678912345678", true),
            ("Root=1-67891233-abc", true),
            ("", false),
            ("two words", false),
            ("a\"b", false),
            (&"x".repeat(129), false),
        ] {
            assert_eq!(is_id(&HeaderValue::from_str(id).unwrap()), expected, "{id}");
        }
    }
}
