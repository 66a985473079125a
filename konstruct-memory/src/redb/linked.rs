//! The person of an address. Its id is a keyed hash of the address, unless the address was linked to another person, or imported
//! with another id.

use konstruct_core::{PersonId, Result, TenantId, Timestamp};

use super::{
    head::corrupt,
    keys::{self, ALIASES, FORGOTTEN},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};

impl Vault {
    /// Returns the person of an address.
    pub(super) fn person(&self, rows: &mut dyn Rows, address: PersonId) -> Result<PersonId> {
        if self.has_key(rows, address)? {
            return Ok(address);
        }
        let alias = self.alias(rows, address.as_bytes())?;
        Ok(alias.map_or(address, PersonId::from_bytes))
    }

    /// Links addresses that are one person's to the first of them that is known. Returns that person.
    pub(super) fn link_all(
        &self,
        batch: &mut Batch<'_>,
        addresses: &[PersonId],
    ) -> Result<Option<PersonId>> {
        let mut person = None;
        for address in addresses {
            if self.has_key(batch, *address)? {
                person = Some(*address);
                break;
            }
            if let Some(alias) = self.alias(batch, address.as_bytes())? {
                person = Some(PersonId::from_bytes(alias));
                break;
            }
        }
        let person = person.or(addresses.first().copied());
        for address in addresses {
            if let Some(person) = person
                && self.alias(batch, address.as_bytes())?.is_none()
            {
                self.link(batch, *address, person)?;
            }
        }
        Ok(person)
    }

    /// Links an address to a person. An address with earlier messages remains a person of its own, because what is sealed to it
    /// is not sealed again.
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

/// Removes the links of a person's addresses, and records that they were erased with the person.
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
