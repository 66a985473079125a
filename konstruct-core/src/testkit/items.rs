//! Remembered items in memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Erase, Result, TenantId,
    memory::{ItemChange, ItemKey, ItemStore, Mark, Remembered},
};

/// An [`ItemStore`] in memory, for tests of what is built on one. It keeps nothing.
#[derive(Debug, Default)]
pub struct ReferenceItems(Mutex<HashMap<TenantId, Tenant>>);

#[derive(Debug, Default)]
struct Tenant {
    mark: u64,
    items: BTreeMap<ItemKey, Remembered>,
    erased: Vec<(u64, Erase)>,
}

impl ReferenceItems {
    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ItemStore for ReferenceItems {
    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        Ok(Mark(self.tenants().get(&tenant).map_or(0, |own| own.mark)))
    }

    async fn items(
        &self,
        tenant: TenantId,
        keys: RangeInclusive<ItemKey>,
    ) -> Result<Vec<Remembered>> {
        let tenants = self.tenants();
        let items = tenants.get(&tenant).map(|own| own.items.range(keys));
        let items = items.into_iter().flatten();
        Ok(items.map(|(_, item)| item.clone()).collect())
    }

    async fn erased(&self, tenant: TenantId, since: Mark) -> Result<Vec<Erase>> {
        let tenants = self.tenants();
        let erased = tenants.get(&tenant).map_or(&[][..], |own| &own.erased);
        let later = erased.iter().filter(|(at, _)| *at > since.0);
        Ok(later.map(|(_, erase)| *erase).collect())
    }

    async fn commit(&self, tenant: TenantId, change: ItemChange) -> Result<bool> {
        let mut tenants = self.tenants();
        let own = tenants.entry(tenant).or_default();
        if own.mark != change.after.0 {
            return Ok(false);
        }
        own.mark += 1;
        own.items.retain(|key, _| !change.remove.contains(key));
        own.items
            .extend(change.put.into_iter().map(|item| (item.key(), item)));
        own.erased.extend(change.erase.map(|it| (own.mark, it)));
        Ok(true)
    }
}
