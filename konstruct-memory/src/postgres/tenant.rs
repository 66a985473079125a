//! The only door to a tenant's tables: a transaction that names the tenant.

use konstruct_core::{Result, TenantId};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{
    error::{committed, stored},
    time::Time,
};

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To read: each statement sees what was committed when it began.
    Read,
    /// To read much: every statement sees the same.
    Snapshot,
    /// To write.
    Write,
    /// To write while no events of the tenant are accepted.
    Alone,
}

/// A connection pool. It has no way to a tenant's rows but [`Db::tenant`]: without a tenant that is named, row-level security
/// shows none.
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
            // What is written is found by its keys, one after the other, whatever the planner knows of the tables yet.
            Mode::Write | Mode::Alone => {
                "begin; set local enable_hashjoin = off; set local enable_mergejoin = off"
            }
        };
        let mut sql = format!("{begin}; set local konstruct.tenant = '{id}'");
        if mode == Mode::Alone {
            // Accepting locks the same row.
            sql.push_str(&format!(
                "; select from konstruct.tenant_keys where tenant = '{id}' for update"
            ));
        }
        // Safe: it is made of constants and a UUID.
        let tx = self.pool.begin_with(AssertSqlSafe(sql)).await;
        Ok(TenantTx {
            tx: tx.map_err(stored)?,
            tenant,
            given: self.time.given(),
        })
    }
}

/// A transaction in which one tenant's rows can be seen and written, and no other's.
pub(super) struct TenantTx {
    tx: Transaction<'static, Postgres>,
    tenant: TenantId,
    given: Option<i64>,
}

impl TenantTx {
    /// Returns whose it is.
    pub(super) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the tenant as every statement binds it first.
    pub(super) fn id(&self) -> Uuid {
        Uuid::from_bytes(*self.tenant.as_bytes())
    }

    /// Returns the time where it is not the database's.
    pub(super) fn given(&self) -> Option<i64> {
        self.given
    }

    /// Returns the connection.
    pub(super) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Ends it. Dropped without, it is undone.
    pub(super) async fn commit(self) -> Result<()> {
        self.tx.commit().await.map_err(committed)
    }
}
