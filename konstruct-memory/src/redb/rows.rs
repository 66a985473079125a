//! Rows of the application's own: a small table of documents by key, a tenant's or the operator's.

use std::sync::Arc;

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

/// A change to one row, with what must be true of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Whose it is. `None`: the operator's.
    pub tenant: Option<TenantId>,
    /// The table, 1 to 64 bytes.
    pub table: String,
    /// The key, 1 to 512 bytes. It is not sealed: a name or a number of a person does not belong here.
    pub key: String,
    /// What must stand there now.
    pub expect: Expect,
    /// What is to stand there. `None`: nothing.
    pub value: Option<Vec<u8>>,
}

/// What must stand in a row before it is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// Anything or nothing.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// Exactly this value.
    Exact(Vec<u8>),
}

/// Rows of the application's own, sealed like everything else and erased with their tenant.
impl Redb {
    /// Writes a row, whatever stood there.
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
    /// As [`Redb::put_row`], and [`ErrorKind::Corrupt`] where it does not open.
    pub async fn get_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>> {
        let shared = &self.inner.shared;
        let key = row_key(tenant, table, key)?;
        shared.row(&mut shared.snapshot()?, tenant, &key)
    }

    /// Deletes a row. Returns whether there was one.
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

    /// Lists the rows of a table by key, after the given one.
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

    /// Changes several rows, all or none: none where a row is not as expected. Returns whether they were changed.
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
    type Answer = bool;

    fn waits(&self, erasing: &Erasing) -> bool {
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
}

struct Delete {
    key: Vec<u8>,
}

impl Operation for Delete {
    type Answer = bool;

    fn waits(&self, erasing: &Erasing) -> bool {
        let tenant = keys::id(&self.key, 0).map(TenantId::from_bytes);
        tenant.is_some_and(|tenant| erasing.all_of(tenant))
    }

    fn apply(&mut self, batch: &mut Batch<'_>, _: &Shared) -> Result<bool> {
        let found = batch.get(ROWS, &self.key)?.is_some();
        batch.delete(ROWS, self.key.clone());
        Ok(found)
    }
}

impl Shared {
    fn row(
        &self,
        rows: &mut dyn Rows,
        tenant: Option<TenantId>,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let Some(row) = rows.get(ROWS, key)? else {
            return Ok(None);
        };
        // Without a key it is of a tenant that is being erased.
        match self.vault(rows, owner(tenant))? {
            Some(mut vault) => vault.open_row(rows, key, &row).map(Some),
            None => Ok(None),
        }
    }
}

impl Vault {
    fn open_row(&mut self, rows: &mut dyn Rows, key: &[u8], row: &[u8]) -> Result<Vec<u8>> {
        let plain = self.open_bytes(rows, (ROWS, key), row)?;
        plain.map(Into::into).ok_or_else(closed)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Corrupt, "a row no longer opens")
}

/// The operator's rows stand under nil, which is nobody's id.
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
    // The length keeps a table's rows apart from those of a table whose name begins with its name.
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
