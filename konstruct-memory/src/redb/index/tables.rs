//! Passages in memory: a table for each recently searched space, with bounded size. Words are looked up in the file.

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
    changes::IndexChange,
    units::{self, Numbered},
};
use crate::{
    memory::backend::{EmbedderKey, Group, Plan, Space, UnitKey},
    vector::Arena,
};

/// The most bytes of all tables.
const MAX_BYTES: usize = 256 << 20;
/// The number of new tables after which the total size is counted again.
const LOOK: usize = 256;
/// The key of a table.
type TableKey = (TenantId, Space);

/// The tables in memory.
#[derive(Debug, Default)]
pub(in crate::redb) struct Tables(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    tables: HashMap<TenantId, HashMap<Space, CachedTable>>,
    /// The total size at the last count, and the number of tables added since.
    size: usize,
    added: usize,
    /// Commits that are in progress or not applied to the tables yet, by the revision they were planned on.
    pending: HashMap<(TenantId, u64), Arc<PendingCommit>>,
    /// Incremented with every use.
    used: u64,
}

/// A table in memory.
#[derive(Debug)]
struct CachedTable {
    /// The value of [`Cache::used`] at its last use.
    used: u64,
    table: Arc<RwLock<Table>>,
}

/// A plan, and its changes of the index.
#[derive(Debug)]
struct PendingCommit {
    plan: Arc<Plan>,
    applied: Vec<IndexChange>,
}

/// The passages of a space by number, as of a revision, and their vectors of one embedder.
#[derive(Debug)]
pub(super) struct Table {
    revision: u64,
    passages: Vec<Option<Passage>>,
    /// The number of terms of each.
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
    /// By number; zeros for passages without a vector.
    arena: Arena,
    there: Vec<bool>,
}

impl Tables {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the table of a space at a revision, with vectors of this embedder and dimension. `None` if the table in memory is
    /// newer: the caller then takes another snapshot.
    pub(super) fn of(
        &self,
        rows: &mut dyn Rows,
        which: TableKey,
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
            // It is committed, but the writer has not applied it yet.
            let pending = self.cache().pending.get(&(which.0, present)).cloned();
            match pending {
                Some(pending) => write(&table).apply_commit(which.1, &pending),
                None if read(&table).revision == present => break,
                // The writer applied it meanwhile.
                None => {}
            }
        }
        let table = Table::load(rows, which, revision, embedder)?;
        let table = Arc::new(RwLock::new(table));
        self.keep(which, &table);
        Ok(Some(table))
    }

    fn find(&self, which: TableKey) -> Option<Arc<RwLock<Table>>> {
        let mut cache = self.cache();
        cache.used += 1;
        let used = cache.used;
        let kept = cache.tables.get_mut(&which.0)?.get_mut(&which.1)?;
        kept.used = used;
        Some(Arc::clone(&kept.table))
    }

    fn keep(&self, which: TableKey, table: &Arc<RwLock<Table>>) {
        let mut cache = self.cache();
        cache.used += 1;
        let kept = CachedTable {
            used: cache.used,
            table: Arc::clone(table),
        };
        cache.size += kept.bytes();
        cache.added += 1;
        cache
            .tables
            .entry(which.0)
            .or_default()
            .insert(which.1, kept);
        // Tables grow, and replaced ones are still counted: count again now and then.
        if cache.size > MAX_BYTES || cache.added > LOOK {
            cache.evict();
        }
    }

    /// Registers the changes of a plan before it is committed: a reader of the new revision may apply them.
    pub(super) fn add_pending(
        &self,
        tenant: TenantId,
        plan: &Arc<Plan>,
        applied: Vec<IndexChange>,
    ) {
        let key = (tenant, plan.revision);
        let plan = Arc::clone(plan);
        let pending = Arc::new(PendingCommit { plan, applied });
        self.cache().pending.insert(key, pending);
    }

    /// Drops a plan that was not committed.
    pub(super) fn drop_pending(&self, tenant: TenantId, revision: u64) {
        self.cache().pending.remove(&(tenant, revision));
    }

    /// Applies a committed plan to the tables.
    pub(super) fn apply_commit(&self, tenant: TenantId, revision: u64) {
        let key = (tenant, revision);
        let (pending, own) = {
            let cache = self.cache();
            let Some(pending) = cache.pending.get(&key).cloned() else {
                return;
            };
            let own = cache.tables.get(&tenant).into_iter().flatten();
            let own = own.map(|(space, kept)| (*space, Arc::clone(&kept.table)));
            (pending, own.collect::<Vec<_>>())
        };
        for (space, table) in own {
            write(&table).apply_commit(space, &pending);
        }
        self.cache().pending.remove(&key);
    }

    /// Drops the tables of a tenant.
    pub(super) fn drop_tenant(&self, tenant: TenantId) {
        self.cache().tables.remove(&tenant);
    }
}

impl CachedTable {
    fn bytes(&self) -> usize {
        read(&self.table).bytes()
    }
}

impl Cache {
    /// Counts the size of all tables, and drops the least recently used while it is too large.
    fn evict(&mut self) {
        let all = self.tables.values().flat_map(HashMap::values);
        self.size = all.map(CachedTable::bytes).sum();
        self.added = 0;
        if self.size <= MAX_BYTES {
            return;
        }
        let of = |(tenant, own): (&TenantId, &HashMap<Space, CachedTable>)| {
            let tenant = *tenant;
            let which = own
                .iter()
                .map(move |(space, kept)| (kept.used, tenant, *space));
            which.collect::<Vec<_>>()
        };
        let mut oldest: Vec<_> = self.tables.iter().flat_map(of).collect();
        oldest.sort_unstable_by_key(|(used, ..)| *used);
        // The most recently used table stays, whatever its size.
        oldest.pop();
        for (_, tenant, space) in oldest {
            if self.size <= MAX_BYTES {
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

/// Locks a table for reading.
pub(super) fn read(table: &RwLock<Table>) -> RwLockReadGuard<'_, Table> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(table: &RwLock<Table>) -> RwLockWriteGuard<'_, Table> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

impl IndexChange {
    fn space(&self) -> Space {
        match self {
            Self::Removed { space, .. } | Self::Vector { space, .. } => *space,
            Self::Added { unit, .. } => unit.space,
        }
    }
}

impl Table {
    fn load(
        rows: &mut dyn Rows,
        (tenant, space): TableKey,
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
            table.add_unit(unit, kept.info.at, &kept.passages);
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

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.passages.len()
    }

    /// Returns the passage with a number.
    pub(super) fn passage(&self, number: usize) -> Option<&Passage> {
        self.passages.get(number)?.as_ref()
    }

    /// Returns whether a passage is in a group.
    pub(super) fn is_in(&self, number: usize, group: Option<Group>) -> bool {
        let passage = self.passage(number);
        passage.is_some_and(|passage| group.is_none_or(|group| passage.key.0.group == group))
    }

    /// Returns the cosines with a question, by number, of the passages that have a vector of its embedder.
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

    fn add_unit(&mut self, unit: UnitKey, at: Timestamp, passages: &[Numbered]) {
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

    /// Applies a plan's changes to this space, if the table has the revision that the plan is based on.
    fn apply_commit(&mut self, space: Space, pending: &PendingCommit) {
        let plan = &pending.plan;
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
        for change in pending
            .applied
            .iter()
            .filter(|change| change.space() == space)
        {
            self.apply(plan, change);
        }
    }

    fn apply(&mut self, plan: &Plan, change: &IndexChange) {
        match change {
            IndexChange::Removed { passages, .. } => {
                for Numbered { number, .. } in passages {
                    if let Some(passage) = self.passages.get_mut(*number as usize) {
                        *passage = None;
                    }
                    if let Some(vectors) = &mut self.vectors {
                        vectors.remove(*number as usize);
                    }
                }
            }
            IndexChange::Added {
                unit,
                at,
                passages,
                which,
            } => {
                self.add_unit(*unit, *at, passages);
                let made = plan.add_units.get(*which).map(|unit| &unit.passages);
                for (of, made) in passages.iter().zip(made.into_iter().flatten()) {
                    if let Some((embedder, vector)) = &made.vector {
                        self.set_vector(of.number, *embedder, vector);
                    }
                }
            }
            IndexChange::Vector { number, which, .. } => {
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
                // It replaces the previous vector.
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
