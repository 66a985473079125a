//! Who may see what: spaces, and the places in them that an audience looks in.
//!
//! What was said stands in the space of its channel, in the group of its conversation. A fact stands in the space of whom it
//! belongs to. A document stands in the space of the tenant. An audience sees whole spaces, or one group of one.

use std::collections::BTreeSet;

use konstruct_core::{
    Audience, ConnectionId, ConversationId, ConversationKind, ConversationRef, PersonId, Result,
    Scope, TenantId,
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
    pub(super) fn of(key: &TenantKey, connection: ConnectionId, place: &ConversationRef) -> Self {
        let name = [connection.as_bytes().as_slice(), place.id.as_bytes()].concat();
        Self(key.hash("channel", &name))
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
        Some(ChannelKey::of(
            key,
            started.connection,
            &started.conversation,
        ))
    }))
}

pub(super) fn started(record: &Record) -> Option<&Started> {
    match &record.entry {
        Entry::Event(Event::Started(started)) => Some(started),
        _ => None,
    }
}

/// The places that an audience sees.
pub(super) async fn places(
    shelf: &dyn Shelf,
    key: &TenantKey,
    tenant: TenantId,
    (audience, scope): (Audience, Scope),
) -> Result<Vec<Place>> {
    let mut seen = vec![(Owner::Tenant, None)];
    match audience {
        Audience::Tenant => {}
        Audience::Person { person } => {
            seen.push((Owner::Person(person), None));
            let prefix = person.as_bytes();
            for (of, ()) in super::settings::rows(shelf, tenant, Kind::DirectOf, prefix).await? {
                if let Some(channel) = of.get(16..).and_then(|id| id.try_into().ok()) {
                    seen.push((Owner::Channel(ChannelKey(channel)), None));
                }
            }
        }
        Audience::Conversation { conversation } | Audience::Channel { conversation } => {
            let group =
                matches!(audience, Audience::Conversation { .. }).then(|| Group::of(conversation));
            if let Some(channel) = home(shelf, key, tenant, conversation).await? {
                seen.push((Owner::Channel(channel), group));
            }
        }
        // An audience of a later version sees what everyone sees.
        _ => {}
    }
    let mut places = Vec::new();
    for (owner, group) in seen {
        let mut look = |wanted: bool, what, timed| {
            if wanted {
                places.push(Place {
                    space: space(key, what, owner),
                    group,
                    timed,
                });
            }
        };
        look(
            scope.knowledge && owner == Owner::Tenant,
            What::Knowledge,
            false,
        );
        let channel = matches!(owner, Owner::Channel(_));
        look(scope.history && channel, What::History, true);
        look(scope.facts, What::Fact, true);
    }
    Ok(places)
}

/// Where something that belongs to an audience stands: its owner and its group. `None`: its channel is not known.
pub(super) async fn owner(
    shelf: &dyn Shelf,
    key: &TenantKey,
    tenant: TenantId,
    audience: Audience,
) -> Result<Option<(Owner, Group)>> {
    let (conversation, group) = match audience {
        Audience::Person { person } => return Ok(Some((Owner::Person(person), Group::NONE))),
        Audience::Conversation { conversation } => (conversation, Group::of(conversation)),
        Audience::Channel { conversation } => (conversation, Group::NONE),
        Audience::Tenant => return Ok(Some((Owner::Tenant, Group::NONE))),
        _ => return Ok(None),
    };
    let channel = home(shelf, key, tenant, conversation).await?;
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
    /// Adds what a turn tells: what its conversation is like, and which humans spoke.
    pub(super) fn and(self, kind: ConversationKind, speakers: &BTreeSet<PersonId>) -> Self {
        if kind != ConversationKind::Direct {
            return Self::Several;
        }
        speakers
            .iter()
            .fold(self, |company, speaker| match company {
                Self::Nobody => Self::One(*speaker),
                Self::One(person) if person == *speaker => company,
                Self::One(_) | Self::Several => Self::Several,
            })
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
