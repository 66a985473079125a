//! The backend of the memory on PostgreSQL.

mod changes;
mod commit;
mod follow;
mod found;
mod near;
mod person;
mod read;
mod rows;
mod search;
mod session;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId, Timestamp,
    memory::ErasureReceipt,
    store::{Fed, Stored},
};
use uuid::Uuid;

pub(super) use self::{commit::advance, follow::start, person::forget_units};
use super::{Inner, Postgres, error::stored, tenant::Mode, time::time};
use crate::{
    memory::{
        MemoryEmbedder,
        backend::{
            Candidate, EmbedderKey, Group, MemoryBackend, Plan, Read, ReadRequest, RowKind, Search,
            Space, UnitKey,
        },
        memory_store,
    },
    seal::TenantKey,
};

memory_store!(Postgres);

impl Postgres {
    /// Runs a task with the backend.
    pub(super) async fn with_backend<T>(
        &self,
        work: impl FnOnce(Arc<dyn MemoryBackend>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        work(inner).await
    }
}

#[async_trait]
impl MemoryBackend for Inner {
    async fn session(
        &self,
        tenant: TenantId,
        writes: bool,
    ) -> Result<Option<Box<dyn MemoryBackend>>> {
        self.begin_session(tenant, writes).await
    }

    fn embedder(&self) -> &MemoryEmbedder {
        &self.embedder
    }

    async fn now(&self) -> Result<Timestamp> {
        let now: i64 = sqlx::query_scalar("select coalesce($1, konstruct.now_us())")
            .bind(self.db.time.given())
            .fetch_one(&self.db.pool)
            .await
            .map_err(stored)?;
        Ok(time(now))
    }

    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read(tenant, conversation, range).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        self.feed(tenant, after, limit).await
    }

    async fn tenant_key(&self, tenant: TenantId) -> Result<Arc<TenantKey>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        if let Some(key) = self.vault.key(&mut tx).await? {
            return Ok(key);
        }
        drop(tx);
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        tx.commit().await?;
        Ok(key)
    }

    async fn revision(&self, tenant: TenantId) -> Result<u64> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let revision: Option<i64> =
            sqlx::query_scalar("select revision from konstruct.memory_heads where tenant = $1")
                .bind(tx.id())
                .fetch_optional(tx.db())
                .await
                .map_err(stored)?;
        tx.commit().await?;
        Ok(revision.unwrap_or(0).cast_unsigned())
    }

    async fn get(&self, tenant: TenantId, kind: RowKind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.row(tenant, kind, key).await
    }

    async fn read(&self, tenant: TenantId, wanted: &ReadRequest) -> Result<Read> {
        self.read_all(tenant, wanted).await
    }

    async fn scan(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.rows(tenant, kind, prefix, after, limit).await
    }

    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool> {
        self.commit_plan(tenant, plan).await
    }

    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>> {
        self.find(tenant, &search).await
    }

    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        self.without_vector(tenant, embedder, after, limit).await
    }

    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let units = person::units_of(&mut tx, person, limit).await?;
        tx.commit().await?;
        Ok(units)
    }

    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>> {
        self.expired_at(tenant, now).await
    }

    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)> {
        self.count_passages(tenant, embedder).await
    }

    async fn last_cursor(&self, tenant: TenantId) -> Result<u64> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let last: Option<i64> =
            sqlx::query_scalar("select max(cursor) from konstruct.log where tenant = $1")
                .bind(tx.id())
                .fetch_one(tx.db())
                .await
                .map_err(stored)?;
        tx.commit().await?;
        Ok(last.unwrap_or(0).cast_unsigned())
    }

    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool> {
        if persons.is_empty() {
            return Ok(true);
        }
        let persons: BTreeSet<PersonId> = persons.iter().copied().collect();
        let ids: Vec<Uuid> = persons
            .iter()
            .map(|id| Uuid::from_bytes(*id.as_bytes()))
            .collect();
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let known: i64 = sqlx::query_scalar(
            "select count(*) from konstruct.person_keys where tenant = $1 and person = any($2)",
        )
        .bind(tx.id())
        .bind(ids)
        .fetch_one(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(usize::try_from(known).ok() == Some(persons.len()))
    }

    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>> {
        self.erase(tenant, what, depth, plan).await
    }
}

/// Unit keys as bound by a statement: an array for each part.
#[derive(Debug, Default)]
struct Keys {
    spaces: Vec<Uuid>,
    groups: Vec<Uuid>,
    items: Vec<Uuid>,
}

impl Keys {
    fn push(&mut self, key: &UnitKey) {
        self.spaces.push(Uuid::from_bytes(key.space.0));
        self.groups.push(Uuid::from_bytes(key.group.0));
        self.items.push(Uuid::from_bytes(key.item));
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<'a> FromIterator<&'a UnitKey> for Keys {
    fn from_iter<I: IntoIterator<Item = &'a UnitKey>>(units: I) -> Self {
        let mut keys = Self::default();
        for key in units {
            keys.push(key);
        }
        keys
    }
}

fn unit_key((space, group, item): (Uuid, Uuid, Uuid)) -> UnitKey {
    UnitKey {
        space: Space(*space.as_bytes()),
        group: Group(*group.as_bytes()),
        item: *item.as_bytes(),
    }
}

impl Inner {
    async fn commit_plan(&self, tenant: TenantId, plan: Plan) -> Result<bool> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let prepared = self.prepare(&mut tx, &plan).await?;
        let Some(first) = advance(&mut tx, &plan, None).await? else {
            return Ok(false);
        };
        let leaves_work = plan.leaves_work();
        self.apply(&mut tx, plan, prepared, first).await?;
        tx.commit().await?;
        if leaves_work {
            self.to_index.notify(tenant);
        }
        Ok(true)
    }

    async fn expired_at(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let rows = sqlx::query_as(
            "select space, grp, item from konstruct.units
             where tenant = $1 and expires_at <= $2 order by space, grp, item",
        )
        .bind(tx.id())
        .bind(now.as_micros())
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        // Nothing was written; do not wait for the end of the transaction.
        drop(tx);
        Ok(rows.into_iter().map(unit_key).collect())
    }

    async fn without_vector(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let after: Keys = after.iter().collect();
        let rows = sqlx::query_as(
            "select distinct p.space, p.grp, p.item from konstruct.passages p
             where p.tenant = $1 and ($3::uuid is null or (p.space, p.grp, p.item) > ($3, $4::uuid, $5::uuid))
                 and not exists (
                     select from konstruct.vectors v
                     where v.tenant = $1 and v.space = p.space and v.grp = p.grp and v.item = p.item
                         and v.passage = p.passage and v.embedder = $2 offset 0)
             order by p.space, p.grp, p.item limit $6",
        )
        .bind(tx.id())
        .bind(embedder.0.cast_signed())
        .bind(after.spaces.first().copied())
        .bind(after.groups.first().copied())
        .bind(after.items.first().copied())
        .bind(super::claim::signed(limit as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(rows.into_iter().map(unit_key).collect())
    }

    async fn count_passages(
        &self,
        tenant: TenantId,
        embedder: Option<EmbedderKey>,
    ) -> Result<(u64, u64)> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let (passages, embedded): (i64, i64) = sqlx::query_as(
            "select (select coalesce(sum(passages), 0)::bigint from konstruct.sizes where tenant = $1),
                    (select count(*) from konstruct.vectors where tenant = $1 and embedder = $2)",
        )
        .bind(tx.id())
        .bind(embedder.map(|embedder| embedder.0.cast_signed()))
        .fetch_one(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok((passages.cast_unsigned(), embedded.cast_unsigned()))
    }
}
