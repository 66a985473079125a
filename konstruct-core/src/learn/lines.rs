//! What was said in a conversation, line by line.

use std::collections::BTreeSet;

use crate::{
    ConversationId, PersonId, Result, TenantId,
    memory::{ChannelRef, SaidBy},
    message::ConversationKind,
    store::{Store, Stored},
    turn::{Action, Entry, Event, Replacements, said},
};

/// How many records are read at once, and of how many a pass learns at most.
const PAGE: u64 = 256;
const MOST: u64 = 4096;

/// What was said from a record on, up to the end of the last turn that is over, without what was edited or deleted since.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) said: Vec<Line>,
    /// The index of the first record that was not read.
    pub(super) to: u64,
    /// Whether it is a conversation with one person.
    pub(super) direct: bool,
    /// The channel that it is part of.
    pub(super) channel: Option<ChannelRef>,
}

/// Something that was said.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) conversation: ConversationId,
    pub(super) index: u64,
    /// Who said it: a person, or `None` for the employee.
    pub(super) speaker: Option<PersonId>,
    pub(super) name: String,
    pub(super) text: String,
    /// Whose words it may hold.
    persons: BTreeSet<PersonId>,
}

impl Line {
    /// Everyone whose words it may hold.
    pub(super) fn persons(&self) -> impl Iterator<Item = PersonId> {
        self.persons.iter().copied()
    }
}

impl Lines {
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
            // Beyond that, only what was edited or deleted matters.
            if at < from + MOST {
                log.extend(page);
            }
            if last {
                break;
            }
            at += PAGE;
        }
        let mut lines = Self {
            to: from,
            direct: true,
            ..Self::default()
        };
        let mut open = Vec::new();
        for stored in &log {
            let stands = replacements.stands(stored);
            lines.take(conversation, (stored, stands), &mut open);
        }
        Ok(lines)
    }

    /// Takes a record in, with whether its words stand. What an open turn says waits until it is over.
    fn take(
        &mut self,
        conversation: ConversationId,
        (stored, stands): (&Stored, bool),
        open: &mut Vec<Line>,
    ) {
        let Some(record) = &stored.record else {
            return;
        };
        if stands
            && let Some(said) = said(record)
            && (said.speaker.is_some() || said.by == SaidBy::Employee)
        {
            open.push(Line {
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
                self.said.append(open);
                self.to = stored.index + 1;
            }
            _ => {}
        }
    }

    /// Everyone whose words it may hold.
    pub(super) fn persons(&self) -> BTreeSet<PersonId> {
        self.said.iter().flat_map(Line::persons).collect()
    }

    /// The humans who speak.
    pub(super) fn speakers(&self) -> BTreeSet<PersonId> {
        self.said.iter().filter_map(|line| line.speaker).collect()
    }
}
