//! Commits plans atomically: rows, index and vectors, unless something else was committed meanwhile.

use std::sync::Arc;

use konstruct_core::{Depth, Erase, PersonId, Result, TenantId, memory::ErasureReceipt};

use super::{
    super::{
        Shared,
        erase::Erasure,
        head::corrupt,
        keys::{
            self, MEMORY, MEMORY_HEADS, MEMORY_OF, PERSON_UNITS, POSTINGS, QUEUE, SIZES, UNITS,
            VECTORS,
        },
        slices::{self, Erasing},
        snapshot::Rows,
        writer::{Batch, Operation},
    },
    changes::{Changes, IndexChange},
    units,
};
use crate::{
    memory::{
        backend::{EmbedderKey, Plan, RowKind},
        unknown_person,
    },
    seal::{self, KeyId},
};

/// The counters of a tenant's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::redb) struct MemoryHead {
    pub(super) revision: u64,
    pub(super) passages: u64,
    /// The embedder whose vectors the queued units wait for; 0 if there is none.
    pub(super) embedder: u64,
}

impl MemoryHead {
    pub(super) fn of(rows: &mut dyn Rows, tenant: TenantId) -> Result<Self> {
        let Some(row) = rows.get(MEMORY_HEADS, tenant.as_bytes())? else {
            return Ok(Self::default());
        };
        let number = |at| keys::number(&row, at).ok_or_else(corrupt);
        Ok(Self {
            revision: number(0)?,
            passages: number(8)?,
            embedder: number(16)?,
        })
    }

    fn put(self, batch: &mut Batch<'_>, tenant: TenantId) {
        let numbers = [self.revision, self.passages, self.embedder];
        let row: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        batch.put(MEMORY_HEADS, tenant.as_bytes().to_vec(), row);
    }
}

/// Returns the number of a tenant's passages.
pub(in crate::redb) fn passages(rows: &mut dyn Rows, tenant: TenantId) -> Result<u64> {
    Ok(MemoryHead::of(rows, tenant)?.passages)
}

/// Returns the key of a row of the memory.
pub(super) fn row_key(tenant: TenantId, kind: RowKind, key: &[u8]) -> Vec<u8> {
    keys::of(tenant, &[&[kind as u8], key])
}

fn of_key(tenant: TenantId, person: PersonId, row: &[u8]) -> Vec<u8> {
    // The row's key without its tenant.
    keys::of(tenant, &[person.as_bytes(), row.get(16..).unwrap_or(&[])])
}

/// Writes a plan if the revision is still that of the plan.
pub(super) struct Commit {
    tenant: TenantId,
    plan: Arc<Plan>,
    applied: Vec<IndexChange>,
}

impl Commit {
    pub(super) fn new(tenant: TenantId, plan: Plan) -> Self {
        Self {
            tenant,
            plan: Arc::new(plan),
            applied: Vec::new(),
        }
    }
}

impl Operation for Commit {
    type Output = bool;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<bool> {
        let head = MemoryHead::of(batch, self.tenant)?;
        if head.revision != self.plan.revision {
            return Ok(false);
        }
        let mut changes = Changes::default();
        apply(batch, shared, self.tenant, &self.plan, head, &mut changes)?;
        self.applied = changes.applied;
        Ok(true)
    }

    fn is_lazy(&self, shared: &Shared) -> bool {
        self.plan.patient && !shared.follower.is_stopped()
    }

    fn before_commit(&mut self, shared: &Shared, written: &bool) {
        if *written {
            let applied = std::mem::take(&mut self.applied);
            shared.tables.add_pending(self.tenant, &self.plan, applied);
        }
    }

    fn aborted(&mut self, shared: &Shared) {
        shared.tables.drop_pending(self.tenant, self.plan.revision);
    }

    fn committed(&mut self, shared: &Shared, written: &bool) {
        if *written {
            shared.tables.apply_commit(self.tenant, self.plan.revision);
            if self.plan.leaves_work() {
                shared.follower.follow(self.tenant);
            }
        }
    }
}

fn apply(
    batch: &mut Batch<'_>,
    shared: &Shared,
    tenant: TenantId,
    plan: &Plan,
    mut head: MemoryHead,
    changes: &mut Changes,
) -> Result<()> {
    let mut vault = shared.vault_or_new(batch, tenant)?;
    for person in plan.put.iter().flat_map(|put| &put.persons) {
        if !vault.has_key(batch, *person)? {
            return Err(unknown_person());
        }
    }
    head.revision += 1;
    if plan.clear_index {
        for table in [
            POSTINGS,
            UNITS,
            SIZES,
            VECTORS,
            QUEUE,
            PERSON_UNITS,
            keys::EXPIRY,
        ] {
            batch.clear(table, tenant.as_bytes().to_vec());
        }
        // The reads below must see this.
        batch.flush()?;
        head.passages = 0;
        *changes = Changes::default();
    }
    for (kind, prefix) in &plan.clear {
        for (key, _) in batch.all(MEMORY, &row_key(tenant, *kind, prefix))? {
            remove_row(batch, tenant, &key)?;
        }
    }
    for (kind, key) in &plan.remove {
        remove_row(batch, tenant, &row_key(tenant, *kind, key))?;
    }
    for (space, group) in &plan.remove_groups {
        let prefix = keys::of(tenant, &[&space.0, &group.0]);
        for (key, _) in batch.all(UNITS, &prefix)? {
            let unit = units::read_key(&key, 16)?;
            changes.remove_unit(batch, tenant, &unit)?;
        }
    }
    for unit in &plan.remove_units {
        changes.remove_unit(batch, tenant, unit)?;
    }
    for put in &plan.put {
        let key = row_key(tenant, put.kind, &put.key);
        remove_row(batch, tenant, &key)?;
        let mut row = (put.persons.len() as u32).to_be_bytes().to_vec();
        for person in &put.persons {
            row.extend_from_slice(person.as_bytes());
            batch.put(MEMORY_OF, of_key(tenant, *person, &key), []);
        }
        row.extend(vault.seal_bytes(batch, &put.persons, (MEMORY, &key), &put.value)?);
        batch.put(MEMORY, key, row);
    }
    for (which, unit) in plan.add_units.iter().enumerate() {
        changes.remove_unit(batch, tenant, &unit.key)?;
        changes.add_unit(batch, tenant, (which, unit))?;
    }
    changes.put_vectors(batch, tenant, &plan.vectors)?;
    changes.write(batch, tenant)?;
    head.passages = head.passages.saturating_add_signed(changes.passages);
    head.put(batch, tenant);
    Ok(())
}

/// Splits a row of the memory into the persons it is sealed to, and the sealed bytes.
pub(super) fn parted(row: &[u8]) -> Result<(Vec<PersonId>, &[u8])> {
    let (many, rest) = row.split_first_chunk().ok_or_else(corrupt)?;
    let many = u32::from_be_bytes(*many) as usize;
    let (persons, sealed) = rest.split_at_checked(16 * many).ok_or_else(corrupt)?;
    let persons = persons
        .chunks_exact(16)
        .filter_map(|id| id.try_into().ok().map(PersonId::from_bytes));
    Ok((persons.collect(), sealed))
}

/// Removes a row, and its entries by person.
fn remove_row(batch: &mut Batch<'_>, tenant: TenantId, key: &[u8]) -> Result<()> {
    let Some(row) = batch.get(MEMORY, key)? else {
        return Ok(());
    };
    for person in parted(&row)?.0 {
        batch.delete(MEMORY_OF, of_key(tenant, person, key));
    }
    batch.delete(MEMORY, key.to_vec());
    Ok(())
}

/// Queues every unit for a vector of another embedder.
pub(super) struct Requeue {
    pub(super) tenant: TenantId,
    pub(super) embedder: EmbedderKey,
}

impl Operation for Requeue {
    type Output = ();

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, _: &Shared) -> Result<()> {
        let mut head = MemoryHead::of(batch, self.tenant)?;
        if head.embedder == self.embedder.0 {
            return Ok(());
        }
        head.embedder = self.embedder.0;
        head.put(batch, self.tenant);
        for (key, _) in batch.all(UNITS, self.tenant.as_bytes())? {
            batch.put(QUEUE, key, []);
        }
        Ok(())
    }
}

/// Returns the ids of the keys that a row of the memory is sealed with.
pub(in crate::redb) fn sealed_to(row: &[u8]) -> Result<Vec<KeyId>> {
    seal::persons(parted(row)?.1)
}

/// Records that a person is going to be erased, before units are removed from the index.
pub(super) struct Prepare {
    pub(super) tenant: TenantId,
    pub(super) person: PersonId,
    pub(super) depth: Depth,
}

impl Operation for Prepare {
    type Output = ();

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, _: &Shared) -> Result<()> {
        slices::prepare(batch, (self.tenant, self.person), self.depth);
        Ok(())
    }
}

/// Erases from the log, the rows and the index, and writes a plan. One transaction with the plan makes everything unreadable. The
/// remaining rows of a person or a tenant are deleted in as many transactions as it takes.
pub(in crate::redb) struct EraseWith {
    pub(super) tenant: TenantId,
    pub(super) what: Erase,
    pub(super) depth: Depth,
    pub(super) plan: Plan,
    pub(super) erasure: Option<Erasure>,
}

impl Operation for EraseWith {
    type Output = Option<ErasureReceipt>;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        !self.is_begun() && erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Option<ErasureReceipt>> {
        if let Some(erasure) = self.erasure.as_mut().filter(|erasure| erasure.is_begun()) {
            erasure.next_part(batch, shared)?;
            return Ok(Some(erasure.current_receipt(shared)));
        }
        let tenant = self.tenant;
        let head = MemoryHead::of(batch, tenant)?;
        if head.revision != self.plan.revision {
            return Ok(None);
        }
        // Stored before anything can fail, so that a failure unblocks what the draft blocks.
        let erasure = Erasure::draft(batch, shared, tenant, self.what, self.depth)?;
        let erasure = self.erasure.insert(erasure);
        let mut changes = Changes::default();
        match self.what {
            Erase::Tenant => {}
            Erase::Person { person } => {
                let own = keys::of(tenant, &[person.as_bytes()]);
                for (key, _) in batch.all(PERSON_UNITS, &own)? {
                    let unit = units::read_key(&key, 32)?;
                    let there = changes.remove_unit(batch, tenant, &unit)?;
                    erasure.receipt.passages += u64::from(there);
                }
                apply(batch, shared, tenant, &self.plan, head, &mut changes)?;
            }
            _ => apply(batch, shared, tenant, &self.plan, head, &mut changes)?,
        }
        Ok(Some(erasure.current_receipt(shared)))
    }

    fn has_more(&self) -> bool {
        self.erasure.as_ref().is_some_and(Erasure::has_more)
    }

    fn after_part(&mut self, shared: &Shared) {
        if let Some(erasure) = &mut self.erasure {
            if !erasure.is_begun() {
                shared.tables.drop_tenant(self.tenant);
            }
            erasure.after_part(shared);
        }
    }

    fn retries(&mut self) -> bool {
        self.erasure.as_mut().is_some_and(Erasure::retries)
    }

    fn restart(&mut self) {
        if let Some(erasure) = &mut self.erasure {
            erasure.restart();
        }
    }

    fn rewrites(&self) -> bool {
        self.depth == Depth::Physical
    }

    fn committed(&mut self, shared: &Shared, _: &Option<ErasureReceipt>) {
        if let Some(erasure) = &self.erasure {
            shared.tables.drop_tenant(self.tenant);
            erasure.committed(shared);
        }
    }

    fn aborted(&mut self, shared: &Shared) {
        if let Some(erasure) = &self.erasure {
            erasure.aborted(shared);
        }
    }
}

impl EraseWith {
    /// Continues an erasure that was begun.
    pub(in crate::redb) fn unfinished(erasure: Erasure) -> Self {
        Self {
            tenant: erasure.tenant,
            what: erasure.receipt.what,
            depth: erasure.receipt.depth,
            plan: Plan::default(),
            erasure: Some(erasure),
        }
    }

    fn is_begun(&self) -> bool {
        self.erasure.as_ref().is_some_and(Erasure::is_begun)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use konstruct_core::{
        Clock as _, ConnectionId, SystemClock,
        id::WorkerId,
        message::RoutedEvent,
        store::{Accepted, ClaimRequest, Mailbox as _},
        testkit::message,
    };

    use super::*;
    use crate::{Redb, memory::backend::RowPut};

    #[tokio::test]
    async fn a_failed_erasure_unblocks_its_conversations() {
        let store = Redb::in_memory().unwrap();
        let tenant = TenantId::new();
        let event = message("place", "1", "hello", SystemClock.now());
        let connection = ConnectionId::new();
        let accepted = store.accept(tenant, vec![RoutedEvent { connection, event }]);
        let Accepted::New { conversation, .. } = accepted.await.unwrap()[0] else {
            panic!("it is new");
        };
        // More persons than an envelope can have: the rows of the erasure cannot be written.
        let persons = (0..=u32::from(u16::MAX)).map(|n| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            PersonId::from_bytes(id)
        });
        let plan = Plan {
            put: vec![RowPut {
                kind: RowKind::Erased,
                key: Vec::new(),
                value: Vec::new(),
                persons: persons.collect(),
            }],
            ..Plan::default()
        };
        let erase = EraseWith {
            tenant,
            what: Erase::Conversation { conversation },
            depth: Depth::Logical,
            plan,
            erasure: None,
        };
        let writer = store.inner.writer().unwrap();
        assert!(writer.submit(erase).await.is_err());
        let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(60));
        let claimed = store.claim(request).await.unwrap().conversation();
        assert_eq!(claimed.map(|claim| claim.conversation), Some(conversation));
    }
}
