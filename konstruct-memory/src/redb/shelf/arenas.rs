//! Vectors in memory: an arena for each space that was searched lately, within a bound.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use konstruct_core::{Result, TenantId};

use super::{
    super::{
        head::corrupt,
        keys::{self, VECTORS},
        snapshot::Rows,
    },
    commit::MemoryHead,
    units,
};
use crate::{
    memory::shelf::{EmbedderKey, Plan, Space, UnitKey},
    vector::Arena,
};

/// What all arenas may take together, in bytes.
const BOUND: usize = 256 << 20;

/// Which arena.
type Which = (TenantId, Space, EmbedderKey);

/// The arenas in memory.
#[derive(Debug, Default)]
pub(in crate::redb) struct Arenas(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    arenas: HashMap<Which, (u64, Arc<RwLock<Vectors>>)>,
    /// Counts up with every use.
    used: u64,
}

/// The vectors of a space by one embedder, as of a revision.
#[derive(Debug)]
pub(super) struct Vectors {
    revision: u64,
    pub(super) arena: Arena,
    /// Which passage stands in each slot.
    pub(super) passages: Vec<(UnitKey, u32)>,
    slots: HashMap<UnitKey, Vec<usize>>,
}

impl Arenas {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the vectors of a space as a snapshot sees them; `None` if the ones in memory are of another revision, and then
    /// the caller takes another snapshot.
    pub(super) fn of(
        &self,
        rows: &mut dyn Rows,
        (tenant, space, embedder): Which,
        dim: usize,
    ) -> Result<Option<Arc<RwLock<Vectors>>>> {
        let revision = MemoryHead::of(rows, tenant)?.revision;
        let which = (tenant, space, embedder);
        let mut held = self.held();
        held.used += 1;
        let used = held.used;
        if let Some((last, vectors)) = held.arenas.get_mut(&which) {
            let present = read(vectors).revision;
            if present == revision {
                *last = used;
                return Ok(Some(Arc::clone(vectors)));
            }
            if present > revision {
                return Ok(None);
            }
        }
        drop(held);
        let vectors = Vectors::load(rows, which, dim, revision)?;
        let vectors = Arc::new(RwLock::new(vectors));
        self.keep(which, &vectors);
        Ok(Some(vectors))
    }

    fn keep(&self, which: Which, vectors: &Arc<RwLock<Vectors>>) {
        let mut held = self.held();
        held.used += 1;
        let used = held.used;
        held.arenas.insert(which, (used, Arc::clone(vectors)));
        let size = |vectors: &Arc<RwLock<Vectors>>| read(vectors).bytes();
        let mut all: usize = held.arenas.values().map(|(_, of)| size(of)).sum();
        while all > BOUND && held.arenas.len() > 1 {
            let oldest = held.arenas.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(which, _)| *which) else {
                return;
            };
            if let Some((_, gone)) = held.arenas.remove(&oldest) {
                all = all.saturating_sub(size(&gone));
            }
        }
    }

    /// Follows a plan that was committed.
    pub(super) fn follow(&self, tenant: TenantId, plan: &Plan) {
        let whole = plan.take_out_all || !plan.take_out_groups.is_empty();
        if whole {
            return self.drop_tenant(tenant);
        }
        let held = self.held();
        let own = held.arenas.iter().filter(|((of, ..), _)| *of == tenant);
        for ((_, space, embedder), (_, vectors)) in own {
            let mut vectors = vectors.write().unwrap_or_else(PoisonError::into_inner);
            if vectors.revision == plan.revision {
                vectors.apply(plan, (*space, *embedder));
            }
        }
    }

    /// Drops what is in memory of a tenant.
    pub(super) fn drop_tenant(&self, tenant: TenantId) {
        self.held().arenas.retain(|(of, ..), _| *of != tenant);
    }
}

/// Takes a reader's hold of vectors.
pub(super) fn read(vectors: &RwLock<Vectors>) -> RwLockReadGuard<'_, Vectors> {
    vectors.read().unwrap_or_else(PoisonError::into_inner)
}

impl Vectors {
    fn load(
        rows: &mut dyn Rows,
        (tenant, space, embedder): Which,
        dim: usize,
        revision: u64,
    ) -> Result<Self> {
        let mut vectors = Self {
            revision,
            arena: Arena::new(dim),
            passages: Vec::new(),
            slots: HashMap::new(),
        };
        let prefix = keys::of(tenant, &[&space.0]);
        rows.scan_prefix(VECTORS, &prefix, &mut |key, row| {
            let unit = units::read_key(key, 16)?;
            let passage = key.get(64..68).ok_or_else(corrupt)?;
            let passage = passage.try_into().map_err(|_| corrupt())?;
            if let Some(vector) = units::read_vector(row, embedder).filter(|of| of.len() == dim) {
                vectors.push((unit, u32::from_be_bytes(passage)), &vector);
            }
            Ok(())
        })?;
        Ok(vectors)
    }

    fn push(&mut self, passage: (UnitKey, u32), vector: &[f32]) {
        let known = self.slots.entry(passage.0).or_default();
        let at = known
            .iter()
            .copied()
            .find(|at| self.passages[*at] == passage);
        match at {
            Some(at) => self.arena.replace(at, vector),
            None => {
                known.push(self.arena.push(vector));
                self.passages.push(passage);
            }
        }
    }

    fn take_out(&mut self, unit: &UnitKey) {
        while let Some(at) = self.slots.get_mut(unit).and_then(Vec::pop) {
            self.arena.swap_remove(at);
            self.passages.swap_remove(at);
            // The last one has moved into the gap.
            let from = self.passages.len();
            if let Some((moved, _)) = self.passages.get(at)
                && let Some(slots) = self.slots.get_mut(moved)
            {
                for slot in slots.iter_mut().filter(|slot| **slot == from) {
                    *slot = at;
                }
            }
        }
        self.slots.remove(unit);
    }

    fn apply(&mut self, plan: &Plan, (space, embedder): (Space, EmbedderKey)) {
        self.revision += 1;
        let gone = plan.take_out.iter();
        let replaced = plan.put_in.iter().map(|unit| &unit.key);
        for unit in gone.chain(replaced).filter(|unit| unit.space == space) {
            self.take_out(unit);
        }
        for unit in plan.put_in.iter().filter(|unit| unit.key.space == space) {
            for (passage, of) in (0..).zip(&unit.passages) {
                if let Some((_, vector)) = of.vector.as_ref().filter(|(of, _)| *of == embedder) {
                    self.push((unit.key, passage), vector);
                }
            }
        }
        for put in &plan.vectors {
            if put.unit.space == space && put.embedder == embedder {
                self.push((put.unit, put.passage), &put.vector);
            }
        }
    }

    fn bytes(&self) -> usize {
        // A key, its slot and what a map adds.
        self.arena.bytes() + self.passages.len() * 160
    }
}
