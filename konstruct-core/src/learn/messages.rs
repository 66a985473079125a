//! The messages of a conversation that a pass learns from.

use std::collections::BTreeSet;

use crate::{
    ConversationId, PersonId, Result, TenantId,
    memory::{ChannelRef, SaidBy},
    message::ConversationKind,
    store::{Store, Stored},
    turn::{Action, Entry, Event, Replacements, spoken_message},
};

/// The number of records read at a time, and the most records of a pass.
const PAGE: u64 = 256;
const MOST: u64 = 4096;

/// The current messages from a record up to the end of the last finished turn, without those that were edited or deleted later.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    pub(super) list: Vec<Message>,
    /// The index of the first record that was not read.
    pub(super) to: u64,
    /// Whether the conversation is with one person.
    pub(super) direct: bool,
    /// The channel of the conversation.
    pub(super) channel: Option<ChannelRef>,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) conversation: ConversationId,
    pub(super) index: u64,
    /// The person who sent it; `None` for the employee.
    pub(super) speaker: Option<PersonId>,
    pub(super) name: String,
    pub(super) text: String,
    /// The persons whose words it may contain.
    persons: BTreeSet<PersonId>,
}

impl Message {
    /// Returns the persons whose words it may contain.
    pub(super) fn persons(&self) -> impl Iterator<Item = PersonId> {
        self.persons.iter().copied()
    }
}

impl Messages {
    pub(super) async fn read(
        store: &dyn Store,
        (tenant, conversation): (TenantId, ConversationId),
        from: u64,
    ) -> Result<Self> {
        let (mut at, mut log, mut replacements) = (from, Vec::new(), Replacements::default());
        loop {
            let page = store.read(tenant, conversation, at..at + PAGE).await?;
            let last = (page.len() as u64) < PAGE;
            page.iter().for_each(|stored| replacements.note(stored));
            // Later records only show what was edited or deleted.
            if at < from + MOST {
                log.extend(page);
            }
            if last {
                break;
            }
            at += PAGE;
        }
        let mut messages = Self {
            to: from,
            direct: true,
            ..Self::default()
        };
        let mut open = Vec::new();
        for stored in &log {
            let is_current = replacements.is_current(stored);
            messages.add(conversation, (stored, is_current), &mut open);
        }
        Ok(messages)
    }

    /// Adds a record. `is_current` is whether its message was not edited or deleted later. Messages of an open turn are held back
    /// until it ends.
    fn add(
        &mut self,
        conversation: ConversationId,
        (stored, is_current): (&Stored, bool),
        open: &mut Vec<Message>,
    ) {
        let Some(record) = &stored.record else {
            return;
        };
        if is_current
            && let Some(said) = spoken_message(record)
            && (said.speaker.is_some() || said.by == SaidBy::Employee)
        {
            open.push(Message {
                conversation,
                index: stored.index,
                speaker: said.speaker,
                name: said.name,
                text: said.text,
                persons: said.persons,
            });
        }
        match &record.entry {
            Entry::Event(Event::Started(started)) => {
                self.direct &= started.conversation.kind == ConversationKind::Direct;
                self.channel = Some(ChannelRef::of(started.connection, &started.conversation));
            }
            Entry::Action(Action::Finish { .. }) => {
                self.list.append(open);
                self.to = stored.index + 1;
            }
            _ => {}
        }
    }

    /// Returns the persons whose words the messages may contain.
    pub(super) fn persons(&self) -> BTreeSet<PersonId> {
        self.list.iter().flat_map(Message::persons).collect()
    }

    /// Returns the humans who sent messages.
    pub(super) fn speakers(&self) -> BTreeSet<PersonId> {
        self.list
            .iter()
            .filter_map(|message| message.speaker)
            .collect()
    }
}
