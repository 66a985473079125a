//! Prepares an event on the caller's thread: computes its hashed names, and seals it if there is more than one processor.
//!
//! Only the writer knows the number of an event. The event is therefore sealed to a random token and the conversation, and the
//! writer binds the token to the row with a keyed hash.

use konstruct_core::{
    ConversationId, ConversationRef, PersonId, Result, TenantId, Timestamp,
    message::RoutedEvent,
    store::{InboxItem, rules},
};

use super::{
    Shared,
    head::corrupt,
    keys::{self, INBOX},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};
use crate::seal::{self, KeyId};

/// The length of the token and its tag, which precede the sealed event.
const TAGGED: usize = 32;

/// The hashed names of an event, and the sealed event if it could be prepared.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its keys in the tables of event ids and of logical ids.
    pub(super) event: Option<Vec<u8>>,
    pub(super) logical: Option<Vec<u8>>,
    /// The sender, by name only, without links.
    pub(super) person: Option<PersonId>,
    /// The addresses that are one person's.
    pub(super) same: Vec<PersonId>,
    /// Its conversation, by address only.
    pub(super) conversation: ConversationId,
    /// The other names of its conversation.
    pub(super) others: Vec<ConversationId>,
    envelope: Option<Envelope>,
}

#[derive(Debug)]
struct Envelope {
    token: [u8; 16],
    persons: Vec<KeyId>,
    sealed: Vec<u8>,
}

impl Shared {
    /// Prepares events; `None` for a tenant without a key.
    pub(super) fn arrivals(
        &self,
        tenant: TenantId,
        events: &[RoutedEvent],
    ) -> Result<Option<(Vault, Vec<Arrival>)>> {
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(None);
        };
        let arrivals = events
            .iter()
            .map(|routed| {
                let mut arrival = vault.arrival(routed);
                arrival.envelope = vault.envelope(&mut snapshot, &arrival, routed)?;
                Ok(arrival)
            })
            .collect::<Result<_>>()?;
        Ok(Some((vault, arrivals)))
    }
}

impl Vault {
    /// Computes the names of an event without sealing it.
    pub(super) fn arrival(&self, routed: &RoutedEvent) -> Arrival {
        let event = &routed.event;
        let name = |label: &str, id: &str| {
            let bytes = [routed.connection.as_bytes().as_slice(), id.as_bytes()].concat();
            (!id.is_empty()).then(|| self.named(label, &bytes))
        };
        let place = event.conversation.as_ref().map(ConversationRef::key);
        let address = |id: &str| self.key.person(event.channel.as_str(), id);
        Arrival {
            event: name("event", &event.id),
            logical: name("logical", &event.logical_id),
            person: event.sender.id().map(address),
            same: rules::addresses(event).into_iter().map(address).collect(),
            others: rules::places(event)
                .into_iter()
                .skip(1)
                .map(|id| self.conversation(routed.connection, id))
                .collect(),
            conversation: self.conversation(routed.connection, place.as_deref().unwrap_or("")),
            envelope: None,
        }
    }

    fn envelope(
        &mut self,
        rows: &mut dyn Rows,
        arrival: &Arrival,
        routed: &RoutedEvent,
    ) -> Result<Option<Envelope>> {
        let token = seal::token()?;
        let place = sealed_to(self.tenant(), arrival.conversation, &token);
        let mut sealed = Vec::new();
        let persons = arrival.person.as_slice();
        if !self.seal_known(rows, persons, (INBOX, &place), routed, &mut sealed)? {
            return Ok(None);
        }
        Ok(Some(Envelope {
            token,
            persons: seal::persons(&sealed)?,
            sealed,
        }))
    }

    /// Writes an inbox item: its time, its persons, the token with a tag that binds it to the row, and the sealed event.
    pub(super) fn inbox_row(
        &mut self,
        batch: &mut Batch<'_>,
        (conversation, seq): (ConversationId, u64),
        (accepted_at, persons): (Timestamp, &[PersonId]),
        event: &RoutedEvent,
        arrival: Option<&mut Arrival>,
    ) -> Result<Vec<u8>> {
        let mut row = super::head::inbox_head(accepted_at, persons)?;
        let key = keys::item(self.tenant(), conversation, seq);
        let prepared = match arrival {
            Some(arrival) if arrival.conversation == conversation => arrival.envelope.take(),
            _ => None,
        };
        if let Some(Envelope {
            token,
            persons: sealed_to,
            sealed,
        }) = prepared
            && self.has_these(batch, persons, &sealed_to)?
        {
            self.put_token(&mut row, &key, &token);
            row.extend_from_slice(&sealed);
            return Ok(row);
        }
        let token = seal::token()?;
        self.put_token(&mut row, &key, &token);
        let place = sealed_to(self.tenant(), conversation, &token);
        self.seal_onto(batch, persons, (INBOX, &place), event, &mut row)?;
        Ok(row)
    }

    fn put_token(&self, row: &mut Vec<u8>, key: &[u8], token: &[u8; 16]) {
        row.extend_from_slice(token);
        row.extend_from_slice(&self.tag(key, token));
    }

    fn tag(&self, key: &[u8], token: &[u8]) -> [u8; 16] {
        self.key.hash("inbox", &[key, token].concat())
    }

    /// Returns whether these are the current keys of the persons.
    fn has_these(
        &mut self,
        batch: &mut Batch<'_>,
        persons: &[PersonId],
        keys: &[KeyId],
    ) -> Result<bool> {
        let mut now = Vec::with_capacity(persons.len());
        for person in persons {
            now.extend(self.known_key(batch, *person)?.map(|key| key.id));
        }
        now.sort_unstable();
        Ok(now == keys)
    }

    /// Reads an inbox item.
    pub(super) fn inbox_item(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        row: &[u8],
    ) -> Result<InboxItem> {
        let accepted_at =
            Timestamp::from_micros(keys::number(row, 0).ok_or_else(corrupt)?.cast_signed());
        let persons = super::head::inbox_persons(row)?;
        let rest = row.get(9 + 16 * persons.len()..).ok_or_else(corrupt)?;
        let (tagged, sealed) = rest.split_at_checked(TAGGED).ok_or_else(corrupt)?;
        let (token, tag) = tagged.split_at(16);
        if self.tag(key, token) != tag {
            return Err(seal::damaged());
        }
        let conversation = ConversationId::from_bytes(keys::id(key, 16).ok_or_else(corrupt)?);
        let place = sealed_to(self.tenant(), conversation, token);
        Ok(InboxItem {
            seq: keys::number(key, 32).ok_or_else(corrupt)?,
            accepted_at,
            persons,
            event: self.open(rows, (INBOX, &place), sealed)?,
        })
    }
}

/// Returns the ids of the keys that the event of an inbox item is sealed with.
pub(super) fn inbox_keys(row: &[u8]) -> Result<Vec<KeyId>> {
    let persons = super::head::inbox_persons(row)?.len();
    let sealed = row.get(9 + 16 * persons + TAGGED..).ok_or_else(corrupt)?;
    seal::persons(sealed)
}

/// Returns the place that an event is sealed to: its conversation and its token.
fn sealed_to(tenant: TenantId, conversation: ConversationId, token: &[u8]) -> Vec<u8> {
    keys::of(tenant, &[conversation.as_bytes(), token])
}
