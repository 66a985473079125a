//! The memory's backend on redb. Handles run it on a thread that may block.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId, Timestamp,
    memory::ErasureReceipt,
    store::{Fed, Stored},
};

use super::{
    super::{
        Redb, Shared,
        append::Counts,
        blocking,
        head::corrupt,
        keys::{self, EXPIRY, MEMORY, PERSON_UNITS, QUEUE, TENANTS},
        log,
        snapshot::{Rows as _, Snapshot},
        vault::{MakeKeys, Vault},
        writer::Writer,
    },
    commit::{Commit, EraseWith, MemoryHead, Prepare, Requeue, parted, row_key},
    units,
};
use crate::{
    memory::{
        MemoryEmbedder,
        backend::{
            Candidate, EmbedderKey, MemoryBackend, Plan, Read, ReadRequest, RowKind, Search,
            UnitKey,
        },
        memory_store,
    },
    seal::TenantKey,
};

/// Searches with fewer passages run on the caller's thread: they take less time than handing them over.
const FEW: u64 = 1_000;

/// The number of units that one plan of a person's erasure changes: each unit touches as many posting rows as it has words.
const PART: usize = 8;

/// The store as the memory accesses it.
#[derive(Clone)]
pub(crate) struct RedbBackend {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
}

impl std::fmt::Debug for RedbBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbBackend").finish_non_exhaustive()
    }
}

impl Redb {
    /// Runs a task with the backend, on a thread that may block.
    async fn with_backend<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<dyn MemoryBackend>) -> BoxFuture<'static, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.inner.shared.precedence.give_way().await;
        let backend = self.backend()?;
        let runtime = tokio::runtime::Handle::current();
        // Keeps the store open until the task is done.
        let held = self.clone();
        blocking(move || {
            let done = runtime.block_on(work(Arc::new(backend)));
            drop(held);
            done
        })
        .await
    }

    /// Runs a short read with the backend on the caller's thread.
    async fn with_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<dyn MemoryBackend>) -> BoxFuture<'static, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.inner.shared.precedence.give_way().await;
        work(Arc::new(self.backend()?)).await
    }

    pub(crate) fn backend(&self) -> Result<RedbBackend> {
        Ok(RedbBackend {
            shared: Arc::clone(&self.inner.shared),
            writer: self.inner.writer()?.clone(),
        })
    }

    /// Erases something from the log and from the memory.
    pub(in crate::redb) async fn forget(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
    ) -> Result<ErasureReceipt> {
        self.with_backend(move |backend| {
            Box::pin(async move { crate::memory::forget(&*backend, tenant, what, depth).await })
        })
        .await
    }
}

impl RedbBackend {
    /// Reads a range of a log, up to its end.
    fn log_in(
        &self,
        snapshot: &mut Snapshot,
        vault: &mut Vault,
        (tenant, conversation): (TenantId, ConversationId),
        (range, wanted): (Range<u64>, log::Filter),
    ) -> Result<Vec<Stored>> {
        let head = self.shared.head(snapshot, tenant, conversation)?;
        let range = range.start..range.end.min(head.map_or(0, |head| head.len));
        vault.log(snapshot, conversation, (range, wanted))
    }

    fn read_log(
        &self,
        place: (TenantId, ConversationId),
        wanted: (Range<u64>, log::Filter),
    ) -> Result<Vec<Stored>> {
        let mut snapshot = self.shared.snapshot()?;
        match self.shared.vault(&mut snapshot, place.0)? {
            Some(mut vault) => self.log_in(&mut snapshot, &mut vault, place, wanted),
            None => Ok(Vec::new()),
        }
    }
}

/// Reads and opens a row.
fn opened(
    snapshot: &mut Snapshot,
    vault: &mut Vault,
    (kind, key): (RowKind, &[u8]),
) -> Result<Option<Vec<u8>>> {
    let key = row_key(vault.tenant(), kind, key);
    let Some(row) = snapshot.get(MEMORY, &key)? else {
        return Ok(None);
    };
    let opened = vault.open_bytes(snapshot, (MEMORY, &key), parted(&row)?.1)?;
    Ok(opened.map(Into::into))
}

memory_store!(Redb, with_reader);

#[async_trait]
impl MemoryBackend for RedbBackend {
    fn embedder(&self) -> &MemoryEmbedder {
        &self.shared.embedder
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.shared.clock.now())
    }

    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read_log((tenant, conversation), (range, log::Filter::All))
    }

    async fn said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read_log((tenant, conversation), (range, log::Filter::Messages))
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        let mut snapshot = self.shared.snapshot()?;
        self.shared.feed(&mut snapshot, tenant, after, limit)
    }

    async fn tenant_key(&self, tenant: TenantId) -> Result<Arc<TenantKey>> {
        for _ in 0..2 {
            let mut snapshot = self.shared.snapshot()?;
            if let Some(vault) = self.shared.vault(&mut snapshot, tenant)? {
                return Ok(vault.key);
            }
            self.writer.submit(MakeKeys(tenant)).await?;
        }
        Err(konstruct_core::Error::internal(
            "the tenant's key is missing",
        ))
    }

    async fn revision(&self, tenant: TenantId) -> Result<u64> {
        Ok(MemoryHead::of(&mut self.shared.snapshot()?, tenant)?.revision)
    }

    async fn get(&self, tenant: TenantId, kind: RowKind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut snapshot = self.shared.snapshot()?;
        match self.shared.vault(&mut snapshot, tenant)? {
            Some(mut vault) => opened(&mut snapshot, &mut vault, (kind, key)),
            None => Ok(None),
        }
    }

    async fn read(&self, tenant: TenantId, wanted: &ReadRequest) -> Result<Read> {
        let mut snapshot = self.shared.snapshot()?;
        let Some(mut vault) = self.shared.vault(&mut snapshot, tenant)? else {
            return Ok((
                vec![None; wanted.rows.len()],
                vec![Vec::new(); wanted.logs.len()],
            ));
        };
        let (mut rows, mut logs) = Read::default();
        for (kind, key) in &wanted.rows {
            rows.push(opened(&mut snapshot, &mut vault, (*kind, key))?);
        }
        for (conversation, range) in &wanted.logs {
            let place = (tenant, *conversation);
            let wanted = (range.clone(), log::Filter::Messages);
            logs.push(self.log_in(&mut snapshot, &mut vault, place, wanted)?);
        }
        Ok((rows, logs))
    }

    async fn scan(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut snapshot = self.shared.snapshot()?;
        let Some(mut vault) = self.shared.vault(&mut snapshot, tenant)? else {
            return Ok(Vec::new());
        };
        let end = keys::end(&row_key(tenant, kind, prefix));
        let mut from = match after {
            // The next possible key is longer by one byte.
            Some(after) => row_key(tenant, kind, &[after, &[0]].concat()),
            None => row_key(tenant, kind, prefix),
        };
        let mut found = Vec::new();
        while found.len() < limit {
            let page = snapshot.page(MEMORY, &from, &end, limit - found.len())?;
            let Some((last, _)) = page.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, row) in page {
                let opened = vault.open_bytes(&mut snapshot, (MEMORY, &key), parted(&row)?.1)?;
                if let Some(opened) = opened {
                    let own = key.get(17..).ok_or_else(corrupt)?.to_vec();
                    found.push((own, opened.into()));
                }
            }
        }
        Ok(found)
    }

    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool> {
        self.writer.submit(Commit::new(tenant, plan)).await
    }

    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>> {
        let head = MemoryHead::of(&mut self.shared.snapshot()?, tenant)?;
        if head.passages <= FEW {
            return self.shared.search(tenant, &search);
        }
        // At most one search per processor: more would only compete, and each needs a thread.
        let turn = self.shared.searching.acquire().await;
        let shared = Arc::clone(&self.shared);
        let found = blocking(move || shared.search(tenant, &search)).await;
        drop(turn);
        found
    }

    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let head = MemoryHead::of(&mut self.shared.snapshot()?, tenant)?;
        if head.passages == 0 {
            return Ok(Vec::new());
        }
        if head.embedder != embedder.0 {
            self.writer.submit(Requeue { tenant, embedder }).await?;
        }
        let mut from = keys::of(tenant, &[]);
        if let Some(after) = after {
            from = [units::unit_key(tenant, &after).as_slice(), &[0]].concat();
        }
        let end = keys::end(tenant.as_bytes());
        let queue = self.shared.snapshot()?.page(QUEUE, &from, &end, limit)?;
        queue
            .iter()
            .map(|(key, _)| units::read_key(key, 16))
            .collect()
    }

    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let prefix = keys::of(tenant, &[person.as_bytes()]);
        let (mut snapshot, end) = (self.shared.snapshot()?, keys::end(&prefix));
        let rows = snapshot.page(PERSON_UNITS, &prefix, &end, limit)?;
        rows.iter()
            .map(|(key, _)| units::read_key(key, 32))
            .collect()
    }

    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>> {
        let from = keys::of(tenant, &[]);
        let to = keys::end(&keys::of(tenant, &[&keys::due_from(now)]));
        let rows = self
            .shared
            .snapshot()?
            .page(EXPIRY, &from, &to, usize::MAX)?;
        rows.iter()
            .map(|(key, _)| units::read_key(key, 24))
            .collect()
    }

    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)> {
        let mut snapshot = self.shared.snapshot()?;
        let head = MemoryHead::of(&mut snapshot, tenant)?;
        let Some(embedder) = embedder.filter(|embedder| head.embedder == embedder.0) else {
            return Ok((head.passages, 0));
        };
        let _ = embedder;
        let mut waiting = 0;
        for (key, _) in snapshot.all(QUEUE, tenant.as_bytes())? {
            let unit = units::read_key(&key, 16)?;
            let unit = units::unit(&mut snapshot, tenant, &unit)?;
            waiting += unit.map_or(0, |unit| unit.passages.len() as u64);
        }
        Ok((head.passages, head.passages.saturating_sub(waiting)))
    }

    async fn last_cursor(&self, tenant: TenantId) -> Result<u64> {
        let row = self.shared.snapshot()?.get(TENANTS, tenant.as_bytes())?;
        row.map_or(Ok(0), |row| Ok(Counts::read(&row)?.feed))
    }

    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool> {
        let mut snapshot = self.shared.snapshot()?;
        let Some(vault) = self.shared.vault(&mut snapshot, tenant)? else {
            return Ok(persons.is_empty());
        };
        for person in persons {
            if !vault.has_key(&mut snapshot, *person)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn erasure_batch(&self) -> Option<usize> {
        Some(PART.min(self.shared.part))
    }

    async fn prepare_to_erase(
        &self,
        tenant: TenantId,
        person: PersonId,
        depth: Depth,
    ) -> Result<()> {
        let prepare = Prepare {
            tenant,
            person,
            depth,
        };
        self.writer.submit(prepare).await
    }

    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>> {
        let erase = EraseWith {
            tenant,
            what,
            depth,
            plan,
            erasure: None,
        };
        self.writer.submit(erase).await
    }
}
