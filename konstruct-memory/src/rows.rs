//! Rows of the application: small documents by key, of a tenant or of the operator.

use async_trait::async_trait;
use konstruct_core::{Error, Result, TenantId};

/// A change to one row, with a precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The tenant. `None` for the operator.
    pub tenant: Option<TenantId>,
    /// The table, 1 to 64 bytes, none of them zero.
    pub table: String,
    /// The key, 1 to 512 bytes, none of them zero. It is not sealed, so it must not contain a person's name or number.
    pub key: String,
    /// The expected current value.
    pub expect: Expect,
    /// The new value. `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

impl RowChange {
    /// Writes a row, whatever it is now.
    pub fn put(
        tenant: Option<TenantId>,
        table: impl Into<String>,
        key: impl Into<String>,
        value: Vec<u8>,
    ) -> Self {
        Self {
            value: Some(value),
            ..Self::delete(tenant, table, key)
        }
    }

    /// Deletes a row, if it exists.
    pub fn delete(
        tenant: Option<TenantId>,
        table: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        Self {
            tenant,
            table: table.into(),
            key: key.into(),
            expect: Expect::Any,
            value: None,
        }
    }

    /// Sets the expected current value.
    #[must_use]
    pub fn expecting(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
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

/// Stores rows of the application, sealed like all data, and erased with their tenant. A server keeps its tenants, employees and
/// connections in them.
///
/// ```
/// # use konstruct_core::TenantId;
/// use konstruct_memory::{Expect, Redb, RowChange, RowStore as _};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = Redb::in_memory()?;
/// let tenant = TenantId::new();
/// store.put_row(Some(tenant), "profile", "main", b"Acme").await?;
/// assert_eq!(store.get_row(Some(tenant), "profile", "main").await?, Some(b"Acme".to_vec()));
/// assert_eq!(store.get_row(None, "profile", "main").await?, None);
///
/// let claim = RowChange::put(None, "accounts", "T1", b"ten_1".to_vec()).expecting(Expect::Absent);
/// assert!(store.write_rows(vec![claim.clone()]).await?);
/// assert!(!store.write_rows(vec![claim]).await?, "it is taken");
/// # Ok::<(), konstruct_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// All methods fail with [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a table or key of the wrong length
/// or the nil tenant, with [`ErrorKind::Corrupt`](konstruct_core::ErrorKind::Corrupt) if a row cannot be opened, and with those of
/// the store. Nothing is written then.
#[async_trait]
pub trait RowStore: std::fmt::Debug + Send + Sync + 'static {
    /// Reads a row.
    async fn get_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>>;

    /// Lists the rows of a table in the order of the keys' bytes, after the given key.
    async fn rows(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>>;

    /// Changes several rows, or none if a row is not as expected. Returns whether they were changed. A row may occur only once.
    async fn write_rows(&self, changes: Vec<RowChange>) -> Result<bool>;

    /// Deletes a row. Returns whether it existed.
    async fn delete_row(&self, tenant: Option<TenantId>, table: &str, key: &str) -> Result<bool>;

    /// Writes a row, and replaces an existing one.
    async fn put_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
        value: &[u8],
    ) -> Result<()> {
        let change = RowChange::put(tenant, table, key, value.into());
        self.write_rows(vec![change]).await.map(drop)
    }
}

/// The operator's rows are stored under nil, which is not a valid id.
pub(crate) const OPERATOR: TenantId = TenantId::from_bytes([0; 16]);

pub(crate) fn owner(tenant: Option<TenantId>) -> TenantId {
    tenant.unwrap_or(OPERATOR)
}

/// Checks the names of a table.
pub(crate) fn check_table(tenant: Option<TenantId>, table: &str) -> Result<()> {
    if tenant == Some(OPERATOR) {
        return Err(Error::invalid("tenant", "must not be nil"));
    }
    if !(1..=64).contains(&table.len()) || table.contains('\0') {
        return Err(Error::invalid(
            "table",
            "must be 1 to 64 bytes, none of them zero",
        ));
    }
    Ok(())
}

/// Checks the names of a row.
#[cfg(feature = "postgres")]
pub(crate) fn check_row(tenant: Option<TenantId>, table: &str, key: &str) -> Result<()> {
    check_table(tenant, table)?;
    check_key(key)
}

/// Checks the key of a row.
pub(crate) fn check_key(key: &str) -> Result<()> {
    if !(1..=512).contains(&key.len()) || key.contains('\0') {
        return Err(Error::invalid(
            "key",
            "must be 1 to 512 bytes, none of them zero",
        ));
    }
    Ok(())
}
