//! What was said in a conversation, line by line.

use std::collections::BTreeSet;

use crate::{
    ActorKind, Body, ConversationId, ConversationKind, PersonId, Result, TenantId,
    turn::{Action, Entry, Event, Input, Journal, Stored},
};

/// How many records are read at once, and at most in a pass.
const PAGE: u64 = 256;
const MOST: u64 = 4096;

/// What was said from a record on, up to the end of the last turn that is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) said: Vec<Line>,
    /// The index of the first record that was not read.
    pub(super) to: u64,
    /// Whether it is a conversation with one person.
    pub(super) direct: bool,
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

impl Lines {
    pub(super) async fn read(
        journal: &dyn Journal,
        (tenant, conversation): (TenantId, ConversationId),
        from: u64,
    ) -> Result<Self> {
        let mut lines = Self {
            to: from,
            direct: true,
            ..Self::default()
        };
        let (mut at, mut open) = (from, Vec::new());
        while at < from + MOST {
            let page = journal.read(tenant, conversation, at..at + PAGE).await?;
            let last = (page.len() as u64) < PAGE;
            for stored in &page {
                lines.take(conversation, stored, &mut open);
            }
            if last {
                break;
            }
            at += PAGE;
        }
        Ok(lines)
    }

    /// Takes a record in. What an open turn says waits until it is over.
    fn take(&mut self, conversation: ConversationId, stored: &Stored, open: &mut Vec<Line>) {
        let Some(record) = &stored.record else {
            return;
        };
        let line = |speaker, name: &str, text: &str| Line {
            conversation,
            index: stored.index,
            speaker,
            name: name.to_owned(),
            text: text.to_owned(),
            persons: record.persons.clone(),
        };
        let mut heard = |inputs: &[Input]| {
            for input in inputs {
                let (Body::Message { content, .. } | Body::Edited { content, .. }) =
                    &input.event.body
                else {
                    continue;
                };
                let sender = &input.event.sender;
                let human = sender.kind == ActorKind::Human;
                if let Some(person) = input.persons.first().filter(|_| human)
                    && !content.text.trim().is_empty()
                {
                    let name = sender.name.as_deref().unwrap_or("");
                    open.push(line(Some(*person), name, &content.text));
                }
            }
        };
        match &record.entry {
            Entry::Event(Event::Started(started)) => {
                heard(&started.inputs);
                self.direct &= started.conversation.kind == ConversationKind::Direct;
            }
            Entry::Event(Event::Heard { inputs }) => heard(inputs),
            Entry::Action(Action::Send {
                attempt: 0..=1,
                text,
                ..
            }) => open.push(line(None, "", text)),
            Entry::Action(Action::Finish { .. }) => {
                self.said.append(open);
                self.to = stored.index + 1;
            }
            _ => {}
        }
    }

    /// Everyone whose words it may hold.
    pub(super) fn persons(&self) -> BTreeSet<PersonId> {
        self.said
            .iter()
            .flat_map(|line| line.persons.iter().copied())
            .collect()
    }

    /// The humans who speak.
    pub(super) fn speakers(&self) -> BTreeSet<PersonId> {
        self.said.iter().filter_map(|line| line.speaker).collect()
    }
}
