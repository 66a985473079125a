//! Rows of the application.

use std::sync::Arc;

use async_trait::async_trait;
use konstruct_core::{Result, TenantId};

use super::{
    Inner, Postgres,
    error::{corrupt, stored},
    tenant::{Mode, TenantTx},
    vault::{KeysById, Persons},
};
use crate::{
    rows::{Expect, RowChange, RowStore, check_row, check_table, owner},
    seal::TenantKey,
};

#[async_trait]
impl RowStore for Postgres {
    async fn get_row(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>> {
        check_row(tenant, table, key)?;
        let mut tx = self.inner.db.tenant(owner(tenant), Mode::Read).await?;
        let found: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "select k.wrapped, r.sealed from konstruct.app_rows r join konstruct.tenant_keys k on k.tenant = r.tenant
             where r.tenant = $1 and r.name = $2 and r.key = $3",
        )
        .bind(tx.id())
        .bind(table)
        .bind(key)
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        let Some((wrapped, sealed)) = found else {
            return Ok(None);
        };
        let of = self.inner.vault.unwrap(owner(tenant), wrapped)?;
        open(&of, table, key, &sealed).map(Some)
    }

    async fn rows(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        check_table(tenant, table)?;
        let mut tx = self.inner.db.tenant(owner(tenant), Mode::Snapshot).await?;
        let Some(of) = self.inner.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        // No key is empty.
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "select key, sealed from konstruct.app_rows where tenant = $1 and name = $2 and key > $3
             order by key limit $4",
        )
        .bind(tx.id())
        .bind(table)
        .bind(after.unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        rows.into_iter()
            .map(|(key, sealed)| Ok((open(&of, table, &key, &sealed)?, key)))
            .map(|row: Result<_>| row.map(|(value, key)| (key, value)))
            .collect()
    }

    async fn write_rows(&self, mut changes: Vec<RowChange>) -> Result<bool> {
        for change in &changes {
            check_row(change.tenant, &change.table, &change.key)?;
        }
        // All lock rows in the same order.
        changes.sort_by(|a, b| {
            let order = |it: &RowChange| (owner(it.tenant), it.table.clone(), it.key.clone());
            order(a).cmp(&order(b))
        });
        let Some(first) = changes.first() else {
            return Ok(true);
        };
        let mut tx = self
            .inner
            .db
            .tenant(owner(first.tenant), Mode::Write)
            .await?;
        let mut key = self.inner.locked_key(&mut tx).await?;
        for change in &changes {
            if owner(change.tenant) != tx.tenant() {
                tx.switch(owner(change.tenant)).await?;
                key = self.inner.locked_key(&mut tx).await?;
            }
            if !apply(&mut tx, &key, change).await? {
                return Ok(false);
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn delete_row(&self, tenant: Option<TenantId>, table: &str, key: &str) -> Result<bool> {
        check_row(tenant, table, key)?;
        let mut tx = self.inner.db.tenant(owner(tenant), Mode::Write).await?;
        let gone = delete(&mut tx, table, key).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

impl Inner {
    /// Returns the tenant's key, which stays until the transaction ends: an erasure waits for it, and it for an erasure.
    async fn locked_key(&self, tx: &mut TenantTx) -> Result<Arc<TenantKey>> {
        loop {
            let (wrapped, key) = self.vault.key_or_new_and_row(tx).await?;
            let locked: Option<i32> = sqlx::query_scalar(
                "select 1 from konstruct.tenant_keys where tenant = $1 and wrapped = $2 for key share",
            )
            .bind(tx.id())
            .bind(wrapped)
            .fetch_optional(tx.db())
            .await
            .map_err(stored)?;
            // Otherwise it was erased in between.
            if locked.is_some() {
                return Ok(key);
            }
        }
    }
}

/// Makes a change; returns whether the row was as expected.
async fn apply(tx: &mut TenantTx, key: &TenantKey, change: &RowChange) -> Result<bool> {
    let (table, name) = (&*change.table, &*change.key);
    if change.expect != Expect::Any {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar(
            "select sealed from konstruct.app_rows where tenant = $1 and name = $2 and key = $3 for update",
        )
        .bind(tx.id())
        .bind(table)
        .bind(name)
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        let current = sealed.map(|sealed| open(key, table, name, &sealed));
        let expected = match &change.expect {
            Expect::Exact(value) => Some(value),
            _ => None,
        };
        if current.transpose()?.as_ref() != expected {
            return Ok(false);
        }
    }
    let Some(value) = &change.value else {
        delete(tx, table, name).await?;
        return Ok(true);
    };
    let sealed = Persons::default().seal_bytes(key, [], (TABLE, &place(table, name)), value)?;
    // Another transaction may have inserted the row that was absent.
    let statement = match change.expect {
        Expect::Absent => {
            "insert into konstruct.app_rows (tenant, name, key, sealed) values ($1, $2, $3, $4) on conflict do nothing"
        }
        _ => {
            "insert into konstruct.app_rows (tenant, name, key, sealed) values ($1, $2, $3, $4)
             on conflict (tenant, name, key) do update set sealed = excluded.sealed"
        }
    };
    let written = sqlx::query(statement)
        .bind(tx.id())
        .bind(table)
        .bind(name)
        .bind(sealed)
        .execute(tx.db())
        .await
        .map_err(stored)?;
    Ok(written.rows_affected() == 1)
}

async fn delete(tx: &mut TenantTx, table: &str, key: &str) -> Result<bool> {
    let gone =
        sqlx::query("delete from konstruct.app_rows where tenant = $1 and name = $2 and key = $3")
            .bind(tx.id())
            .bind(table)
            .bind(key)
            .execute(tx.db())
            .await
            .map_err(stored)?;
    Ok(gone.rows_affected() > 0)
}

/// The name of the table in the associated data of sealed values.
const TABLE: &str = "app_rows";

/// Returns the row id in the associated data. No name contains a zero byte, because PostgreSQL stores none.
fn place(table: &str, key: &str) -> Vec<u8> {
    [table.as_bytes(), &[0], key.as_bytes()].concat()
}

fn open(of: &TenantKey, table: &str, key: &str, sealed: &[u8]) -> Result<Vec<u8>> {
    let opened = KeysById::default().open_bytes(of, (TABLE, &place(table, key)), sealed)?;
    opened.map(Into::into).ok_or_else(corrupt)
}
