//! The inbox, as a turn takes it in: in order, with what a turn has to know about each event.

use super::{
    Action, Claim, Entry, Event, Evidence, Failure, Input, Journal, Loaded, ReplyPart, Stored,
};
use crate::{
    Body, ConversationRef, DeliveryState, ErrorKind, Receipt, Result, RoutedEvent, Timestamp,
};

/// How many records are read at once while a send is looked for, and how far back.
const PAGE: u64 = 64;
const FARTHEST: u64 = 1024;

/// Returns the highest number of the inbox that is known.
pub(super) fn newest(loaded: &Loaded) -> u64 {
    loaded.inbox.iter().map(|item| item.seq).max().unwrap_or(0)
}

/// Returns where to speak: where somebody last said something. What is known of a send may come from anywhere.
pub(super) fn place(loaded: &Loaded) -> ConversationRef {
    let said = loaded.inbox.iter().rev().find_map(|item| {
        let event = &item.event.as_ref()?.event;
        let says = matches!(
            event.body,
            Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
        );
        event.conversation.clone().filter(|_| says)
    });
    said.unwrap_or_else(|| loaded.place.clone())
}

/// Puts what came in into the order in which it is worked: by the provider's time, ties by arrival.
pub(super) async fn inputs(
    journal: &dyn Journal,
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
        let undelivered = match &event.body {
            Body::Delivery {
                state: DeliveryState::Failed,
                key: Some(key),
                ..
            } => sent(journal, claim, loaded.len, key).await?,
            _ => None,
        };
        inputs.push(Input {
            seq: item.seq,
            late: event.occurred_at < latest,
            persons: item.persons.clone(),
            undelivered,
            event,
        });
    }
    inputs.sort_by_key(|input| (input.event.occurred_at, input.seq));
    Ok(inputs)
}

/// Looks back in the log for what was sent under a key.
async fn sent(
    journal: &dyn Journal,
    claim: &Claim,
    len: u64,
    key: &str,
) -> Result<Option<ReplyPart>> {
    let mut to = len;
    while to > len.saturating_sub(FARTHEST) {
        let from = to.saturating_sub(PAGE);
        let page = journal
            .read(claim.tenant, claim.conversation, from..to)
            .await?;
        let found = page.iter().find_map(|stored| text(stored, key));
        if let Some(text) = found {
            return Ok(Some(ReplyPart {
                key: key.to_owned(),
                text,
            }));
        }
        to = from;
    }
    Ok(None)
}

fn text(stored: &Stored, of: &str) -> Option<String> {
    match &stored.record.as_ref()?.entry {
        Entry::Action(Action::Send { key, text, .. }) if key == of => Some(text.clone()),
        _ => None,
    }
}

/// Looks for the provider's word about a send among what came in. The event itself stays for a later turn.
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
            failure: Failure {
                kind: ErrorKind::Forbidden,
                retry_after_ms: None,
            },
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
