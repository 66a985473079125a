//! Wraps the tenants' and persons' keys with another key of the ring.

use konstruct_core::{PersonId, Result, TenantId};
use uuid::Uuid;

use super::{Inner, error::stored, tenant::Mode};
use crate::seal::{KeyId, TenantKey};

/// The number of tenants listed at a time.
const PAGE: i32 = 1000;

impl Inner {
    pub(super) async fn rewrap_keys(&self) -> Result<u64> {
        let (mut after, mut count) = (Uuid::nil(), 0);
        loop {
            let tenants: Vec<Uuid> = sqlx::query_scalar("select konstruct.tenants($1, $2)")
                .bind(after)
                .bind(PAGE)
                .fetch_all(&self.db.pool)
                .await
                .map_err(stored)?;
            let Some(last) = tenants.last() else {
                return Ok(count);
            };
            after = *last;
            for tenant in tenants {
                count += u64::from(
                    self.rewrap(TenantId::from_bytes(*tenant.as_bytes()))
                        .await?,
                );
            }
        }
    }

    async fn rewrap(&self, tenant: TenantId) -> Result<bool> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let wrapped: Option<Vec<u8>> = sqlx::query_scalar(
            "select wrapped from konstruct.tenant_keys where tenant = $1 for update",
        )
        .bind(tx.id())
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        let Some(wrapped) = wrapped else {
            return Ok(false);
        };
        let own = TenantKey::unwrap(self.vault.ring(), tenant, &wrapped)?;
        let persons: Vec<(Uuid, Uuid, Vec<u8>)> = sqlx::query_as(
            "select person, key, wrapped from konstruct.person_keys where tenant = $1 for update",
        )
        .bind(tx.id())
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        for (person, key, wrapped) in persons {
            let id = KeyId::from_bytes(*key.as_bytes());
            let of = PersonId::from_bytes(*person.as_bytes());
            if let Some(rewrapped) = own.rewrap_person(of, id, &wrapped)? {
                sqlx::query(
                    "update konstruct.person_keys set wrapped = $3 where tenant = $1 and person = $2",
                )
                .bind(tx.id())
                .bind(person)
                .bind(rewrapped)
                .execute(tx.db())
                .await
                .map_err(stored)?;
            }
        }
        let Some(rewrapped) = TenantKey::rewrap(self.vault.ring(), tenant, &wrapped)? else {
            tx.commit().await?;
            return Ok(false);
        };
        sqlx::query("update konstruct.tenant_keys set wrapped = $2 where tenant = $1")
            .bind(tx.id())
            .bind(rewrapped)
            .execute(tx.db())
            .await
            .map_err(stored)?;
        tx.commit().await?;
        Ok(true)
    }
}
