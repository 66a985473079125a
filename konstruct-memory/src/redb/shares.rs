//! The tenants' shares of the workers: each is a row of its tenant.

use async_trait::async_trait;
use konstruct_core::{Result, TenantId, store::Share};

use super::{Redb, Shared, head::corrupt, rows::row_key};
use crate::{
    rows::{OPERATOR, RowStore as _},
    shares::ShareStore,
};

const TABLE: &str = "konstruct.share";
const KEY: &str = "own";

#[async_trait]
impl ShareStore for Redb {
    async fn share(&self, tenant: TenantId) -> Result<Option<Share>> {
        self.inner.shared.share(tenant)
    }

    async fn put_share(&self, tenant: TenantId, share: Option<Share>) -> Result<()> {
        match share {
            Some(share) => {
                let row = serde_json::to_vec(&share).map_err(|_| corrupt())?;
                self.put_row(Some(tenant), TABLE, KEY, &row).await?;
            }
            None => drop(self.delete_row(Some(tenant), TABLE, KEY).await?),
        }
        self.inner.shared.set_share(tenant, share);
        Ok(())
    }
}

impl Shared {
    /// Reads a tenant's own share.
    pub(super) fn share(&self, tenant: TenantId) -> Result<Option<Share>> {
        // The only tenant of an app may be nil, whose rows are the operator's.
        if tenant == OPERATOR {
            return Ok(None);
        }
        let key = row_key(Some(tenant), TABLE, KEY)?;
        let row = self.row(&mut self.snapshot()?, Some(tenant), &key)?;
        row.map(|row| serde_json::from_slice(&row).map_err(|_| corrupt()))
            .transpose()
    }
}
