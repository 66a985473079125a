//! The message in a record: its text, its speaker and its time. Memory stores index these.

use std::collections::{BTreeSet, HashMap};

use super::{AttachmentContent, Entry, Event, Input, Record};
use crate::{
    PersonId, Timestamp,
    memory::SaidBy,
    message::{ActorKind, Body},
    store::Stored,
};

/// The most characters of a transcript, and of the beginning of a document, that count as a message.
const LONGEST_SPEECH: usize = 4_000;
const LONGEST_BEGINNING: usize = 1_000;

/// A message of a person or of the employee, as a record contains it. What a person said in a recording, and the beginning of a
/// document that they sent, are messages as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpokenMessage {
    /// The name of the sender; empty for the employee and where the name is unknown.
    pub name: String,
    /// The text.
    pub text: String,
    /// Whether a person or the employee sent it.
    pub by: SaidBy,
    /// When it was sent.
    pub at: Timestamp,
    /// The human who sent it.
    pub speaker: Option<PersonId>,
    /// The persons to whose keys the record is sealed.
    pub persons: BTreeSet<PersonId>,
}

/// Returns the message in a record; `None` if the record does not contain one.
pub fn spoken_message(record: &Record) -> Option<SpokenMessage> {
    match &record.entry {
        Entry::Event(Event::Received(input)) => received_message(record, input),
        Entry::Event(Event::Rendered { parts, .. }) => {
            let texts: Vec<&str> = parts.iter().map(|part| part.what.text.as_str()).collect();
            let text = texts.join("\n\n");
            (!text.trim().is_empty()).then(|| SpokenMessage {
                name: String::new(),
                text,
                by: SaidBy::Employee,
                at: record.at,
                speaker: None,
                persons: record.persons.clone(),
            })
        }
        Entry::Event(Event::AttachmentRead { name, content, .. }) => {
            // A long document is found by its beginning.
            let text = content.words()?;
            let most = match content {
                AttachmentContent::Speech { .. } => LONGEST_SPEECH,
                _ => LONGEST_BEGINNING,
            };
            Some(SpokenMessage {
                name: name.clone(),
                text: text.chars().take(most).collect(),
                by: SaidBy::Person,
                at: record.at,
                speaker: record.persons.first().copied(),
                persons: record.persons.clone(),
            })
        }
        _ => None,
    }
}

fn received_message(record: &Record, input: &Input) -> Option<SpokenMessage> {
    let event = &input.event;
    let (Body::Message { content, .. } | Body::Edited { content, .. }) = &event.body else {
        return None;
    };
    if content.text.trim().is_empty() {
        return None;
    }
    let human = event.sender.kind == ActorKind::Human;
    Some(SpokenMessage {
        name: event.sender.name.clone().unwrap_or_default(),
        text: content.text.clone(),
        by: SaidBy::Person,
        at: event.occurred_at,
        speaker: input.persons.first().copied().filter(|_| human),
        persons: record.persons.clone(),
    })
}

/// Returns the messages of a log with their indices, without those that were edited or deleted later.
pub fn current_messages(log: &[Stored]) -> Vec<(u64, SpokenMessage)> {
    let mut replacements = Replacements::default();
    log.iter().for_each(|stored| replacements.note(stored));
    let current = log.iter().filter(|stored| replacements.is_current(stored));
    current
        .filter_map(|stored| Some((stored.index, spoken_message(stored.record.as_ref()?)?)))
        .collect()
}

/// Tracks which messages of a log were edited or deleted.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    /// The index of the last record that edited or deleted a message, by the provider's message id.
    last: HashMap<String, u64>,
}

impl Replacements {
    /// Adds a record. Records may be added in any order.
    pub(crate) fn note(&mut self, stored: &Stored) {
        if let Some(id) = stored.record.as_deref().and_then(replaced_message_id) {
            let last = self.last.entry(id.to_owned()).or_default();
            *last = stored.index.max(*last);
        }
    }

    /// Returns whether no later record among those that were added edits or deletes the message in this one.
    pub(crate) fn is_current(&self, stored: &Stored) -> bool {
        let id = stored.record.as_deref().and_then(message_id);
        let last = id.and_then(|id| self.last.get(id));
        last.is_none_or(|last| *last <= stored.index)
    }
}

fn received(record: &Record) -> Option<&Body> {
    match &record.entry {
        Entry::Event(Event::Received(input)) => Some(&input.event.body),
        _ => None,
    }
}

/// Returns the provider's id of the message that a record edits or deletes.
pub fn replaced_message_id(record: &Record) -> Option<&str> {
    match received(record)? {
        Body::Edited { message, .. } | Body::Deleted { message } => Some(message),
        _ => None,
    }
}

/// Returns whether a record contains the message with this provider's id, or what was read in its attachments.
pub fn contains_message(record: &Record, id: &str) -> bool {
    message_id(record) == Some(id)
}

fn message_id(record: &Record) -> Option<&str> {
    if let Entry::Event(Event::AttachmentRead { message, .. }) = &record.entry {
        return Some(message);
    }
    match received(record)? {
        Body::Message { message, .. } | Body::Edited { message, .. } => Some(message),
        _ => None,
    }
}
