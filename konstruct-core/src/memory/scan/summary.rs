//! The rolling summary of each conversation.

use async_trait::async_trait;

use super::{
    super::{ItemKey, NewSummary, Remembered, Summary, SummaryStore},
    ATTEMPTS, ScanMemory, busy, put,
};
use crate::{ConversationId, Result, TenantId};

#[async_trait]
impl SummaryStore for ScanMemory {
    async fn summary(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Summary>> {
        let key = ItemKey::Summary { conversation };
        Ok(match self.item(tenant, key).await? {
            Some(Remembered::Summary { summary }) => Some(summary),
            _ => None,
        })
    }

    async fn put_summary(&self, tenant: TenantId, new: NewSummary) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let mark = self.items.mark(tenant).await?;
            let known = self.summary(tenant, new.conversation).await?;
            if known.is_some_and(|known| known.to >= new.to) {
                return Ok(false);
            }
            let all = self.conversations(tenant).await?;
            let of = (&[new.conversation][..], &*new.persons);
            if !self.may_store((tenant, &all), of, new.mark).await? {
                return Ok(false);
            }
            let summary = new.clone().made_at(self.clock.now());
            let change = put(mark, [Remembered::Summary { summary }]);
            if self.items.commit(tenant, change).await? {
                return Ok(true);
            }
        }
        Err(busy())
    }
}
