//! Summaries of conversations.

use konstruct_core::{
    ConversationId, Result, TenantId,
    memory::{NewSummary, Summary},
};

use super::{
    backend::{MemoryBackend, Plan, RowKind},
    settings::{Retries, may_keep, row},
};

/// Returns a conversation's summary.
pub(crate) async fn summary(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<Summary>> {
    row(backend, tenant, RowKind::Summary, conversation.as_bytes()).await
}

/// Replaces a conversation's summary by one that covers more.
pub(crate) async fn put_summary(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    new: NewSummary,
) -> Result<bool> {
    let id = new.conversation.as_bytes();
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let known = summary(backend, tenant, new.conversation).await?;
        if known.is_some_and(|known| known.to >= new.to) {
            return Ok(false);
        }
        // Its sources may have been erased since they were read.
        let of = (&[new.conversation][..], &*new.persons);
        if !may_keep(backend, tenant, of, Some(new.mark)).await? {
            return Ok(false);
        }
        let kept = new.clone().made_at(backend.now().await?);
        plan.put_row(RowKind::Summary, id.to_vec(), &kept, &kept.persons)?;
        if backend.commit(tenant, plan).await? {
            return Ok(true);
        }
        tries.again().await?;
    }
}
