//! Migrates a database to the schema of this build.

use konstruct_core::{Error, ErrorKind, Result, Secret};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use super::{
    connect::options,
    error::{committed, stored},
};

/// A migration: its name and its statements. A released migration never changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) name: &'static str,
    sql: &'static str,
}

impl Migration {
    pub(super) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.sql).to_vec()
    }
}

/// All migrations, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_journal",
        sql: include_str!("migrations/0001_journal.sql"),
    },
    Migration {
        name: "0002_memory",
        sql: include_str!("migrations/0002_memory.sql"),
    },
    Migration {
        name: "0003_graphs",
        sql: include_str!("migrations/0003_graphs.sql"),
    },
    Migration {
        name: "0004_rows",
        sql: include_str!("migrations/0004_rows.sql"),
    },
    Migration {
        name: "0005_shares",
        sql: include_str!("migrations/0005_shares.sql"),
    },
    Migration {
        name: "0011_audit",
        sql: include_str!("migrations/0011_audit.sql"),
    },
];

/// Row-level security and privileges of everything, applied after each run.
const SECURE: &str = include_str!("migrations/secure.sql");

/// Creates the roles. Roles belong to the whole server, so two databases may create them at the same time.
const ROLES: &str = "
do $$
declare
    made text;
begin
    foreach made in array array[
        'create role konstruct_owner nologin',
        'create role konstruct_app login',
        'create role konstruct_worker login',
        'create role konstruct_definer nologin bypassrls'
    ] loop
        begin
            execute made;
        exception when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$$";

/// The schema, the extension, and the list of migrations.
const SCHEMA: &str = "
create extension if not exists vector;
create schema if not exists konstruct authorization konstruct_owner;
create table if not exists konstruct.migrations (
    name text primary key,
    hash bytea not null,
    applied_at timestamptz not null default now()
);
alter table konstruct.migrations owner to konstruct_owner";

/// The advisory lock of migrations: `konstruc` in ASCII, which no other program is likely to use.
const LOCK: i64 = 0x6b6f_6e73_7472_7563;

/// Applies the missing migrations in one transaction.
pub(super) async fn migrate(url: &Secret) -> Result<()> {
    let mut connection = PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)?;
    let mut tx = connection.begin().await.map_err(stored)?;
    // What exists already, or does not exist yet, is not worth a line in the log.
    run(&mut tx, "set local client_min_messages = warning").await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await
        .map_err(stored)?;
    for ground in [ROLES, SCHEMA] {
        run(&mut tx, ground).await?;
    }
    let pending = MIGRATIONS
        .get(applied(&mut tx).await?..)
        .unwrap_or_default();
    for migration in pending {
        run(
            &mut tx,
            "set local role konstruct_owner; set local search_path = konstruct, public",
        )
        .await?;
        run(&mut tx, migration.sql).await?;
        run(&mut tx, "reset role").await?;
        sqlx::query("insert into konstruct.migrations (name, hash) values ($1, $2)")
            .bind(migration.name)
            .bind(migration.hash())
            .execute(&mut *tx)
            .await
            .map_err(stored)?;
    }
    run(&mut tx, SECURE).await?;
    tx.commit().await.map_err(committed)?;
    connection.close().await.map_err(stored)
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<()> {
    sqlx::raw_sql(sql)
        .execute(connection)
        .await
        .map(drop)
        .map_err(stored)
}

/// Returns the number of applied migrations, which must be the first of this build's.
pub(super) async fn applied(connection: &mut PgConnection) -> Result<usize> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select name, hash from konstruct.migrations order by name")
            .fetch_all(connection)
            .await
            .map_err(stored)?;
    for (at, (name, hash)) in rows.iter().enumerate() {
        let Some(ours) = MIGRATIONS.get(at).filter(|ours| ours.name == name) else {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the database has migration `{name}`, which is unknown to this build"),
            ));
        };
        if ours.hash() != *hash {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "migration `{name}` was applied with different statements than this build's"
                ),
            ));
        }
    }
    Ok(rows.len())
}
