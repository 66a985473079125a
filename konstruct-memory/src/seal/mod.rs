//! Sealing: pure functions from keys and bytes to sealed bytes and back. Where the keys stand, the stores decide.
//!
//! ```text
//! key ring  --wraps-->  tenant key  --wraps-->  person keys
//!                            |                      |
//!                            '------- together -----'---> the content key of a record
//! ```
//!
//! A record is sealed to every person whose words it may hold: without the key of any one of them, nobody can open it. Names
//! become hashes under the tenant's key. The cipher is XChaCha20-Poly1305 with a random nonce; keys are derived with
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

/// The length of a nonce.
const NONCE: usize = 24;
/// The length of a tag.
pub(crate) const TAG: usize = 16;

/// A key. It does not print, and its memory is cleared when it goes.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Makes a new one.
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

/// Where a row stands. What is sealed in one place does not open in another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// The table.
    pub(crate) table: &'a str,
    /// The row's key.
    pub(crate) row: &'a [u8],
}

impl Place<'_> {
    /// The associated data: a header of a length that it tells itself, and the place.
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

/// Makes 16 bytes that nobody can guess.
pub(crate) fn token() -> Result<[u8; 16]> {
    let mut token = [0; 16];
    random(&mut token)?;
    Ok(token)
}

/// Fills with bytes that nobody can guess.
fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::internal("the system gives no randomness").with_source(error))
}

/// Appends a nonce and what is encrypted with it.
fn encrypt(key: &Key, aad: &[u8], plain: &[u8], sealed: &mut Vec<u8>) -> Result<()> {
    sealed.reserve_exact(NONCE + plain.len() + TAG);
    encrypt_written(key, aad, sealed, |sealed| {
        sealed.extend_from_slice(plain);
        Ok(())
    })
}

/// Appends a nonce, and what is then written is encrypted where it stands.
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
        .map_err(|_| Error::internal("what is to be sealed is too long"))?;
    sealed.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts a nonce and what comes after it.
fn decrypt(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
    key.cipher()
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad })
        .map_err(|_| damaged())
}

/// What says that sealed data is not as it was sealed, or not where.
pub(crate) fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "sealed data does not open: it is damaged, or was sealed with other keys or to another place",
    )
}
