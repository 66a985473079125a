//! Rows of the application.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
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
use crate::rows::{Expect, RowChange, RowStore, check_key, check_table, owner};

#[async_trait]
impl RowStore for Redb {
    async fn get_row(
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

    async fn delete_row(&self, tenant: Option<TenantId>, table: &str, key: &str) -> Result<bool> {
        let delete = Delete {
            key: row_key(tenant, table, key)?,
        };
        self.inner.writer()?.submit(delete).await
    }

    async fn rows(
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

    async fn write_rows(&self, changes: Vec<RowChange>) -> Result<bool> {
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

/// The most bytes of cached rows, however many tenants there are.
const KEPT: usize = 8 << 20;
/// Larger rows are not cached.
const LARGEST: usize = 16 << 10;

#[derive(Debug, Default)]
struct CachedRows {
    /// Sealed and opened values, by key.
    rows: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
    /// Their bytes. Rows that were removed count until the next time that all are dropped.
    bytes: usize,
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
        let bytes = key.len() + row.0.len() + row.1.len();
        if held.bytes + bytes > KEPT {
            held.rows = HashMap::default();
            held.bytes = 0;
        }
        held.bytes += bytes;
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
        held.bytes = 0;
    }
}

impl Shared {
    pub(super) fn row(
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

fn table_key(tenant: Option<TenantId>, table: &str) -> Result<Vec<u8>> {
    check_table(tenant, table)?;
    // The length separates a table's rows from those of a table whose name has its name as a prefix.
    let len = table.len() as u8;
    Ok(keys::of(owner(tenant), &[&[len], table.as_bytes()]))
}

pub(super) fn row_key(tenant: Option<TenantId>, table: &str, key: &str) -> Result<Vec<u8>> {
    let mut row = table_key(tenant, table)?;
    check_key(key)?;
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
