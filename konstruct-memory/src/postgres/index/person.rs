//! The index entries that name a person.

use konstruct_core::{PersonId, Result};
use uuid::Uuid;

use super::{
    super::{error::stored, tenant::TenantTx},
    Keys, UnitKey, changes, unit_key,
};

/// Lists the units that name a person.
pub(super) async fn units_of(
    tx: &mut TenantTx,
    person: PersonId,
    limit: usize,
) -> Result<Vec<UnitKey>> {
    let rows = sqlx::query_as(
        "select space, grp, item from konstruct.unit_persons
         where tenant = $1 and person = $2 order by space, grp, item limit $3",
    )
    .bind(tx.id())
    .bind(Uuid::from_bytes(*person.as_bytes()))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    Ok(rows.into_iter().map(unit_key).collect())
}

/// Removes the units that name a person. Returns their number.
pub(in crate::postgres) async fn forget_units(tx: &mut TenantTx, person: PersonId) -> Result<u64> {
    let units = units_of(tx, person, usize::MAX).await?;
    let keys: Keys = units.iter().collect();
    changes::remove_by_keys(tx, keys).await?;
    Ok(units.len() as u64)
}
