//! What was said at, before and after a place in a log.

use konstruct_core::{
    ConversationId, PersonId, Result, TenantId,
    turn::{Record, Said, holds, said},
};

use super::shelf::Shelf;

/// How many records are read at once while one is looked for.
const PAGE: u64 = 32;
/// How far is looked for what was said right before or after.
const FARTHEST: u64 = 256;

/// Finds what was said right before a record, and its index. What names one of `without` counts as not there.
pub(super) async fn before(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
    without: Option<PersonId>,
) -> Result<Option<(u64, Said)>> {
    look_back(shelf, (tenant, conversation), index, |record| {
        said(record).filter(|said| without.is_none_or(|person| !said.persons.contains(&person)))
    })
    .await
}

/// Finds the record before one that holds a message, by the provider's id.
pub(super) async fn holder(
    shelf: &dyn Shelf,
    place: (TenantId, ConversationId),
    index: u64,
    id: &str,
) -> Result<Option<u64>> {
    let found = look_back(shelf, place, index, |record| {
        holds(record, id).then_some(())
    })
    .await?;
    Ok(found.map(|(index, ())| index))
}

async fn look_back<T>(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
    wanted: impl Fn(&Record) -> Option<T>,
) -> Result<Option<(u64, T)>> {
    let mut to = index;
    while to > index.saturating_sub(FARTHEST) {
        let from = to.saturating_sub(PAGE);
        let page = shelf.log(tenant, conversation, from..to).await?;
        let found = page.into_iter().rev().find_map(|stored| {
            let found = wanted(stored.record.as_ref()?)?;
            Some((stored.index, found))
        });
        if found.is_some() {
            return Ok(found);
        }
        to = from;
    }
    Ok(None)
}

/// Finds what was said right after a record, and its index, if it is known not to stand before `from`.
pub(super) async fn after(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    (index, mut from): (u64, u64),
) -> Result<Option<(u64, Said)>> {
    while from <= index + FARTHEST {
        let page = shelf.log(tenant, conversation, from..from + PAGE).await?;
        let last = (page.len() as u64) < PAGE;
        let found = page.into_iter().find_map(|stored| {
            let said = said(stored.record.as_ref()?)?;
            Some((stored.index, said))
        });
        if found.is_some() || last {
            return Ok(found);
        }
        from += PAGE;
    }
    Ok(None)
}

/// Reads what a record says.
pub(super) async fn at(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
) -> Result<Option<Said>> {
    let end = index.saturating_add(1);
    let read = shelf.log(tenant, conversation, index..end).await?;
    Ok(read
        .first()
        .and_then(|stored| said(stored.record.as_ref()?)))
}
