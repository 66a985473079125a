//! Sealing without a store, for benchmarks.

use bytes::Bytes;
use konstruct_core::{Result, TenantId};

use super::{KeyRing, PersonKey, Place, TenantKey, open, seal};

/// Seals and opens like the stores, with keys of its own and without storing anything.
#[derive(Debug)]
pub struct SealProbe {
    tenant: TenantKey,
    persons: Vec<PersonKey>,
}

impl SealProbe {
    /// Creates the keys of a tenant and of this many persons.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(persons: usize) -> Result<Self> {
        let (tenant, _wrapped) = TenantKey::generate(&KeyRing::generate()?, TenantId::new())?;
        let persons: Result<_> = (0..persons).map(|_| PersonKey::random()).collect();
        Ok(Self {
            tenant,
            persons: persons?,
        })
    }

    /// Seals to all persons.
    ///
    /// # Errors
    /// More than 65,535 persons, or the system has no randomness.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        seal(&self.tenant, &self.persons, self.place(), plain)
    }

    /// Opens what [`seal`](Self::seal) returned.
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
