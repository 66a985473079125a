//! Whose an address is: a keyed hash of it is the person's id, unless it was linked to somebody, or imported with another id.

use konstruct_core::{PersonId, Result, TenantId, Timestamp};

use super::{
    head::corrupt,
    keys::{self, ALIASES, FORGOTTEN},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};

impl Vault {
    /// Returns whose an address is.
    pub(super) fn person(&self, rows: &mut dyn Rows, address: PersonId) -> Result<PersonId> {
        if self.has_key(rows, address)? {
            return Ok(address);
        }
        let alias = self.alias(rows, address.as_bytes())?;
        Ok(alias.map_or(address, PersonId::from_bytes))
    }

    /// Has an address be the person's. One under which somebody was heard before stays a person of its own: what was sealed to
    /// them is not sealed again.
    pub(super) fn link(
        &self,
        batch: &mut Batch<'_>,
        address: PersonId,
        person: PersonId,
    ) -> Result<()> {
        if address != person && !self.has_key(batch, address)? {
            let key = keys::of(self.tenant(), &[address.as_bytes()]);
            batch.put(ALIASES, key, *person.as_bytes());
        }
        Ok(())
    }
}

/// Removes what tells that addresses are a person's, and notes that they were erased with the person.
pub(super) fn unlink(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    person: PersonId,
    at: Timestamp,
) -> Result<()> {
    let mut addresses = Vec::new();
    batch.scan_prefix(ALIASES, tenant.as_bytes(), &mut |key, row| {
        if row == person.as_bytes() {
            addresses.push(keys::id(key, 16).ok_or_else(corrupt)?);
        }
        Ok(())
    })?;
    for address in addresses {
        let key = keys::of(tenant, &[&address]);
        batch.put(FORGOTTEN, key.clone(), at.as_micros().to_be_bytes());
        batch.delete(ALIASES, key);
    }
    Ok(())
}
