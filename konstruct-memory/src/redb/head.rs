//! A conversation's own row, its inbox and its log: how they are written as bytes and read back.

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, Error, ErrorKind, PersonId, Result, TenantId,
    Timestamp,
    turn::{ConversationSummary, InboxItem, Record, Stored},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Shared,
    keys::{self, HEADS, INBOX, LOG, PLACES},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};
use crate::seal::{self, KeyId};

/// A conversation's counters: no content, so it is not sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The length of the log.
    pub(super) len: u64,
    /// The highest number of the inbox.
    pub(super) last: u64,
    /// Up to where the inbox is consumed.
    pub(super) consumed: u64,
    /// How many events after that were erased.
    pub(super) gone: u64,
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

/// The bits of the first byte of a written head.
const OPEN: u8 = 1;
const PENDING: u8 = 2;
const TIMER: u8 = 4;
const CHECKPOINT: u8 = 8;

impl Head {
    /// Writes it: a byte of flags, and the numbers.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let flag = |bit, on| if on { bit } else { 0 };
        let mut row = vec![
            flag(OPEN, self.open)
                | flag(PENDING, self.pending)
                | flag(TIMER, self.timer.is_some())
                | flag(CHECKPOINT, self.checkpoint.is_some()),
        ];
        for number in [
            self.len,
            self.last,
            self.consumed,
            self.gone,
            self.updated_at.as_micros().cast_unsigned(),
            self.timer
                .map_or(0, |when| when.as_micros().cast_unsigned()),
            self.checkpoint.unwrap_or(0),
        ] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        row
    }

    /// Reads it back.
    pub(super) fn read(row: &[u8]) -> Result<Self> {
        let flags = *row.first().ok_or_else(corrupt)?;
        let number = |n: usize| keys::number(row, 1 + 8 * n).ok_or_else(corrupt);
        let time = |n| number(n).map(|time| Timestamp::from_micros(time.cast_signed()));
        let (timer, checkpoint) = (time(5)?, number(6)?);
        Ok(Self {
            len: number(0)?,
            last: number(1)?,
            consumed: number(2)?,
            gone: number(3)?,
            updated_at: time(4)?,
            timer: (flags & TIMER != 0).then_some(timer),
            checkpoint: (flags & CHECKPOINT != 0).then_some(checkpoint),
            open: flags & OPEN != 0,
            pending: flags & PENDING != 0,
        })
    }

    pub(super) fn unconsumed(&self) -> u64 {
        self.last - self.consumed - self.gone
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

/// Appends JSON.
pub(super) fn encode_onto<T: Serialize>(value: &T, row: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(row, value)
        .map_err(|error| Error::internal("a row cannot be written as JSON").with_source(error))
}

pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row is too short")
}

/// The beginning of an inbox item: when it was accepted, and whose words it holds.
pub(super) fn inbox_head(accepted_at: Timestamp, persons: &[PersonId]) -> Result<Vec<u8>> {
    let count = u8::try_from(persons.len())
        .map_err(|_| Error::invalid("persons", "at most 255 an event"))?;
    let mut row = accepted_at.as_micros().to_be_bytes().to_vec();
    row.push(count);
    for person in persons {
        row.extend_from_slice(person.as_bytes());
    }
    Ok(row)
}

/// Whose words an inbox item holds.
pub(super) fn inbox_persons(row: &[u8]) -> Result<Vec<PersonId>> {
    let count = usize::from(*row.get(8).ok_or_else(corrupt)?);
    (0..count)
        .map(|n| keys::id(row, 9 + 16 * n).map(PersonId::from_bytes))
        .collect::<Option<_>>()
        .ok_or_else(corrupt)
}

/// The keys that a row of the log is sealed with; none for one that is blank.
pub(super) fn sealed_to(row: &[u8]) -> Result<Vec<KeyId>> {
    match row.get(8..).ok_or_else(corrupt)? {
        [] => Ok(Vec::new()),
        sealed => seal::persons(sealed),
    }
}

/// A row of the log without its record; `None` where there is none any more.
pub(super) fn blanked(row: &[u8]) -> Option<Vec<u8>> {
    (row.len() > 8).then(|| row[..8].to_vec())
}

impl Shared {
    /// Reads a conversation's counters.
    pub(super) fn head(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Head>> {
        rows.get(HEADS, &keys::conversation(tenant, conversation))?
            .map(|row| Head::read(&row))
            .transpose()
    }
}

impl Vault {
    /// Reads where a conversation is held.
    pub(super) fn held(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
    ) -> Result<Place> {
        let key = keys::conversation(self.tenant(), conversation);
        let sealed = rows.get(PLACES, &key)?.ok_or_else(corrupt)?;
        self.open(rows, (PLACES, &key), &sealed)?
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a conversation's place is sealed"))
    }

    /// Describes a conversation.
    pub(super) fn summary(
        &mut self,
        rows: &mut dyn Rows,
        id: ConversationId,
        head: &Head,
    ) -> Result<ConversationSummary> {
        let Place { connection, place } = self.held(rows, id)?;
        Ok(ConversationSummary {
            id,
            connection,
            place,
            len: head.len,
            unconsumed: head.unconsumed(),
            updated_at: head.updated_at,
        })
    }

    /// Reads what was not consumed, by number.
    pub(super) fn inbox(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
    ) -> Result<Vec<InboxItem>> {
        rows.all(INBOX, &keys::conversation(self.tenant(), conversation))?
            .iter()
            .map(|(key, row)| self.inbox_item(rows, key, row))
            .collect()
    }

    /// Writes a row of the log: its cursor in the feed, and the sealed record.
    pub(super) fn log_row(
        &mut self,
        batch: &mut Batch<'_>,
        key: &[u8],
        cursor: u64,
        record: &Record,
    ) -> Result<Vec<u8>> {
        let persons = record.persons.iter().copied().collect::<Vec<_>>();
        let mut row = cursor.to_be_bytes().to_vec();
        self.seal_onto(batch, &persons, (LOG, key), record, &mut row)?;
        Ok(row)
    }

    /// Reads a row of the log back.
    pub(super) fn log_record(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        row: &[u8],
    ) -> Result<Stored> {
        Ok(Stored {
            index: keys::number(key, 32).ok_or_else(corrupt)?,
            record: match row.get(8..).ok_or_else(corrupt)? {
                [] => None,
                sealed => self.open(rows, (LOG, key), sealed)?,
            },
        })
    }

    /// Reads the log from one index to another, the last excluded.
    pub(super) fn log(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<Stored>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let from = keys::item(self.tenant(), conversation, range.start);
        let to = keys::item(self.tenant(), conversation, range.end);
        rows.page(LOG, &from, &to, usize::MAX)?
            .iter()
            .map(|(key, row)| self.log_record(rows, key, row))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back() {
        let whole = Head {
            len: 1,
            last: 2,
            consumed: 3,
            gone: 4,
            timer: Some(Timestamp::from_micros(-5)),
            checkpoint: Some(0),
            open: true,
            pending: true,
            updated_at: Timestamp::from_micros(i64::MAX),
        };
        for head in [
            whole,
            Head::default(),
            Head {
                timer: None,
                ..whole
            },
        ] {
            assert_eq!(Head::read(&head.to_bytes()).unwrap(), head);
        }
        assert!(Head::read(&whole.to_bytes()[..40]).is_err());
    }
}
