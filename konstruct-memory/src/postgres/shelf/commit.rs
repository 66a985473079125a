//! Committing a plan: if nothing else was committed meanwhile, and then whole.

use std::{collections::BTreeSet, sync::Arc};

use konstruct_core::{PersonId, Result};
use serde::Deserialize;

use super::{
    super::{Inner, claim::signed, error::stored, tenant::TenantTx, vault::Persons},
    Kind, Plan, index, rows,
};
use crate::seal::TenantKey;

/// The keys that a plan's rows are sealed with.
pub(in crate::postgres) struct Prepared {
    key: Arc<TenantKey>,
    persons: Persons,
}

/// How far the feed is indexed, as the memory keeps it. The number stands beside the revision too, so that the database can tell
/// whose index is behind.
#[derive(Deserialize)]
struct Indexed {
    indexed: u64,
}

impl Inner {
    /// Reads and makes the keys that a plan needs, before anything is locked.
    pub(in crate::postgres) async fn prepare(
        &self,
        tx: &mut TenantTx,
        plan: &Plan,
    ) -> Result<Prepared> {
        let key = self.vault.key_or_new(tx).await?;
        let persons = plan.put.iter().flat_map(|row| &row.persons);
        let persons: BTreeSet<PersonId> = persons.copied().collect();
        let persons = Persons::of(tx, &key, &persons).await?;
        Ok(Prepared { key, persons })
    }

    /// Writes a plan.
    pub(in crate::postgres) async fn apply(
        &self,
        tx: &mut TenantTx,
        plan: Plan,
        Prepared { key, persons }: Prepared,
    ) -> Result<()> {
        rows::remove(tx, &plan).await?;
        index::take_out(tx, &plan).await?;
        rows::put(tx, &key, &persons, &plan.put).await?;
        index::put_in(tx, &plan.put_in).await?;
        index::put_vectors(tx, &plan).await?;
        index::measure(tx, &plan).await
    }
}

/// Counts the revision up, if it is the plan's. Returns whether it was; no one else commits until the transaction ends.
pub(in crate::postgres) async fn advance(tx: &mut TenantTx, plan: &Plan) -> Result<bool> {
    let settings = plan.put.iter().rfind(|row| row.kind == Kind::Settings);
    let indexed: Option<Indexed> = settings.and_then(|row| serde_json::from_slice(&row.value).ok());
    let indexed = indexed.map(|settings| signed(settings.indexed));
    if plan.revision == 0 {
        sqlx::query(
            "insert into konstruct.memory_heads (tenant, revision) values ($1, 0) on conflict do nothing",
        )
        .bind(tx.id())
        .execute(tx.db())
        .await
        .map_err(stored)?;
    }
    let advanced = sqlx::query(
        "update konstruct.memory_heads set revision = revision + 1, indexed = coalesce($3, indexed)
         where tenant = $1 and revision = $2",
    )
    .bind(tx.id())
    .bind(signed(plan.revision))
    .bind(indexed)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    Ok(advanced.rows_affected() > 0)
}
