//! The inbox, as a turn takes it: in order, with what a turn has to know about each event.

use super::{Entry, Event, Evidence, Failure, Input, OpenItem};
use crate::{
    ConversationRef, ErrorKind, Result, Timestamp,
    channel::Receipt,
    message::{Body, DeliveryState, RoutedEvent},
    store::{Claim, InboxItem, Loaded, Store, Stored},
    turn::ItemKind,
};

/// How many records are read at once while a send is looked for, and how far back.
const PAGE: u64 = 64;
const FARTHEST: u64 = 1024;

/// Returns where to speak: where somebody last said something. A report about a send may come from anywhere.
pub(super) fn place(loaded: &Loaded) -> Option<ConversationRef> {
    let said = loaded.inbox.iter().rev().find_map(|item| {
        let event = &item.event.as_ref()?.event;
        let says = matches!(
            event.body,
            Body::Message { .. }
                | Body::Command { .. }
                | Body::Action { .. }
                | Body::Proactive { .. }
        );
        event.conversation.clone().filter(|_| says)
    });
    said.or_else(|| loaded.place.clone())
}

/// Returns whether an event needs a turn: a report about a send whose outcome is known and recorded does not.
pub(super) fn needs_turn(loaded: &Loaded, item: &InboxItem) -> bool {
    match item.event.as_ref().map(|routed| &routed.event.body) {
        Some(Body::Delivery { key, state, .. }) => {
            *state == DeliveryState::Failed || about(&loaded.items, key.as_deref()).is_some()
        }
        Some(_) => true,
        None => false,
    }
}

/// Returns whether anything in the inbox may be answered: a turn that says nothing needs no working connection.
pub(super) fn asks(loaded: &Loaded) -> bool {
    loaded.inbox.iter().any(|item| {
        let Some(event) = item.event.as_ref().map(|routed| &routed.event) else {
            return false;
        };
        let to_it = event.addressed != crate::message::Addressing::default();
        match event.body {
            Body::Message { .. } | Body::Command { .. } | Body::Action { .. } => to_it,
            Body::Decision { .. } | Body::Proactive { .. } => true,
            _ => false,
        }
    })
}

/// Returns up to where a turn consumes the inbox. A proactive message is a turn of its own, so that nobody's question waits for its
/// parts and no model is asked about it.
pub(super) fn consume_to(loaded: &Loaded, most: usize) -> u64 {
    let mut items: Vec<&InboxItem> = loaded.inbox.iter().take(most).collect();
    items.sort_by_key(|item| item.seq);
    match items.iter().position(|item| proactive(item)) {
        Some(0) => items[0].seq,
        Some(first) => items[first - 1].seq,
        None => items.last().map_or(0, |item| item.seq),
    }
}

/// Returns whether the oldest event of the inbox is a proactive message.
pub(super) fn starts_proactive(loaded: &Loaded) -> bool {
    let oldest = loaded.inbox.iter().min_by_key(|item| item.seq);
    oldest.is_some_and(proactive)
}

fn proactive(item: &InboxItem) -> bool {
    let event = item.event.as_ref().map(|routed| &routed.event.body);
    matches!(event, Some(Body::Proactive { .. }))
}

/// Returns the open item that a delivery key belongs to.
fn about<'a>(items: &'a [OpenItem], key: Option<&str>) -> Option<&'a OpenItem> {
    let key = key?;
    items.iter().find(|item| match &item.kind {
        ItemKind::Send { keys, .. } => keys.first().is_some_and(|first| first == key),
        _ => false,
    })
}

/// Puts what came in into the order in which it is processed: by the vendor's time, ties by arrival.
pub(super) async fn inputs(
    store: &dyn Store,
    claim: &Claim,
    loaded: &Loaded,
    latest: Timestamp,
    consume_to: u64,
) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for item in loaded.inbox.iter().filter(|item| item.seq <= consume_to) {
        let Some(RoutedEvent { mut event, .. }) = item.event.clone() else {
            continue;
        };
        if !matches!(event.body, Body::Unsupported { .. }) {
            // What was understood needs no second copy; what was not is kept as it came.
            event.raw = None;
        }
        let by_id = |id: &str| loaded.items.iter().find(|item| item.id.0 == id).cloned();
        let (mut about, mut undelivered) = (None, None);
        match &event.body {
            Body::Delivery { state, key, .. } => {
                about = self::about(&loaded.items, key.as_deref()).cloned();
                if let (DeliveryState::Failed, None, Some(key)) = (state, &about, key) {
                    undelivered = sent(store, claim, loaded.len, key).await?;
                }
            }
            Body::Decision { item, .. } => about = by_id(&item.0),
            Body::Action { action, .. } => about = by_id(action),
            _ => {}
        }
        let mut persons = item.persons.clone();
        if let (Body::Proactive { .. }, Some(person)) = (&event.body, loaded.state.person)
            && !persons.contains(&person)
        {
            persons.push(person);
        }
        inputs.push(Input {
            seq: item.seq,
            accepted_at: item.accepted_at,
            late: event.occurred_at < latest,
            persons,
            about,
            undelivered,
            event,
        });
    }
    inputs.sort_by_key(|input| (input.event.occurred_at, input.seq));
    Ok(inputs)
}

/// Looks back in the log for the record that holds what was sent under a key.
async fn sent(store: &dyn Store, claim: &Claim, len: u64, key: &str) -> Result<Option<u64>> {
    let mut to = len;
    while to > len.saturating_sub(FARTHEST) {
        let from = to.saturating_sub(PAGE);
        let page = store
            .read(claim.tenant, claim.conversation, from..to)
            .await?;
        if let Some(found) = page.iter().find(|stored| holds(stored, key)) {
            return Ok(Some(found.index));
        }
        to = from;
    }
    Ok(None)
}

fn holds(stored: &Stored, key: &str) -> bool {
    match stored.record.as_ref().map(|record| &record.entry) {
        Some(Entry::Event(Event::Rendered { parts, .. })) => {
            parts.iter().any(|part| part.key == key)
        }
        _ => false,
    }
}

/// Looks for the vendor's report about a send among what came in. The event itself stays for later.
pub(super) fn evidence(loaded: &Loaded, key: &str) -> Option<Event> {
    let mut words = loaded.inbox.iter().filter_map(|item| {
        let event = &item.event.as_ref()?.event;
        match &event.body {
            Body::Delivery {
                message,
                state,
                key: Some(of),
                ..
            } if of == key => Some((item.seq, message, *state)),
            _ => None,
        }
    });
    let (seq, message, state) = words.next()?;
    Some(if state == DeliveryState::Failed {
        Event::SendFailed {
            key: key.to_owned(),
            failure: Failure::of(ErrorKind::Forbidden),
        }
    } else {
        Event::SendDone {
            key: key.to_owned(),
            receipt: Receipt {
                message: (!message.is_empty()).then(|| message.clone()),
            },
            evidence: Evidence::Event { seq },
        }
    })
}
