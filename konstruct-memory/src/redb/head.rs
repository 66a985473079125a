//! A conversation's own row, its inbox and its log: how they are written as bytes and read back.

use std::ops::ControlFlow;

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, Error, ErrorKind, Opened, PersonId, Result,
    RoutedEvent, TenantId, Timestamp,
    turn::{ConversationSummary, InboxItem, Record, Stored},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Shared,
    keys::{self, HEADS, INBOX, LOG, PLACES, Table},
    snapshot::Rows,
};

/// A conversation's counters: no content, so it is not sealed.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// The length of the log.
    pub(super) len: u64,
    /// The highest number of the inbox.
    pub(super) last: u64,
    /// Up to where the inbox is consumed.
    pub(super) consumed: u64,
    /// When its timer is due.
    pub(super) timer: Option<Timestamp>,
    /// The index of the last checkpoint.
    pub(super) checkpoint: Option<u64>,
    /// Whether the last record that was written was no checkpoint: a turn is under way.
    pub(super) open: bool,
    /// Whether it stands in the table of those that are ready when the file opens.
    pub(super) pending: bool,
    /// When something last came in or was written.
    pub(super) updated_at: Timestamp,
}

impl Head {
    pub(super) fn unconsumed(&self) -> u64 {
        self.last - self.consumed
    }

    pub(super) fn due(&self, now: Timestamp) -> bool {
        self.timer.is_some_and(|when| when <= now)
    }

    /// Whether it is ready when the file opens, by more than its timer. A turn that waits for a timer is not.
    pub(super) fn unfinished(&self) -> bool {
        self.unconsumed() > 0 || (self.open && self.timer.is_none())
    }
}

/// Where a conversation is held. An address, so it is sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) connection: ConnectionId,
    pub(super) place: ConversationRef,
}

/// Reads JSON that this store wrote.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a stored row does not read back").with_source(error)
    })
}

/// Writes JSON.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("a row cannot be written as JSON").with_source(error))
}

pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row is too short")
}

impl Shared {
    /// Seals a value to its place: the table and the whole key, tenant included.
    pub(super) fn seal<T: Serialize>(
        &self,
        tenant: TenantId,
        persons: &[PersonId],
        (table, key): (Table, &[u8]),
        value: &T,
    ) -> Result<Vec<u8>> {
        let sealed = self
            .sealer
            .seal(tenant, persons, &place_of(table, key), &encode(value)?)?;
        Ok(sealed.into())
    }

    /// Opens a value; `None` where nobody can any more.
    pub(super) fn unseal<T: DeserializeOwned>(
        &self,
        tenant: TenantId,
        (table, key): (Table, &[u8]),
        sealed: &[u8],
    ) -> Result<Option<T>> {
        match self.sealer.open(tenant, &place_of(table, key), sealed)? {
            Opened::Bytes(plain) => decode(&plain).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads a conversation's counters.
    pub(super) fn head(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Head>> {
        rows.get(HEADS, &keys::conversation(tenant, conversation))?
            .map(|bytes| decode(&bytes))
            .transpose()
    }

    /// Reads where a conversation is held.
    pub(super) fn place(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Place> {
        let key = keys::conversation(tenant, conversation);
        let sealed = rows.get(PLACES, &key)?.ok_or_else(corrupt)?;
        self.unseal(tenant, (PLACES, &key), &sealed)?
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a conversation's place is sealed"))
    }

    /// Describes a conversation.
    pub(super) fn summary(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        id: ConversationId,
        head: &Head,
    ) -> Result<ConversationSummary> {
        let Place { connection, place } = self.place(rows, tenant, id)?;
        Ok(ConversationSummary {
            id,
            connection,
            place,
            len: head.len,
            unconsumed: head.unconsumed(),
            updated_at: head.updated_at,
        })
    }

    /// Writes an inbox item: when, whose, and the sealed event.
    pub(super) fn inbox_row(
        &self,
        tenant: TenantId,
        key: &[u8],
        accepted_at: Timestamp,
        persons: &[PersonId],
        event: &RoutedEvent,
    ) -> Result<Vec<u8>> {
        let count = u8::try_from(persons.len())
            .map_err(|_| Error::invalid("persons", "at most 255 an event"))?;
        let mut row = accepted_at.as_micros().to_be_bytes().to_vec();
        row.push(count);
        for person in persons {
            row.extend_from_slice(person.as_bytes());
        }
        row.extend(self.seal(tenant, persons, (INBOX, key), event)?);
        Ok(row)
    }

    /// Reads an inbox item back.
    pub(super) fn inbox_item(&self, tenant: TenantId, key: &[u8], row: &[u8]) -> Result<InboxItem> {
        let accepted_at =
            Timestamp::from_micros(keys::number(row, 0).ok_or_else(corrupt)?.cast_signed());
        let count = usize::from(*row.get(8).ok_or_else(corrupt)?);
        let persons = (0..count)
            .map(|n| keys::id(row, 9 + 16 * n).map(PersonId::from_bytes))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(corrupt)?;
        Ok(InboxItem {
            seq: keys::number(key, 32).ok_or_else(corrupt)?,
            accepted_at,
            persons,
            event: self.unseal(tenant, (INBOX, key), &row[9 + 16 * count..])?,
        })
    }

    /// Reads what was not consumed, by number.
    pub(super) fn inbox(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Vec<InboxItem>> {
        let mut items = Vec::new();
        let prefix = keys::conversation(tenant, conversation);
        rows.scan_prefix(INBOX, &prefix, &mut |key, row| {
            items.push(self.inbox_item(tenant, key, row)?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Writes a row of the log: its cursor in the feed, and the sealed record.
    pub(super) fn log_row(
        &self,
        tenant: TenantId,
        key: &[u8],
        cursor: u64,
        record: &Record,
    ) -> Result<Vec<u8>> {
        let persons = record.persons.iter().copied().collect::<Vec<_>>();
        let mut row = cursor.to_be_bytes().to_vec();
        row.extend(self.seal(tenant, &persons, (LOG, key), record)?);
        Ok(row)
    }

    /// Reads a row of the log back.
    pub(super) fn log_record(&self, tenant: TenantId, key: &[u8], row: &[u8]) -> Result<Stored> {
        Ok(Stored {
            index: keys::number(key, 32).ok_or_else(corrupt)?,
            record: self.unseal(tenant, (LOG, key), row.get(8..).ok_or_else(corrupt)?)?,
        })
    }

    /// Reads the log from one index to another, the last excluded.
    pub(super) fn log(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<Stored>> {
        let mut records = Vec::new();
        if range.is_empty() {
            return Ok(records);
        }
        let from = keys::item(tenant, conversation, range.start);
        let to = keys::item(tenant, conversation, range.end);
        rows.scan(LOG, &from, &to, &mut |key, row| {
            records.push(self.log_record(tenant, key, row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(records)
    }
}

fn place_of(table: Table, key: &[u8]) -> Vec<u8> {
    let mut aad = table.0.as_bytes().to_vec();
    aad.push(0);
    aad.extend_from_slice(key);
    aad
}
