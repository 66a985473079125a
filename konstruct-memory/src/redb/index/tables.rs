//! Passages in memory: a table for each space that was searched lately, within a bound. Words are looked up in the file.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use konstruct_core::{Result, TenantId, Timestamp};

use super::{
    super::{
        head::corrupt,
        keys::{self, UNITS, VECTORS},
        snapshot::Rows,
    },
    changes::Step,
    units::{self, Numbered},
};
use crate::{
    memory::backend::{EmbedderKey, Group, Plan, Space, UnitKey},
    vector::Arena,
};

/// What all tables may take together, in bytes.
const BOUND: usize = 256 << 20;
/// After so many were added, all are looked at.
const LOOK: usize = 256;
/// Which table.
type Which = (TenantId, Space);

/// The tables in memory.
#[derive(Debug, Default)]
pub(in crate::redb) struct Tables(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    tables: HashMap<TenantId, HashMap<Space, Kept>>,
    /// What the tables took together when they were last looked at, and how many were added since.
    size: usize,
    added: usize,
    /// What is being committed, or was and is not followed yet, by the revision that it was planned on.
    coming: HashMap<(TenantId, u64), Arc<Coming>>,
    /// Counts up with every use.
    used: u64,
}

/// A table in memory.
#[derive(Debug)]
struct Kept {
    /// When it was last used, by [`Held::used`].
    used: u64,
    table: Arc<RwLock<Table>>,
}

/// A plan, and what it does to the index.
#[derive(Debug)]
struct Coming {
    plan: Arc<Plan>,
    steps: Vec<Step>,
}

/// The passages of a space by their numbers, as of a revision, and their vectors by one embedder.
#[derive(Debug)]
pub(super) struct Table {
    revision: u64,
    passages: Vec<Option<Passage>>,
    /// How many terms each has.
    pub(super) terms: Vec<u16>,
    vectors: Option<Vectors>,
}

/// A passage, and when it was said, learned or added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) key: (UnitKey, u32),
    pub(super) at: Timestamp,
}

#[derive(Debug)]
struct Vectors {
    embedder: EmbedderKey,
    /// By number; zeros where there is none.
    arena: Arena,
    there: Vec<bool>,
}

impl Tables {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the table of a space at a revision, with vectors of this embedder and dimension; `None` if the one in memory is
    /// newer, and then the caller takes another snapshot.
    pub(super) fn of(
        &self,
        rows: &mut dyn Rows,
        which: Which,
        revision: u64,
        embedder: Option<(EmbedderKey, usize)>,
    ) -> Result<Option<Arc<RwLock<Table>>>> {
        while let Some(table) = self.find(which) {
            let (present, has) = {
                let table = read(&table);
                (table.revision, table.has(embedder))
            };
            match present.cmp(&revision) {
                Ordering::Greater => return Ok(None),
                Ordering::Equal if has => return Ok(Some(table)),
                Ordering::Equal => break,
                Ordering::Less => {}
            }
            // It is committed already, and the writer is about to tell.
            let coming = self.held().coming.get(&(which.0, present)).cloned();
            match coming {
                Some(coming) => write(&table).follow(which.1, &coming),
                None if read(&table).revision == present => break,
                // The writer has told meanwhile.
                None => {}
            }
        }
        let table = Table::load(rows, which, revision, embedder)?;
        let table = Arc::new(RwLock::new(table));
        self.keep(which, &table);
        Ok(Some(table))
    }

    fn find(&self, which: Which) -> Option<Arc<RwLock<Table>>> {
        let mut held = self.held();
        held.used += 1;
        let used = held.used;
        let kept = held.tables.get_mut(&which.0)?.get_mut(&which.1)?;
        kept.used = used;
        Some(Arc::clone(&kept.table))
    }

    fn keep(&self, which: Which, table: &Arc<RwLock<Table>>) {
        let mut held = self.held();
        held.used += 1;
        let kept = Kept {
            used: held.used,
            table: Arc::clone(table),
        };
        held.size += kept.bytes();
        held.added += 1;
        held.tables
            .entry(which.0)
            .or_default()
            .insert(which.1, kept);
        // Tables grow, and one that is replaced counted before: now and then all of them are looked at.
        if held.size > BOUND || held.added > LOOK {
            held.bound();
        }
    }

    /// Notes what a plan does that is about to be committed: who sees it committed may follow it.
    pub(super) fn coming(&self, tenant: TenantId, plan: &Arc<Plan>, steps: Vec<Step>) {
        let key = (tenant, plan.revision);
        let plan = Arc::clone(plan);
        let coming = Arc::new(Coming { plan, steps });
        self.held().coming.insert(key, coming);
    }

    /// Forgets a plan that was not committed.
    pub(super) fn undone(&self, tenant: TenantId, revision: u64) {
        self.held().coming.remove(&(tenant, revision));
    }

    /// Follows the plan that was committed on a revision.
    pub(super) fn follow(&self, tenant: TenantId, revision: u64) {
        let key = (tenant, revision);
        let (coming, own) = {
            let held = self.held();
            let Some(coming) = held.coming.get(&key).cloned() else {
                return;
            };
            let own = held.tables.get(&tenant).into_iter().flatten();
            let own = own.map(|(space, kept)| (*space, Arc::clone(&kept.table)));
            (coming, own.collect::<Vec<_>>())
        };
        for (space, table) in own {
            write(&table).follow(space, &coming);
        }
        self.held().coming.remove(&key);
    }

    /// Drops what is in memory of a tenant.
    pub(super) fn drop_tenant(&self, tenant: TenantId) {
        self.held().tables.remove(&tenant);
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        read(&self.table).bytes()
    }
}

impl Held {
    /// Counts what all tables take, and drops those that were not used for longest while it is too much.
    fn bound(&mut self) {
        let all = self.tables.values().flat_map(HashMap::values);
        self.size = all.map(Kept::bytes).sum();
        self.added = 0;
        if self.size <= BOUND {
            return;
        }
        let of = |(tenant, own): (&TenantId, &HashMap<Space, Kept>)| {
            let tenant = *tenant;
            let which = own
                .iter()
                .map(move |(space, kept)| (kept.used, tenant, *space));
            which.collect::<Vec<_>>()
        };
        let mut oldest: Vec<_> = self.tables.iter().flat_map(of).collect();
        oldest.sort_unstable_by_key(|(used, ..)| *used);
        // The one that was used last stays, whatever it takes.
        oldest.pop();
        for (_, tenant, space) in oldest {
            if self.size <= BOUND {
                return;
            }
            if let Some(own) = self.tables.get_mut(&tenant) {
                let gone = own.remove(&space).map_or(0, |gone| gone.bytes());
                self.size = self.size.saturating_sub(gone);
                if own.is_empty() {
                    self.tables.remove(&tenant);
                }
            }
        }
    }
}

/// Takes a reader's hold of a table.
pub(super) fn read(table: &RwLock<Table>) -> RwLockReadGuard<'_, Table> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(table: &RwLock<Table>) -> RwLockWriteGuard<'_, Table> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

impl Step {
    fn space(&self) -> Space {
        match self {
            Self::Gone { space, .. } | Self::Vector { space, .. } => *space,
            Self::New { unit, .. } => unit.space,
        }
    }
}

impl Table {
    fn load(
        rows: &mut dyn Rows,
        (tenant, space): Which,
        revision: u64,
        embedder: Option<(EmbedderKey, usize)>,
    ) -> Result<Self> {
        let mut table = Self {
            revision,
            passages: Vec::new(),
            terms: Vec::new(),
            vectors: None,
        };
        let prefix = keys::of(tenant, &[&space.0]);
        rows.scan_prefix(UNITS, &prefix, &mut |key, row| {
            let (unit, kept) = (units::read_key(key, 16)?, units::read_unit(row)?);
            table.add_units(unit, kept.info.at, &kept.passages);
            Ok(())
        })?;
        let Some((embedder, dim)) = embedder else {
            return Ok(table);
        };
        let mut vectors = Vectors {
            embedder,
            arena: Arena::new(dim),
            there: Vec::new(),
        };
        let mut vector = vec![0.0; dim];
        rows.scan_prefix(VECTORS, &prefix, &mut |key, row| {
            let number = u32::from_be_bytes(*key.last_chunk().ok_or_else(corrupt)?);
            if units::read_vector(row, embedder, &mut vector) {
                vectors.set(number as usize, &vector);
            }
            Ok(())
        })?;
        table.vectors = Some(vectors);
        Ok(table)
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// How many numbers there may be.
    pub(super) fn len(&self) -> usize {
        self.passages.len()
    }

    /// The passage that has a number.
    pub(super) fn passage(&self, number: usize) -> Option<&Passage> {
        self.passages.get(number)?.as_ref()
    }

    /// Whether a passage is in a group.
    pub(super) fn is_in(&self, number: usize, group: Option<Group>) -> bool {
        let passage = self.passage(number);
        passage.is_some_and(|passage| group.is_none_or(|group| passage.key.0.group == group))
    }

    /// The cosine of every passage with a question, by number; none where there is no vector of its embedder.
    pub(super) fn cosines(
        &self,
        embedder: EmbedderKey,
        question: &[f32],
    ) -> impl Iterator<Item = (usize, f32)> {
        let vectors = self.vectors.as_ref();
        let vectors = vectors.filter(|vectors| {
            vectors.embedder == embedder && vectors.arena.dim() == question.len()
        });
        let scores = vectors.map(|vectors| vectors.arena.scores(question));
        let there = vectors.into_iter().flat_map(|vectors| &vectors.there);
        let scored = scores.into_iter().flatten().zip(there).enumerate();
        scored.filter_map(|(number, (score, there))| there.then_some((number, score)))
    }

    fn has(&self, embedder: Option<(EmbedderKey, usize)>) -> bool {
        let of = |vectors: &Vectors| (vectors.embedder, vectors.arena.dim());
        embedder.is_none() || embedder == self.vectors.as_ref().map(of)
    }

    fn add_units(&mut self, unit: UnitKey, at: Timestamp, passages: &[Numbered]) {
        for (passage, of) in (0..).zip(passages) {
            let number = of.number as usize;
            if self.passages.len() <= number {
                self.passages.resize(number + 1, None);
                self.terms.resize(number + 1, 0);
            }
            let key = (unit, passage);
            self.passages[number] = Some(Passage { key, at });
            self.terms[number] = of.terms;
        }
    }

    /// Follows what a plan did to the space, if the table is of the revision that it was planned on.
    fn follow(&mut self, space: Space, coming: &Coming) {
        let plan = &coming.plan;
        if self.revision != plan.revision {
            return;
        }
        self.revision += 1;
        if plan.clear_index {
            self.passages.clear();
            self.terms.clear();
            if let Some(vectors) = &mut self.vectors {
                vectors.there.fill(false);
            }
        }
        for step in coming.steps.iter().filter(|step| step.space() == space) {
            self.apply(plan, step);
        }
    }

    fn apply(&mut self, plan: &Plan, step: &Step) {
        match step {
            Step::Gone { passages, .. } => {
                for Numbered { number, .. } in passages {
                    if let Some(passage) = self.passages.get_mut(*number as usize) {
                        *passage = None;
                    }
                    if let Some(vectors) = &mut self.vectors {
                        vectors.remove(*number as usize);
                    }
                }
            }
            Step::New {
                unit,
                at,
                passages,
                which,
            } => {
                self.add_units(*unit, *at, passages);
                let made = plan.add_units.get(*which).map(|unit| &unit.passages);
                for (of, made) in passages.iter().zip(made.into_iter().flatten()) {
                    if let Some((embedder, vector)) = &made.vector {
                        self.set_vector(of.number, *embedder, vector);
                    }
                }
            }
            Step::Vector { number, which, .. } => {
                if let Some(put) = plan.vectors.get(*which) {
                    self.set_vector(*number, put.embedder, &put.vector);
                }
            }
        }
    }

    fn set_vector(&mut self, number: u32, embedder: EmbedderKey, vector: &[f32]) {
        if let Some(vectors) = &mut self.vectors {
            if vectors.embedder == embedder && vectors.arena.dim() == vector.len() {
                vectors.set(number as usize, vector);
            } else {
                // It replaces the one that was there.
                vectors.remove(number as usize);
            }
        }
    }

    fn bytes(&self) -> usize {
        let vectors = self.vectors.as_ref();
        let vectors = vectors.map_or(0, |vectors| vectors.arena.bytes() + vectors.there.len());
        let passage = size_of::<Option<Passage>>() + size_of::<u16>();
        vectors + self.passages.len() * passage
    }
}

impl Vectors {
    fn set(&mut self, number: usize, vector: &[f32]) {
        while self.arena.len() < number {
            self.arena.push(&vec![0.0; self.arena.dim()]);
            self.there.push(false);
        }
        if self.arena.len() == number {
            self.arena.push(vector);
            self.there.push(true);
        } else {
            self.arena.replace(number, vector);
            self.there[number] = true;
        }
    }

    fn remove(&mut self, number: usize) {
        if let Some(there) = self.there.get_mut(number) {
            *there = false;
        }
    }
}
