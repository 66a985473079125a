//! The decisions that every store makes in the same way, as pure functions.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{TimerChange, TimerName};
use crate::{
    Error, Inbound, NanoUsd, Result, Timestamp,
    limit::{AppliedCap, BudgetKey, BudgetSum, Period, Sum, budgets},
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

/// A sum that a reservation counts against, in the period of the reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgeted {
    /// Its name.
    pub budget: BudgetKey,
    /// When the period ends.
    pub until: Timestamp,
    /// The most that may be spent and reserved.
    pub cap: Option<NanoUsd>,
    /// What is spent and reserved.
    pub sum: Sum,
}

/// Returns the sums that a reservation counts against in the current periods. `known` reads the sum of a period that ends at a time.
///
/// # Errors
/// Those of `known`.
pub fn budgeted(
    caps: &[AppliedCap],
    now: Timestamp,
    mut known: impl FnMut(BudgetKey, Timestamp) -> Result<Option<Sum>>,
) -> Result<Vec<Budgeted>> {
    let sums = budgets(caps).into_iter().map(|(budget, cap)| {
        let until = budget.period.end(now);
        Ok(Budgeted {
            budget,
            until,
            cap,
            sum: known(budget, until)?.unwrap_or_default(),
        })
    });
    sums.collect()
}

/// Reserves an amount in all sums or in none.
///
/// # Errors
/// The name of a sum under whose cap the amount does not fit: of several, the one whose period ends last. It is
/// [marked](Sum::refuse).
pub fn reserve(amount: NanoUsd, sums: &mut [Budgeted]) -> Result<(), BudgetKey> {
    let full = sums.iter_mut().rev();
    let full = full.filter(|it| !it.sum.fits(amount, it.cap));
    if let Some(full) = full.max_by_key(|it| it.until) {
        full.sum.refuse(full.cap);
        return Err(full.budget);
    }
    for it in sums {
        it.sum.reserve(amount, it.cap);
    }
    Ok(())
}

/// Sorts sums for [`LedgerPage::budgets`](super::LedgerPage::budgets), and keeps the first.
pub fn ranked(mut sums: Vec<BudgetSum>, limit: usize) -> Vec<BudgetSum> {
    sums.sort_by_key(|it| Reverse((it.sum.alert, it.sum.spent, Reverse(it.budget))));
    sums.truncate(limit);
    sums
}

/// Returns the calendar month (UTC) of a time, such as `2026-11`.
pub fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

/// Returns the end of a month, such as `2026-11`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
pub fn month_end(month: &str) -> Result<Timestamp> {
    let wrong = |_| Error::invalid("month", "expected a year and a month, such as `2026-11`");
    let first: Timestamp = format!("{month}-01T00:00:00Z").parse().map_err(wrong)?;
    Ok(Period::Month.end(first))
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
