//! A tenant's own models at providers. Their keys are encrypted like all rows.

use std::sync::Arc;

use konstruct_core::{Error, LlmBackend, Result, TenantId, Transcriber};
use konstruct_memory::{Expect, RowChange};

use super::{Replaces, ServerDirectory, decode, encode};
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

    /// Adds a tenant's own model, or replaces the one with its name. Turns in progress may finish with the old one. Returns the
    /// model with its new version.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](konstruct_core::ErrorKind::Conflict) if it is not the version to replace,
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field, and those of the store.
    pub(crate) async fn keep_model(
        &self,
        tenant: TenantId,
        mut model: OwnModel,
        replaces: Replaces,
    ) -> Result<OwnModel> {
        self.models.check(&model).await?;
        loop {
            let version = self.rows.get_row(Some(tenant), VERSION, KEY).await?;
            let known = self.own_models(tenant).await?;
            let current = known.iter().find(|known| known.name == model.name);
            let current = current.map(|known| known.version);
            replaces.check(current)?;
            if current.is_none() && known.len() >= MAX_MODELS {
                let problem = format!("a tenant has at most {MAX_MODELS} models of its own");
                return Err(Error::invalid("name", problem));
            }
            model.version = current.unwrap_or(0) + 1;
            let change = RowChange::put(Some(tenant), TABLE, &model.name, encode(&model)?);
            if self.write_model(tenant, version, change).await? {
                return Ok(model);
            }
        }
    }

    /// Returns a tenant's own model.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](konstruct_core::ErrorKind::NotFound), and those of the store.
    pub(crate) async fn own_model(&self, tenant: TenantId, name: &str) -> Result<OwnModel> {
        let found = self.read(Some(tenant), TABLE, name).await?;
        found.ok_or_else(|| Error::not_found("model"))
    }

    /// Removes a tenant's own model.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](konstruct_core::ErrorKind::NotFound), and those of the store.
    pub(crate) async fn remove_model(&self, tenant: TenantId, name: &str) -> Result<()> {
        loop {
            let version = self.rows.get_row(Some(tenant), VERSION, KEY).await?;
            self.own_model(tenant, name).await?;
            let change = RowChange::delete(Some(tenant), TABLE, name);
            if self.write_model(tenant, version, change).await? {
                return Ok(());
            }
        }
    }

    /// Makes a change if the tenant's models are still of this version. Returns whether they were.
    async fn write_model(
        &self,
        tenant: TenantId,
        version: Option<Vec<u8>>,
        change: RowChange,
    ) -> Result<bool> {
        let number: u64 = version.as_deref().map(decode).transpose()?.unwrap_or(0);
        let expect = version.map_or(Expect::Absent, Expect::Exact);
        let next = RowChange::put(Some(tenant), VERSION, KEY, encode(&(number + 1))?);
        let written = self
            .rows
            .write_rows(vec![change, next.expecting(expect)])
            .await?;
        if written {
            self.pools.forget(&tenant);
        }
        Ok(written)
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
