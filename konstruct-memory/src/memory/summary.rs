//! Summaries of conversations.

use konstruct_core::{ConversationId, Result, Summary, TenantId, Timestamp};

use super::{
    settings::{Tries, row},
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
pub(crate) async fn put_summary(shelf: &dyn Shelf, tenant: TenantId, new: Summary) -> Result<bool> {
    let id = new.conversation.as_bytes();
    let mut tries = Tries::default();
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        let known = summary(shelf, tenant, new.conversation).await?;
        if known.is_some_and(|known| known.to >= new.to) {
            return Ok(false);
        }
        // What it was made from may have been erased since it was read.
        let erased: Option<Timestamp> = row(shelf, tenant, Kind::Erased, id).await?;
        let mut stale = erased.is_some_and(|at| at >= new.made_at);
        for person in &new.persons {
            let erased = shelf.erased_at(tenant, *person).await?;
            stale |= erased.is_some_and(|at| at >= new.made_at);
        }
        if stale {
            return Ok(false);
        }
        plan.put_row(Kind::Summary, id.to_vec(), &new, &new.persons)?;
        if shelf.commit(tenant, plan).await? {
            return Ok(true);
        }
        tries.again()?;
    }
}
