//! What a record of a log says, and who said it.

use std::collections::BTreeSet;

use konstruct_core::{
    ActorKind, Body, ConversationId, PersonId, Result, SaidBy, TenantId, Timestamp,
    turn::{Action, Entry, Event, Input, Record},
};

use super::shelf::Shelf;

/// How many records are read at once while one is looked for.
const PAGE: u64 = 32;
/// How far is looked for what was said right before or after.
const FARTHEST: u64 = 256;

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// The names of who said it; empty for the employee, and where nobody's name is known.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) by: SaidBy,
    pub(super) at: Timestamp,
    /// The humans who said it.
    pub(super) speakers: BTreeSet<PersonId>,
    /// Whose words it may hold.
    pub(super) persons: BTreeSet<PersonId>,
}

/// Returns what a record says; `None` for one that says nothing.
pub(super) fn said(record: &Record) -> Option<Said> {
    match &record.entry {
        Entry::Event(Event::Started(started)) => heard(record, &started.inputs),
        Entry::Event(Event::Heard { inputs }) => heard(record, inputs),
        // A later try says the same again.
        Entry::Action(Action::Send {
            attempt: 0..=1,
            text,
            ..
        }) if !text.trim().is_empty() => Some(Said {
            name: String::new(),
            text: text.clone(),
            by: SaidBy::Employee,
            at: record.at,
            speakers: BTreeSet::new(),
            persons: record.persons.clone(),
        }),
        _ => None,
    }
}

fn heard(record: &Record, inputs: &[Input]) -> Option<Said> {
    let (mut names, mut texts, mut speakers) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut at = None;
    for input in inputs {
        let event = &input.event;
        let (Body::Message { content, .. } | Body::Edited { content, .. }) = &event.body else {
            continue;
        };
        if content.text.trim().is_empty() {
            continue;
        }
        at.get_or_insert(event.occurred_at);
        texts.push(content.text.as_str());
        if event.sender.kind == ActorKind::Human {
            speakers.extend(&input.persons);
        }
        if let Some(name) = event.sender.name.as_deref()
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    Some(Said {
        name: names.join(", "),
        text: texts.join("\n"),
        by: SaidBy::Person,
        at: at?,
        speakers,
        persons: record.persons.clone(),
    })
}

/// The messages that a record's events replace or take back, by the provider's ids.
pub(super) fn replaced(record: &Record) -> Vec<&str> {
    let inputs = match &record.entry {
        Entry::Event(Event::Started(started)) => &started.inputs,
        Entry::Event(Event::Heard { inputs }) => inputs,
        _ => return Vec::new(),
    };
    let replaced = inputs.iter().filter_map(|input| match &input.event.body {
        Body::Edited { message, .. } | Body::Deleted { message } => Some(message.as_str()),
        _ => None,
    });
    replaced.collect()
}

/// Returns whether a record holds a message, by the provider's id.
fn holds(record: &Record, id: &str) -> bool {
    let inputs = match &record.entry {
        Entry::Event(Event::Started(started)) => &started.inputs,
        Entry::Event(Event::Heard { inputs }) => inputs,
        _ => return false,
    };
    inputs.iter().any(|input| {
        matches!(&input.event.body, Body::Message { message, .. } | Body::Edited { message, .. } if message == id)
    })
}

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

/// Finds what was said right after a record, and its index.
pub(super) async fn after(
    shelf: &dyn Shelf,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
) -> Result<Option<(u64, Said)>> {
    let mut from = index + 1;
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
