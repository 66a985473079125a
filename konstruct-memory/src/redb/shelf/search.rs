//! Questions: postings by words, every vector by meaning, and the best of both.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use konstruct_core::{Error, ErrorKind, Result, TenantId};

use super::{
    super::{
        Shared,
        keys::VECTORS,
        snapshot::{Rows as _, Snapshot},
    },
    arenas::read,
    units,
};
use crate::{
    bm25::Collection,
    memory::{
        fuse::{self, Lexical, Postings, Spread},
        shelf::{Candidate, Search, UnitKey},
    },
    vector::dot,
};

/// How often a question is asked anew because the tenant's memory was written to meanwhile.
const TRIES: usize = 16;

/// A passage: its unit and its number.
type Key = (UnitKey, u32);

/// Hashes keys that are hashes and ids already.
#[derive(Debug, Default)]
pub(crate) struct Folding(u64);

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    // The lengths of arrays are all the same.
    fn write_usize(&mut self, _: usize) {}
}

impl Shared {
    /// Finds the best passages for a question.
    pub(super) fn search(&self, tenant: TenantId, search: &Search) -> Result<Vec<Candidate>> {
        for _ in 0..TRIES {
            let mut snapshot = self.snapshot()?;
            if let Some(found) = self.search_in(&mut snapshot, tenant, search)? {
                return Ok(found);
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the tenant's memory is written to all the time",
        ))
    }

    fn search_in(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        search: &Search,
    ) -> Result<Option<Vec<Candidate>>> {
        let (size, lexical) = by_words(snapshot, tenant, search)?;
        let Some(cosines) = self.by_meaning(snapshot, tenant, search)? else {
            return Ok(None);
        };
        let words = Spread::of(lexical.values().map(|one| one.score), size.chunks);
        let meaning = Spread::of(cosines.iter().map(|(_, of)| *of), cosines.len() as u64);
        let mut found = fused(&lexical, &cosines, (words, meaning));
        let many = if search.when.is_some() {
            found.len()
        } else {
            // The bytes of a vector are its numbers to a hundredth: the best by them hold the best.
            2 * search.limit + 16
        };
        best(&mut found, many);
        let mut candidates = Vec::with_capacity(found.len());
        for (_, (unit, passage), cosine) in found {
            let Some(about) = units::info(snapshot, tenant, &unit)? else {
                continue;
            };
            let timed = search
                .places
                .iter()
                .any(|place| place.space == unit.space && place.timed);
            if let Some((from, to)) = search.when.filter(|_| timed)
                && !(from..to).contains(&about.at)
            {
                continue;
            }
            let exact = match (cosine, &search.vector) {
                (Some(_), Some((embedder, question))) => {
                    let key = units::vector_key(tenant, &unit, passage);
                    snapshot
                        .get(VECTORS, &key)?
                        .and_then(|row| units::read_vector(&row, *embedder))
                        .map(|vector| dot(question, &vector))
                }
                _ => None,
            };
            let by_words = lexical.get(&(unit, passage)).copied().unwrap_or_default();
            candidates.push(Candidate {
                unit,
                passage,
                about,
                lexical: by_words.score,
                coverage: by_words.coverage,
                stems: by_words.stems,
                cosine: exact,
                fused: words.z(by_words.score) + exact.map_or(0.0, |exact| meaning.z(exact)),
            });
        }
        candidates.sort_by(|a, b| {
            b.fused
                .total_cmp(&a.fused)
                .then_with(|| (a.unit, a.passage).cmp(&(b.unit, b.passage)))
        });
        candidates.truncate(search.limit);
        Ok(Some(candidates))
    }

    /// The cosine of every passage in the places that has a vector.
    fn by_meaning(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        search: &Search,
    ) -> Result<Option<Vec<(Key, f32)>>> {
        let mut cosines = Vec::new();
        let Some((embedder, question)) = &search.vector else {
            return Ok(Some(cosines));
        };
        for place in &search.places {
            let which = (tenant, place.space, *embedder);
            let Some(vectors) = self.arenas.of(snapshot, which, question.len())? else {
                return Ok(None);
            };
            let vectors = read(&vectors);
            let scores = vectors.arena.scores(question);
            let all = vectors.passages.iter().copied().zip(scores);
            match place.group {
                None => cosines.extend(all),
                Some(group) => cosines.extend(all.filter(|((unit, _), _)| unit.group == group)),
            }
        }
        Ok(Some(cosines))
    }
}

type Scored = HashMap<Key, Lexical, BuildHasherDefault<Folding>>;

/// The score of every passage in the places that holds one of the stems.
fn by_words(
    snapshot: &mut Snapshot,
    tenant: TenantId,
    search: &Search,
) -> Result<(Collection, Scored)> {
    let mut size = Collection::default();
    for place in &search.places {
        let of = units::size(snapshot, tenant, place)?;
        size.chunks += of.chunks;
        size.terms += of.terms;
    }
    let mut stems = Vec::with_capacity(search.stems.len());
    for hash in &search.stems {
        let mut passages = Vec::new();
        for place in &search.places {
            units::postings(snapshot, tenant, (place, hash), &mut |unit, posting| {
                passages.push(((unit, posting.chunk), posting));
            })?;
        }
        stems.push(Postings {
            hash: *hash,
            passages,
        });
    }
    Ok((size, fuse::lexical(size, stems)))
}

/// The first score of everything that has one, with the cosine by the vector's bytes.
fn fused(
    lexical: &Scored,
    cosines: &[(Key, f32)],
    (words, meaning): (Spread, Spread),
) -> Vec<(f32, Key, Option<f32>)> {
    let mut found = Vec::with_capacity(cosines.len().max(lexical.len()));
    if cosines.is_empty() {
        let all = lexical.iter();
        found.extend(all.map(|(key, one)| (words.z(one.score), *key, None)));
        return found;
    }
    let mut seen = 0;
    for (key, cosine) in cosines {
        let score = lexical.get(key).map_or(0.0, |one| {
            seen += 1;
            one.score
        });
        found.push((words.z(score) + meaning.z(*cosine), *key, Some(*cosine)));
    }
    if seen < lexical.len() {
        // Some have no vector yet.
        let with: std::collections::HashSet<&Key, BuildHasherDefault<Folding>> =
            cosines.iter().map(|(key, _)| key).collect();
        let without = lexical.iter().filter(|(key, _)| !with.contains(key));
        found.extend(without.map(|(key, one)| (words.z(one.score), *key, None)));
    }
    found
}

/// Keeps the best.
fn best(found: &mut Vec<(f32, Key, Option<f32>)>, many: usize) {
    if found.len() > many {
        let order = |a: &(f32, Key, Option<f32>), b: &(f32, Key, Option<f32>)| {
            b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))
        };
        found.select_nth_unstable_by(many, order);
        found.truncate(many);
    }
}
