//! The sealer that stands here until per-person keys do: payloads as they are, names as keyed hashes.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use konstruct_core::{Opened, PersonId, Result, Sealer, Secret, TenantId};
use sha2::Sha256;

/// Keyed hashes, and payloads as they are: what stands here until per-person keys do.
#[derive(Clone, Debug)]
pub struct PlainSealer {
    key: Secret,
}

impl PlainSealer {
    /// Makes a sealer whose hashes are keyed with this secret.
    pub fn new(key: Secret) -> Self {
        Self { key }
    }
}

impl Sealer for PlainSealer {
    fn seal(&self, _: TenantId, _: &[PersonId], _: &[u8], plain: &[u8]) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(plain))
    }

    fn open(&self, _: TenantId, _: &[u8], sealed: &[u8]) -> Result<Opened> {
        Ok(Opened::Bytes(Bytes::copy_from_slice(sealed)))
    }

    fn hash(&self, tenant: TenantId, label: &str, bytes: &[u8]) -> [u8; 16] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes()).expect("any key length");
        mac.update(tenant.as_bytes());
        // The length keeps (label, bytes) apart from every other split of the same text.
        mac.update(&(label.len() as u64).to_be_bytes());
        mac.update(label.as_bytes());
        mac.update(bytes);
        let full = mac.finalize().into_bytes();
        let mut hash = [0; 16];
        hash.copy_from_slice(&full[..16]);
        hash
    }
}
