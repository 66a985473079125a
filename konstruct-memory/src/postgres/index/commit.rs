//! Commits a plan atomically, unless something else was committed meanwhile.

use std::{collections::BTreeSet, sync::Arc};

use konstruct_core::{PersonId, Result};
use serde::Deserialize;

use super::{
    super::{Inner, claim::signed, error::stored, tenant::TenantTx, vault::Persons},
    Plan, RowKind, changes, rows,
};
use crate::{memory::unknown_person, seal::TenantKey};

/// The keys that a plan's rows are sealed with.
pub(in crate::postgres) struct Prepared {
    key: Arc<TenantKey>,
    persons: Persons,
}

/// The cursor up to which the feed is indexed. It is also stored next to the revision, so that the database can find tenants
/// whose index is behind.
#[derive(Deserialize)]
struct Indexed {
    indexed: u64,
}

impl Inner {
    /// Reads and creates the keys that a plan needs, before anything is locked.
    pub(in crate::postgres) async fn prepare(
        &self,
        tx: &mut TenantTx,
        plan: &Plan,
    ) -> Result<Prepared> {
        let key = self.vault.key_or_new(tx).await?;
        self.prepare_with(tx, plan, key).await
    }

    /// Reads and creates the keys that a plan needs, with a given tenant key.
    pub(in crate::postgres) async fn prepare_with(
        &self,
        tx: &mut TenantTx,
        plan: &Plan,
        key: Arc<TenantKey>,
    ) -> Result<Prepared> {
        let persons = plan.put.iter().flat_map(|row| &row.persons);
        let persons: BTreeSet<PersonId> = persons.copied().collect();
        let mut keys = Persons::default();
        if !persons.is_empty() {
            keys.read(tx, &key, &persons).await?;
        }
        // Only accepting an event creates the key of a person.
        if persons.iter().any(|person| keys.get(*person).is_none()) {
            return Err(unknown_person());
        }
        Ok(Prepared { key, persons: keys })
    }

    /// Writes a plan.
    pub(in crate::postgres) async fn apply(
        &self,
        tx: &mut TenantTx,
        plan: Plan,
        Prepared { key, persons }: Prepared,
        first: i64,
    ) -> Result<()> {
        rows::remove(tx, &plan).await?;
        changes::remove_units(tx, &plan).await?;
        rows::put(tx, &key, &persons, &plan.put).await?;
        changes::add_units(tx, &plan.add_units, first).await?;
        changes::put_vectors(tx, &plan).await
    }
}

/// Increments the revision if it is the plan's, and if the tenant's key still has the given row, if any. Returns the number of
/// the plan's first passage, or `None` if it does not match. Other commits wait until the transaction ends.
pub(in crate::postgres) async fn advance(
    tx: &mut TenantTx,
    plan: &Plan,
    wrapped: Option<&[u8]>,
) -> Result<Option<i64>> {
    let many = plan
        .add_units
        .iter()
        .map(|unit| unit.passages.len())
        .sum::<usize>();
    let settings = plan.put.iter().rfind(|row| row.kind == RowKind::Settings);
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
    sqlx::query_scalar(
        "update konstruct.memory_heads set
             revision = revision + 1, indexed = coalesce($3, indexed), numbered = numbered + $4
         where tenant = $1 and revision = $2
             and ($5::bytea is null or exists (
                 select from konstruct.tenant_keys k where k.tenant = $1 and k.wrapped = $5))
         returning numbered - $4 + 1",
    )
    .bind(tx.id())
    .bind(signed(plan.revision))
    .bind(indexed)
    .bind(signed(many as u64))
    .bind(wrapped)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)
}
