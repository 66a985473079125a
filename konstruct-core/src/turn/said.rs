//! The words of a record: what a memory makes passages of.

use std::collections::BTreeSet;

use super::{Entry, Event, Input, Record};
use crate::{ActorKind, Body, PersonId, SaidBy, Timestamp, store::Stored};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The name of who said it; empty for the employee, and where the name is unknown.
    pub name: String,
    /// The text.
    pub text: String,
    /// Who said it.
    pub by: SaidBy,
    /// When.
    pub at: Timestamp,
    /// The human who said it.
    pub speaker: Option<PersonId>,
    /// The persons that the record is sealed to.
    pub persons: BTreeSet<PersonId>,
}

/// Returns what a record says; `None` for one that says nothing.
pub fn said(record: &Record) -> Option<Said> {
    match &record.entry {
        Entry::Event(Event::Received(input)) => heard(record, input),
        Entry::Event(Event::Rendered { parts, .. }) => {
            let texts: Vec<&str> = parts.iter().map(|part| part.what.text.as_str()).collect();
            let text = texts.join("\n\n");
            (!text.trim().is_empty()).then(|| Said {
                name: String::new(),
                text,
                by: SaidBy::Employee,
                at: record.at,
                speaker: None,
                persons: record.persons.clone(),
            })
        }
        _ => None,
    }
}

fn heard(record: &Record, input: &Input) -> Option<Said> {
    let event = &input.event;
    let (Body::Message { content, .. } | Body::Edited { content, .. }) = &event.body else {
        return None;
    };
    if content.text.trim().is_empty() {
        return None;
    }
    let human = event.sender.kind == ActorKind::Human;
    Some(Said {
        name: event.sender.name.clone().unwrap_or_default(),
        text: content.text.clone(),
        by: SaidBy::Person,
        at: event.occurred_at,
        speaker: input.persons.first().copied().filter(|_| human),
        persons: record.persons.clone(),
    })
}

/// Returns what was said in a log, as it reads now: what was edited or deleted later is left out.
pub fn standing(log: &[Stored]) -> Vec<(u64, Said)> {
    let records = || {
        log.iter()
            .filter_map(|stored| Some((stored.index, stored.record.as_ref()?)))
    };
    let stands = |(index, record): &(u64, &Record)| {
        let mut later = records().filter(|(at, _)| at > index);
        !later.any(|(_, later)| replaced(later).is_some_and(|id| holds(record, id)))
    };
    let standing = records().filter(stands);
    standing
        .filter_map(|(index, record)| Some((index, said(record)?)))
        .collect()
}

fn received(record: &Record) -> Option<&Body> {
    match &record.entry {
        Entry::Event(Event::Received(input)) => Some(&input.event.body),
        _ => None,
    }
}

/// Returns the message that a record's event replaces or takes back, by the vendor's id.
pub fn replaced(record: &Record) -> Option<&str> {
    match received(record)? {
        Body::Edited { message, .. } | Body::Deleted { message } => Some(message),
        _ => None,
    }
}

/// Returns whether a record holds a message, by the vendor's id.
pub fn holds(record: &Record, id: &str) -> bool {
    matches!(received(record), Some(Body::Message { message, .. } | Body::Edited { message, .. }) if message == id)
}
