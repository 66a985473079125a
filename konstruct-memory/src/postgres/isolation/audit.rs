//! The audit of the catalogue.

use konstruct_core::{Result, Secret};
use sqlx::PgConnection;

use super::{connect, stored};

/// Returns the ways in which the catalogue could let one tenant see another's rows; there must be none.
///
/// # Errors
/// Errors of the database.
pub async fn audit(owner: &Secret) -> Result<Vec<String>> {
    findings(&mut connect(owner).await?).await
}

pub(super) async fn findings(connection: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(include_str!("audit.sql"))
        .fetch_all(connection)
        .await
        .map_err(stored)
}
