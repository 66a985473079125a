//! The key ring, which wraps all other keys and is kept outside the store.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use konstruct_core::{Error, ErrorKind, Result, Secret};
use zeroize::Zeroizing;

use super::{Key, decrypt, encrypt, random};

/// The version byte of wrapped keys that this build writes.
const VERSION: u8 = 1;
/// The field name in errors.
const FIELD: &str = "key ring";

/// The keys that wrap all others: the first one wraps, all of them unwrap.
///
/// To rotate, add a new key at the front, rewrap, and remove the old key. Sealed data is not touched. Destroyed data becomes
/// unrecoverable even from backups when the ring's key of that time is gone. The keys do not print.
///
/// ```
/// use konstruct_memory::KeyRing;
///
/// let ring = KeyRing::generate()?;
/// let text = ring.to_secret();
/// assert_eq!(KeyRing::parse(text.expose())?.current_id(), ring.current_id());
///
/// let error = KeyRing::parse("2026:too-short").unwrap_err();
/// assert_eq!(error.message(), "key ring: key `2026` is not 32 bytes in base64");
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<(String, Key)>,
}

impl KeyRing {
    /// Parses a ring: comma-separated `id:base64` keys, the first of which wraps.
    ///
    /// A key has 32 bytes; an id has 1 to 32 letters, digits, `-` and `_`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another format or a duplicate id. The message contains the id, never a key.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys: Vec<(String, Key)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (id, key) = part
                .split_once(':')
                .ok_or_else(|| Error::invalid(FIELD, "expected `id:base64`"))?;
            let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !(1..=32).contains(&id.len()) || !id.chars().all(named) {
                return Err(Error::invalid(
                    FIELD,
                    "an id must be 1 to 32 letters, digits, `-` and `_`",
                ));
            }
            if keys.iter().any(|(other, _)| other == id) {
                return Err(Error::invalid(FIELD, format!("key `{id}` is listed twice")));
            }
            let key = STANDARD
                .decode(key)
                .ok()
                .map(Zeroizing::new)
                .and_then(|bytes| Key::from_slice(&bytes))
                .ok_or_else(|| {
                    Error::invalid(FIELD, format!("key `{id}` is not 32 bytes in base64"))
                })?;
            keys.push((id.to_owned(), key));
        }
        Ok(Self { keys })
    }

    /// Creates a ring of one new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self> {
        let mut id = [0; 4];
        random(&mut id)?;
        Ok(Self {
            keys: vec![(format!("k{}", hex::encode(id)), Key::random()?)],
        })
    }

    /// Returns the text that [`KeyRing::parse`] reads. Store it in a file or a vault, never in a log.
    pub fn to_secret(&self) -> Secret {
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|(id, key)| format!("{id}:{}", STANDARD.encode(key.as_bytes())))
            .collect();
        Secret::new(keys.join(","))
    }

    /// Returns the id of the wrapping key.
    pub fn current_id(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    /// Adds the keys of another ring, for unwrapping only.
    pub(crate) fn with_old(mut self, old: &Self) -> Self {
        for (id, key) in &old.keys {
            if self.keys.iter().all(|(other, _)| other != id) {
                self.keys.push((id.clone(), key.clone()));
            }
        }
        self
    }

    /// Returns the header for newly wrapped keys, and the wrapping key.
    pub(super) fn current(&self) -> Result<(Vec<u8>, &Key)> {
        let (id, key) = self
            .keys
            .first()
            .ok_or_else(|| Error::invalid(FIELD, "has no key"))?;
        let mut header = vec![VERSION, u8::try_from(id.len()).unwrap_or(u8::MAX)];
        header.extend_from_slice(id.as_bytes());
        Ok((header, key))
    }

    /// Splits a wrapped key into its header and the rest. Returns them with the ring's key that wrapped it.
    pub(super) fn part<'a>(&self, wrapped: &'a [u8]) -> Result<(&'a [u8], &'a [u8], &Key)> {
        let id = ring_key(wrapped)?;
        let found = self.keys.iter().find(|(own, _)| own == id);
        let (_, key) = found.ok_or_else(|| missing(id))?;
        let (header, sealed) = wrapped.split_at(2 + id.len());
        Ok((header, sealed, key))
    }

    /// Wraps a key.
    pub(crate) fn wrap(&self, aad: &[u8], key: &Key) -> Result<Vec<u8>> {
        let (mut wrapped, wrapping) = self.current()?;
        let bound = [&wrapped, aad].concat();
        encrypt(wrapping, &bound, key.as_bytes(), &mut wrapped)?;
        Ok(wrapped)
    }

    /// Unwraps a key.
    pub(crate) fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<Key> {
        let (header, sealed, key) = self.part(wrapped)?;
        let plain = decrypt(key, &[header, aad].concat(), sealed).map_err(|error| {
            let id = ring_key(wrapped).unwrap_or_default();
            let message = format!("key `{id}` of the key ring cannot unwrap a stored key");
            Error::new(ErrorKind::Unauthorized, message).with_source(error)
        })?;
        Key::from_slice(&Zeroizing::new(plain)).ok_or_else(super::damaged)
    }

    /// Returns whether a key is wrapped with the current wrapping key.
    pub(crate) fn is_current(&self, wrapped: &[u8]) -> bool {
        ring_key(wrapped).is_ok_and(|id| id == self.current_id())
    }
}

/// Returns the id of the ring's key that a key is wrapped with.
fn ring_key(wrapped: &[u8]) -> Result<&str> {
    let [VERSION, len, rest @ ..] = wrapped else {
        return Err(super::damaged());
    };
    rest.get(..usize::from(*len))
        .and_then(|id| std::str::from_utf8(id).ok())
        .ok_or_else(super::damaged)
}

fn missing(id: &str) -> Error {
    Error::new(
        ErrorKind::Unauthorized,
        format!("the key ring has no key `{id}`, which wraps a stored key"),
    )
}

impl FromStr for KeyRing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|(id, _)| id);
        f.debug_tuple("KeyRing")
            .field(&ids.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[&str]) -> KeyRing {
        let key = |id: &str| Key::from_slice(&[id.as_bytes()[0]; 32]).unwrap();
        KeyRing {
            keys: ids.iter().map(|id| ((*id).to_owned(), key(id))).collect(),
        }
    }

    #[test]
    fn bad_rings_are_refused_by_name() {
        let key = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        for (text, problem) in [
            (String::new(), "expected `id:base64`"),
            (key.clone(), "expected `id:base64`"),
            (format!(":{key}"), "an id must be"),
            (format!("{}:{key}", "i".repeat(33)), "an id must be"),
            (format!("a b:{key}"), "an id must be"),
            (format!("a:{key},a:{key}"), "key `a` is listed twice"),
            (format!("a:{key},b:{short}"), "key `b` is not 32 bytes"),
            (format!("a:{key},"), "expected `id:base64`"),
            (format!("a:{}", &key[1..]), "key `a` is not 32 bytes"),
        ] {
            let error = KeyRing::parse(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            let expected = format!("key ring: {problem}");
            assert!(error.message().starts_with(&expected), "{error}");
            assert!(!error.to_string().contains(&key[1..]), "it tells the key");
        }
    }

    #[test]
    fn a_ring_reads_back_and_does_not_print() {
        let made = ring(&["new", "old_1"]);
        let text = made.to_secret();
        let read: KeyRing = text.expose().parse().unwrap();
        assert_eq!(read.to_secret(), text);
        assert_eq!(read.current_id(), "new");
        assert_eq!(format!("{read:?}"), r#"KeyRing(["new", "old_1"])"#);
    }

    #[test]
    fn the_first_wraps_and_each_unwraps() {
        let key = Key::random().unwrap();
        let old = ring(&["old"]).wrap(b"here", &key).unwrap();
        let both = ring(&["new", "old"]);
        assert!(!both.is_current(&old));
        let unwrapped = both.unwrap(b"here", &old).unwrap();
        assert_eq!(unwrapped.as_bytes(), key.as_bytes());
        let new = both.wrap(b"here", &unwrapped).unwrap();
        assert!(both.is_current(&new));
        let error = ring(&["new"]).unwrap(b"here", &old).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.message().contains("no key `old`"), "{error}");
    }

    #[test]
    fn another_place_key_or_byte_does_not_unwrap() {
        let key = Key::random().unwrap();
        let wrapped = ring(&["a"]).wrap(b"here", &key).unwrap();
        assert!(ring(&["a"]).unwrap(b"there", &wrapped).is_err());
        let mut other = ring(&["b"]);
        other.keys[0].0 = "a".to_owned();
        let error = other.unwrap(b"here", &wrapped).err().unwrap();
        assert!(error.message().contains("key `a`"), "{error}");
        for at in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[at] ^= 1;
            assert!(ring(&["a"]).unwrap(b"here", &flipped).is_err(), "byte {at}");
            assert!(ring(&["a"]).unwrap(b"here", &wrapped[..at]).is_err());
        }
    }
}
