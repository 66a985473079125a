//! The index: units with their stems, postings, sizes and vectors.

use konstruct_core::{PersonId, Result, SaidBy, TenantId, Timestamp};

use super::super::{
    head::corrupt,
    keys::{self, EXPIRY, PERSON_UNITS, POSTINGS, QUEUE, SIZES, UNITS, VECTORS},
    snapshot::Rows,
    writer::Batch,
};
use crate::{
    bm25::{Collection, Posting},
    memory::shelf::{EmbedderKey, Group, Place, Space, Stem, Unit, UnitInfo, UnitKey, What},
};

/// The bytes of a posting.
const POSTING: usize = 9;
/// The bytes of a stem of a unit.
const STEM: usize = 16;

pub(super) fn unit_key(tenant: TenantId, unit: &UnitKey) -> Vec<u8> {
    keys::of(tenant, &[&unit.space.0, &unit.group.0, &unit.item])
}

/// Reads the last bytes of a key as a unit's.
pub(super) fn read_key(key: &[u8], at: usize) -> Result<UnitKey> {
    Ok(UnitKey {
        space: Space(keys::id(key, at).ok_or_else(corrupt)?),
        group: Group(keys::id(key, at + 16).ok_or_else(corrupt)?),
        item: keys::id(key, at + 32).ok_or_else(corrupt)?,
    })
}

fn person_key(tenant: TenantId, person: PersonId, unit: &UnitKey) -> Vec<u8> {
    let parts: [&[u8]; 4] = [person.as_bytes(), &unit.space.0, &unit.group.0, &unit.item];
    keys::of(tenant, &parts)
}

fn expiry_key(tenant: TenantId, when: Timestamp, unit: &UnitKey) -> Vec<u8> {
    let parts: [&[u8]; 4] = [
        &keys::due_from(when),
        &unit.space.0,
        &unit.group.0,
        &unit.item,
    ];
    keys::of(tenant, &parts)
}

pub(super) fn vector_key(tenant: TenantId, unit: &UnitKey, passage: u32) -> Vec<u8> {
    let parts: [&[u8]; 4] = [
        &unit.space.0,
        &unit.group.0,
        &unit.item,
        &passage.to_be_bytes(),
    ];
    keys::of(tenant, &parts)
}

pub(super) fn vector_row(embedder: EmbedderKey, vector: &[f32]) -> Vec<u8> {
    let mut row = embedder.0.to_be_bytes().to_vec();
    for number in vector {
        row.extend_from_slice(&number.to_le_bytes());
    }
    row
}

/// Reads a vector, if it is this embedder's.
pub(super) fn read_vector(row: &[u8], embedder: EmbedderKey) -> Option<Vec<f32>> {
    (keys::number(row, 0)? == embedder.0).then(|| {
        let numbers = row[8..].chunks_exact(4);
        numbers
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect()
    })
}

/// What is kept of a unit: its info, then for each passage its length and its stems, for taking it out again.
struct Kept {
    info: UnitInfo,
    passages: Vec<(u16, Vec<[u8; 16]>)>,
}

fn to_bytes(unit: &Unit) -> Vec<u8> {
    let about = &unit.about;
    let mut row = vec![about.what as u8];
    row.extend_from_slice(&about.version.to_be_bytes());
    row.extend_from_slice(&about.at.as_micros().to_be_bytes());
    row.push(match about.said_by {
        None => 0,
        Some(SaidBy::Person) => 1,
        Some(_) => 2,
    });
    let option = |row: &mut Vec<u8>, value: Option<[u8; 8]>| {
        row.push(u8::from(value.is_some()));
        row.extend_from_slice(&value.unwrap_or_default());
    };
    option(
        &mut row,
        about.expires_at.map(|at| at.as_micros().to_be_bytes()),
    );
    option(&mut row, about.before.map(u64::to_be_bytes));
    row.extend_from_slice(&(about.persons.len() as u32).to_be_bytes());
    for person in &about.persons {
        row.extend_from_slice(person.as_bytes());
    }
    row.extend_from_slice(&(unit.passages.len() as u32).to_be_bytes());
    for passage in &unit.passages {
        row.extend_from_slice(&passage.terms.to_be_bytes());
        row.extend_from_slice(&(passage.stems.len() as u32).to_be_bytes());
        for stem in &passage.stems {
            row.extend_from_slice(&stem.hash);
        }
    }
    row
}

/// Takes bytes off the front of a row.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*first)
    }

    fn option(&mut self) -> Result<Option<[u8; 8]>> {
        let [there] = self.take()?;
        let value = self.take()?;
        Ok((there == 1).then_some(value))
    }

    fn many(&mut self) -> Result<usize> {
        usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| corrupt())
    }
}

fn read_info(bytes: &mut Bytes<'_>) -> Result<UnitInfo> {
    let what = match bytes.take()? {
        [0] => What::Knowledge,
        [1] => What::History,
        [2] => What::Fact,
        _ => return Err(corrupt()),
    };
    let version = u32::from_be_bytes(bytes.take()?);
    let at = Timestamp::from_micros(i64::from_be_bytes(bytes.take()?));
    let said_by = match bytes.take()? {
        [0] => None,
        [1] => Some(SaidBy::Person),
        _ => Some(SaidBy::Employee),
    };
    let expires_at = bytes.option()?;
    let before = bytes.option()?;
    let many = bytes.many()?;
    let mut persons = Vec::new();
    for _ in 0..many {
        persons.push(PersonId::from_bytes(bytes.take()?));
    }
    Ok(UnitInfo {
        what,
        version,
        at,
        said_by,
        persons,
        expires_at: expires_at.map(|at| Timestamp::from_micros(i64::from_be_bytes(at))),
        before: before.map(u64::from_be_bytes),
    })
}

fn read_unit(row: &[u8]) -> Result<Kept> {
    let mut bytes = Bytes(row);
    let info = read_info(&mut bytes)?;
    let many = bytes.many()?;
    let mut passages = Vec::new();
    for _ in 0..many {
        let terms = u16::from_be_bytes(bytes.take()?);
        let stems = bytes.many()?;
        let stems = (0..stems)
            .map(|_| bytes.take::<STEM>())
            .collect::<Result<_>>()?;
        passages.push((terms, stems));
    }
    Ok(Kept { info, passages })
}

/// Reads what is known of a unit besides its words.
pub(super) fn info(
    rows: &mut dyn Rows,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Option<UnitInfo>> {
    let row = rows.get(UNITS, &unit_key(tenant, unit))?;
    row.map(|row| read_info(&mut Bytes(&row))).transpose()
}

/// Counts a unit's passages.
pub(super) fn passages(
    rows: &mut dyn Rows,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Option<u64>> {
    let row = rows.get(UNITS, &unit_key(tenant, unit))?;
    row.map(|row| Ok(read_unit(&row)?.passages.len() as u64))
        .transpose()
}

/// What was put in and taken out of a tenant's index.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The passages that there are more, or less.
    pub(super) passages: i64,
}

/// Puts a unit in.
pub(super) fn put_in(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    unit: &Unit,
    changes: &mut Changes,
) -> Result<()> {
    let key = unit_key(tenant, &unit.key);
    let mut postings: std::collections::BTreeMap<[u8; 16], Vec<u8>> = Default::default();
    let mut size = Collection::default();
    for (passage, of) in (0_u32..).zip(&unit.passages) {
        size.chunks += 1;
        size.terms += u64::from(of.terms);
        for Stem {
            hash,
            text,
            heading,
        } in &of.stems
        {
            let row = postings.entry(*hash).or_default();
            row.extend_from_slice(&passage.to_be_bytes());
            row.extend_from_slice(&text.to_be_bytes());
            row.push(*heading);
            row.extend_from_slice(&of.terms.to_be_bytes());
        }
        if let Some((embedder, vector)) = &of.vector {
            let row = vector_row(*embedder, vector);
            batch.put(VECTORS, vector_key(tenant, &unit.key, passage), row);
        }
    }
    for (stem, row) in postings {
        let parts: [&[u8]; 4] = [&unit.key.space.0, &stem, &unit.key.group.0, &unit.key.item];
        batch.put(POSTINGS, keys::of(tenant, &parts), row);
    }
    resize(batch, tenant, &unit.key, size, true)?;
    changes.passages += size.chunks.cast_signed();
    for person in &unit.about.persons {
        batch.put(PERSON_UNITS, person_key(tenant, *person, &unit.key), []);
    }
    if let Some(when) = unit.about.expires_at {
        batch.put(EXPIRY, expiry_key(tenant, when, &unit.key), []);
    }
    if unit.passages.iter().any(|passage| passage.vector.is_none()) {
        batch.put(QUEUE, key.clone(), []);
    }
    batch.put(UNITS, key, to_bytes(unit));
    Ok(())
}

/// Takes a unit out, if it is there.
pub(super) fn take_out(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    unit: &UnitKey,
    changes: &mut Changes,
) -> Result<bool> {
    let key = unit_key(tenant, unit);
    let Some(row) = batch.get(UNITS, &key)? else {
        return Ok(false);
    };
    let Kept { info, passages } = read_unit(&row)?;
    let mut size = Collection::default();
    for (passage, (terms, stems)) in (0_u32..).zip(&passages) {
        size.chunks += 1;
        size.terms += u64::from(*terms);
        for stem in stems {
            let parts: [&[u8]; 4] = [&unit.space.0, stem, &unit.group.0, &unit.item];
            batch.delete(POSTINGS, keys::of(tenant, &parts));
        }
        batch.delete(VECTORS, vector_key(tenant, unit, passage));
    }
    resize(batch, tenant, unit, size, false)?;
    changes.passages -= size.chunks.cast_signed();
    for person in info.persons {
        batch.delete(PERSON_UNITS, person_key(tenant, person, unit));
    }
    if let Some(when) = info.expires_at {
        batch.delete(EXPIRY, expiry_key(tenant, when, unit));
    }
    batch.delete(QUEUE, key.clone());
    batch.delete(UNITS, key);
    Ok(true)
}

/// Adds to the size of a unit's space and group, or takes from it.
fn resize(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    unit: &UnitKey,
    by: Collection,
    more: bool,
) -> Result<()> {
    let space = keys::of(tenant, &[&unit.space.0]);
    let group = keys::of(tenant, &[&unit.space.0, &unit.group.0]);
    for key in [space, group] {
        let mut size = size_at(batch, &key)?;
        if more {
            size.chunks += by.chunks;
            size.terms += by.terms;
        } else {
            size.chunks = size.chunks.saturating_sub(by.chunks);
            size.terms = size.terms.saturating_sub(by.terms);
        }
        let row = [size.chunks.to_be_bytes(), size.terms.to_be_bytes()].concat();
        batch.put(SIZES, key, row);
    }
    Ok(())
}

fn size_at(rows: &mut dyn Rows, key: &[u8]) -> Result<Collection> {
    let Some(row) = rows.get(SIZES, key)? else {
        return Ok(Collection::default());
    };
    Ok(Collection {
        chunks: keys::number(&row, 0).ok_or_else(corrupt)?,
        terms: keys::number(&row, 8).ok_or_else(corrupt)?,
    })
}

/// The size of a place.
pub(super) fn size(rows: &mut dyn Rows, tenant: TenantId, place: &Place) -> Result<Collection> {
    let group = place.group.map(|group| group.0);
    let group: &[u8] = group.as_ref().map_or(&[], |group| group);
    size_at(rows, &keys::of(tenant, &[&place.space.0, group]))
}

/// Walks the postings of a stem in a place.
pub(super) fn postings(
    rows: &mut dyn Rows,
    tenant: TenantId,
    (place, stem): (&Place, &[u8; 16]),
    each: &mut dyn FnMut(UnitKey, Posting),
) -> Result<()> {
    let group = place.group.map(|group| group.0);
    let group: &[u8] = group.as_ref().map_or(&[], |group| group);
    let prefix = keys::of(tenant, &[&place.space.0, stem, group]);
    rows.scan_prefix(POSTINGS, &prefix, &mut |key, row| {
        let unit = UnitKey {
            space: place.space,
            group: Group(keys::id(key, 48).ok_or_else(corrupt)?),
            item: keys::id(key, 64).ok_or_else(corrupt)?,
        };
        for bytes in row.chunks_exact(POSTING) {
            each(
                unit,
                Posting {
                    chunk: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                    text: u16::from_be_bytes([bytes[4], bytes[5]]),
                    heading: bytes[6],
                    terms: u16::from_be_bytes([bytes[7], bytes[8]]),
                },
            );
        }
        Ok(())
    })
}
