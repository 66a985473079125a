//! Summaries of conversations.

use konstruct_core::{
    ConversationId, Result, TenantId,
    memory::{NewSummary, Summary},
};

use super::{
    settings::{Tries, may_keep, row},
    shelf::{Kind, Plan, Shelf},
};

/// Returns a conversation's summary.
pub(crate) async fn summary(
    shelf: &dyn Shelf,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<Summary>> {
    row(shelf, tenant, Kind::Summary, conversation.as_bytes()).await
}

/// Replaces a conversation's summary by one that reaches further.
pub(crate) async fn put_summary(
    shelf: &dyn Shelf,
    tenant: TenantId,
    new: NewSummary,
) -> Result<bool> {
    let id = new.conversation.as_bytes();
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        let known = summary(shelf, tenant, new.conversation).await?;
        if known.is_some_and(|known| known.to >= new.to) {
            return Ok(false);
        }
        // What it was made from may have been erased since it was read.
        let of = (&[new.conversation][..], &*new.persons);
        if !may_keep(shelf, tenant, of, Some(new.mark)).await? {
            return Ok(false);
        }
        let kept = new.clone().made_at(shelf.now().await?);
        plan.put_row(Kind::Summary, id.to_vec(), &kept, &kept.persons)?;
        if shelf.commit(tenant, plan).await? {
            return Ok(true);
        }
        tries.again().await?;
    }
}
