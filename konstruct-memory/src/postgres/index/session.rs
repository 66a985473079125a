//! A session: the reads of one recall or of one indexing step, and the writes of the step, in one transaction.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId, Timestamp,
    memory::ErasureReceipt,
    store::{Fed, Stored},
};
use tokio::sync::Mutex;

use super::{
    super::{
        Inner,
        claim::{signed, uuid},
        error::stored,
        read as logs,
        tenant::{Mode, TenantTx},
        time::time,
        vault::KeysById,
    },
    Candidate, EmbedderKey, MemoryBackend, Plan, Read, ReadRequest, RowKind, Search, UnitKey,
    advance, read, rows, search,
};
use crate::{memory::MemoryEmbedder, seal::TenantKey};

/// The backend of one task.
struct Session {
    inner: Arc<Inner>,
    /// The transaction until the first commit. After that, each call has a transaction of its own.
    tx: Mutex<Option<TenantTx>>,
    wrapped: Vec<u8>,
    key: Arc<TenantKey>,
    now: Timestamp,
    revision: u64,
    settings: Option<Vec<u8>>,
    /// Whether any unit has expired.
    expired: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Read at the start: the tenant's key, the time, the revision, the settings, and whether anything has expired.
const START: &str = "
select k.wrapped, t.now, (select h.revision from konstruct.memory_heads h where h.tenant = $1),
    (select r.sealed from konstruct.rows r where r.tenant = $1 and r.kind = $3 and r.key = ''),
    exists (select from konstruct.units u where u.tenant = $1 and u.expires_at <= t.now)
from konstruct.tenant_keys k, (select coalesce($2, konstruct.now_us()) as now) t where k.tenant = $1";

impl Inner {
    /// Begins a session; `None` for a tenant without data.
    pub(super) async fn begin_session(
        &self,
        tenant: TenantId,
        writes: bool,
    ) -> Result<Option<Box<dyn MemoryBackend>>> {
        let Some(inner) = self.own.upgrade() else {
            return Ok(None);
        };
        let mode = if writes { Mode::Write } else { Mode::Snapshot };
        let mut tx = self.db.tenant(tenant, mode).await?;
        type Start = (Vec<u8>, i64, Option<i64>, Option<Vec<u8>>, bool);
        let start: Option<Start> = sqlx::query_as(START)
            .bind(tx.id())
            .bind(tx.given())
            .bind(RowKind::Settings as i16)
            .fetch_optional(tx.db())
            .await
            .map_err(stored)?;
        let Some((wrapped, now, revision, sealed, expired)) = start else {
            return Ok(None);
        };
        let key = self.vault.unwrap(tenant, wrapped.clone())?;
        let row = rows::place(RowKind::Settings, &[]);
        let open = |sealed: Vec<u8>| KeysById::default().open_bytes(&key, ("rows", &row), &sealed);
        let settings = sealed.map(open).transpose()?.flatten().map(Into::into);
        Ok(Some(Box::new(Session {
            inner,
            tx: Mutex::new(Some(tx)),
            wrapped,
            key,
            now: time(now),
            revision: revision.unwrap_or(0).cast_unsigned(),
            settings,
            expired,
        })))
    }
}

#[async_trait]
impl MemoryBackend for Session {
    fn embedder(&self) -> &MemoryEmbedder {
        self.inner.embedder()
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.now)
    }

    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let range_of = signed(range.start)..signed(range.end);
        match &mut *self.tx.lock().await {
            Some(tx) => logs::log(tx, &self.key, uuid(conversation), range_of).await,
            None => self.inner.log(tenant, conversation, range).await,
        }
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        match &mut *self.tx.lock().await {
            Some(tx) => logs::feed(tx, &self.key, after, limit).await,
            None => self.inner.feed(tenant, after, limit).await,
        }
    }

    async fn tenant_key(&self, _: TenantId) -> Result<Arc<TenantKey>> {
        Ok(Arc::clone(&self.key))
    }

    async fn revision(&self, _: TenantId) -> Result<u64> {
        Ok(self.revision)
    }

    async fn get(&self, tenant: TenantId, kind: RowKind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if kind == RowKind::Settings {
            return Ok(self.settings.clone());
        }
        match &mut *self.tx.lock().await {
            Some(tx) => rows::get(tx, &self.key, kind, key).await,
            None => self.inner.get(tenant, kind, key).await,
        }
    }

    async fn read(&self, tenant: TenantId, wanted: &ReadRequest) -> Result<Read> {
        match &mut *self.tx.lock().await {
            Some(tx) => read::all(tx, &self.key, wanted).await,
            None => self.inner.read_all(tenant, wanted).await,
        }
    }

    async fn scan(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        match &mut *self.tx.lock().await {
            Some(tx) => rows::scan(tx, &self.key, kind, (prefix, after), limit).await,
            None => self.inner.scan(tenant, kind, prefix, after, limit).await,
        }
    }

    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool> {
        let Some(mut tx) = self.tx.lock().await.take() else {
            return self.inner.commit(tenant, plan).await;
        };
        let key = Arc::clone(&self.key);
        let prepared = self.inner.prepare_with(&mut tx, &plan, key).await?;
        let Some(first) = advance(&mut tx, &plan, Some(&self.wrapped)).await? else {
            return Ok(false);
        };
        self.inner.apply(&mut tx, plan, prepared, first).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>> {
        match &mut *self.tx.lock().await {
            Some(tx) => search::find(tx, &search).await,
            None => self.inner.find(tenant, &search).await,
        }
    }

    async fn search_all(
        &self,
        tenant: TenantId,
        searches: Vec<Search>,
    ) -> Result<Vec<Vec<Candidate>>> {
        match &mut *self.tx.lock().await {
            Some(tx) => search::find_each(tx, &searches).await,
            None => self.inner.search_all(tenant, searches).await,
        }
    }

    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        self.inner.unembedded(tenant, embedder, after, limit).await
    }

    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        self.inner.units_of(tenant, person, limit).await
    }

    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>> {
        if self.expired {
            return self.inner.expired(tenant, now).await;
        }
        Ok(Vec::new())
    }

    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)> {
        self.inner.counts(tenant, embedder).await
    }

    async fn last_cursor(&self, tenant: TenantId) -> Result<u64> {
        self.inner.last_cursor(tenant).await
    }

    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool> {
        self.inner.known(tenant, persons).await
    }

    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>> {
        self.inner.erase_with(tenant, what, depth, plan).await
    }
}
