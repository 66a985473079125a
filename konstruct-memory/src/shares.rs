//! The tenants' shares of the workers.

use async_trait::async_trait;
use konstruct_core::{Result, TenantId, store::Share};

/// Stores the shares of tenants whose share is not that of their [`ClaimRequest`](konstruct_core::store::ClaimRequest). A share is
/// erased with its tenant.
///
/// ```
/// # use std::num::NonZeroU32;
/// # use konstruct_core::{TenantId, store::Share};
/// use konstruct_memory::{Redb, ShareStore as _};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = Redb::in_memory()?;
/// let tenant = TenantId::new();
/// let share = Share { most: NonZeroU32::new(50), ..Share::default() };
/// store.put_share(tenant, Some(share)).await?;
/// assert_eq!(store.share(tenant).await?, Some(share));
/// # Ok::<(), konstruct_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// Those of the store.
#[async_trait]
pub trait ShareStore: std::fmt::Debug + Send + Sync + 'static {
    /// Returns a tenant's own share.
    async fn share(&self, tenant: TenantId) -> Result<Option<Share>>;

    /// Sets a tenant's own share. `None` removes it. It applies to the next claims; existing claims continue.
    async fn put_share(&self, tenant: TenantId, share: Option<Share>) -> Result<()>;
}
