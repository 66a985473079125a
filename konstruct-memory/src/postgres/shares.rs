//! The tenants' shares of the workers.

use std::num::NonZeroU32;

use async_trait::async_trait;
use konstruct_core::{Result, TenantId, store::Share};

use super::{Postgres, claim::number, error::stored, tenant::Mode};
use crate::shares::ShareStore;

#[async_trait]
impl ShareStore for Postgres {
    async fn share(&self, tenant: TenantId) -> Result<Option<Share>> {
        let mut tx = self.inner.db.tenant(tenant, Mode::Read).await?;
        let row: Option<(i32, Option<i32>)> = sqlx::query_as(
            "select weight, most from konstruct.shares where tenant = $1 and weight is not null",
        )
        .bind(tx.id())
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(row.map(|(weight, most)| Share {
            weight: count(weight).unwrap_or(NonZeroU32::MIN),
            most: most.and_then(count),
        }))
    }

    async fn put_share(&self, tenant: TenantId, share: Option<Share>) -> Result<()> {
        let mut tx = self.inner.db.tenant(tenant, Mode::Write).await?;
        sqlx::query(
            "insert into konstruct.shares (tenant, weight, most) values ($1, $2, $3)
             on conflict (tenant) do update set weight = excluded.weight, most = excluded.most",
        )
        .bind(tx.id())
        .bind(share.map(|share| number(share.weight)))
        .bind(share.and_then(|share| share.most).map(number))
        .execute(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        self.inner.wake.arrived();
        Ok(())
    }
}

fn count(number: i32) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(number).ok()?)
}
