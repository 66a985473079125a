//! The full-text index: postings of keyed stem hashes, and the search through them.
//!
//! A *space* is what one recall looks through: a tenant's knowledge, or one conversation. A *unit* is what is put in and taken
//! out as a whole: a document, or a record. The index holds no word, only hashes under the tenant's key.

use std::collections::HashMap;

use konstruct_core::{ConversationId, Language, Result, TenantId};

use super::{
    Shared,
    head::corrupt,
    keys::{self, POSTINGS, SPACES, UNITS},
    snapshot::Rows,
    writer::Batch,
};
use crate::{
    analyze::{self, terms},
    bm25::{Collection, Posting},
    seal::TenantKey,
};

/// A document's or a question's language: of all tenants, until they can say theirs.
const LANGUAGE: Language = Language::English;

/// What one recall looks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space([u8; 16]);

impl Space {
    /// The knowledge of a tenant: nil is no conversation's id.
    pub(super) const KNOWLEDGE: Self = Self([0; 16]);

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What was said in a conversation.
    pub(super) fn conversation(id: ConversationId) -> Self {
        Self(*id.as_bytes())
    }
}

/// A document's id, or a record's index in the last half.
pub(super) type UnitId = [u8; 16];

/// A document or a record, analysed.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) space: Space,
    pub(super) id: UnitId,
    version: u32,
    stems: HashMap<[u8; 16], Vec<Posting>>,
    size: Collection,
}

/// Where something was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) unit: UnitId,
    pub(super) version: u32,
    pub(super) chunk: u32,
    pub(super) score: f32,
    pub(super) coverage: f32,
}

impl Unit {
    /// Analyses the chunks of a unit: for each its heading and its text.
    pub(super) fn analyse(key: &TenantKey, space: Space, chunks: &[(&str, &str)]) -> Self {
        let mut stems: HashMap<String, Vec<Posting>> = HashMap::new();
        let mut size = Collection::default();
        for (chunk, (heading, text)) in (0..).zip(chunks) {
            let (heading, text) = (terms(LANGUAGE, heading), terms(LANGUAGE, text));
            let terms = heading.len() + text.len();
            size.chunks += 1;
            size.terms += terms as u64;
            let mut counts: HashMap<String, (u32, u32)> = HashMap::new();
            for (stem, n) in analyze::count(text) {
                counts.entry(stem).or_default().0 = n;
            }
            for (stem, n) in analyze::count(heading) {
                counts.entry(stem).or_default().1 = n;
            }
            for (stem, (text, heading)) in counts {
                stems.entry(stem).or_default().push(Posting {
                    chunk,
                    text: u16::try_from(text).unwrap_or(u16::MAX),
                    heading: u8::try_from(heading).unwrap_or(u8::MAX),
                    terms: u16::try_from(terms).unwrap_or(u16::MAX),
                });
            }
        }
        Self {
            space,
            id: [0; 16],
            version: 0,
            stems: stems
                .into_iter()
                .map(|(stem, postings)| (stem_hash(key, &stem), postings))
                .collect(),
            size,
        }
    }

    /// Says which unit it is.
    pub(super) fn place(&mut self, id: UnitId, version: u32) {
        self.id = id;
        self.version = version;
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn size(&self) -> Collection {
        self.size
    }

    /// Puts the unit's postings in. With `removable`, its stems are kept, so that it can be taken out again.
    pub(super) fn put(&self, batch: &mut Batch<'_>, tenant: TenantId, removable: bool) {
        for (stem, postings) in &self.stems {
            let mut row = self.version.to_be_bytes().to_vec();
            for posting in postings {
                row.extend_from_slice(&posting.chunk.to_be_bytes());
                row.extend_from_slice(&posting.text.to_be_bytes());
                row.push(posting.heading);
                row.extend_from_slice(&posting.terms.to_be_bytes());
            }
            let key = keys::of(tenant, &[&self.space.0, stem, &self.id]);
            batch.put(POSTINGS, key, row);
        }
        if removable {
            let mut row = to_bytes(self.size);
            for stem in self.stems.keys() {
                row.extend_from_slice(stem);
            }
            let key = keys::of(tenant, &[&self.space.0, &self.id]);
            batch.put(UNITS, key, row);
        }
    }
}

/// Takes a unit out.
pub(super) fn remove(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    (space, id): (Space, UnitId),
) -> Result<()> {
    let unit = keys::of(tenant, &[&space.0, &id]);
    let Some(row) = batch.get(UNITS, &unit)? else {
        return Ok(());
    };
    let gone = from_bytes(&row)?;
    for stem in row[16..].chunks_exact(16) {
        batch.delete(POSTINGS, keys::of(tenant, &[&space.0, stem, &id]));
    }
    batch.delete(UNITS, unit);
    let mut size = size_of(batch, tenant, space)?;
    size.chunks = size.chunks.saturating_sub(gone.chunks);
    size.terms = size.terms.saturating_sub(gone.terms);
    set_size(batch, tenant, space, size);
    Ok(())
}

/// Adds to the size of a space.
pub(super) fn grow(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    space: Space,
    by: Collection,
) -> Result<()> {
    let mut size = size_of(batch, tenant, space)?;
    size.chunks += by.chunks;
    size.terms += by.terms;
    set_size(batch, tenant, space, size);
    Ok(())
}

pub(super) fn set_size(batch: &mut Batch<'_>, tenant: TenantId, space: Space, size: Collection) {
    batch.put(SPACES, keys::of(tenant, &[&space.0]), to_bytes(size));
}

fn size_of(rows: &mut dyn Rows, tenant: TenantId, space: Space) -> Result<Collection> {
    rows.get(SPACES, &keys::of(tenant, &[&space.0]))?
        .map_or(Ok(Collection::default()), |row| from_bytes(&row))
}

fn to_bytes(size: Collection) -> Vec<u8> {
    [size.chunks.to_be_bytes(), size.terms.to_be_bytes()].concat()
}

fn from_bytes(row: &[u8]) -> Result<Collection> {
    Ok(Collection {
        chunks: keys::number(row, 0).ok_or_else(corrupt)?,
        terms: keys::number(row, 8).ok_or_else(corrupt)?,
    })
}

fn stem_hash(key: &TenantKey, stem: &str) -> [u8; 16] {
    key.hash("stem", stem.as_bytes())
}

impl Shared {
    /// Finds the chunks of a space that bear on a text, best first.
    pub(super) fn search(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        space: Space,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Found>> {
        let wanted = analyze::count(terms(LANGUAGE, text));
        let size = size_of(rows, tenant, space)?;
        let vault = self.vault(rows, tenant)?;
        let Some(vault) = vault.filter(|_| size.chunks > 0 && limit > 0) else {
            return Ok(Vec::new());
        };
        let mut found: HashMap<(UnitId, u32), Found> = HashMap::new();
        let mut weight = 0.0;
        for stem in wanted.keys() {
            let prefix = keys::of(tenant, &[&space.0, &stem_hash(&vault.key, stem)]);
            let units = postings(rows, &prefix)?;
            let chunks = units.iter().map(|unit| unit.postings.len()).sum();
            let share = size.weight(chunks);
            weight += share;
            for unit in &units {
                for posting in &unit.postings {
                    let found = found
                        .entry((unit.id, posting.chunk))
                        .or_insert_with(|| Found {
                            unit: unit.id,
                            version: unit.version,
                            chunk: posting.chunk,
                            score: 0.0,
                            coverage: 0.0,
                        });
                    found.score += size.score(chunks, posting);
                    found.coverage += share * posting.covers();
                }
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        // Equal scores in a fixed order, so that a replay sees what the turn saw.
        let order = |a: &Found, b: &Found| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| (&a.unit, a.chunk).cmp(&(&b.unit, b.chunk)))
        };
        if found.len() > limit {
            found.select_nth_unstable_by(limit - 1, order);
            found.truncate(limit);
        }
        found.sort_unstable_by(order);
        for hit in &mut found {
            hit.coverage = (hit.coverage / weight).clamp(0.0, 1.0);
        }
        Ok(found)
    }
}

struct Row {
    id: UnitId,
    version: u32,
    postings: Vec<Posting>,
}

/// Reads the postings of a stem, unit by unit.
fn postings(rows: &mut dyn Rows, prefix: &[u8]) -> Result<Vec<Row>> {
    let mut units = Vec::new();
    rows.scan_prefix(POSTINGS, prefix, &mut |key, row| {
        let (version, rest) = row.split_first_chunk().ok_or_else(corrupt)?;
        units.push(Row {
            id: keys::id(key, prefix.len()).ok_or_else(corrupt)?,
            version: u32::from_be_bytes(*version),
            postings: rest.chunks_exact(9).map(posting).collect(),
        });
        Ok(())
    })?;
    Ok(units)
}

fn posting(bytes: &[u8]) -> Posting {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    Posting {
        chunk: u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)]),
        text: u16::from_be_bytes([byte(4), byte(5)]),
        heading: byte(6),
        terms: u16::from_be_bytes([byte(7), byte(8)]),
    }
}
