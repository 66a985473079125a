//! Questions: postings by words, every vector by meaning, and the best of both.

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
    commit::MemoryHead,
    index, postings,
    tables::{Table, read},
    units,
};
use crate::{
    bm25::{Collection, Posting},
    memory::{
        backend::{Candidate, Search, SearchArea, Space, UnitKey},
        fuse::{self, Lexical, Postings, Spread},
    },
    vector::dot,
};

/// How often a question is asked anew because the tenant's memory was written to meanwhile.
const TRIES: usize = 16;

/// How far a cosine by the bytes of a vector may be from its own.
const ROUNDED: f32 = 0.01;

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
        let found = Sight::new(search, &tables).candidates(snapshot, tenant)?;
        Ok(Some(found))
    }
}

/// What a question looks at: its places, and their passages in one row of slots.
struct Sight<'a> {
    search: &'a Search,
    looks: Vec<Look<'a>>,
    slots: usize,
}

/// A place: its table, and the slot of its number 0.
struct Look<'a> {
    place: &'a SearchArea,
    table: &'a Table,
    first: usize,
}

/// What a passage scores by its words, and its cosine by the vector's bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    lexical: Lexical,
    cosine: Option<f32>,
}

/// One of the best so far. The greatest is the worst of them.
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

impl<'a> Sight<'a> {
    fn new(search: &'a Search, tables: &'a [(Space, RwLockReadGuard<'_, Table>)]) -> Self {
        let (mut looks, mut slots) = (Vec::with_capacity(search.places.len()), 0);
        for place in &search.places {
            if let Some((_, table)) = tables.iter().find(|(space, _)| *space == place.space) {
                let table: &Table = table;
                looks.push(Look {
                    place,
                    table,
                    first: slots,
                });
                slots += table.len();
            }
        }
        Self {
            search,
            looks,
            slots,
        }
    }

    fn candidates(&self, snapshot: &mut Snapshot, tenant: TenantId) -> Result<Vec<Candidate>> {
        let mut slots = vec![Slot::default(); self.slots];
        let words = self.by_words(snapshot, tenant, &mut slots)?;
        let meaning = self.by_meaning(&mut slots);
        let mut best = self.best(&slots, (words, meaning), 2 * self.search.limit + 16);
        best.sort_unstable();
        if let Some(last) = best.get(self.search.limit.saturating_sub(1)) {
            // What lies further behind the last one that is wanted cannot come before it.
            let least = last.score - (meaning.z(2.0 * ROUNDED) - meaning.z(0.0));
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
                fused,
            })
        };
        scored.into_iter().map(candidate).collect()
    }

    /// Scores the passages in the places that hold one of the stems.
    fn by_words(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        slots: &mut [Slot],
    ) -> Result<Spread> {
        let mut size = Collection::default();
        for Look { place, .. } in &self.looks {
            let of = changes::size(snapshot, tenant, place)?;
            size.chunks += of.chunks;
            size.terms += of.terms;
        }
        let mut stems = Vec::with_capacity(self.search.stems.len());
        for hash in &self.search.stems {
            let mut passages: Vec<(usize, Posting)> = Vec::new();
            for look in &self.looks {
                let space = look.place.space;
                postings::walk(snapshot, tenant, (space, hash), |number, counts| {
                    let number = number as usize;
                    if look.sees(number) {
                        let posting = Posting {
                            text: counts.text,
                            heading: counts.heading,
                            terms: look.table.terms[number],
                        };
                        passages.push((look.first + number, posting));
                    }
                })?;
            }
            stems.push(Postings {
                hash: *hash,
                passages,
            });
        }
        fuse::lexical(size, stems, |slot: usize, stem| {
            slots[slot].lexical.add(stem)
        });
        let scores = slots.iter().map(|slot| slot.lexical.score);
        Ok(Spread::of(scores, size.chunks))
    }

    /// Finds the cosine of every passage in the places that has a vector.
    fn by_meaning(&self, slots: &mut [Slot]) -> Spread {
        let mut cosines = Vec::new();
        if let Some((embedder, question)) = &self.search.vector {
            for look in &self.looks {
                for (number, cosine) in look.table.cosines(*embedder, question) {
                    if look.sees(number) {
                        slots[look.first + number].cosine = Some(cosine);
                        cosines.push(cosine);
                    }
                }
            }
        }
        let many = cosines.len() as u64;
        Spread::of(cosines, many)
    }

    /// The best by words and by the bytes of their vectors, of those that are of the time that is asked for.
    fn best(&self, slots: &[Slot], (words, meaning): (Spread, Spread), many: usize) -> Vec<Found> {
        let mut best: BinaryHeap<Found> = BinaryHeap::with_capacity(many + 1);
        let mut least = f32::NEG_INFINITY;
        for look in &self.looks {
            let when = self.search.when.filter(|_| look.place.timed);
            let own = &slots[look.first..look.first + look.table.len()];
            for (number, slot) in own.iter().enumerate() {
                if slot.lexical.stems == 0 && slot.cosine.is_none() {
                    continue;
                }
                let score =
                    words.z(slot.lexical.score) + slot.cosine.map_or(0.0, |of| meaning.z(of));
                if score < least {
                    continue;
                }
                let Some(passage) = look.table.passage(number) else {
                    continue;
                };
                if when.is_some_and(|(from, to)| !(from..to).contains(&passage.at)) {
                    continue;
                }
                best.push(Found {
                    score,
                    key: passage.key,
                    slot: look.first + number,
                });
                if best.len() > many {
                    best.pop();
                    least = best.peek().map_or(least, |worst| worst.score);
                }
            }
        }
        best.into_vec()
    }

    /// The cosine by the vector as it is.
    fn cosine(
        &self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        slot: usize,
    ) -> Result<Option<f32>> {
        let look = self.looks.iter().rfind(|look| look.first <= slot);
        let (Some(look), Some((embedder, question))) = (look, &self.search.vector) else {
            return Ok(None);
        };
        let number = u32::try_from(slot - look.first).map_err(|_| corrupt())?;
        let mut vector = vec![0.0; question.len()];
        let mut cosine = None;
        let key = units::vector_key(tenant, look.place.space, number);
        snapshot.look(VECTORS, &key, &mut |row| {
            if units::read_vector(row, *embedder, &mut vector) {
                cosine = Some(dot(question, &vector));
            }
            Ok(())
        })?;
        Ok(cosine)
    }
}

impl Look<'_> {
    /// Whether a passage is in the place.
    fn sees(&self, number: usize) -> bool {
        self.table.is_in(number, self.place.group)
    }
}
