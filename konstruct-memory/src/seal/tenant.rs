//! A tenant's key, and its uses: hashes of names, content keys, and the wrapping of person keys.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use konstruct_core::{PersonId, Result, TenantId};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Key, KeyRing, PersonKey, Place, decrypt, encrypt};

/// The table that a wrapped tenant key is bound to, in every store.
const TENANT_KEYS: &str = "tenant_keys";
/// The table that a wrapped person key is bound to.
const PERSON_KEYS: &str = "person_keys";

/// An unwrapped tenant key: three keys derived from it, one for each use.
pub(crate) struct TenantKey {
    tenant: TenantId,
    /// Hashes names.
    names: Hmac<Sha256>,
    /// Derives content keys.
    contents: Hmac<Sha256>,
    /// Derives the keys that wrap person keys, together with a key of the ring. After that ring key is retired, a person's key
    /// that was destroyed before cannot be recovered from an old copy of the store.
    persons: Hmac<Sha256>,
    ring: KeyRing,
}

impl TenantKey {
    /// Creates a tenant's key. Returns it with its wrapped form for the store.
    pub(crate) fn generate(ring: &KeyRing, tenant: TenantId) -> Result<(Self, Vec<u8>)> {
        let key = Key::random()?;
        let wrapped = ring.wrap(&place(tenant), &key)?;
        Ok((Self::derive(ring, tenant, &key), wrapped))
    }

    /// Unwraps a stored key.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](konstruct_core::ErrorKind::Unauthorized) if the ring lacks the key that it was wrapped with.
    pub(crate) fn unwrap(ring: &KeyRing, tenant: TenantId, wrapped: &[u8]) -> Result<Self> {
        let key = ring.unwrap(&place(tenant), wrapped)?;
        Ok(Self::derive(ring, tenant, &key))
    }

    /// Wraps it with the ring's first key; `None` if it already is.
    pub(crate) fn rewrap(
        ring: &KeyRing,
        tenant: TenantId,
        wrapped: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        if ring.is_current(wrapped) {
            return Ok(None);
        }
        let key = ring.unwrap(&place(tenant), wrapped)?;
        ring.wrap(&place(tenant), &key).map(Some)
    }

    fn derive(ring: &KeyRing, tenant: TenantId, key: &Key) -> Self {
        let root = keyed(key);
        let subkey = |label: &str| derived(root.clone(), label.as_bytes());
        Self {
            tenant,
            names: keyed(&subkey("names")),
            contents: keyed(&subkey("contents")),
            persons: keyed(&subkey("persons")),
            ring: ring.clone(),
        }
    }

    /// Returns the tenant.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the hash of a name, for keys and indexes. Equal names of a tenant always have equal hashes; those of other tenants
    /// differ.
    pub(crate) fn hash(&self, label: &str, bytes: &[u8]) -> [u8; 16] {
        let mut mac = self.names.clone();
        // With the length, no other pair of label and bytes has the same input.
        mac.update(&(label.len() as u64).to_be_bytes());
        mac.update(label.as_bytes());
        mac.update(bytes);
        let full = mac.finalize().into_bytes();
        let mut hash = [0; 16];
        hash.copy_from_slice(&full[..16]);
        hash
    }

    /// Returns the id of a person: a keyed hash of the channel and its id of the person.
    pub(crate) fn person(&self, channel: &str, id: &str) -> PersonId {
        PersonId::from_bytes(self.hash("person", format!("{channel}:{id}").as_bytes()))
    }

    /// Derives the key of a record from the keys of its persons, sorted by id.
    pub(super) fn content_key(&self, persons: &[&PersonKey]) -> Key {
        let mut parts = Zeroizing::new(Vec::with_capacity(48 * persons.len()));
        for person in persons {
            parts.extend_from_slice(person.id.as_bytes());
            parts.extend_from_slice(person.key.as_bytes());
        }
        derived(self.contents.clone(), &parts)
    }

    /// Wraps a person's key for the row of that person.
    pub(crate) fn wrap_person(&self, person: PersonId, key: &PersonKey) -> Result<Vec<u8>> {
        let (mut wrapped, ring_key) = self.ring.current()?;
        let wrapping = derived(self.persons.clone(), ring_key.as_bytes());
        let bound = [wrapped.as_slice(), &self.person_place(person, key.id)].concat();
        encrypt(&wrapping, &bound, key.key.as_bytes(), &mut wrapped)?;
        Ok(wrapped)
    }

    /// Wraps a person's key with the ring's first key; `None` if it already is.
    pub(crate) fn rewrap_person(
        &self,
        person: PersonId,
        id: super::KeyId,
        wrapped: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        if self.ring.is_current(wrapped) {
            return Ok(None);
        }
        let key = self.unwrap_person(person, id, wrapped)?;
        self.wrap_person(person, &key).map(Some)
    }

    /// Unwraps a person's key.
    pub(crate) fn unwrap_person(
        &self,
        person: PersonId,
        id: super::KeyId,
        wrapped: &[u8],
    ) -> Result<PersonKey> {
        let (header, sealed, ring_key) = self.ring.part(wrapped)?;
        let wrapping = derived(self.persons.clone(), ring_key.as_bytes());
        let bound = [header, &self.person_place(person, id)].concat();
        let plain = decrypt(&wrapping, &bound, sealed)?;
        let key = Key::from_slice(&Zeroizing::new(plain)).ok_or_else(super::damaged)?;
        Ok(PersonKey { id, key })
    }

    fn person_place(&self, person: PersonId, id: super::KeyId) -> Vec<u8> {
        let place = Place {
            tenant: self.tenant,
            table: PERSON_KEYS,
            row: person.as_bytes(),
        };
        place.bind(id.as_bytes())
    }
}

/// Equal keys have equal hashes.
impl PartialEq for TenantKey {
    fn eq(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.hash("key", &[]) == other.hash("key", &[])
    }
}

/// Does not print the keys.
impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TenantKey").field(&self.tenant).finish()
    }
}

fn place(tenant: TenantId) -> Vec<u8> {
    let place = Place {
        tenant,
        table: TENANT_KEYS,
        row: tenant.as_bytes(),
    };
    place.bind(&[])
}

fn keyed(key: &Key) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    Hmac::new_from_slice(key.as_bytes()).expect("any key length")
}

fn derived(mut mac: Hmac<Sha256>, from: &[u8]) -> Key {
    mac.update(from);
    let mut bytes: [u8; 32] = mac.finalize().into_bytes().into();
    let key = Key(Zeroizing::new(bytes));
    zeroize::Zeroize::zeroize(&mut bytes);
    key
}

#[cfg(test)]
mod tests {
    use konstruct_core::ErrorKind;

    use super::*;

    fn made(tenant: TenantId) -> (KeyRing, TenantKey, Vec<u8>) {
        let ring = KeyRing::generate().unwrap();
        let (key, wrapped) = TenantKey::generate(&ring, tenant).unwrap();
        (ring, key, wrapped)
    }

    #[test]
    fn names_hash_alike_under_one_key_only() {
        let tenant = TenantId::new();
        let (ring, key, wrapped) = made(tenant);
        let again = TenantKey::unwrap(&ring, tenant, &wrapped).unwrap();
        let (_, other, _) = made(tenant);
        assert_eq!(key.person("slack", "U1"), again.person("slack", "U1"));
        assert_ne!(key.person("slack", "U1"), other.person("slack", "U1"));
        assert_ne!(key.hash("a", b"bc"), key.hash("ab", b"c"));
    }

    #[test]
    fn a_tenants_key_does_not_open_for_another_tenant() {
        let (ring, _, wrapped) = made(TenantId::new());
        let error = TenantKey::unwrap(&ring, TenantId::new(), &wrapped).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }

    #[test]
    fn rewrapping_changes_only_the_wrapping() {
        let tenant = TenantId::new();
        let (old, key, wrapped) = made(tenant);
        let new = KeyRing::generate().unwrap();
        let both = new.clone().with_old(&old);
        assert_eq!(TenantKey::rewrap(&old, tenant, &wrapped).unwrap(), None);
        let again = TenantKey::rewrap(&both, tenant, &wrapped).unwrap().unwrap();
        let read = TenantKey::unwrap(&new, tenant, &again).unwrap();
        assert_eq!(read.hash("l", b"n"), key.hash("l", b"n"));
        assert!(TenantKey::unwrap(&old, tenant, &again).is_err());
    }

    #[test]
    fn a_persons_key_is_bound_to_person_id_and_tenant() {
        let (ring, key, _) = made(TenantId::new());
        let (other, _) = TenantKey::generate(&ring, TenantId::new()).unwrap();
        let (person, own) = (PersonId::new(), PersonKey::random().unwrap());
        let wrapped = key.wrap_person(person, &own).unwrap();
        let read = key.unwrap_person(person, own.id, &wrapped).unwrap();
        assert_eq!(read.key.as_bytes(), own.key.as_bytes());
        let another = PersonKey::random().unwrap();
        for outcome in [
            key.unwrap_person(PersonId::new(), own.id, &wrapped),
            key.unwrap_person(person, another.id, &wrapped),
            other.unwrap_person(person, own.id, &wrapped),
            key.unwrap_person(person, own.id, &wrapped[1..]),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn what_a_retired_ring_key_wrapped_is_lost() {
        let tenant = TenantId::new();
        let (old, key, wrapped) = made(tenant);
        let (person, own) = (PersonId::new(), PersonKey::random().unwrap());
        let in_an_old_copy = key.wrap_person(person, &own).unwrap();
        let new = KeyRing::generate().unwrap();
        let both = new.clone().with_old(&old);
        let again = TenantKey::rewrap(&both, tenant, &wrapped).unwrap().unwrap();
        let present = TenantKey::unwrap(&both, tenant, &again).unwrap();
        let rewrapped = present
            .rewrap_person(person, own.id, &in_an_old_copy)
            .unwrap()
            .unwrap();
        // With the current copy, the current ring and an old copy, existing keys open but destroyed ones do not.
        let held = TenantKey::unwrap(&new, tenant, &again).unwrap();
        let read = held.unwrap_person(person, own.id, &rewrapped).unwrap();
        assert_eq!(read.key.as_bytes(), own.key.as_bytes());
        let lost = held.unwrap_person(person, own.id, &in_an_old_copy);
        assert_eq!(lost.unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!(
            held.rewrap_person(person, own.id, &rewrapped).unwrap(),
            None
        );
    }
}
