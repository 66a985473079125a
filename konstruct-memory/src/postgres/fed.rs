//! Which tenants' feeds this process has added to.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use konstruct_core::TenantId;
use tokio::sync::Notify;

/// The tenants whose index is to follow.
#[derive(Debug, Default)]
pub(super) struct Fed {
    tenants: Mutex<BTreeSet<TenantId>>,
    grew: Notify,
    ended: AtomicBool,
}

impl Fed {
    /// Notes that a tenant's feed has grown.
    pub(super) fn grew(&self, tenant: TenantId) {
        self.tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant);
        self.grew.notify_one();
    }

    /// Wakes whoever waits, because the store is gone.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.grew.notify_one();
    }

    /// Waits for a tenant whose feed has grown; `None` when the store is gone.
    pub(super) async fn next(&self) -> Option<TenantId> {
        loop {
            let next = self
                .tenants
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_first();
            if next.is_some() || self.ended.load(Ordering::Relaxed) {
                return next;
            }
            self.grew.notified().await;
        }
    }
}
