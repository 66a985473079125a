//! The rows of units and vectors.

use konstruct_core::{PersonId, Result, TenantId, Timestamp, memory::SaidBy};

use super::super::{
    head::corrupt,
    keys::{self, UNITS},
    snapshot::Rows,
};
use crate::memory::backend::{EmbedderKey, Group, Space, Unit, UnitInfo, UnitKey, UnitKind};

pub(super) fn unit_key(tenant: TenantId, unit: &UnitKey) -> Vec<u8> {
    keys::of(tenant, &[&unit.space.0, &unit.group.0, &unit.item])
}

/// Reads a unit's key from the end of a row key.
pub(super) fn read_key(key: &[u8], at: usize) -> Result<UnitKey> {
    Ok(UnitKey {
        space: Space(keys::id(key, at).ok_or_else(corrupt)?),
        group: Group(keys::id(key, at + 16).ok_or_else(corrupt)?),
        item: keys::id(key, at + 32).ok_or_else(corrupt)?,
    })
}

pub(super) fn person_key(tenant: TenantId, person: PersonId, unit: &UnitKey) -> Vec<u8> {
    let parts: [&[u8]; 4] = [person.as_bytes(), &unit.space.0, &unit.group.0, &unit.item];
    keys::of(tenant, &parts)
}

pub(super) fn expiry_key(tenant: TenantId, when: Timestamp, unit: &UnitKey) -> Vec<u8> {
    let parts: [&[u8]; 4] = [
        &keys::due_from(when),
        &unit.space.0,
        &unit.group.0,
        &unit.item,
    ];
    keys::of(tenant, &parts)
}

pub(super) fn vector_key(tenant: TenantId, space: Space, number: u32) -> Vec<u8> {
    keys::of(tenant, &[&space.0, &number.to_be_bytes()])
}

/// Writes a vector: its embedder, its scale, and a byte a dimension. A cosine computed with it is usually off by less than a
/// thousandth.
pub(super) fn vector_row(embedder: EmbedderKey, vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0.0_f32, |most, at| most.max(at.abs()));
    let scale = largest / f32::from(i8::MAX);
    let mut row = embedder.0.to_be_bytes().to_vec();
    row.extend_from_slice(&scale.to_le_bytes());
    for at in vector {
        // For a zero vector, NaN casts to 0.
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let step = (at / scale).round() as i8;
        row.extend_from_slice(&step.to_le_bytes());
    }
    row
}

/// Reads a vector into a buffer if it is of this embedder and length. Returns whether it is.
pub(super) fn read_vector(row: &[u8], embedder: EmbedderKey, into: &mut [f32]) -> bool {
    let Some((of, rest)) = row.split_first_chunk() else {
        return false;
    };
    let Some((scale, steps)) = rest.split_first_chunk() else {
        return false;
    };
    if u64::from_be_bytes(*of) != embedder.0 || steps.len() != into.len() {
        return false;
    }
    let scale = f32::from_le_bytes(*scale);
    for (into, step) in into.iter_mut().zip(steps) {
        *into = scale * f32::from(step.cast_signed());
    }
    true
}

/// A passage in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Its number in its space.
    pub(super) number: u32,
    /// Its number of terms.
    pub(super) terms: u16,
}

/// A unit without its stems.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) info: UnitInfo,
    pub(super) passages: Vec<Numbered>,
}

pub(super) fn to_bytes(unit: &Unit, passages: &[Numbered]) -> Vec<u8> {
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
    row.extend_from_slice(&(passages.len() as u32).to_be_bytes());
    for passage in passages {
        row.extend_from_slice(&passage.number.to_be_bytes());
        row.extend_from_slice(&passage.terms.to_be_bytes());
    }
    for passage in &unit.passages {
        row.extend_from_slice(&(passage.stems.len() as u32).to_be_bytes());
        for stem in &passage.stems {
            row.extend_from_slice(&stem.hash);
        }
    }
    row
}

/// Reads bytes from the front of a row.
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
        [0] => UnitKind::Knowledge,
        [1] => UnitKind::History,
        [2] => UnitKind::Fact,
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

/// Reads a row without the stems at its end.
pub(super) fn read_unit(row: &[u8]) -> Result<Kept> {
    read_front(&mut Bytes(row))
}

fn read_front(bytes: &mut Bytes<'_>) -> Result<Kept> {
    let info = read_info(bytes)?;
    let many = bytes.many()?;
    let mut passages = Vec::new();
    for _ in 0..many {
        passages.push(Numbered {
            number: u32::from_be_bytes(bytes.take()?),
            terms: u16::from_be_bytes(bytes.take()?),
        });
    }
    Ok(Kept { info, passages })
}

/// Reads the metadata of a unit.
pub(super) fn info(
    rows: &mut dyn Rows,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Option<UnitInfo>> {
    let mut info = None;
    rows.visit(UNITS, &unit_key(tenant, unit), &mut |row| {
        info = Some(read_info(&mut Bytes(row))?);
        Ok(())
    })?;
    Ok(info)
}

/// Reads a unit without its stems.
pub(super) fn unit(rows: &mut dyn Rows, tenant: TenantId, unit: &UnitKey) -> Result<Option<Kept>> {
    let row = rows.get(UNITS, &unit_key(tenant, unit))?;
    row.as_deref().map(read_unit).transpose()
}

/// The stems of each passage of a unit, needed to remove it.
type Stems = Vec<Vec<[u8; 16]>>;

/// Reads a unit with its stems.
pub(super) fn whole(
    rows: &mut dyn Rows,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Option<(Kept, Stems)>> {
    let Some(row) = rows.get(UNITS, &unit_key(tenant, unit))? else {
        return Ok(None);
    };
    let mut bytes = Bytes(&row);
    let kept = read_front(&mut bytes)?;
    let passage = |bytes: &mut Bytes<'_>| (0..bytes.many()?).map(|_| bytes.take()).collect();
    let stems = kept.passages.iter().map(|_| passage(&mut bytes));
    let stems = stems.collect::<Result<_>>()?;
    Ok(Some((kept, stems)))
}
