//! Export, import and erasure.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream, stream::BoxStream};

use super::{
    super::{Depth, Erase, ErasureReceipt, ItemChange, ItemKey, MemoryArchive, Remembered, rules},
    ATTEMPTS, ScanMemory, busy, put, unknown_person,
};
use crate::{Error, ErrorKind, Result, TenantId};

#[async_trait]
impl MemoryArchive for ScanMemory {
    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>> {
        let items = self.items.items(tenant, ItemKey::ALL).await?;
        Ok(stream::iter(items.into_iter().map(Ok)).boxed())
    }

    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mark = self.items.mark(tenant).await?;
            let all = self.conversations(tenant).await?;
            let mut persons = items.iter().flat_map(Remembered::persons);
            if !persons.all(|person| all.knows(*person)) {
                return Err(unknown_person());
            }
            let known = self.items.items(tenant, ItemKey::ALL).await?;
            let mut keys: BTreeSet<ItemKey> = known.iter().map(Remembered::key).collect();
            keys.remove(&ItemKey::Language);
            if !items.iter().all(|item| keys.insert(item.key())) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "an item of the import already exists",
                ));
            }
            let change = put(mark, items.iter().cloned());
            if self.items.commit(tenant, change).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut receipt = self.store.erase(tenant, what, depth).await?;
        for _ in 0..ATTEMPTS {
            let after = self.items.mark(tenant).await?;
            let mut change = ItemChange {
                after,
                erase: Some(what),
                ..ItemChange::default()
            };
            receipt.facts = 0;
            for item in self.items.items(tenant, ItemKey::ALL).await? {
                let key = item.key();
                match rules::after(item.clone(), &what) {
                    Some(left) if left == item => {}
                    Some(left) => change.put.push(left),
                    None => {
                        receipt.facts += u64::from(matches!(item, Remembered::Fact { .. }));
                        change.remove.push(key);
                    }
                }
            }
            if self.items.commit(tenant, change).await? {
                return Ok(receipt);
            }
        }
        Err(busy())
    }
}
