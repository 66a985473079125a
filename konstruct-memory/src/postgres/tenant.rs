//! The only access to a tenant's tables: a transaction that names the tenant.

use konstruct_core::{Result, TenantId};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{
    error::{committed, stored},
    time::Time,
};

/// The mode of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reads; each statement sees what was committed when it began.
    Read,
    /// Long reads; all statements see the same snapshot.
    Snapshot,
    /// Writes.
    Write,
    /// Writes while no events of the tenant are accepted.
    Exclusive,
}

/// A connection pool. [`Db::tenant`] is the only access to a tenant's rows: row-level security hides all rows if no tenant is
/// named.
#[derive(Clone, Debug)]
pub(super) struct Db {
    pub(super) pool: PgPool,
    pub(super) time: Time,
}

impl Db {
    /// Begins a transaction of a tenant.
    pub(super) async fn tenant(&self, tenant: TenantId, mode: Mode) -> Result<TenantTx> {
        let id = Uuid::from_bytes(*tenant.as_bytes());
        let begin = match mode {
            Mode::Read => "begin read only",
            Mode::Snapshot => "begin isolation level repeatable read read only",
            // Writes look rows up by key, one after the other, whatever the planner's statistics are.
            Mode::Write | Mode::Exclusive => {
                "begin; set local enable_hashjoin = off; set local enable_mergejoin = off"
            }
        };
        let mut sql = format!("{begin}; set local konstruct.tenant = '{id}'");
        if mode == Mode::Exclusive {
            // Accepting locks the same row.
            sql.push_str(&format!(
                "; select from konstruct.tenant_keys where tenant = '{id}' for update"
            ));
        }
        // Safe: it consists of constants and a UUID.
        let tx = self.pool.begin_with(AssertSqlSafe(sql)).await;
        Ok(TenantTx {
            tx: tx.map_err(stored)?,
            tenant,
            given: self.time.given(),
        })
    }
}

/// A transaction in which only one tenant's rows are visible and writable.
pub(super) struct TenantTx {
    tx: Transaction<'static, Postgres>,
    tenant: TenantId,
    given: Option<i64>,
}

impl TenantTx {
    /// Returns the tenant.
    pub(super) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the tenant's id, the first parameter of every statement.
    pub(super) fn id(&self) -> Uuid {
        Uuid::from_bytes(*self.tenant.as_bytes())
    }

    /// Goes on as another tenant. Only rows of the application need it, which the operator's and a tenant's change together.
    pub(super) async fn switch(&mut self, tenant: TenantId) -> Result<()> {
        let id = Uuid::from_bytes(*tenant.as_bytes());
        // Safe: it consists of constants and a UUID.
        let sql = AssertSqlSafe(format!("set local konstruct.tenant = '{id}'"));
        sqlx::raw_sql(sql)
            .execute(self.db())
            .await
            .map_err(stored)?;
        self.tenant = tenant;
        Ok(())
    }

    /// Returns the time, if it is not the database's.
    pub(super) fn given(&self) -> Option<i64> {
        self.given
    }

    /// Returns the connection.
    pub(super) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Commits the transaction. Dropping it rolls back.
    pub(super) async fn commit(self) -> Result<()> {
        self.tx.commit().await.map_err(committed)
    }
}
