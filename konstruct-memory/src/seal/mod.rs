//! Sealing: pure functions from keys and plain bytes to sealed bytes and back. The stores decide where keys are kept.
//!
//! ```text
//! key ring  --wraps-->  tenant key  --wraps-->  person keys
//!                            |                      |
//!                            '------- together -----'---> the content key of a record
//! ```
//!
//! A record is sealed to every person whose words it may contain: it cannot be opened if the key of any of them is missing. Names
//! are replaced by hashes with the tenant's key. The cipher is XChaCha20-Poly1305 with a random nonce; keys are derived with
//! HMAC-SHA256.

mod envelope;
#[cfg(feature = "testkit")]
mod probe;
mod ring;
mod tenant;

use chacha20poly1305::{
    Key as CipherKey, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, AeadInOut as _, KeyInit as _, Payload},
};
use konstruct_core::{Error, ErrorKind, Result, TenantId};
use zeroize::Zeroizing;

#[cfg(feature = "testkit")]
pub use self::probe::SealProbe;
pub use self::ring::KeyRing;
pub(crate) use self::{
    envelope::{KeyId, PersonKey, open, persons, seal, seal_onto},
    tenant::TenantKey,
};

/// The bytes of a nonce.
const NONCE: usize = 24;
/// The bytes of a tag.
pub(crate) const TAG: usize = 16;

/// A key. It does not print, and its memory is zeroed when dropped.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Creates a random key.
    pub(crate) fn random() -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        random(&mut *key)?;
        Ok(Self(key))
    }

    fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key: &CipherKey = self.as_bytes().into();
        XChaCha20Poly1305::new(key)
    }
}

/// The place of a row. Data that was sealed for one place does not open in another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The tenant of the row.
    pub(crate) tenant: TenantId,
    /// The table.
    pub(crate) table: &'a str,
    /// The row's key.
    pub(crate) row: &'a [u8],
}

impl Place<'_> {
    /// Returns the associated data: a header that encodes its own length, and the place.
    fn bind(&self, header: &[u8]) -> Vec<u8> {
        let table = self.table.as_bytes();
        let mut bound = Vec::with_capacity(header.len() + 24 + table.len() + self.row.len());
        bound.extend_from_slice(header);
        bound.extend_from_slice(self.tenant.as_bytes());
        bound.extend_from_slice(&(table.len() as u64).to_be_bytes());
        bound.extend_from_slice(table);
        bound.extend_from_slice(self.row);
        bound
    }
}

/// Returns 16 random bytes.
pub(crate) fn token() -> Result<[u8; 16]> {
    let mut token = [0; 16];
    random(&mut token)?;
    Ok(token)
}

/// Fills a buffer with random bytes.
fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::internal("could not get random bytes from the system").with_source(error)
    })
}

/// Appends a nonce and the encrypted bytes.
fn encrypt(key: &Key, aad: &[u8], plain: &[u8], sealed: &mut Vec<u8>) -> Result<()> {
    sealed.reserve_exact(NONCE + plain.len() + TAG);
    encrypt_written(key, aad, sealed, |sealed| {
        sealed.extend_from_slice(plain);
        Ok(())
    })
}

/// Appends a nonce, and encrypts in place what `write` appends.
fn encrypt_written(
    key: &Key,
    aad: &[u8],
    sealed: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    sealed.extend_from_slice(&nonce);
    let from = sealed.len();
    write(sealed)?;
    let plain = sealed.get_mut(from..).unwrap_or_default();
    let tag = key
        .cipher()
        .encrypt_inout_detached(&XNonce::from(nonce), aad, plain.into())
        .map_err(|_| Error::internal("the data is too long to be sealed"))?;
    sealed.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts the bytes after a nonce.
fn decrypt(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
    key.cipher()
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad })
        .map_err(|_| damaged())
}

/// The error for sealed data that was changed or moved.
pub(crate) fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "could not open sealed data: it is damaged, or was sealed with other keys or for another place",
    )
}
