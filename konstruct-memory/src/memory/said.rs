//! What was said at, before and after a place in a log.

use konstruct_core::{
    ConversationId, PersonId, Result, TenantId,
    store::Stored,
    turn::{Record, Said, holds, said},
};

use super::shelf::{Shelf, Wanted};

/// How many records are read at once while one is looked for, and how many at first: a turn's question mostly follows the answer of the
/// turn before so closely.
const PAGE: u64 = 32;
const NEAR: u64 = 8;
/// How far is looked for what was said right before or after.
const FARTHEST: u64 = 256;

/// Finds what was said right before a record, and its index. What names one of `without` counts as not there.
pub(super) async fn before(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
    without: Option<PersonId>,
) -> Result<Option<(u64, Said)>> {
    look_back(shelf, (tenant, conversation), back(index), |record| {
        said(record).filter(|said| without.is_none_or(|person| !said.persons.contains(&person)))
    })
    .await
}

/// What a record says, and what was said right before it.
pub(super) type Spoken = (Said, Option<Said>);

/// Finds what records say and what was said right before each of them; `None` for one that says nothing. Almost always, one read
/// finds all of it.
pub(super) async fn with_before(
    shelf: &dyn Shelf,
    tenant: TenantId,
    places: &[(ConversationId, u64)],
) -> Result<Vec<Option<Spoken>>> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let mut wanted = Wanted::default();
    for (conversation, index) in sorted {
        let (from, to) = (index.saturating_sub(NEAR), index.saturating_add(1));
        match wanted.logs.last_mut() {
            Some((of, range)) if *of == conversation && from <= range.end => range.end = to,
            _ => wanted.logs.push((conversation, from..to)),
        }
    }
    let (_, logs) = shelf.read(tenant, &wanted).await?;
    let mut all = Vec::with_capacity(places.len());
    for (conversation, index) in places {
        let part = wanted.logs.iter().zip(&logs);
        let mut part = part.filter(|((of, range), _)| of == conversation && range.contains(index));
        let Some(((_, range), log)) = part.next() else {
            all.push(None);
            continue;
        };
        let (earlier, rest) = log.split_at(log.partition_point(|stored| stored.index < *index));
        let says = |stored: &Stored| said(stored.record.as_ref()?);
        let own = rest.first().filter(|stored| stored.index == *index);
        let Some(own) = own.and_then(says) else {
            all.push(None);
            continue;
        };
        let (_, lowest) = back(*index);
        let near = earlier.iter().rev();
        let near = near.take_while(|stored| stored.index >= lowest);
        let mut before = near.filter_map(says).next();
        if before.is_none() {
            let place = (tenant, *conversation);
            let found = look_back(shelf, place, (range.start, lowest), said).await?;
            before = found.map(|(_, said)| said);
        }
        all.push(Some((own, before)));
    }
    Ok(all)
}

/// Finds the record before one that holds a message, by the provider's id.
pub(super) async fn holder(
    shelf: &dyn Shelf,
    place: (TenantId, ConversationId),
    index: u64,
    id: &str,
) -> Result<Option<u64>> {
    let found = look_back(shelf, place, back(index), |record| {
        holds(record, id).then_some(())
    })
    .await?;
    Ok(found.map(|(index, ())| index))
}

/// From where it is looked back from a place in a log, and how far.
fn back(index: u64) -> (u64, u64) {
    (index, index.saturating_sub(FARTHEST))
}

async fn look_back<T>(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    (mut to, lowest): (u64, u64),
    wanted: impl Fn(&Record) -> Option<T>,
) -> Result<Option<(u64, T)>> {
    let mut page = NEAR;
    while to > lowest {
        let from = to.saturating_sub(std::mem::replace(&mut page, PAGE));
        let from = from.max(lowest);
        let page = shelf.said(tenant, conversation, from..to).await?;
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
        let page = shelf.said(tenant, conversation, from..from + PAGE).await?;
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
    let read = shelf.said(tenant, conversation, index..end).await?;
    Ok(read
        .first()
        .and_then(|stored| said(stored.record.as_ref()?)))
}
