//! Rewrites the files, so that erased data is gone from them and the rows of a tenant are stored together.

use konstruct_core::{Result, Secret};
use sqlx::{Connection as _, PgConnection};

use super::{connect::options, error::stored};

/// One statement for each table. Tables that are scanned are clustered by their key, which begins with the tenant.
const REWRITE: &[&str] = &[
    "cluster konstruct.vectors using vectors_pkey",
    "cluster konstruct.postings using postings_pkey",
    "cluster konstruct.passages using passages_pkey",
    "cluster konstruct.units using units_pkey",
    "cluster konstruct.log using log_pkey",
    "vacuum full konstruct.graphs",
    "vacuum full konstruct.moments",
    "vacuum full konstruct.unit_persons",
    "vacuum full konstruct.sizes",
    "vacuum full konstruct.rows",
    "vacuum full konstruct.memory_heads",
    "vacuum full konstruct.inbox",
    "vacuum full konstruct.conversations",
    "vacuum full konstruct.mailboxes",
    "vacuum full konstruct.shares",
    "vacuum full konstruct.counters",
    "vacuum full konstruct.deliveries",
    "vacuum full konstruct.spoken",
    "vacuum full konstruct.events",
    "vacuum full konstruct.twins",
    "vacuum full konstruct.items",
    "vacuum full konstruct.person_names",
    "vacuum full konstruct.place_names",
    "vacuum full konstruct.ledger",
    "vacuum full konstruct.budgets",
    "vacuum full konstruct.reservations",
    "vacuum full konstruct.erased_persons",
    "vacuum full konstruct.app_rows",
    "vacuum full konstruct.person_keys",
    "vacuum full konstruct.tenant_keys",
    "analyze",
    // After this, a restart no longer needs the older part of the write-ahead log.
    "checkpoint",
];

/// Rewrites every table, one after the other.
pub(super) async fn rewrite(url: &Secret) -> Result<()> {
    let mut connection = PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)?;
    for sql in REWRITE {
        sqlx::raw_sql(*sql)
            .execute(&mut connection)
            .await
            .map_err(stored)?;
    }
    connection.close().await.map_err(stored)
}
