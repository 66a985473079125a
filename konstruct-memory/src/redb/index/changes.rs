//! Changes of the index: adds and removes units, with their numbers, postings, sizes and vectors.
//!
//! A passage has a number in its space, so that scores can be kept in an array. A freed number is reused by the same plan, or if
//! it was the last one. Other freed numbers stay unused until the index is rebuilt.

use std::collections::{BTreeMap, HashMap};

use konstruct_core::{Error, Result, TenantId, Timestamp};

use super::{
    super::{
        head::corrupt,
        keys::{self, EXPIRY, PERSON_UNITS, QUEUE, SIZES, UNITS, VECTORS},
        snapshot::Rows,
        writer::Batch,
    },
    postings::Edits,
    units::{self, Kept, Numbered},
};
use crate::{
    bm25::Collection,
    memory::backend::{Group, SearchArea, Space, Unit, UnitKey, VectorPut},
};

/// The changes of one plan to a tenant's index. [`Changes::write`] must be called last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The change of the number of passages.
    pub(super) passages: i64,
    /// The applied changes for the tables in memory.
    pub(super) applied: Vec<IndexChange>,
    edits: Edits,
    sizes: BTreeMap<(Space, Option<Group>), Size>,
    /// Freed numbers.
    free: HashMap<Space, Vec<u32>>,
}

/// A change to the passages of a space.
#[derive(Debug)]
pub(super) enum IndexChange {
    /// Passages were removed.
    Removed {
        space: Space,
        passages: Vec<Numbered>,
    },
    /// The unit at this position of the plan was added.
    Added {
        unit: UnitKey,
        at: Timestamp,
        passages: Vec<Numbered>,
        which: usize,
    },
    /// A passage got the vector at this position of the plan.
    Vector {
        space: Space,
        number: u32,
        which: usize,
    },
}

/// The number of passages, their total length, and the next free number.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    of: Collection,
    next: u32,
}

impl Changes {
    /// Adds the unit at this position of a plan.
    pub(super) fn add_unit(
        &mut self,
        batch: &mut Batch<'_>,
        tenant: TenantId,
        (which, unit): (usize, &Unit),
    ) -> Result<()> {
        let space = unit.key.space;
        let mut passages = Vec::with_capacity(unit.passages.len());
        for of in &unit.passages {
            let number = self.number(batch, tenant, space)?;
            for stem in &of.stems {
                self.edits.add(space, number, stem);
            }
            if let Some((embedder, vector)) = &of.vector {
                let row = units::vector_row(*embedder, vector);
                batch.put(VECTORS, units::vector_key(tenant, space, number), row);
            }
            passages.push(Numbered {
                number,
                terms: of.terms,
            });
        }
        self.resize(batch, tenant, &unit.key, &passages, true)?;
        for person in &unit.about.persons {
            let key = units::person_key(tenant, *person, &unit.key);
            batch.put(PERSON_UNITS, key, []);
        }
        if let Some(when) = unit.about.expires_at {
            let key = units::expiry_key(tenant, when, &unit.key);
            batch.put(EXPIRY, key, []);
        }
        let key = units::unit_key(tenant, &unit.key);
        if unit.passages.iter().any(|passage| passage.vector.is_none()) {
            batch.put(QUEUE, key.clone(), []);
        }
        batch.put(UNITS, key, units::to_bytes(unit, &passages));
        self.applied.push(IndexChange::Added {
            unit: unit.key,
            at: unit.about.at,
            passages,
            which,
        });
        Ok(())
    }

    /// Removes a unit if it is in the index.
    pub(super) fn remove_unit(
        &mut self,
        batch: &mut Batch<'_>,
        tenant: TenantId,
        unit: &UnitKey,
    ) -> Result<bool> {
        let Some((Kept { info, passages }, stems)) = units::whole(batch, tenant, unit)? else {
            return Ok(false);
        };
        let key = units::unit_key(tenant, unit);
        let space = unit.space;
        for (Numbered { number, .. }, stems) in passages.iter().zip(stems) {
            for stem in stems {
                self.edits.remove(space, *number, stem);
            }
            batch.delete(VECTORS, units::vector_key(tenant, space, *number));
            self.free.entry(space).or_default().push(*number);
        }
        self.resize(batch, tenant, unit, &passages, false)?;
        for person in info.persons {
            batch.delete(PERSON_UNITS, units::person_key(tenant, person, unit));
        }
        if let Some(when) = info.expires_at {
            batch.delete(EXPIRY, units::expiry_key(tenant, when, unit));
        }
        for table in [QUEUE, UNITS] {
            batch.delete(table, key.clone());
        }
        self.applied.push(IndexChange::Removed { space, passages });
        Ok(true)
    }

    /// Writes the vectors of a plan for passages in the index.
    pub(super) fn put_vectors(
        &mut self,
        batch: &mut Batch<'_>,
        tenant: TenantId,
        vectors: &[VectorPut],
    ) -> Result<()> {
        let mut last: Option<(UnitKey, Vec<Numbered>)> = None;
        for (which, put) in vectors.iter().enumerate() {
            let passages = match last.take() {
                Some((unit, passages)) if unit == put.unit => passages,
                _ => units::unit(batch, tenant, &put.unit)?
                    .map(|unit| unit.passages)
                    .unwrap_or_default(),
            };
            let passage = passages.get(put.passage as usize).copied();
            last = Some((put.unit, passages));
            let Some(Numbered { number, .. }) = passage else {
                continue;
            };
            let space = put.unit.space;
            let row = units::vector_row(put.embedder, &put.vector);
            batch.put(VECTORS, units::vector_key(tenant, space, number), row);
            batch.delete(QUEUE, units::unit_key(tenant, &put.unit));
            self.applied.push(IndexChange::Vector {
                space,
                number,
                which,
            });
        }
        Ok(())
    }

    /// Writes the postings and the sizes.
    pub(super) fn write(&mut self, batch: &mut Batch<'_>, tenant: TenantId) -> Result<()> {
        self.edits.write(batch, tenant)?;
        for ((space, group), mut size) in std::mem::take(&mut self.sizes) {
            let key = size_key(tenant, space, group);
            if size.of.chunks == 0 {
                batch.delete(SIZES, key);
                continue;
            }
            if group.is_none()
                && let Some(mut free) = self.free.remove(&space)
            {
                free.sort_unstable();
                while size.next > 0 && free.pop() == Some(size.next - 1) {
                    size.next -= 1;
                }
            }
            let (chunks, terms) = (size.of.chunks, size.of.terms);
            let numbers = [chunks, terms, u64::from(size.next)];
            let row: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
            batch.put(SIZES, key, row);
        }
        Ok(())
    }

    /// Returns the next free number of a space.
    fn number(&mut self, batch: &mut Batch<'_>, tenant: TenantId, space: Space) -> Result<u32> {
        if let Some(number) = self.free.get_mut(&space).and_then(Vec::pop) {
            return Ok(number);
        }
        let size = self.size(batch, tenant, (space, None))?;
        let number = size.next;
        size.next = number
            .checked_add(1)
            .ok_or_else(|| Error::internal("no passage numbers left: rebuild the index"))?;
        Ok(number)
    }

    fn size(
        &mut self,
        batch: &mut Batch<'_>,
        tenant: TenantId,
        of: (Space, Option<Group>),
    ) -> Result<&mut Size> {
        use std::collections::btree_map::Entry;
        Ok(match self.sizes.entry(of) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(read_size(batch, &size_key(tenant, of.0, of.1))?),
        })
    }

    /// Adds passages to the sizes of a unit's space and group, or subtracts them.
    fn resize(
        &mut self,
        batch: &mut Batch<'_>,
        tenant: TenantId,
        unit: &UnitKey,
        passages: &[Numbered],
        more: bool,
    ) -> Result<()> {
        let many = passages.len() as u64;
        let terms: u64 = passages.iter().map(|of| u64::from(of.terms)).sum();
        for group in [None, Some(unit.group)] {
            let size = &mut self.size(batch, tenant, (unit.space, group))?.of;
            if more {
                size.chunks += many;
                size.terms += terms;
            } else {
                size.chunks = size.chunks.saturating_sub(many);
                size.terms = size.terms.saturating_sub(terms);
            }
        }
        let many = many.cast_signed();
        self.passages += if more { many } else { -many };
        Ok(())
    }
}

fn size_key(tenant: TenantId, space: Space, group: Option<Group>) -> Vec<u8> {
    let group = group.map(|group| group.0);
    keys::of(
        tenant,
        &[&space.0, group.as_ref().map_or(&[], |group| group)],
    )
}

fn read_size(rows: &mut dyn Rows, key: &[u8]) -> Result<Size> {
    let Some(row) = rows.get(SIZES, key)? else {
        return Ok(Size::default());
    };
    let number = |at| keys::number(&row, at).ok_or_else(corrupt);
    Ok(Size {
        of: Collection {
            chunks: number(0)?,
            terms: number(8)?,
        },
        next: u32::try_from(number(16)?).map_err(|_| corrupt())?,
    })
}

/// Returns the size of a search area.
pub(super) fn size(
    rows: &mut dyn Rows,
    tenant: TenantId,
    place: &SearchArea,
) -> Result<Collection> {
    Ok(read_size(rows, &size_key(tenant, place.space, place.group))?.of)
}
