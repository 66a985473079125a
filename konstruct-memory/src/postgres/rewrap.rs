//! Wrapping the tenants' keys with another key of the ring.

use konstruct_core::{Result, TenantId};
use uuid::Uuid;

use super::{Inner, error::stored, tenant::Mode};
use crate::seal::TenantKey;

/// How many tenants are listed at a time.
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
        let Some(anew) = TenantKey::rewrap(self.vault.ring(), tenant, &wrapped)? else {
            return Ok(false);
        };
        sqlx::query("update konstruct.tenant_keys set wrapped = $2 where tenant = $1")
            .bind(tx.id())
            .bind(anew)
            .execute(tx.db())
            .await
            .map_err(stored)?;
        tx.commit().await?;
        Ok(true)
    }
}
