//! The conversations of a tenant for a memory without an index.

use std::collections::{BTreeSet, HashMap};

use super::{
    Audience, ChannelRef, Fact, FactOwner, NewFact, Quote, Source, Unanswered,
    rules::{self, Ground},
};
use crate::{
    ConversationId, Hit, PersonId, Result, TenantId,
    message::ConversationKind,
    store::History,
    turn::{Entry, Event, SpokenMessage, current_messages, spoken_message},
};

/// A message and its location.
#[derive(Clone, Debug)]
pub struct Line {
    /// The conversation.
    pub conversation: ConversationId,
    /// The location of the message.
    pub source: Source,
    /// The message.
    pub said: SpokenMessage,
}

/// The current messages of a tenant's conversations, and who may see them. Serves a memory without an index, and the comparison
/// with one that has an index.
#[derive(Clone, Debug, Default)]
pub struct Conversations {
    /// The messages, grouped by conversation.
    pub lines: Vec<Line>,
    channels: HashMap<ConversationId, ChannelRef>,
    /// The persons who wrote in a channel; `None` if others may read it.
    members: HashMap<ChannelRef, Option<BTreeSet<PersonId>>>,
    /// The questions for which no document was found, newest first.
    pub unanswered: Vec<Unanswered>,
    /// The number of messages, including edited and deleted ones.
    pub said: u64,
    /// The persons of all records that can be read.
    persons: BTreeSet<PersonId>,
}

impl Conversations {
    /// Reads all of a tenant's conversations.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn read(store: &dyn History, tenant: TenantId) -> Result<Self> {
        let mut all = Self::default();
        for one in store.list(tenant, None, usize::MAX).await? {
            let id = one.id;
            let log = store.read(tenant, id, 0..u64::MAX).await?;
            let records = log.iter().filter_map(|stored| stored.record.as_ref());
            all.persons
                .extend(records.flat_map(|record| &record.persons));
            let Some(place) = &one.place else { continue };
            let channel = ChannelRef::of(one.connection, place);
            let direct = place.kind == ConversationKind::Direct;
            let members = all.members.entry(channel.clone());
            let members = members.or_insert_with(|| Some(BTreeSet::new()));
            *members = members.take().filter(|_| direct);
            let mut last = None;
            for (index, record) in log
                .iter()
                .filter_map(|of| Some((of.index, of.record.as_ref()?)))
            {
                if let Some(said) = spoken_message(record) {
                    all.said += 1;
                    if let Some(members) = members {
                        members.extend(said.speaker);
                    }
                    last = Some((index, said));
                } else if let Entry::Event(Event::Gathered(gathered)) = &record.entry
                    && let Some((index, said)) = last.clone()
                    && gathered.knowledge.iter().all(|cited| cited.coverage < 0.3)
                {
                    let (conversation, text, at) = (id, said.text, said.at);
                    all.unanswered.push(Unanswered {
                        conversation,
                        index,
                        text,
                        at,
                    });
                }
            }
            all.channels.insert(id, channel);
            all.lines.extend(
                current_messages(&log)
                    .into_iter()
                    .map(|(index, said)| Line {
                        conversation: id,
                        source: Source::Message {
                            conversation: id,
                            index,
                        },
                        said,
                    }),
            );
        }
        all.unanswered.sort_by_key(|one| std::cmp::Reverse(one.at));
        Ok(all)
    }

    /// Returns whether a readable record is encrypted for a person, which means that the person is known and was not erased.
    pub fn knows(&self, person: PersonId) -> bool {
        self.persons.contains(&person)
    }

    /// Returns the message at a location.
    pub fn line(&self, source: Source) -> Option<&Line> {
        self.lines.iter().find(|line| line.source == source)
    }

    /// Returns whether a channel is direct for a person.
    fn is_direct_for(&self, person: PersonId, channel: &ChannelRef) -> bool {
        let members = self.members.get(channel).and_then(Option::as_ref);
        members.is_some_and(|members| members.len() == 1 && members.contains(&person))
    }

    /// Returns whether an audience may see content of a conversation, or of its whole channel if `whole` is set.
    pub fn sees(&self, audience: &Audience, conversation: ConversationId, whole: bool) -> bool {
        match (audience, self.channels.get(&conversation)) {
            (Audience::Person { person }, Some(own)) => self.is_direct_for(*person, own),
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

    /// Returns whether an audience may see a fact.
    pub fn sees_fact(&self, audience: &Audience, fact: &Fact) -> bool {
        match fact.owner {
            FactOwner::Person { person } => *audience == Audience::Person { person },
            owner => self.sees(
                audience,
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
                    line.said.speaker == Some(person) || self.is_direct_for(person, channel)
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
    /// Returns the message as a hit.
    pub fn hit(&self) -> Hit {
        rules::message(self.source, self.said.clone())
    }
}
