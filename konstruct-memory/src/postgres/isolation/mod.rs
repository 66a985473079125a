//! Proof that a database separates tenants, for tests and benchmarks.
//!
//! The [audit] reads the catalogue, the [probe] tries every verb on every table as the roles that serve, and the [mutants] are
//! mistakes of a migration that both must find. A table without a policy is a finding of the audit and a leak of the probe.
//!
//! Each function takes the URL of the owner of a migrated database that serves nobody.

mod audit;
mod mutants;
mod probe;

use konstruct_core::{Result, Secret};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

pub use self::{
    audit::audit,
    mutants::{Mutant, mutants},
    probe::{Probed, probe, probe_randomly},
};
use super::{connect::options, error::stored};

async fn connect(url: &Secret) -> Result<PgConnection> {
    PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)
}

/// Runs statements of the proof, which consist of constants, names from the catalogue and ids of the probe.
async fn run(connection: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(drop)
        .map_err(stored)
}
