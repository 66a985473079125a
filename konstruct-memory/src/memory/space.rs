//! Who may see what: spaces, and the places in them that an audience looks in.
//!
//! What was said stands in the space of its channel, in the group of its conversation. A fact stands in the space of whom it
//! belongs to. A document stands in the space of the tenant. An audience sees whole spaces, or one group of one.

use konstruct_core::{
    Audience, ConversationId, PersonId, Result, TenantId,
    memory::{ChannelRef, FactOwner, Quote, Scope},
    message::ConversationKind,
    turn::{Entry, Event, Record, Started},
};
use serde::{Deserialize, Serialize};

use super::{
    settings::row,
    shelf::{Group, Kind, Place, Plan, Shelf, Space, What},
};
use crate::seal::TenantKey;

/// How many records are looked through for the one that tells a conversation's channel.
const FIRST: u64 = 512;

/// A channel: a keyed hash of the connection and of what the provider calls it.
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

/// Whose a space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Tenant,
    Person(PersonId),
    Channel(ChannelKey),
}

/// The space of what an owner has of a kind.
pub(super) fn space(key: &TenantKey, what: What, owner: Owner) -> Space {
    let (tag, id) = match owner {
        Owner::Tenant => (0, [0; 16]),
        Owner::Person(person) => (1, *person.as_bytes()),
        Owner::Channel(channel) => (2, channel.0),
    };
    Space(key.hash("space", &[&[what as u8, tag], id.as_slice()].concat()))
}

/// Returns the channel that a conversation is part of; `None` for one that nothing is known of.
pub(super) async fn home(
    shelf: &dyn Shelf,
    key: &TenantKey,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<ChannelKey>> {
    let kept = row(shelf, tenant, Kind::Home, conversation.as_bytes()).await?;
    if kept.is_some() {
        return Ok(kept);
    }
    let log = shelf.log(tenant, conversation, 0..FIRST).await?;
    let mut records = log.iter().filter_map(|stored| stored.record.as_ref());
    Ok(records.find_map(|record| {
        let started = started(record)?;
        Some(ChannelKey::of(key, &channel(started)))
    }))
}

/// The channel that a turn belongs to.
pub(super) fn channel(started: &Started) -> ChannelRef {
    ChannelRef::of(started.connection, &started.conversation)
}

pub(super) fn started(record: &Record) -> Option<&Started> {
    match &record.entry {
        Entry::Event(Event::Started(started)) => Some(started),
        _ => None,
    }
}

/// Whose things an audience sees, and of which group of them.
pub(super) type Seen = Vec<(Owner, Option<Group>)>;

/// Returns what an audience sees.
pub(super) async fn seen(
    shelf: &dyn Shelf,
    key: &TenantKey,
    tenant: TenantId,
    audience: &Audience,
) -> Result<Seen> {
    let mut seen = vec![(Owner::Tenant, None)];
    let of = |channel: &ChannelRef| Owner::Channel(ChannelKey::of(key, channel));
    match audience {
        Audience::Tenant => {}
        Audience::Person { person } => {
            seen.push((Owner::Person(*person), None));
            let prefix = person.as_bytes();
            for (of, ()) in super::settings::rows(shelf, tenant, Kind::DirectOf, prefix).await? {
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
        // An audience of a later version sees what everyone sees.
        _ => {}
    }
    Ok(seen)
}

/// The places to look in, of those that are seen.
pub(super) fn places(key: &TenantKey, seen: &Seen, scope: Scope) -> Vec<Place> {
    let mut places = Vec::new();
    for (owner, group) in seen {
        let mut look = |wanted: bool, what, timed| {
            if wanted {
                places.push(Place {
                    space: space(key, what, *owner),
                    group: *group,
                    timed,
                });
            }
        };
        look(
            scope.knowledge && *owner == Owner::Tenant,
            What::Knowledge,
            false,
        );
        let channel = matches!(owner, Owner::Channel(_));
        look(scope.history && channel, What::History, true);
        look(scope.facts, What::Fact, true);
    }
    places
}

/// Where a fact stands: its owner and its group. `None`: the channel of its sources is not known.
pub(super) async fn owner(
    shelf: &dyn Shelf,
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
    let channel = home(shelf, key, tenant, first.conversation).await?;
    Ok(channel.map(|channel| (Owner::Channel(channel), group)))
}

/// Who was heard in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Company {
    /// No human yet, in one-to-one conversations.
    #[default]
    Nobody,
    /// One human, in one-to-one conversations: the channel is direct for them.
    One(PersonId),
    /// Several, or others may listen.
    Several,
}

impl Company {
    /// Adds what a record shows: what kind of conversation it is in, and which human spoke.
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

/// Notes in a plan who is in a channel now.
pub(super) fn note_company(
    plan: &mut Plan,
    channel: ChannelKey,
    before: Company,
    now: Company,
) -> Result<()> {
    let direct = |person: &PersonId| [person.as_bytes().as_slice(), &channel.0].concat();
    if let Company::One(person) = &before {
        plan.remove.push((Kind::DirectOf, direct(person)));
    }
    if let Company::One(person) = &now {
        plan.put_row(Kind::DirectOf, direct(person), &(), &[])?;
    }
    plan.put_row(Kind::Channel, channel.0.to_vec(), &now, &[])
}
