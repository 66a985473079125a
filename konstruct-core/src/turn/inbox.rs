//! Reads the inbox for a turn: the events in order, each with the open item that it concerns.

use super::{Entry, Event, Evidence, Failure, Input, OpenItem, SentVia};
use crate::{
    ConversationRef, ErrorKind, Inbound, Result, Timestamp,
    channel::Receipt,
    message::{ActorKind, Body, ConversationKind, DeliveryState, Origin, RoutedEvent},
    store::{Claim, InboxItem, Loaded, Store, Stored},
    turn::ItemKind,
};

/// The number of records read at a time while looking for a sent message, and how far back the search goes.
const PAGE: u64 = 64;
const FARTHEST: u64 = 1024;

/// Returns where to reply: the place of the last message, command, button press or proactive message. A delivery status may come
/// from elsewhere.
pub(super) fn reply_to(loaded: &Loaded) -> Option<ConversationRef> {
    let last = loaded.inbox.iter().rev().find_map(|item| {
        let event = &item.event.as_ref()?.event;
        let says = matches!(
            event.body,
            Body::Message { .. }
                | Body::Command { .. }
                | Body::Action { .. }
                | Body::Unsupported { .. }
                | Body::Proactive { .. }
        );
        event.conversation.clone().filter(|_| says)
    });
    last.or_else(|| loaded.place.clone())
}

/// Returns whether an event needs a turn. The status of a send whose outcome is already recorded does not, nor do messages of the
/// provider, such as Slackbot's.
pub(super) fn needs_turn(loaded: &Loaded, item: &InboxItem) -> bool {
    let Some(event) = item.event.as_ref().map(|routed| &routed.event) else {
        return false;
    };
    match &event.body {
        Body::Delivery { key, state, .. } => {
            *state == DeliveryState::Failed || about(&loaded.items, key.as_deref()).is_some()
        }
        Body::Message { .. } | Body::Edited { .. } | Body::Action { .. } | Body::Command { .. } => {
            event.sender.kind != ActorKind::System
        }
        _ => true,
    }
}

/// Returns whether the inbox contains anything that may be answered. A turn that sends nothing does not need a working
/// connection.
pub(super) fn expects_reply(loaded: &Loaded) -> bool {
    loaded.inbox.iter().any(|item| {
        let Some(event) = item.event.as_ref().map(|routed| &routed.event) else {
            return false;
        };
        let to_it = event.addressed != crate::message::Addressing::default();
        match event.body {
            Body::Message { .. }
            | Body::Command { .. }
            | Body::Action { .. }
            | Body::Unsupported { .. } => to_it,
            Body::Decision { .. } | Body::Proactive { .. } => true,
            _ => false,
        }
    })
}

/// Returns the number of the last event of the next turn; `None` for an empty inbox.
///
/// A proactive message has a turn of its own, so that nobody's question waits for its parts, and the model is not called for it.
/// So does an interaction whose answer goes elsewhere, together with the other actions of the same interaction: the answer to a
/// message in the conversation must not go there as well.
pub(super) fn turn_end(inbox: &[InboxItem]) -> Option<u64> {
    let first = inbox.first()?;
    if let Some(before) = before_apart(inbox) {
        return Some(before);
    }
    let together = inbox.iter().take_while(|item| {
        let origin = origin(item);
        item.seq == first.seq || origin.is_some() && origin == self::origin(first)
    });
    together.last().map(|item| item.seq)
}

/// Returns the number of the last event before the first one that has a turn of its own; `None` if there is no such event.
pub(super) fn before_apart(inbox: &[InboxItem]) -> Option<u64> {
    let apart = |item: &InboxItem| proactive(item) || origin(item).is_some_and(is_apart);
    let before = inbox.iter().take_while(|item| !apart(item));
    before.last().map(|item| item.seq)
}

/// Returns whether the answer to an interaction goes elsewhere than to its conversation.
pub(super) fn is_apart(origin: &Origin) -> bool {
    !SentVia::ways(Some(origin))[0].is_conversation()
}

fn origin(item: &InboxItem) -> Option<&Origin> {
    item.event.as_ref()?.event.origin.as_deref()
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

/// Sorts the new events into the order in which they are processed: by the provider's time, then by arrival.
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
            // A decoded event does not need its raw JSON; an unsupported one keeps it.
            event.raw = None;
        }
        if quotes_someone(&event) && find_quoted(store, claim, loaded.len, &event).await? {
            event.addressed.mention = true;
        }
        let by_id = |id: &str| loaded.items.iter().find(|item| item.id.0 == id).cloned();
        let (mut about, mut undelivered) = (None, None);
        match &event.body {
            Body::Delivery { state, key, .. } => {
                about = self::about(&loaded.items, key.as_deref()).cloned();
                if let (DeliveryState::Failed, None, Some(key)) = (state, &about, key) {
                    undelivered = find_sent(store, claim, loaded.len, key).await?;
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

/// Returns whether an event is a message in a group that quotes another one whose author the provider does not name.
fn quotes_someone(event: &Inbound) -> bool {
    let group = event.conversation.as_ref();
    matches!(event.body, Body::Message { .. })
        && group.is_some_and(|place| place.kind == ConversationKind::Group)
        && !event.addressed.mention
        && event.quoted.as_ref().is_some_and(|it| it.author.is_none())
}

/// Searches the log backwards for the message that an event quotes. Returns whether the employee sent it.
async fn find_quoted(store: &dyn Store, claim: &Claim, len: u64, event: &Inbound) -> Result<bool> {
    let Some(quoted) = event.quoted.as_ref().map(|it| it.message.as_str()) else {
        return Ok(false);
    };
    let found = find_record(store, claim, len, |stored| {
        let record = stored.record.as_ref();
        matches!(record.map(|it| &it.entry), Some(Entry::Event(Event::SendDone { receipt, .. }))
            if receipt.message.as_deref() == Some(quoted))
    });
    Ok(found.await?.is_some())
}

/// Searches the log backwards for the record that contains the message sent under a key.
async fn find_sent(store: &dyn Store, claim: &Claim, len: u64, key: &str) -> Result<Option<u64>> {
    find_record(store, claim, len, |stored| contains_part(stored, key)).await
}

async fn find_record(
    store: &dyn Store,
    claim: &Claim,
    len: u64,
    wanted: impl Fn(&Stored) -> bool,
) -> Result<Option<u64>> {
    let mut to = len;
    while to > len.saturating_sub(FARTHEST) {
        let from = to.saturating_sub(PAGE);
        let page = store
            .read(claim.tenant, claim.conversation, from..to)
            .await?;
        if let Some(found) = page.iter().find(|stored| wanted(stored)) {
            return Ok(Some(found.index));
        }
        to = from;
    }
    Ok(None)
}

fn contains_part(stored: &Stored, key: &str) -> bool {
    match stored.record.as_ref().map(|record| &record.entry) {
        Some(Entry::Event(Event::Rendered { parts, .. })) => {
            parts.iter().any(|part| part.key == key)
        }
        _ => false,
    }
}

/// Looks for the provider's report about a send in the inbox. The event is not consumed here.
pub(super) fn delivery_report(loaded: &Loaded, key: &str) -> Option<Event> {
    let mut reports = loaded.inbox.iter().filter_map(|item| {
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
    let (seq, message, state) = reports.next()?;
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
