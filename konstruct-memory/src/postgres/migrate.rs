//! Migrates a database to the schema of this build.

use std::time::Duration;

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
    pub(super) sql: &'static str,
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
        name: "0006_audit",
        sql: include_str!("migrations/0006_audit.sql"),
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

/// How long a statement waits for a lock. Others that need the same table wait behind it, so it is much shorter than a webhook may
/// take.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '400ms'";
/// The pause after a lock was not granted, in which the others continue, and how often it is tried.
const PAUSE: Duration = Duration::from_millis(200);
const TRIES: u32 = 300;

/// Applies the missing migrations, each in a transaction that waits only briefly for the tables of a running server.
pub(super) async fn migrate(url: &Secret, migrations: &[Migration]) -> Result<()> {
    let mut connection = PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)?;
    let mut tries = 0;
    loop {
        match step(&mut connection, migrations).await {
            Ok(true) => return connection.close().await.map_err(stored),
            Ok(false) => tries = 0,
            Err(error) if lock(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Applies the next migration, and after the last one all privileges. Returns whether it was the last.
async fn step(connection: &mut PgConnection, migrations: &[Migration]) -> Result<bool> {
    let mut tx = connection.begin().await.map_err(stored)?;
    // What exists already, or does not exist yet, is not worth a line in the log.
    run(&mut tx, "set local client_min_messages = warning").await?;
    // Other migrations are waited for as long as they take.
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await
        .map_err(stored)?;
    for ground in [LOCK_TIMEOUT, ROLES, SCHEMA] {
        run(&mut tx, ground).await?;
    }
    let done = applied_of(&mut tx, migrations).await?;
    if let Some(migration) = migrations.get(done) {
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
    let last = done + 1 >= migrations.len();
    if last {
        run(&mut tx, SECURE).await?;
    }
    tx.commit().await.map_err(committed)?;
    Ok(last)
}

/// Returns whether a lock was not granted in time, or was part of a deadlock.
fn lock(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    match source {
        Some(sqlx::Error::Database(error)) => error
            .code()
            .is_some_and(|code| ["55P03", "40P01"].contains(&&*code)),
        _ => false,
    }
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
    applied_of(connection, MIGRATIONS).await
}

async fn applied_of(connection: &mut PgConnection, migrations: &[Migration]) -> Result<usize> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select name, hash from konstruct.migrations order by name")
            .fetch_all(connection)
            .await
            .map_err(stored)?;
    for (at, (name, hash)) in rows.iter().enumerate() {
        let Some(ours) = migrations.get(at).filter(|ours| ours.name == name) else {
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
