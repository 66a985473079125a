//! The words of a record: what a memory makes passages of.

use std::collections::{BTreeSet, HashMap};

use super::{Entry, Event, Input, Record};
use crate::{
    PersonId, Timestamp,
    memory::SaidBy,
    message::{ActorKind, Body},
    store::Stored,
};

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
    let mut replacements = Replacements::default();
    log.iter().for_each(|stored| replacements.note(stored));
    let standing = log.iter().filter(|stored| replacements.stands(stored));
    standing
        .filter_map(|stored| Some((stored.index, said(stored.record.as_ref()?)?)))
        .collect()
}

/// Which messages of a log were edited or deleted.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    /// The index of the last record that replaced a message, by the vendor's id of the message.
    last: HashMap<String, u64>,
}

impl Replacements {
    /// Takes a record in. They may come in any order.
    pub(crate) fn note(&mut self, stored: &Stored) {
        if let Some(id) = stored.record.as_deref().and_then(replaced) {
            let last = self.last.entry(id.to_owned()).or_default();
            *last = stored.index.max(*last);
        }
    }

    /// Returns whether no later record that was taken in replaces what this one holds.
    pub(crate) fn stands(&self, stored: &Stored) -> bool {
        let held = stored.record.as_deref().and_then(held);
        let last = held.and_then(|id| self.last.get(id));
        last.is_none_or(|last| *last <= stored.index)
    }
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
    held(record) == Some(id)
}

fn held(record: &Record) -> Option<&str> {
    match received(record)? {
        Body::Message { message, .. } | Body::Edited { message, .. } => Some(message),
        _ => None,
    }
}
