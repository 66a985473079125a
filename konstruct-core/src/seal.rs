//! The sealing hook: what a store writes passes through it, and names become keyed hashes.

use std::fmt;

use bytes::Bytes;

use crate::{PersonId, Result, TenantId};

/// What [`Sealer::open`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// The plaintext.
    Bytes(Bytes),
    /// A key of one of its persons was destroyed: nobody can read it again.
    Destroyed,
}

/// Seals what is stored and hashes what is indexed, under the tenant's keys.
///
/// # Contract
/// `open(seal(x)) == x` under the same tenant and associated data until a key of one of the persons is destroyed, and
/// [`Opened::Destroyed`] from then on. `hash` is a keyed pseudorandom function of (tenant, label, bytes): equal input gives an
/// equal hash for ever, and two tenants' hashes of one name differ.
pub trait Sealer: fmt::Debug + Send + Sync + 'static {
    /// Seals bytes to every person whose words they may hold.
    ///
    /// # Errors
    /// When the tenant's key cannot be had.
    fn seal(
        &self,
        tenant: TenantId,
        persons: &[PersonId],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<Bytes>;

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the bytes or the associated data are not those that were sealed.
    fn open(&self, tenant: TenantId, aad: &[u8], sealed: &[u8]) -> Result<Opened>;

    /// Returns the tenant-keyed hash of a name, for keys, indexes and labels.
    fn hash(&self, tenant: TenantId, label: &str, bytes: &[u8]) -> [u8; 16];
}

/// Conveniences for every [`Sealer`].
pub trait SealerExt: Sealer {
    /// Returns the id of a person: a keyed hash of the channel and of what it calls them.
    fn person(&self, tenant: TenantId, channel: &str, id: &str) -> PersonId {
        PersonId::from_bytes(self.hash(tenant, "person", format!("{channel}:{id}").as_bytes()))
    }
}

impl<S: Sealer + ?Sized> SealerExt for S {}
