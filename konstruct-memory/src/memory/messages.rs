//! Finds messages at, before and after a place in a log.

use konstruct_core::{
    ConversationId, PersonId, Result, TenantId,
    store::Stored,
    turn::{Entry, Event, Record, SpokenMessage, contains_message, spoken_message},
};

use super::backend::{MemoryBackend, ReadRequest};

/// The number of records read at a time, and in the first read: the previous message is usually this close.
const PAGE: u64 = 32;
const NEAR: u64 = 8;
/// The farthest that a message is searched for.
const FARTHEST: u64 = 256;

/// Returns the message directly before a record, with its index. Messages that name the person `without` are skipped.
pub(super) async fn before(
    backend: &dyn MemoryBackend,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
    without: Option<PersonId>,
) -> Result<Option<(u64, SpokenMessage)>> {
    look_back(backend, (tenant, conversation), back(index), |record| {
        spoken_message(record)
            .filter(|said| without.is_none_or(|person| !said.persons.contains(&person)))
    })
    .await
}

/// A message, and the one directly before it.
pub(super) type WithPrevious = (SpokenMessage, Option<SpokenMessage>);

/// Returns the messages of records, each with the message directly before it; `None` for a record without a message. Usually
/// needs one read.
pub(super) async fn with_before(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    places: &[(ConversationId, u64)],
) -> Result<Vec<Option<WithPrevious>>> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let mut wanted = ReadRequest::default();
    for (conversation, index) in sorted {
        let (from, to) = (index.saturating_sub(NEAR), index.saturating_add(1));
        match wanted.logs.last_mut() {
            Some((of, range)) if *of == conversation && from <= range.end => range.end = to,
            _ => wanted.logs.push((conversation, from..to)),
        }
    }
    let (_, logs) = backend.read(tenant, &wanted).await?;
    let mut all = Vec::with_capacity(places.len());
    for (conversation, index) in places {
        let part = wanted.logs.iter().zip(&logs);
        let mut part = part.filter(|((of, range), _)| of == conversation && range.contains(index));
        let Some(((_, range), log)) = part.next() else {
            all.push(None);
            continue;
        };
        let (earlier, rest) = log.split_at(log.partition_point(|stored| stored.index < *index));
        let says = |stored: &Stored| spoken_message(stored.record.as_ref()?);
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
            let found = look_back(backend, place, (range.start, lowest), spoken_message).await?;
            before = found.map(|(_, said)| said);
        }
        all.push(Some((own, before)));
    }
    Ok(all)
}

/// Returns the indices of the earlier records that contain a message with the provider's id: the message, and what was read in
/// its attachments.
pub(super) async fn holders(
    backend: &dyn MemoryBackend,
    place: (TenantId, ConversationId),
    index: u64,
    id: &str,
) -> Result<Vec<u64>> {
    let (mut to, lowest) = back(index);
    let mut holders = Vec::new();
    loop {
        let found = look_back(backend, place, (to, lowest), |record| {
            let is_reading = matches!(record.entry, Entry::Event(Event::AttachmentRead { .. }));
            contains_message(record, id).then_some(is_reading)
        });
        let Some((index, is_reading)) = found.await? else {
            return Ok(holders);
        };
        holders.push(index);
        if !is_reading {
            return Ok(holders);
        }
        to = index;
    }
}

/// Returns where the search backwards from an index begins, and its lowest index.
fn back(index: u64) -> (u64, u64) {
    (index, index.saturating_sub(FARTHEST))
}

async fn look_back<T>(
    backend: &dyn MemoryBackend,
    (tenant, conversation): (TenantId, ConversationId),
    (mut to, lowest): (u64, u64),
    wanted: impl Fn(&Record) -> Option<T>,
) -> Result<Option<(u64, T)>> {
    let mut page = NEAR;
    while to > lowest {
        let from = to.saturating_sub(std::mem::replace(&mut page, PAGE));
        let from = from.max(lowest);
        let page = backend.said(tenant, conversation, from..to).await?;
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

/// Returns the message directly after a record, with its index. The search begins at `from`.
pub(super) async fn after(
    backend: &dyn MemoryBackend,
    (tenant, conversation): (TenantId, ConversationId),
    (index, mut from): (u64, u64),
) -> Result<Option<(u64, SpokenMessage)>> {
    while from <= index + FARTHEST {
        let page = backend
            .said(tenant, conversation, from..from + PAGE)
            .await?;
        let last = (page.len() as u64) < PAGE;
        let found = page.into_iter().find_map(|stored| {
            let said = spoken_message(stored.record.as_ref()?)?;
            Some((stored.index, said))
        });
        if found.is_some() || last {
            return Ok(found);
        }
        from += PAGE;
    }
    Ok(None)
}

/// Returns the message of a record.
pub(super) async fn at(
    backend: &dyn MemoryBackend,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
) -> Result<Option<SpokenMessage>> {
    let end = index.saturating_add(1);
    let read = backend.said(tenant, conversation, index..end).await?;
    Ok(read
        .first()
        .and_then(|stored| spoken_message(stored.record.as_ref()?)))
}
