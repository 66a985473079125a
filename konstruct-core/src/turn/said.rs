//! What a record says: what a memory makes passages of.

use std::collections::BTreeSet;

use super::{Action, Entry, Event, Input, Record};
use crate::{ActorKind, Body, PersonId, SaidBy, Timestamp};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The names of who said it; empty for the employee, and where nobody's name is known.
    pub name: String,
    /// The text.
    pub text: String,
    /// Who said it.
    pub by: SaidBy,
    /// When.
    pub at: Timestamp,
    /// The humans who said it.
    pub speakers: BTreeSet<PersonId>,
    /// Whose words it may hold.
    pub persons: BTreeSet<PersonId>,
}

/// Returns what a record says; `None` for one that says nothing.
pub fn said(record: &Record) -> Option<Said> {
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
pub fn replaced(record: &Record) -> Vec<&str> {
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
pub fn holds(record: &Record, id: &str) -> bool {
    let inputs = match &record.entry {
        Entry::Event(Event::Started(started)) => &started.inputs,
        Entry::Event(Event::Heard { inputs }) => inputs,
        _ => return false,
    };
    inputs.iter().any(|input| {
        matches!(&input.event.body, Body::Message { message, .. } | Body::Edited { message, .. } if message == id)
    })
}
