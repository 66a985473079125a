//! The envelope of a record: sealed to its place and to every person whose words it may contain.
//!
//! `version | number of keys | key ids | nonce | ciphertext | tag`. Everything before the nonce is authenticated too.

use std::fmt;

use bytes::Bytes;
use konstruct_core::{Error, Result};

use super::{Key, NONCE, Place, TAG, TenantKey, damaged, decrypt, encrypt_written, random};

/// The version byte of envelopes that this build writes.
const VERSION: u8 = 1;

/// The id of a person's key. It is random, so it reveals nothing about the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId([u8; 16]);

impl KeyId {
    /// Reads an id that a store kept.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The key of a person. It is destroyed when the person is erased.
#[derive(Clone)]
pub(crate) struct PersonKey {
    /// Its id, which is in every envelope that needs the key.
    pub(crate) id: KeyId,
    pub(super) key: Key,
}

impl PersonKey {
    /// Creates a random key.
    pub(crate) fn random() -> Result<Self> {
        let mut id = [0; 16];
        random(&mut id)?;
        Ok(Self {
            id: KeyId(id),
            key: Key::random()?,
        })
    }
}

/// Does not print the key.
impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PersonKey").field(&self.id).finish()
    }
}

/// Seals to a place and to persons. Their order does not matter, and repetitions are ignored.
///
/// # Errors
/// More than 65,535 persons, or the system has no randomness.
pub(crate) fn seal(
    tenant: &TenantKey,
    persons: &[PersonKey],
    place: Place<'_>,
    plain: &[u8],
) -> Result<Vec<u8>> {
    let mut sealed = Vec::with_capacity(3 + 16 * persons.len() + NONCE + plain.len() + TAG);
    seal_onto(tenant, persons, place, &mut sealed, |sealed| {
        sealed.extend_from_slice(plain);
        Ok(())
    })?;
    Ok(sealed)
}

/// Appends an envelope to a row. `write` appends the plain bytes, which are then encrypted in place.
///
/// # Errors
/// As [`seal`], and errors of `write`. The row is then incomplete.
pub(crate) fn seal_onto(
    tenant: &TenantKey,
    persons: &[PersonKey],
    place: Place<'_>,
    row: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let persons = sorted(persons.iter());
    let count = u16::try_from(persons.len())
        .map_err(|_| Error::invalid("persons", "at most 65,535 a record"))?;
    let from = row.len();
    row.push(VERSION);
    row.extend_from_slice(&count.to_be_bytes());
    for person in &persons {
        row.extend_from_slice(person.id.as_bytes());
    }
    let bound = place.bind(row.get(from..).unwrap_or_default());
    encrypt_written(&tenant.content_key(&persons), &bound, row, write)
}

/// Returns the ids of the keys that an envelope needs.
///
/// # Errors
/// [`ErrorKind::Corrupt`](konstruct_core::ErrorKind::Corrupt) if it is not an envelope.
pub(crate) fn persons(sealed: &[u8]) -> Result<Vec<KeyId>> {
    let (ids, _) = parts(sealed)?.0[3..].as_chunks::<16>();
    Ok(ids.iter().copied().map(KeyId).collect())
}

/// Opens an envelope for this place with the keys that [`persons`] lists; additional keys are ignored.
///
/// # Errors
/// [`ErrorKind::Corrupt`](konstruct_core::ErrorKind::Corrupt) if a key is missing or anything was changed.
pub(crate) fn open(
    tenant: &TenantKey,
    keys: &[PersonKey],
    place: Place<'_>,
    sealed: &[u8],
) -> Result<Bytes> {
    let (header, rest) = parts(sealed)?;
    let ids = persons(sealed)?;
    let needed = sorted(keys.iter().filter(|key| ids.contains(&key.id)));
    if needed.len() != ids.len() {
        return Err(damaged());
    }
    let plain = decrypt(&tenant.content_key(&needed), &place.bind(header), rest)?;
    Ok(plain.into())
}

/// Splits an envelope into its header and the rest.
fn parts(sealed: &[u8]) -> Result<(&[u8], &[u8])> {
    let [VERSION, high, low, ..] = sealed else {
        return Err(damaged());
    };
    let count = u16::from_be_bytes([*high, *low]);
    sealed
        .split_at_checked(3 + 16 * usize::from(count))
        .ok_or_else(damaged)
}

fn sorted<'a>(keys: impl Iterator<Item = &'a PersonKey>) -> Vec<&'a PersonKey> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable_by_key(|key| key.id);
    keys.dedup_by_key(|key| key.id);
    keys
}

#[cfg(test)]
mod tests {
    use konstruct_core::{ErrorKind, TenantId};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::KeyRing;

    fn tenant() -> TenantKey {
        let ring = KeyRing::generate().unwrap();
        TenantKey::generate(&ring, TenantId::new()).unwrap().0
    }

    fn people(count: usize) -> Vec<PersonKey> {
        (0..count).map(|_| PersonKey::random().unwrap()).collect()
    }

    fn at<'a>(key: &TenantKey, table: &'a str, row: &'a [u8]) -> Place<'a> {
        Place {
            tenant: key.tenant(),
            table,
            row,
        }
    }

    fn refused(outcome: Result<Bytes>) {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn only_the_same_place_opens() {
        let (key, other, keys) = (tenant(), tenant(), people(1));
        let sealed = seal(&key, &keys, at(&key, "log", b"1"), b"hello").unwrap();
        let opened = open(&key, &keys, at(&key, "log", b"1"), &sealed).unwrap();
        assert_eq!(opened, "hello");
        for place in [
            at(&key, "log", b"2"),
            at(&key, "lo", b"g1"),
            at(&key, "log1", b""),
            at(&key, "inbox", b"1"),
            at(&other, "log", b"1"),
        ] {
            refused(open(&key, &keys, place, &sealed));
        }
        refused(open(&other, &keys, at(&key, "log", b"1"), &sealed));
        refused(open(&other, &keys, at(&other, "log", b"1"), &sealed));
    }

    #[test]
    fn a_record_of_a_busy_channel_is_sealed() {
        let (key, keys) = (tenant(), people(1_000));
        let place = at(&key, "t", b"r");
        let sealed = seal(&key, &keys, place, b"hello").unwrap();
        assert_eq!(persons(&sealed).unwrap().len(), 1_000);
        assert_eq!(open(&key, &keys, place, &sealed).unwrap(), "hello");
        refused(open(&key, &keys[1..], place, &sealed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_record_opens_only_with_all_keys(
            plain in vec(any::<u8>(), 0..400),
            row in vec(any::<u8>(), 0..40),
            count in 0_usize..5,
        ) {
            let (key, mut keys) = (tenant(), people(count));
            let place = at(&key, "log", &row);
            let sealed = seal(&key, &keys, place, &plain).unwrap();
            let mut ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            ids.sort_unstable();
            prop_assert_eq!(persons(&sealed).unwrap(), ids);
            keys.reverse();
            keys.extend(people(1));
            let opened = open(&key, &keys, place, &sealed).unwrap();
            prop_assert_eq!(opened, plain);
            for missing in 1..=count {
                let mut rest = keys.clone();
                let gone = rest.remove(count - missing);
                refused(open(&key, &rest, place, &sealed));
                // Nor with another key under its id.
                rest.push(PersonKey { id: gone.id, key: Key::random().unwrap() });
                refused(open(&key, &rest, place, &sealed));
            }
        }

        #[test]
        fn every_changed_byte_is_an_error(
            plain in vec(any::<u8>(), 0..40),
            count in 0_usize..3,
            bit in 0_u8..8,
        ) {
            let (key, keys) = (tenant(), people(count));
            let place = at(&key, "log", b"row");
            let sealed = seal(&key, &keys, place, &plain).unwrap();
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                refused(open(&key, &keys, place, &flipped));
                refused(open(&key, &keys, place, &sealed[..at]));
            }
        }

        #[test]
        fn nothing_of_the_text_is_inside(text in "[a-z ]{4,200}") {
            let (key, keys) = (tenant(), people(1));
            let place = at(&key, "log", b"row");
            let sealed = seal(&key, &keys, place, text.as_bytes()).unwrap();
            for part in text.as_bytes().windows(4) {
                prop_assert!(!sealed.windows(4).any(|bytes| bytes == part));
            }
            let again = seal(&key, &keys, place, text.as_bytes()).unwrap();
            prop_assert_ne!(sealed, again, "the same text looks the same");
        }
    }
}
