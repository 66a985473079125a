//! Search: postings for words, all vectors for meaning, and the best of both.

use std::{
    collections::BinaryHeap,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use konstruct_core::{Error, ErrorKind, Result, TenantId};

use super::{
    super::{
        Shared,
        head::corrupt,
        keys::VECTORS,
        snapshot::{Rows as _, Snapshot},
    },
    changes,
    commit::MemoryHead,
    postings,
    tables::{Table, read},
    units,
};
use crate::{
    bm25::{Collection, Posting},
    memory::{
        backend::{Candidate, Search, SearchArea, Space, UnitKey},
        fuse::{self, Distribution, Lexical, Postings},
    },
    vector::dot,
};

/// The most attempts of a search while the tenant's memory is being written.
const MAX_ATTEMPTS: usize = 16;

/// The largest error of a cosine that is computed with a quantized vector.
const QUANTIZATION_ERROR: f32 = 0.01;

impl Shared {
    /// Finds the best passages for a question.
    pub(super) fn search(&self, tenant: TenantId, search: &Search) -> Result<Vec<Candidate>> {
        for _ in 0..MAX_ATTEMPTS {
            let mut snapshot = self.snapshot()?;
            if let Some(found) = self.search_in(&mut snapshot, tenant, search)? {
                return Ok(found);
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the tenant's memory is being written continuously",
        ))
    }

    fn search_in(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        search: &Search,
    ) -> Result<Option<Vec<Candidate>>> {
        let revision = MemoryHead::of(snapshot, tenant)?.revision;
        let embedder = search.vector.as_ref();
        let embedder = embedder.map(|(key, question)| (*key, question.len()));
        let mut tables: Vec<(Space, Arc<RwLock<Table>>)> = Vec::new();
        for SearchArea { space, .. } in &search.places {
            if tables.iter().any(|(known, _)| known == space) {
                continue;
            }
            let which = (tenant, *space);
            let Some(table) = self.tables.of(snapshot, which, revision, embedder)? else {
                return Ok(None);
            };
            tables.push((*space, table));
        }
        let tables: Vec<(Space, RwLockReadGuard<'_, Table>)> = tables
            .iter()
            .map(|(space, table)| (*space, read(table)))
            .collect();
        if tables.iter().any(|(_, table)| table.revision() != revision) {
            return Ok(None);
        }
        let found = Scorer::new(search, &tables).candidates(snapshot, tenant)?;
        Ok(Some(found))
    }
}

/// The areas of a search, with the slots of their passages in one array.
struct Scorer<'a> {
    search: &'a Search,
    areas: Vec<AreaTable<'a>>,
    slots: usize,
}

/// An area: its table, and the slot of its passage number 0.
struct AreaTable<'a> {
    search_area: &'a SearchArea,
    table: &'a Table,
    first: usize,
}

/// The lexical score of a passage, and its cosine by the quantized vector.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    lexical: Lexical,
    cosine: Option<f32>,
}

/// One of the best passages so far. The greatest is the worst.
struct Found {
    score: f32,
    key: (UnitKey, u32),
    slot: usize,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Found {}

impl<'a> Scorer<'a> {
    fn new(search: &'a Search, tables: &'a [(Space, RwLockReadGuard<'_, Table>)]) -> Self {
        let (mut areas, mut slots) = (Vec::with_capacity(search.places.len()), 0);
        for search_area in &search.places {
            if let Some((_, table)) = tables.iter().find(|(space, _)| *space == search_area.space) {
                let table: &Table = table;
                areas.push(AreaTable {
                    search_area,
                    table,
                    first: slots,
                });
                slots += table.len();
            }
        }
        Self {
            search,
            areas,
            slots,
        }
    }

    fn candidates(&self, snapshot: &mut Snapshot, tenant: TenantId) -> Result<Vec<Candidate>> {
        let mut slots = vec![Slot::default(); self.slots];
        let words = self.score_words(snapshot, tenant, &mut slots)?;
        let meaning = self.score_vectors(&mut slots);
        let mut best = self.best(&slots, (words, meaning), 2 * self.search.limit + 16);
        best.sort_unstable();
        if let Some(last) = best.get(self.search.limit.saturating_sub(1)) {
            // A passage further behind the last requested one cannot overtake it with its exact vector.
            let least = last.score - (meaning.z(2.0 * QUANTIZATION_ERROR) - meaning.z(0.0));
            best.retain(|found| found.score >= least);
        }
        let mut scored = Vec::with_capacity(best.len());
        for found in best {
            let Slot { lexical, cosine } = slots[found.slot];
            let cosine = match cosine {
                Some(_) => self.cosine(snapshot, tenant, found.slot)?,
                None => None,
            };
            let fused = words.z(lexical.score) + cosine.map_or(0.0, |of| meaning.z(of));
            scored.push((found.key, lexical, cosine, fused));
        }
        scored.sort_by(|a, b| b.3.total_cmp(&a.3).then_with(|| a.0.cmp(&b.0)));
        scored.truncate(self.search.limit);
        let candidate = |((unit, passage), lexical, cosine, fused): (_, Lexical, _, _)| {
            Ok(Candidate {
                unit,
                passage,
                about: units::info(snapshot, tenant, &unit)?.ok_or_else(corrupt)?,
                lexical: lexical.score,
                coverage: lexical.coverage,
                stems: lexical.stems,
                cosine,
                words: words.z(lexical.score),
                fused,
            })
        };
        scored.into_iter().map(candidate).collect()
    }

    /// Scores the passages that contain one of the stems.
    fn score_words(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        slots: &mut [Slot],
    ) -> Result<Distribution> {
        let mut size = Collection::default();
        for AreaTable { search_area, .. } in &self.areas {
            let of = changes::size(snapshot, tenant, search_area)?;
            size.chunks += of.chunks;
            size.terms += of.terms;
        }
        let mut stems = Vec::with_capacity(self.search.stems.len());
        for stem in &self.search.stems {
            let mut passages: Vec<(usize, Posting)> = Vec::new();
            for area in &self.areas {
                let space = area.search_area.space;
                postings::walk(snapshot, tenant, (space, &stem.hash), |number, counts| {
                    let number = number as usize;
                    if area.contains(number) {
                        let posting = Posting {
                            text: counts.text,
                            heading: counts.heading,
                            terms: area.table.terms[number],
                        };
                        passages.push((area.first + number, posting));
                    }
                })?;
            }
            stems.push(Postings {
                stem: *stem,
                passages,
            });
        }
        fuse::lexical(size, stems, |slot: usize, stem| {
            slots[slot].lexical.add(stem)
        });
        let scores = slots.iter().map(|slot| slot.lexical.score);
        Ok(Distribution::of(scores, size.chunks))
    }

    /// Scores every passage that has a vector.
    fn score_vectors(&self, slots: &mut [Slot]) -> Distribution {
        let mut cosines = Vec::new();
        if let Some((embedder, question)) = &self.search.vector {
            for area in &self.areas {
                for (number, cosine) in area.table.cosines(*embedder, question) {
                    if area.contains(number) {
                        slots[area.first + number].cosine = Some(cosine);
                        cosines.push(cosine);
                    }
                }
            }
        }
        let many = cosines.len() as u64;
        Distribution::of(cosines, many)
    }

    /// Returns the best passages by words and quantized vectors, of the requested time.
    fn best(
        &self,
        slots: &[Slot],
        (words, meaning): (Distribution, Distribution),
        many: usize,
    ) -> Vec<Found> {
        let mut best: BinaryHeap<Found> = BinaryHeap::with_capacity(many + 1);
        let mut least = f32::NEG_INFINITY;
        for area in &self.areas {
            let when = self.search.when.filter(|_| area.search_area.timed);
            let own = &slots[area.first..area.first + area.table.len()];
            for (number, slot) in own.iter().enumerate() {
                if slot.lexical.stems == 0 && slot.cosine.is_none() {
                    continue;
                }
                let score =
                    words.z(slot.lexical.score) + slot.cosine.map_or(0.0, |of| meaning.z(of));
                if score < least {
                    continue;
                }
                let Some(passage) = area.table.passage(number) else {
                    continue;
                };
                if when.is_some_and(|(from, to)| !(from..to).contains(&passage.at)) {
                    continue;
                }
                best.push(Found {
                    score,
                    key: passage.key,
                    slot: area.first + number,
                });
                if best.len() > many {
                    best.pop();
                    least = best.peek().map_or(least, |worst| worst.score);
                }
            }
        }
        best.into_vec()
    }

    /// Returns the cosine by the exact vector.
    fn cosine(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        slot: usize,
    ) -> Result<Option<f32>> {
        let area = self.areas.iter().rfind(|area| area.first <= slot);
        let (Some(area), Some((embedder, question))) = (area, &self.search.vector) else {
            return Ok(None);
        };
        let number = u32::try_from(slot - area.first).map_err(|_| corrupt())?;
        let mut vector = vec![0.0; question.len()];
        let mut cosine = None;
        let key = units::vector_key(tenant, area.search_area.space, number);
        snapshot.visit(VECTORS, &key, &mut |row| {
            if units::read_vector(row, *embedder, &mut vector) {
                cosine = Some(dot(question, &vector));
            }
            Ok(())
        })?;
        Ok(cosine)
    }
}

impl AreaTable<'_> {
    /// Returns whether a passage is in the area.
    fn contains(&self, number: usize) -> bool {
        self.table.is_in(number, self.search_area.group)
    }
}
