//! A tenant's conversations, as a memory without an index reads them.

use std::collections::{BTreeSet, HashMap};

use super::{
    Audience, ChannelRef, Fact, FactOwner, NewFact, Quote, Source, Unanswered,
    rules::{self, Ground},
};
use crate::{
    ConversationId, Hit, PersonId, Result, TenantId,
    message::ConversationKind,
    store::History,
    turn::{Entry, Event, Said, said, standing},
};

/// Something that was said, and where.
#[derive(Clone, Debug)]
pub struct Line {
    /// The conversation.
    pub conversation: ConversationId,
    /// Where.
    pub source: Source,
    /// What.
    pub said: Said,
}

/// A tenant's conversations as they read now, and who may see what was said in them: for a memory that keeps no index, and to
/// compare one that does with.
#[derive(Clone, Debug, Default)]
pub struct Conversations {
    /// What was said, conversation by conversation.
    pub lines: Vec<Line>,
    channels: HashMap<ConversationId, ChannelRef>,
    /// Who was heard in a channel; `None` where others may listen.
    company: HashMap<ChannelRef, Option<BTreeSet<PersonId>>>,
    /// The questions that found nothing in the documents, the newest first.
    pub unanswered: Vec<Unanswered>,
    /// How many records say something, also what was edited or deleted since.
    pub said: u64,
    /// Everyone whose words a record holds that can be read.
    persons: BTreeSet<PersonId>,
}

impl Conversations {
    /// Reads all of a tenant's conversations.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn read(store: &dyn History, tenant: TenantId) -> Result<Self> {
        let mut talk = Self::default();
        for one in store.list(tenant, None, usize::MAX).await? {
            let id = one.id;
            let log = store.read(tenant, id, 0..u64::MAX).await?;
            let records = log.iter().filter_map(|stored| stored.record.as_ref());
            talk.persons
                .extend(records.flat_map(|record| &record.persons));
            let Some(place) = &one.place else { continue };
            let channel = ChannelRef::of(one.connection, place);
            let direct = place.kind == ConversationKind::Direct;
            let heard = talk.company.entry(channel.clone());
            let heard = heard.or_insert_with(|| Some(BTreeSet::new()));
            *heard = heard.take().filter(|_| direct);
            let mut last = None;
            for (index, record) in log
                .iter()
                .filter_map(|of| Some((of.index, of.record.as_ref()?)))
            {
                if let Some(said) = said(record) {
                    talk.said += 1;
                    if let Some(heard) = heard {
                        heard.extend(said.speaker);
                    }
                    last = Some((index, said));
                } else if let Entry::Event(Event::Gathered(gathered)) = &record.entry
                    && let Some((index, said)) = last.clone()
                    && gathered.knowledge.iter().all(|cited| cited.coverage < 0.3)
                {
                    let (conversation, text, at) = (id, said.text, said.at);
                    talk.unanswered.push(Unanswered {
                        conversation,
                        index,
                        text,
                        at,
                    });
                }
            }
            talk.channels.insert(id, channel);
            talk.lines
                .extend(standing(&log).into_iter().map(|(index, said)| Line {
                    conversation: id,
                    source: Source::Message {
                        conversation: id,
                        index,
                    },
                    said,
                }));
        }
        talk.unanswered.sort_by_key(|one| std::cmp::Reverse(one.at));
        Ok(talk)
    }

    /// Returns whether a record that can be read is sealed to a person: whether the person was heard, and not erased since.
    pub fn knows(&self, person: PersonId) -> bool {
        self.persons.contains(&person)
    }

    /// Finds what was said at a place.
    pub fn line(&self, source: Source) -> Option<&Line> {
        self.lines.iter().find(|line| line.source == source)
    }

    /// Whether a person is alone with the employee in a channel.
    fn alone(&self, person: PersonId, channel: &ChannelRef) -> bool {
        let heard = self.company.get(channel).and_then(Option::as_ref);
        heard.is_some_and(|heard| heard.len() == 1 && heard.contains(&person))
    }

    /// Whether an audience sees what belongs to a conversation, or to the whole channel that it is in.
    pub fn sees(&self, eye: &Audience, conversation: ConversationId, whole: bool) -> bool {
        match (eye, self.channels.get(&conversation)) {
            (Audience::Person { person }, Some(own)) => self.alone(*person, own),
            (Audience::Channel { channel }, Some(own)) => channel == own,
            (
                Audience::Conversation {
                    conversation: of, ..
                },
                _,
            ) => !whole && *of == conversation,
            _ => false,
        }
    }

    /// Whether an audience sees a fact.
    pub fn sees_fact(&self, eye: &Audience, fact: &Fact) -> bool {
        match fact.owner {
            FactOwner::Person { person } => *eye == Audience::Person { person },
            owner => self.sees(
                eye,
                fact.sources[0].conversation,
                owner == FactOwner::Channel,
            ),
        }
    }

    /// Returns the sources of a new fact, for [`grounded`](super::rules::grounded).
    pub fn grounds(&self, new: &NewFact) -> Vec<Option<Ground>> {
        let ground = |quote: &Quote| {
            let (conversation, index) = (quote.conversation, quote.index);
            let line = self.line(Source::Message {
                conversation,
                index,
            })?;
            let first = new.sources[0].conversation;
            let channel = self.channels.get(&conversation)?;
            let seen = match new.owner {
                FactOwner::Person { person } => {
                    line.said.speaker == Some(person) || self.alone(person, channel)
                }
                FactOwner::Conversation => conversation == first,
                _ => Some(channel) == self.channels.get(&first),
            };
            let said = line.said.clone();
            Some(Ground { said, seen })
        };
        new.sources.iter().map(ground).collect()
    }
}

impl Line {
    /// Shows it.
    pub fn hit(&self) -> Hit {
        rules::message(self.source, self.said.clone())
    }
}
