//! A tenant's own models at providers. Their keys are encrypted like all rows.

use std::sync::Arc;

use konstruct_core::{Error, LlmBackend, Result, TenantId, Transcriber};
use konstruct_memory::{Expect, RowChange};

use super::{ServerDirectory, decode, encode};
use crate::model::OwnModel;

const TABLE: &str = "models";
/// The version of a tenant's models: a counter that is increased in the transaction of each change.
const VERSION: &str = "models_version";
const KEY: &str = "version";
/// The maximum number of a tenant's own models.
const MAX_MODELS: usize = 20;

/// The models of an employee.
#[derive(Clone, Debug)]
pub(super) struct StaffModels {
    pub(super) model: Arc<dyn LlmBackend>,
    /// What voice messages are transcribed with.
    pub(super) transcriber: Option<Arc<dyn Transcriber>>,
}

impl ServerDirectory {
    /// Lists a tenant's own models by name.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn own_models(&self, tenant: TenantId) -> Result<Vec<OwnModel>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Adds a tenant's own model, or replaces the one with its name. Turns in progress may finish with the old one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field, and those of the store.
    pub(crate) async fn keep_model(&self, tenant: TenantId, model: &OwnModel) -> Result<()> {
        self.models.check(model).await?;
        let known = self.own_models(tenant).await?;
        if known.len() >= MAX_MODELS && known.iter().all(|known| known.name != model.name) {
            let problem = format!("a tenant has at most {MAX_MODELS} models of its own");
            return Err(Error::invalid("name", problem));
        }
        self.write_model(tenant, &model.name, Some(encode(model)?))
            .await
    }

    /// Removes a tenant's own model.
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
            let version = self.rows.get_row(Some(tenant), VERSION, KEY).await?;
            let number: u64 = version.as_deref().map(decode).transpose()?.unwrap_or(0);
            let expect = version.map_or(Expect::Absent, Expect::Exact);
            let next = RowChange::put(Some(tenant), VERSION, KEY, encode(&(number + 1))?);
            let changes = vec![
                match &value {
                    Some(value) => RowChange::put(Some(tenant), TABLE, name, value.clone()),
                    None => RowChange::delete(Some(tenant), TABLE, name),
                },
                next.expecting(expect),
            ];
            if self.rows.write_rows(changes).await? {
                self.pools.forget(&tenant);
                return Ok(());
            }
        }
    }

    /// Returns the models of a tenant's employee.
    pub(super) async fn models_of(&self, tenant: TenantId) -> Result<StaffModels> {
        let ticket = self.pools.ticket();
        let version = self.rows.get_row(Some(tenant), VERSION, KEY).await?;
        let Some(version) = version else {
            return Ok(StaffModels {
                model: self.models.shared_backend(),
                transcriber: self.models.transcriber(&[])?,
            });
        };
        if let Some(known) = self.pools.get(&tenant, &version) {
            return Ok(known);
        }
        let own = self.own_models(tenant).await?;
        let models = StaffModels {
            model: self.models.pool(&own)?,
            transcriber: self.models.transcriber(&own)?,
        };
        self.pools.put(ticket, tenant, version, models.clone());
        Ok(models)
    }

    /// Drops a removed tenant's models, including their keys, from memory.
    pub(super) fn forget_models(&self, tenant: TenantId) {
        self.pools.forget(&tenant);
    }
}
