//! The index follows the feeds that this process adds to, and now and then those that others left behind.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use konstruct_core::TenantId;
use uuid::Uuid;

use super::super::{Inner, fed::Fed};
use crate::memory;

/// How long after the last work it looks for what others left.
const LOOK: Duration = Duration::from_secs(30);
/// How long it waits after a failure.
const REST: Duration = Duration::from_secs(1);

/// Keeps indexes up until the store is gone.
pub(in crate::postgres) async fn follow(store: Weak<Inner>, fed: Arc<Fed>) {
    let mut after = Uuid::nil();
    loop {
        let grown = tokio::time::timeout(LOOK, fed.next()).await.ok().flatten();
        let Some(inner) = store.upgrade() else {
            return;
        };
        let left = match grown {
            Some(tenant) => Some(tenant),
            None => left_behind(&inner, &mut after).await,
        };
        let Some(tenant) = left else { continue };
        if let Err(error) = memory::keep_up(&*inner, tenant).await {
            tracing::warn!(%tenant, %error, "the index fell behind");
            drop(inner);
            tokio::time::sleep(REST).await;
        }
    }
}

/// The next tenant whose index is behind its feed: its process ended, or is busy with it.
async fn left_behind(inner: &Inner, after: &mut Uuid) -> Option<TenantId> {
    let found: Result<Option<Uuid>, _> = sqlx::query_scalar("select konstruct.behind($1, 1)")
        .bind(*after)
        .fetch_optional(&inner.db.pool)
        .await;
    match found {
        Ok(found) => {
            *after = found.unwrap_or(Uuid::nil());
            found.map(|tenant| TenantId::from_bytes(*tenant.as_bytes()))
        }
        Err(error) => {
            tracing::warn!(%error, "nobody knows whose index is behind");
            None
        }
    }
}
