//! Sealing by itself, for those who measure what it costs.

use bytes::Bytes;
use konstruct_core::{Result, TenantId};

use super::{KeyRing, PersonKey, Place, TenantKey, open, seal};

/// Seals and opens as the stores do, with keys of its own, and keeps nothing.
#[derive(Debug)]
pub struct SealProbe {
    tenant: TenantKey,
    persons: Vec<PersonKey>,
}

impl SealProbe {
    /// Makes the keys of a tenant and of so many persons.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new(persons: usize) -> Result<Self> {
        let (tenant, _wrapped) = TenantKey::generate(&KeyRing::generate()?, TenantId::new())?;
        let persons: Result<_> = (0..persons).map(|_| PersonKey::random()).collect();
        Ok(Self {
            tenant,
            persons: persons?,
        })
    }

    /// Seals to all the persons.
    ///
    /// # Errors
    /// For more than 65,535 persons, and where the system gives no randomness.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        seal(&self.tenant, &self.persons, self.place(), plain)
    }

    /// Opens what was sealed here.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](konstruct_core::ErrorKind::Corrupt) for anything else.
    pub fn open(&self, sealed: &[u8]) -> Result<Bytes> {
        open(&self.tenant, &self.persons, self.place(), sealed)
    }

    fn place(&self) -> Place<'static> {
        Place {
            tenant: self.tenant.tenant(),
            table: "records",
            row: &[0; 24],
        }
    }
}
