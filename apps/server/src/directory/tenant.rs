//! Tenants.

use konstruct_core::{
    Clock as _, Depth, Erase, Error, ErrorKind, Result, SystemClock, TenantId, Timestamp,
};
use konstruct_memory::{Expect, RowChange, RowStore};
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, decode, encode};

const TABLE: &str = "tenants";

/// A tenant: one business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, 1 to 100 characters.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Lists tenants after an id.
///
/// # Errors
/// Those of the store.
pub(crate) async fn tenants(
    rows: &dyn RowStore,
    after: Option<TenantId>,
    limit: usize,
) -> Result<Vec<Tenant>> {
    let after = after.map(|id| id.to_string());
    let page = rows.rows(None, TABLE, after.as_deref(), limit).await?;
    page.iter().map(|(_, bytes)| decode(bytes)).collect()
}

impl ServerDirectory {
    /// Adds a tenant.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an invalid name, and those of the store.
    pub async fn add_tenant(&self, id: TenantId, name: &str) -> Result<Tenant> {
        let name = name.trim();
        if !(1..=100).contains(&name.chars().count()) {
            return Err(Error::invalid("name", "must be 1 to 100 characters"));
        }
        let tenant = Tenant {
            id,
            name: name.into(),
            created_at: SystemClock.now(),
        };
        let change = RowChange::put(None, TABLE, id.to_string(), encode(&tenant)?);
        let change = change.expecting(Expect::Absent);
        if self.rows.write_rows(vec![change]).await? {
            Ok(tenant)
        } else {
            Err(Error::new(
                ErrorKind::Conflict,
                "id: a tenant with this id already exists",
            )
            .with_field("id"))
        }
    }

    /// Returns a tenant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn tenant(&self, id: TenantId) -> Result<Tenant> {
        self.read(None, TABLE, &id.to_string())
            .await?
            .ok_or_else(|| Error::not_found("tenant"))
    }

    /// Lists tenants after an id, for the operator.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tenants(&self, after: Option<TenantId>, limit: usize) -> Result<Vec<Tenant>> {
        tenants(&*self.rows, after, limit).await
    }

    /// Removes a tenant with all its data. Its accounts are removed first, so that no new events arrive.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn remove_tenant(&self, id: TenantId) -> Result<()> {
        self.tenant(id).await?;
        for connection in self.connections(id).await? {
            self.disconnect(id, connection.id).await?;
        }
        self.drop_crawls_of(id).await?;
        self.forget_members(id).await?;
        self.journal
            .erase(id, Erase::Tenant, Depth::Logical)
            .await?;
        self.forget_models(id);
        self.rows
            .delete_row(None, TABLE, &id.to_string())
            .await
            .map(drop)
    }
}
