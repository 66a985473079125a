//! Finds the messages that the inputs of a turn quote. An event only refers to them, because their text belongs to its author.

use std::collections::{BTreeSet, HashMap};

use super::{
    Entry, Event, Input, QuotedRecord, Record, input_text::Quote, spoken::contains_message,
};
use crate::{
    PersonId, Result,
    message::Body,
    store::{Claim, Store, Stored},
};

/// The number of records read at a time, and how far back a quoted message is searched.
const PAGE: u64 = 64;
const FARTHEST: u64 = 1024;

/// A quoted message that was found.
pub(super) struct Found {
    pub(super) at: QuotedRecord,
    pub(super) quote: Quote,
    /// The persons to whose keys its record is sealed.
    pub(super) persons: BTreeSet<PersonId>,
}

/// Searches the log backwards for the messages that inputs quote. Messages of persons in the window are shown anyway. A message
/// that is not found is left out.
pub(super) async fn find(
    store: &dyn Store,
    claim: &Claim,
    (inputs, window): (&[Input], &[Stored]),
    len: u64,
) -> Result<Vec<Found>> {
    let in_window = |id: &str| {
        let mut records = window.iter().filter_map(|stored| stored.record.as_deref());
        records.any(|record| refers_to(record, id))
    };
    let quoted = inputs
        .iter()
        .filter_map(|input| input.event.quoted.as_ref());
    let mut wanted: BTreeSet<&str> = quoted
        .filter(|quoted| quoted.text.is_none() && !quoted.message.is_empty())
        .map(|quoted| quoted.message.as_str())
        .filter(|id| !in_window(id))
        .collect();
    // The delivery keys of the employee's messages, which are recorded after their content.
    let mut sent: HashMap<String, &str> = HashMap::new();
    let (mut found, mut to) = (Vec::new(), len);
    while to > len.saturating_sub(FARTHEST) && !(wanted.is_empty() && sent.is_empty()) {
        let from = to.saturating_sub(PAGE);
        let page = store
            .read(claim.tenant, claim.conversation, from..to)
            .await?;
        for stored in page.into_iter().rev() {
            let Some(record) = stored.record.as_deref() else {
                continue;
            };
            let mut add = |message: &str, part: Option<String>| {
                let at = QuotedRecord {
                    message: message.to_owned(),
                    record: stored.index,
                    part,
                };
                found.extend(quote(record, &at).map(|quote| Found {
                    at,
                    quote,
                    persons: record.persons.clone(),
                }));
            };
            match &record.entry {
                Entry::Event(Event::Received(_)) => {
                    // A deleted message is not searched further.
                    let these = wanted.extract_if(.., |id| refers_to(record, id));
                    these.for_each(|id| add(id, None));
                }
                Entry::Event(Event::SendDone { key, receipt, .. }) => {
                    let id = receipt.message.as_deref();
                    if let Some(id) = id.and_then(|id| wanted.take(id)) {
                        sent.insert(key.clone(), id);
                    }
                }
                Entry::Event(Event::Rendered { parts, .. }) => {
                    for part in parts {
                        if let Some(id) = sent.remove(&part.key) {
                            add(id, Some(part.key.clone()));
                        }
                    }
                }
                _ => {}
            }
        }
        to = from;
    }
    Ok(found)
}

/// Reads messages that were found before.
pub(super) async fn read(
    store: &dyn Store,
    claim: &Claim,
    quoted: &[QuotedRecord],
) -> Result<Vec<(String, Quote)>> {
    let mut quotes = Vec::with_capacity(quoted.len());
    for at in quoted {
        let range = at.record..at.record + 1;
        let page = store.read(claim.tenant, claim.conversation, range).await?;
        let record = page.first().and_then(|stored| stored.record.as_deref());
        let quote = record.and_then(|record| quote(record, at));
        quotes.extend(quote.map(|quote| (at.message.clone(), quote)));
    }
    Ok(quotes)
}

/// Returns whether a record contains, edits or deletes a person's message, or is the interaction with this id.
fn refers_to(record: &Record, id: &str) -> bool {
    let Entry::Event(Event::Received(input)) = &record.entry else {
        return false;
    };
    contains_message(record, id)
        || match &input.event.body {
            Body::Deleted { message } => message == id,
            Body::Action { .. } | Body::Command { .. } => input.event.id == id,
            _ => false,
        }
}

fn quote(record: &Record, at: &QuotedRecord) -> Option<Quote> {
    match &record.entry {
        Entry::Event(Event::Received(input)) => Quote::of(input),
        Entry::Event(Event::Rendered { parts, .. }) => {
            let part = parts
                .iter()
                .find(|part| Some(&part.key) == at.part.as_ref())?;
            Some(Quote {
                author: None,
                text: part.what.text.clone(),
            })
        }
        _ => None,
    }
}
