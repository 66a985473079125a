//! Access control: spaces, and which of them an audience sees.
//!
//! A message is in the space of its channel and in the group of its conversation. A fact is in the space of its owner. A document
//! is in the space of the tenant. An audience sees whole spaces, or single groups of them.

use konstruct_core::{
    Audience, ConversationId, PersonId, Result, TenantId,
    memory::{ChannelRef, FactOwner, Quote, Scope},
    message::ConversationKind,
    turn::{Entry, Event, Record, Started},
};
use serde::{Deserialize, Serialize};

use super::{
    backend::{Group, MemoryBackend, Plan, RowKind, SearchArea, Space, UnitKind},
    settings::row,
};
use crate::seal::TenantKey;

/// The most records searched for the one that names a conversation's channel.
const FIRST: u64 = 512;

/// A channel: a keyed hash of the connection and the provider's name of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct ChannelKey(pub(super) [u8; 16]);

impl ChannelKey {
    pub(super) fn of(key: &TenantKey, channel: &ChannelRef) -> Self {
        let name = [
            channel.connection.as_bytes().as_slice(),
            channel.place.as_bytes(),
        ];
        Self(key.hash("channel", &name.concat()))
    }
}

/// The owner of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Tenant,
    Person(PersonId),
    Channel(ChannelKey),
}

/// Returns the space of one kind of an owner's content.
pub(super) fn space(key: &TenantKey, what: UnitKind, owner: Owner) -> Space {
    let (tag, id) = match owner {
        Owner::Tenant => (0, [0; 16]),
        Owner::Person(person) => (1, *person.as_bytes()),
        Owner::Channel(channel) => (2, channel.0),
    };
    Space(key.hash("space", &[&[what as u8, tag], id.as_slice()].concat()))
}

/// Returns the channel of a conversation; `None` if it is unknown.
pub(super) async fn home(
    backend: &dyn MemoryBackend,
    key: &TenantKey,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<ChannelKey>> {
    let kept = row(backend, tenant, RowKind::Home, conversation.as_bytes()).await?;
    if kept.is_some() {
        return Ok(kept);
    }
    let log = backend.log(tenant, conversation, 0..FIRST).await?;
    let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
    Ok(records.find_map(|record| {
        let started = started(record)?;
        Some(ChannelKey::of(key, &channel(started)))
    }))
}

/// Returns the channel of a turn.
pub(super) fn channel(started: &Started) -> ChannelRef {
    ChannelRef::of(started.connection, &started.conversation)
}

pub(super) fn started(record: &Record) -> Option<&Started> {
    match &record.entry {
        Entry::Event(Event::Started(started)) => Some(started),
        _ => None,
    }
}

/// The owners whose content an audience sees, each with an optional group.
pub(super) type Visible = Vec<(Owner, Option<Group>)>;

/// Returns what an audience sees.
pub(super) async fn visible_to(
    backend: &dyn MemoryBackend,
    key: &TenantKey,
    tenant: TenantId,
    audience: &Audience,
) -> Result<Visible> {
    let mut seen = vec![(Owner::Tenant, None)];
    let of = |channel: &ChannelRef| Owner::Channel(ChannelKey::of(key, channel));
    match audience {
        Audience::Tenant => {}
        Audience::Person { person } => {
            seen.push((Owner::Person(*person), None));
            let prefix = person.as_bytes();
            for (of, ()) in
                super::settings::rows(backend, tenant, RowKind::DirectOf, prefix).await?
            {
                if let Some(channel) = of.get(16..).and_then(|id| id.try_into().ok()) {
                    seen.push((Owner::Channel(ChannelKey(channel)), None));
                }
            }
        }
        Audience::Conversation {
            channel,
            conversation,
        } => seen.push((of(channel), Some(Group::of(*conversation)))),
        Audience::Channel { channel } => seen.push((of(channel), None)),
        // An unknown kind of audience sees only what everyone sees.
        _ => {}
    }
    Ok(seen)
}

/// Returns the visible areas of a scope.
pub(super) fn places(key: &TenantKey, seen: &Visible, scope: Scope) -> Vec<SearchArea> {
    let mut places = Vec::new();
    for (owner, group) in seen {
        let mut look = |wanted: bool, what, timed| {
            if wanted {
                places.push(SearchArea {
                    space: space(key, what, *owner),
                    group: *group,
                    timed,
                });
            }
        };
        look(
            scope.knowledge && *owner == Owner::Tenant,
            UnitKind::Knowledge,
            false,
        );
        let channel = matches!(owner, Owner::Channel(_));
        look(scope.history && channel, UnitKind::History, true);
        look(scope.facts, UnitKind::Fact, true);
    }
    places
}

/// Returns the owner and group of a fact. `None` if the channel of its sources is unknown.
pub(super) async fn owner(
    backend: &dyn MemoryBackend,
    key: &TenantKey,
    tenant: TenantId,
    (owner, sources): (FactOwner, &[Quote]),
) -> Result<Option<(Owner, Group)>> {
    if let FactOwner::Person { person } = owner {
        return Ok(Some((Owner::Person(person), Group::NONE)));
    }
    let Some(first) = sources.first() else {
        return Ok(None);
    };
    let group = match owner {
        FactOwner::Conversation => Group::of(first.conversation),
        FactOwner::Channel => Group::NONE,
        _ => return Ok(None),
    };
    let channel = home(backend, key, tenant, first.conversation).await?;
    Ok(channel.map(|channel| (Owner::Channel(channel), group)))
}

/// The persons who have spoken in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Membership {
    /// No human yet, in one-to-one conversations.
    #[default]
    Nobody,
    /// One human, in one-to-one conversations: the channel is direct for them.
    One(PersonId),
    /// Several humans, or others may listen.
    Several,
}

impl Membership {
    /// Adds a record: the kind of its conversation, and the human who spoke.
    pub(super) fn and(self, kind: ConversationKind, speaker: Option<PersonId>) -> Self {
        if kind != ConversationKind::Direct {
            return Self::Several;
        }
        let Some(speaker) = speaker else {
            return self;
        };
        match self {
            Self::Nobody => Self::One(speaker),
            Self::One(person) if person == speaker => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// Adds the membership of a channel to a plan.
pub(super) fn put_membership(
    plan: &mut Plan,
    channel: ChannelKey,
    before: Membership,
    now: Membership,
) -> Result<()> {
    let direct = |person: &PersonId| [person.as_bytes().as_slice(), &channel.0].concat();
    if let Membership::One(person) = &before {
        plan.remove.push((RowKind::DirectOf, direct(person)));
    }
    if let Membership::One(person) = &now {
        plan.put_row(RowKind::DirectOf, direct(person), &(), &[])?;
    }
    plan.put_row(RowKind::Channel, channel.0.to_vec(), &now, &[])
}
