//! Models of a tenant's own accounts at providers. Their keys are sealed like all rows.

use std::sync::Arc;

use konstruct_core::{Error, LlmBackend, Result, TenantId};
use konstruct_memory::{Expect, RowChange};

use super::{ServerDirectory, decode, encode};
use crate::model::OwnModel;

const TABLE: &str = "models";
/// The version of a tenant's models: a number that each change raises. It is written with the change.
const VERSION: &str = "models_version";
const KEY: &str = "version";
/// The most models of a tenant's own.
const MOST: usize = 20;

impl ServerDirectory {
    /// Lists a tenant's own models by name.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn own_models(&self, tenant: TenantId) -> Result<Vec<OwnModel>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Adds a model of a tenant's own, or replaces the one of its name. Turns that are under way may end with the old one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field, and those of the store.
    pub(crate) async fn keep_model(&self, tenant: TenantId, model: &OwnModel) -> Result<()> {
        self.models.check(model).await?;
        let known = self.own_models(tenant).await?;
        if known.len() >= MOST && known.iter().all(|known| known.name != model.name) {
            let problem = format!("a tenant has at most {MOST} models of its own");
            return Err(Error::invalid("name", problem));
        }
        self.write_model(tenant, &model.name, Some(encode(model)?))
            .await
    }

    /// Removes a model of a tenant's own.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](konstruct_core::ErrorKind::NotFound), and those of the store.
    pub(crate) async fn remove_model(&self, tenant: TenantId, name: &str) -> Result<()> {
        if self
            .read::<OwnModel>(Some(tenant), TABLE, name)
            .await?
            .is_none()
        {
            return Err(Error::not_found("model"));
        }
        self.write_model(tenant, name, None).await
    }

    async fn write_model(
        &self,
        tenant: TenantId,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<()> {
        loop {
            let version = self.store.get_row(Some(tenant), VERSION, KEY).await?;
            let number: u64 = version.as_deref().map(decode).transpose()?.unwrap_or(0);
            let row = |table: &str, key: &str, expect, value| RowChange {
                tenant: Some(tenant),
                table: table.into(),
                key: key.into(),
                expect,
                value,
            };
            let expect = version.map_or(Expect::Absent, Expect::Exact);
            let changes = vec![
                row(TABLE, name, Expect::Any, value.clone()),
                row(VERSION, KEY, expect, Some(encode(&(number + 1))?)),
            ];
            if self.store.write_rows(changes).await? {
                self.pools.forget(&tenant);
                return Ok(());
            }
        }
    }

    /// Returns what a tenant's employee thinks with.
    pub(super) async fn model_of(&self, tenant: TenantId) -> Result<Arc<dyn LlmBackend>> {
        let ticket = self.pools.ticket();
        let version = self.store.get_row(Some(tenant), VERSION, KEY).await?;
        let Some(version) = version else {
            return Ok(self.models.shared_backend());
        };
        if let Some(pool) = self.pools.get(&tenant, &version) {
            return Ok(pool);
        }
        let pool = self.models.pool(&self.own_models(tenant).await?)?;
        self.pools.put(ticket, tenant, version, Arc::clone(&pool));
        Ok(pool)
    }

    /// Drops a removed tenant's models, and with them its keys, from memory.
    pub(super) fn forget_models(&self, tenant: TenantId) {
        self.pools.forget(&tenant);
    }
}
