//! A tenant's settings (its language, and how far the feed is indexed), and helpers for planning changes.

use konstruct_core::{
    ConversationId, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{Language, Mark},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::OwnedMutexGuard;

use super::{
    backend::{MemoryBackend, Plan, RowKind, RowPut},
    fact, knowledge,
};

/// The most attempts to plan a change while other changes are committed.
const MAX_ATTEMPTS: u32 = 64;
/// The number of conflicts after which a change takes the tenant's lock.
const CONFLICTS_BEFORE_LOCK: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) language: Language,
    /// The cursor of the feed up to which records are indexed.
    pub(super) indexed: u64,
}

pub(super) async fn settings(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<Settings> {
    Ok(row(backend, tenant, RowKind::Settings, &[])
        .await?
        .unwrap_or_default())
}

/// Sets the language in which the tenant's texts are analysed. A new language rebuilds the index.
pub(crate) async fn set_language(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    language: Language,
) -> Result<()> {
    if settings(backend, tenant).await?.language == language {
        return Ok(());
    }
    analyse(backend, tenant, Some(language)).await
}

/// Rebuilds the index: documents and facts immediately, messages by following the feed from the start.
pub(crate) async fn rebuild(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<()> {
    analyse(backend, tenant, None).await
}

/// Returns the current revision of a tenant's memory.
pub(crate) async fn mark(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<Mark> {
    backend.revision(tenant).await.map(Mark)
}

/// Returns whether an item that names these persons and was derived from these conversations may be stored: all persons have
/// keys, and nothing of them was erased since the mark.
pub(super) async fn may_keep(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    (conversations, persons): (&[ConversationId], &[PersonId]),
    mark: Option<Mark>,
) -> Result<bool> {
    if !backend.known(tenant, persons).await? {
        return Ok(false);
    }
    let Some(mark) = mark else { return Ok(true) };
    let ids = conversations.iter().map(|id| *id.as_bytes());
    for id in ids.chain(persons.iter().map(|id| *id.as_bytes())) {
        let erased: Option<u64> = row(backend, tenant, RowKind::Erased, &id).await?;
        if erased.is_some_and(|revision| revision > mark.0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The error for an item that names a person without a key.
pub(crate) fn unknown_person() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "persons: names a person who is unknown, or was erased meanwhile",
    )
}

async fn analyse(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    language: Option<Language>,
) -> Result<()> {
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let before = settings(backend, tenant).await?;
        let after = Settings {
            language: language.unwrap_or(before.language),
            indexed: 0,
        };
        plan.clear_index = true;
        plan.put_row(RowKind::Settings, Vec::new(), &after, &[])?;
        plan.add_units = knowledge::units(backend, tenant, after.language).await?;
        plan.add_units
            .extend(fact::units(backend, tenant, after.language).await?);
        if backend.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}

/// Counts the attempts to commit a change. After a few conflicts it takes the tenant's lock. Otherwise the index, which commits
/// continuously after an import, could overtake it forever.
#[derive(Default)]
pub(super) struct Retries<'a> {
    many: u32,
    of: Option<(&'a dyn MemoryBackend, TenantId)>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl<'a> Retries<'a> {
    pub(super) fn new(backend: &'a dyn MemoryBackend, tenant: TenantId) -> Self {
        Self {
            of: Some((backend, tenant)),
            ..Self::default()
        }
    }

    /// Allows another attempt, or fails.
    pub(super) async fn again(&mut self) -> Result<()> {
        self.many += 1;
        if self.many >= MAX_ATTEMPTS {
            return Err(Error::new(
                ErrorKind::Conflict,
                "too many conflicting changes of the tenant's memory",
            ));
        }
        if let Some((backend, tenant)) = self.of
            && self.many >= CONFLICTS_BEFORE_LOCK
            && self.turn.is_none()
        {
            self.turn = Some(backend.embedder().turn(tenant).await);
        }
        Ok(())
    }

    /// Resets the count, and keeps the lock.
    pub(super) fn reset(&mut self) {
        self.many = 0;
    }
}

impl Plan {
    /// Begins a plan on the current revision. Everything it is based on must be read after this.
    pub(super) async fn on(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<Self> {
        Ok(Self {
            revision: backend.revision(tenant).await?,
            ..Self::default()
        })
    }

    /// Records in the plan that something of a conversation or a person is erased.
    pub(super) fn erases(&mut self, id: [u8; 16]) -> Result<()> {
        let revision = self.revision + 1;
        self.put_row(RowKind::Erased, id.to_vec(), &revision, &[])
    }

    /// Writes a row.
    pub(super) fn put_row(
        &mut self,
        kind: RowKind,
        key: Vec<u8>,
        value: &impl Serialize,
        persons: &[PersonId],
    ) -> Result<()> {
        let value = serde_json::to_vec(value)
            .map_err(|error| Error::internal("a row could not be serialized").with_source(error))?;
        self.put.push(RowPut {
            kind,
            key,
            value,
            persons: persons.to_vec(),
        });
        Ok(())
    }
}

/// Reads a row.
pub(super) async fn row<T: DeserializeOwned>(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    kind: RowKind,
    key: &[u8],
) -> Result<Option<T>> {
    let value = backend.get(tenant, kind, key).await?;
    value.as_deref().map(read).transpose()
}

/// The number of rows read at a time.
const PAGE: usize = 256;

/// Reads all rows whose keys have a prefix.
pub(super) async fn rows<T: DeserializeOwned>(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    kind: RowKind,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, T)>> {
    let mut all: Vec<(Vec<u8>, T)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let page = backend
            .scan(tenant, kind, prefix, after.as_deref(), PAGE)
            .await?;
        let last = page.len() < PAGE;
        for (key, value) in page {
            let value = read(&value)?;
            all.push((key, value));
        }
        if last {
            return Ok(all);
        }
    }
}

/// Deserializes a row's value.
pub(super) fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a row of the memory is damaged").with_source(error)
    })
}

#[cfg(all(test, feature = "redb"))]
mod tests {
    use super::*;
    use crate::{Redb, memory::keep_up_some};

    #[tokio::test]
    async fn a_change_with_conflicts_takes_the_lock() {
        let store = Redb::in_memory().unwrap();
        let backend = store.backend().unwrap();
        let [tenant, other] = [TenantId::new(), TenantId::new()];
        let is_free = async |tenant| backend.embedder().turn_soon(tenant).await.is_some();
        let mut tries = Retries::new(&backend, tenant);
        for _ in 1..CONFLICTS_BEFORE_LOCK {
            tries.again().await.unwrap();
        }
        assert!(is_free(tenant).await);
        tries.again().await.unwrap();
        assert!(!is_free(tenant).await && is_free(other).await);
        // The index does not wait for it; it tries again later.
        assert!(keep_up_some(&backend, tenant).await.unwrap());
        for _ in CONFLICTS_BEFORE_LOCK..MAX_ATTEMPTS - 1 {
            tries.again().await.unwrap();
        }
        let error = tries.again().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        drop(tries);
        assert!(is_free(tenant).await);
        assert!(!keep_up_some(&backend, tenant).await.unwrap());
    }
}
