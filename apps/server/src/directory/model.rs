//! Models of a tenant's own accounts at providers. Their keys are sealed like all rows.

use konstruct_core::{Error, Result, TenantId};
use konstruct_memory::{Expect, RowChange};

use super::{ServerDirectory, encode};
use crate::model::OwnModel;

const TABLE: &str = "models";
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
        let change = RowChange {
            tenant: Some(tenant),
            table: TABLE.into(),
            key: name.into(),
            expect: Expect::Any,
            value,
        };
        self.store.write_rows(vec![change]).await?;
        self.models.forget(tenant);
        Ok(())
    }
}
