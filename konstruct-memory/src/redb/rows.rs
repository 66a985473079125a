//! Rows of the application: a small table of documents by key for a tenant or the operator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use konstruct_core::{Error, ErrorKind, Result, TenantId};

use super::{
    Redb, Shared, blocking,
    head::corrupt,
    keys::{self, ROWS},
    slices::Erasing,
    snapshot::Rows,
    vault::Vault,
    writer::{Batch, Operation},
};

/// A change to one row, with a precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The tenant. `None` for the operator.
    pub tenant: Option<TenantId>,
    /// The table, 1 to 64 bytes.
    pub table: String,
    /// The key, 1 to 512 bytes. It is not sealed, so it must not contain a person's name or number.
    pub key: String,
    /// The expected current value.
    pub expect: Expect,
    /// The new value. `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

/// The precondition of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// Any value or none.
    #[default]
    Any,
    /// No row.
    Absent,
    /// Exactly this value.
    Exact(Vec<u8>),
}

/// Rows of the application. They are sealed like all data, and erased with their tenant.
impl Redb {
    /// Writes a row, and replaces an existing one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a table or key of the wrong length, and those of the store.
    ///
    /// ```
    /// # use konstruct_core::TenantId;
    /// # use konstruct_memory::Redb;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let store = Redb::in_memory()?;
    /// let tenant = TenantId::new();
    /// store.put_row(Some(tenant), "profile", "main", b"Acme").await?;
    /// assert_eq!(store.get_row(Some(tenant), "profile", "main").await?, Some(b"Acme".to_vec()));
    /// assert_eq!(store.get_row(None, "profile", "main").await?, None);
    /// # Ok::<(), konstruct_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn put_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
        value: &[u8],
    ) -> Result<()> {
        let change = RowChange {
            tenant,
            table: table.into(),
            key: key.into(),
            expect: Expect::Any,
            value: Some(value.into()),
        };
        self.write_rows(vec![change]).await.map(drop)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// As [`Redb::put_row`], and [`ErrorKind::Corrupt`] if it cannot be opened.
    pub async fn get_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>> {
        let shared = &self.inner.shared;
        let key = row_key(tenant, table, key)?;
        let read_from = shared.rows.now();
        let mut snapshot = shared.snapshot()?;
        let Some((sealed, mut vault)) = shared.sealed_row(&mut snapshot, tenant, &key)? else {
            return Ok(None);
        };
        if let Some(plain) = shared.rows.get(&key, &sealed) {
            return Ok(Some(plain));
        }
        let plain = vault.open_row(&mut snapshot, &key, &sealed)?;
        shared.rows.put(read_from, key, (sealed, plain.clone()));
        Ok(Some(plain))
    }

    /// Deletes a row. Returns whether it existed.
    ///
    /// # Errors
    /// As [`Redb::put_row`].
    pub async fn delete_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<bool> {
        let delete = Delete {
            key: row_key(tenant, table, key)?,
        };
        self.inner.writer()?.submit(delete).await
    }

    /// Lists the rows of a table in key order, after the given key.
    ///
    /// # Errors
    /// As [`Redb::get_row`].
    pub async fn rows(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = table_key(tenant, table)?;
        let mut from = prefix.clone();
        if let Some(after) = after {
            from.extend_from_slice(after.as_bytes());
            from.push(0);
        }
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let mut snapshot = shared.snapshot()?;
            let Some(mut vault) = shared.vault(&mut snapshot, owner(tenant))? else {
                return Ok(Vec::new());
            };
            snapshot
                .page(ROWS, &from, &keys::end(&prefix), limit)?
                .iter()
                .map(|(key, row)| {
                    let name = String::from_utf8(key[prefix.len()..].to_vec());
                    let name = name.map_err(|_| corrupt())?;
                    Ok((name, vault.open_row(&mut snapshot, key, row)?))
                })
                .collect()
        })
        .await
    }

    /// Changes several rows, or none if a row is not as expected. Returns whether they were changed.
    ///
    /// # Errors
    /// As [`Redb::put_row`]; nothing is written then.
    ///
    /// ```
    /// # use konstruct_memory::{Expect, Redb, RowChange};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let store = Redb::in_memory()?;
    /// let claim = RowChange {
    ///     tenant: None,
    ///     table: "accounts".into(),
    ///     key: "T1".into(),
    ///     expect: Expect::Absent,
    ///     value: Some(b"ten_1".to_vec()),
    /// };
    /// assert!(store.write_rows(vec![claim.clone()]).await?);
    /// assert!(!store.write_rows(vec![claim]).await?, "it is taken");
    /// # Ok::<(), konstruct_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn write_rows(&self, changes: Vec<RowChange>) -> Result<bool> {
        let keys = changes
            .iter()
            .map(|change| row_key(change.tenant, &change.table, &change.key))
            .collect::<Result<_>>()?;
        self.inner
            .writer()?
            .submit(WriteRows { changes, keys })
            .await
    }
}

struct WriteRows {
    changes: Vec<RowChange>,
    keys: Vec<Vec<u8>>,
}

impl Operation for WriteRows {
    type Output = bool;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        let mut owners = self.changes.iter().filter_map(|change| change.tenant);
        owners.any(|tenant| erasing.all_of(tenant))
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<bool> {
        for (change, key) in self.changes.iter().zip(&self.keys) {
            let as_expected = match &change.expect {
                Expect::Any => true,
                Expect::Absent => batch.get(ROWS, key)?.is_none(),
                Expect::Exact(value) => {
                    shared.row(batch, change.tenant, key)?.as_ref() == Some(value)
                }
            };
            if !as_expected {
                return Ok(false);
            }
        }
        for (change, key) in self.changes.iter().zip(&self.keys) {
            match &change.value {
                Some(value) => {
                    let mut vault = shared.vault_or_new(batch, owner(change.tenant))?;
                    let sealed = vault.seal_bytes(batch, &[], (ROWS, key), value)?;
                    batch.put(ROWS, key.clone(), sealed);
                }
                None => batch.delete(ROWS, key.clone()),
            }
        }
        Ok(true)
    }

    fn committed(&mut self, shared: &Shared, changed: &bool) {
        if *changed {
            shared.rows.forget(&self.keys);
        }
    }
}

struct Delete {
    key: Vec<u8>,
}

impl Operation for Delete {
    type Output = bool;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        let tenant = keys::id(&self.key, 0).map(TenantId::from_bytes);
        tenant.is_some_and(|tenant| erasing.all_of(tenant))
    }

    fn apply(&mut self, batch: &mut Batch<'_>, _: &Shared) -> Result<bool> {
        let found = batch.get(ROWS, &self.key)?.is_some();
        batch.delete(ROWS, self.key.clone());
        Ok(found)
    }

    fn committed(&mut self, shared: &Shared, _: &bool) {
        shared.rows.forget(std::slice::from_ref(&self.key));
    }
}

/// A cache of recently read rows: an application reads the same few for every message.
///
/// An entry is valid only while the row in the file has the same bytes. Changed and deleted rows are removed.
#[derive(Debug, Default)]
pub(super) struct RowCache(Mutex<CachedRows>);

/// The most cached rows.
const KEPT: usize = 4096;
/// Larger rows are not cached.
const LARGEST: usize = 16 << 10;

#[derive(Debug, Default)]
struct CachedRows {
    /// Sealed and opened values, by key.
    rows: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
    /// The number of invalidations.
    forgotten: u64,
}

/// When a reader began to read.
#[derive(Clone, Copy, Debug)]
struct Moment(u64);

impl RowCache {
    fn held(&self) -> MutexGuard<'_, CachedRows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment(self.held().forgotten)
    }

    fn get(&self, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let held = self.held();
        let (of, plain) = held.rows.get(key)?;
        (of == sealed).then(|| plain.clone())
    }

    /// Caches a row, unless something was invalidated since it was read: it could be that row.
    fn put(&self, read_from: Moment, key: Vec<u8>, row: (Vec<u8>, Vec<u8>)) {
        let mut held = self.held();
        if held.forgotten != read_from.0 || row.0.len() > LARGEST {
            return;
        }
        if held.rows.len() >= KEPT {
            held.rows.clear();
        }
        held.rows.insert(key, row);
    }

    fn forget(&self, keys: &[Vec<u8>]) {
        let mut held = self.held();
        held.forgotten += 1;
        for key in keys {
            held.rows.remove(key);
        }
    }

    /// Clears the cache.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        held.forgotten += 1;
        held.rows.clear();
    }
}

impl Shared {
    fn row(
        &self,
        rows: &mut dyn Rows,
        tenant: Option<TenantId>,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        match self.sealed_row(rows, tenant, key)? {
            Some((sealed, mut vault)) => vault.open_row(rows, key, &sealed).map(Some),
            None => Ok(None),
        }
    }

    fn sealed_row(
        &self,
        rows: &mut dyn Rows,
        tenant: Option<TenantId>,
        key: &[u8],
    ) -> Result<Option<(Vec<u8>, Vault)>> {
        let Some(row) = rows.get(ROWS, key)? else {
            return Ok(None);
        };
        // Without a key, the tenant is being erased.
        let vault = self.vault(rows, owner(tenant))?;
        Ok(vault.map(|vault| (row, vault)))
    }
}

impl Vault {
    fn open_row(&mut self, rows: &mut dyn Rows, key: &[u8], row: &[u8]) -> Result<Vec<u8>> {
        let plain = self.open_bytes(rows, (ROWS, key), row)?;
        plain.map(Into::into).ok_or_else(closed)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Corrupt, "a row can no longer be opened")
}

/// The operator's rows are stored under nil, which is not a valid id.
pub(super) const OPERATOR: TenantId = TenantId::from_bytes([0; 16]);

fn owner(tenant: Option<TenantId>) -> TenantId {
    tenant.unwrap_or(OPERATOR)
}

fn table_key(tenant: Option<TenantId>, table: &str) -> Result<Vec<u8>> {
    if tenant == Some(OPERATOR) {
        return Err(Error::invalid("tenant", "must not be nil"));
    }
    let len = u8::try_from(table.len())
        .ok()
        .filter(|len| (1..=64).contains(len))
        .ok_or_else(|| Error::invalid("table", "must be 1 to 64 bytes"))?;
    // The length separates a table's rows from those of a table whose name has its name as a prefix.
    Ok(keys::of(owner(tenant), &[&[len], table.as_bytes()]))
}

fn row_key(tenant: Option<TenantId>, table: &str, key: &str) -> Result<Vec<u8>> {
    if !(1..=512).contains(&key.len()) {
        return Err(Error::invalid("key", "must be 1 to 512 bytes"));
    }
    let mut row = table_key(tenant, table)?;
    row.extend_from_slice(key.as_bytes());
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rows_are_not_cached() {
        let rows = RowCache::default();
        let key = || b"key".to_vec();
        let row = || (b"sealed".to_vec(), b"plain".to_vec());
        rows.put(rows.now(), key(), row());
        assert_eq!(rows.get(b"key", b"sealed"), Some(row().1));
        assert_eq!(rows.get(b"key", b"another"), None);
        // A reader that read the row before the change comes late.
        let before = rows.now();
        rows.forget(&[key()]);
        rows.put(before, key(), row());
        assert!(rows.held().rows.is_empty());
        rows.put(rows.now(), key(), (vec![0; LARGEST + 1], Vec::new()));
        assert!(rows.held().rows.is_empty());
        rows.put(rows.now(), key(), row());
        rows.clear();
        assert!(rows.held().rows.is_empty());
    }

    #[tokio::test]
    async fn deleted_rows_are_not_cached() {
        let store = Redb::in_memory().unwrap();
        let tenants = [TenantId::new(), TenantId::new()];
        let read = || async {
            for tenant in tenants {
                store.get_row(Some(tenant), "table", "key").await.unwrap();
            }
        };
        let kept = || store.inner.shared.rows.held().rows.len();
        for tenant in tenants {
            let put = store.put_row(Some(tenant), "table", "key", b"secret");
            put.await.unwrap();
        }
        read().await;
        assert_eq!(kept(), 2);
        let deleted = store.delete_row(Some(tenants[0]), "table", "key");
        assert!(deleted.await.unwrap());
        assert_eq!(kept(), 1);
        use konstruct_core::{Depth, Erase, store::Archive as _};
        let erased = store.erase(tenants[1], Erase::Tenant, Depth::Logical);
        erased.await.unwrap();
        read().await;
        assert_eq!(kept(), 0);
    }
}
