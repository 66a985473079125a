//! The decisions that every store makes in the same way, as pure functions.

use std::{collections::BTreeMap, time::Duration};

use super::{Reserve, TimerChange, TimerName};
use crate::{
    Inbound, NanoUsd, Timestamp,
    message::{ActorKind, Body, ConversationKind, DeliveryState, Lifecycle},
};

/// How many reactions wait in an inbox until they make their conversation ready by themselves.
pub const QUIET_EVENTS: u64 = 64;

/// What to do with an event whose logical id is already known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogicalDuplicate {
    /// Drop the event.
    Drop,
    /// Mark the stored event as a mention of the employee. If it is already consumed, accept the new event.
    Upgrade,
}

/// Decides on a duplicate delivery of a logical event. `mentioned` is whether the stored event is known to mention the employee.
pub fn logical_duplicate(mentioned: bool, event: &Inbound) -> LogicalDuplicate {
    if mentioned || !event.addressed.mention {
        LogicalDuplicate::Drop
    } else {
        LogicalDuplicate::Upgrade
    }
}

/// Returns whether an event definitely happened before a person was erased, so that it is dropped as a late delivery.
///
/// Some providers report times in whole seconds. An event in the second of the erasure may have happened after it, and is kept.
pub fn came_before(event: Timestamp, erased: Timestamp) -> bool {
    event + Duration::from_secs(1) <= erased
}

/// Returns the addresses that an event reports as one person's, or none if it reports fewer than two: the ids of a human sender,
/// and the old and the new address of a changed identity. Only the provider or an admin can report that.
///
/// They belong to the person of the first address that is known; if none is known, to that of the first. A store links the other
/// addresses when it accepts the event, except those from which a message already came: these stay separate persons. It removes
/// the links together with the person. A late delivery from a linked address counts as the person's.
pub fn addresses(event: &Inbound) -> Vec<&str> {
    let changed = match &event.body {
        Body::Lifecycle {
            change: Lifecycle::IdentityChanged { old, new },
        } if !old.is_empty() && !new.is_empty() => vec![old.as_str(), new.as_str()],
        _ => Vec::new(),
    };
    let human = event.sender.kind == ActorKind::Human;
    let ids = event.sender.ids.iter().filter(|_| human);
    let mut addresses: Vec<&str> = Vec::new();
    for id in changed.into_iter().chain(ids.map(|(_, id)| id.as_str())) {
        if !addresses.contains(&id) {
            addresses.push(id);
        }
    }
    if addresses.len() < 2 {
        addresses.clear();
    }
    addresses
}

/// Returns the names of an event's conversation, or none if it has only one. A one-to-one conversation is named by the address of
/// its person, so all [addresses] of the person name the same conversation. The event goes to the first of them that exists, its
/// own name first, and the other names lead there from then on.
pub fn places(event: &Inbound) -> Vec<&str> {
    let Some(place) = &event.conversation else {
        return Vec::new();
    };
    let mut places = addresses(event);
    let own = places.iter().position(|id| *id == place.id);
    match own {
        Some(own) if place.kind == ConversationKind::Direct && place.thread.is_none() => {
            places[..=own].rotate_right(1);
            places
        }
        _ => Vec::new(),
    }
}

/// The change that a delivery status makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The new delivery state of the message.
    pub state: DeliveryState,
    /// Whether the conversation's worker must see the event, because it settles an open send or reports a failure.
    pub news: bool,
}

/// Decides on a delivery status. `known` is the message's delivery state so far, `settled` is whether the outcome of its send is
/// known. Returns `None` if nothing changes.
pub fn delivery(
    known: Option<DeliveryState>,
    settled: bool,
    state: DeliveryState,
) -> Option<Delivered> {
    if known.is_some_and(|known| state <= known) {
        return None;
    }
    Some(Delivered {
        state,
        news: !settled || state == DeliveryState::Failed,
    })
}

/// Returns whether an event makes its conversation ready by itself.
pub fn wakes(event: &Inbound) -> bool {
    !matches!(event.body, Body::Reaction { .. })
}

/// Returns whether the place of an event's conversation is the address of its sender, or of the recipient of a proactive message,
/// so that it is encrypted for that person.
pub fn place_is_personal(event: &Inbound) -> bool {
    let direct = |kind| kind == ConversationKind::Direct;
    let person = event.sender.kind == ActorKind::Human
        || matches!(event.body, Body::Proactive { .. }) && event.sender.id().is_some();
    person
        && event
            .conversation
            .as_ref()
            .is_some_and(|place| direct(place.kind))
}

/// The amounts spent and reserved in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Month {
    /// The amount spent.
    pub spent: NanoUsd,
    /// The amount reserved.
    pub reserved: NanoUsd,
}

impl Month {
    /// Returns whether a new reservation fits under its cap.
    pub fn fits(&self, reserve: &Reserve) -> bool {
        let after = self
            .spent
            .saturating_add(self.reserved)
            .saturating_add(reserve.amount);
        reserve.cap.is_none_or(|cap| after <= cap)
    }

    /// Adds a reservation.
    pub fn reserve(&mut self, amount: NanoUsd) {
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// Frees the reservation of a call and adds its cost to the amount spent.
    pub fn settle(&mut self, reserved: NanoUsd, cost: NanoUsd) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(cost);
    }
}

/// Returns the calendar month (UTC) of a time, such as `2026-11`.
pub fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

/// The timers of a conversation, by name.
pub type Timers = BTreeMap<TimerName, Timestamp>;

/// Applies changes to a conversation's timers.
pub fn set_timers(timers: &mut Timers, changes: &[TimerChange]) {
    let every = TimerName::every();
    let (all, named): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.name == every);
    match all.last().map(|change| change.at) {
        Some(Some(at)) => timers.values_mut().for_each(|due| *due = at),
        Some(None) => timers.clear(),
        None => {}
    }
    for change in named {
        match change.at {
            Some(at) => {
                timers.insert(change.name.clone(), at);
            }
            None => {
                timers.remove(&change.name);
            }
        }
    }
}

/// Returns the names of the timers that are due.
pub fn due(timers: &Timers, now: Timestamp) -> Vec<TimerName> {
    let due = timers.iter().filter(|(_, at)| **at <= now);
    due.map(|(name, _)| name.clone()).collect()
}

/// Returns when the next timer is due.
pub fn first_due(timers: &Timers) -> Option<Timestamp> {
    timers.values().min().copied()
}

/// Returns whether a conversation has work that does not wait for a timer. `open` is whether a turn is open, `unconsumed` the
/// number of unconsumed events.
pub fn unfinished(open: bool, unconsumed: u64, timers: &Timers) -> bool {
    unconsumed > 0 || (open && !timers.contains_key(&TimerName::turn()))
}
