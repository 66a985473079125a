//! The decisions that every store takes alike, as pure functions.

use std::{collections::BTreeMap, time::Duration};

use super::{Reserve, TimerChange, TimerName};
use crate::{
    Inbound, NanoUsd, Timestamp,
    message::{ActorKind, Body, ConversationKind, DeliveryState, Lifecycle},
};

/// Reactions that wait in an inbox until they make their conversation ready by themselves.
pub const QUIET_EVENTS: u64 = 64;

/// What to do about an event whose logical id is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// Drop it.
    Drop,
    /// Note on the stored event that it mentions the employee; if that one is consumed, accept this one.
    Upgrade,
}

/// Decides about a second event of one logical id: `mentioned` tells whether the stored one is known to mention the employee.
pub fn twin(mentioned: bool, event: &Inbound) -> Twin {
    if mentioned || !event.addressed.mention {
        Twin::Drop
    } else {
        Twin::Upgrade
    }
}

/// Returns whether an event certainly happened before a person was erased, so that it is dropped as a late delivery.
///
/// Some vendors give times in whole seconds: an event of the second in which the erasure fell may have come after it, and is kept.
pub fn came_before(event: Timestamp, erased: Timestamp) -> bool {
    event + Duration::from_secs(1) <= erased
}

/// Returns the addresses that an event says belong to one person: the one before, and the one from now on. An event says so only if
/// the vendor does, or an admin.
///
/// A store notes the link when it accepts the event, unless somebody was heard under the new address before: these stay two
/// persons. It removes the link with the person. A late delivery under a linked address counts as the person's.
pub fn linked(event: &Inbound) -> Option<(&str, &str)> {
    match &event.body {
        Body::Lifecycle {
            change: Lifecycle::IdentityChanged { old, new },
        } if !old.is_empty() && !new.is_empty() && old != new => Some((old, new)),
        _ => None,
    }
}

/// What a delivery status changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How far the message has come now.
    pub state: DeliveryState,
    /// Whether the conversation's worker must see the event: it settles an open send, or reports a failure.
    pub news: bool,
}

/// Decides about a delivery status. `known` is how far the message had come, `settled` whether the outcome of its send is known.
/// `None`: nothing changes.
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

/// Returns whether the place of an event's conversation is the address of its sender, or of the person that a proactive message is
/// for, so that it is sealed to them.
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

/// What was spent and is reserved in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Month {
    /// Spent.
    pub spent: NanoUsd,
    /// Reserved.
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

    /// Frees what was reserved for a call, and spends what it cost.
    pub fn settle(&mut self, reserved: NanoUsd, cost: NanoUsd) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(cost);
    }
}

/// Returns the calendar month (UTC) of a time, such as `2026-11`.
pub fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

/// The timers of a conversation.
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

/// Returns when the first timer is due.
pub fn first_due(timers: &Timers) -> Option<Timestamp> {
    timers.values().min().copied()
}

/// Returns whether a conversation has work without a timer: `open` tells whether a turn is open, and events are unconsumed.
pub fn unfinished(open: bool, unconsumed: u64, timers: &Timers) -> bool {
    unconsumed > 0 || (open && !timers.contains_key(&TimerName::turn()))
}
