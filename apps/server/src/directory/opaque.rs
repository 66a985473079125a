//! Opaque tokens that name their row: a prefix, then two parts in base64url: whose the row is and its id, 24 bytes, then 32 random
//! bytes. Thus the owner is known before any row is read. The store keeps the hash of a token only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use konstruct_core::{Result, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secrets::random;

/// The lengths of the two parts, encoded.
const NAMED: usize = 32;
const SECRET: usize = 43;

/// A new token, and what the store keeps of it.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) token: Secret,
    /// The id of the row: 16 hex digits.
    pub(super) id: String,
    pub(super) hash: TokenHash,
}

/// The SHA-256 of a whole token, in hexadecimal. A token is random, so a fast hash cannot be reversed by guessing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct TokenHash(String);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(hex::encode(Sha256::digest(token)))
    }

    /// Returns whether it is the hash of this token.
    pub(super) fn matches(&self, token: &str) -> bool {
        Self::of(token).0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

/// Creates a token.
///
/// # Errors
/// Those of the system's random number generator.
pub(super) fn mint(prefix: &str, owner: &[u8; 16]) -> Result<Minted> {
    let (id, secret) = (random::<8>()?, random::<32>()?);
    let named = URL_SAFE_NO_PAD.encode([owner, &id[..]].concat());
    let token = format!("{prefix}{named}{}", URL_SAFE_NO_PAD.encode(secret));
    Ok(Minted {
        id: hex::encode(id),
        hash: TokenHash::of(&token),
        token: Secret::new(token),
    })
}

/// Returns the owner and the id that a token names.
pub(super) fn named(prefix: &str, token: &str) -> Option<([u8; 16], String)> {
    let rest = token.strip_prefix(prefix)?;
    if rest.len() != NAMED + SECRET || !rest.is_ascii() {
        return None;
    }
    let bytes: [u8; 24] = URL_SAFE_NO_PAD
        .decode(&rest[..NAMED])
        .ok()?
        .try_into()
        .ok()?;
    let (owner, id) = bytes.split_first_chunk::<16>()?;
    Some((*owner, hex::encode(id)))
}

/// Returns whether a text can be the id of a token's row. The store refuses keys that are too long.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_owner_and_its_id() {
        let owner = [9; 16];
        let part = URL_SAFE_NO_PAD.encode([&owner, &[7; 8][..]].concat());
        let secret = "s".repeat(SECRET);
        let check = |token: &str, expected: Option<([u8; 16], String)>| {
            assert_eq!(named("kst_", token), expected, "{token}");
        };
        let good = format!("kst_{part}{secret}");
        check(&good, Some((owner, "0707070707070707".into())));
        check(&good[1..], None);
        check(&good[..good.len() - 1], None);
        check(&format!("{good}s"), None);
        check(&format!("kse_{part}{secret}"), None);
        check(&format!("kst_{}{secret}", "*".repeat(NAMED)), None);
        check(&format!("kst_{}", "é".repeat(37)), None);
        check("", None);
    }

    #[test]
    fn only_the_whole_token_matches_its_hash() {
        let minted = mint("kst_", &[1; 16]).unwrap();
        let token = minted.token.expose();
        assert!(minted.hash.matches(token));
        assert!(!minted.hash.matches(&token[..token.len() - 1]));
        assert_eq!(named("kst_", token), Some(([1; 16], minted.id.clone())));
        assert!(is_id(&minted.id) && !is_id("") && !is_id("g123456789abcdef"));
    }
}
