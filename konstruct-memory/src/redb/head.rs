//! The bytes of a conversation's own row, of its inbox items, and of its address.

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, Error, ErrorKind, PersonId, Result, TenantId,
    Timestamp,
    store::{
        ConversationSummary, InboxItem, LARGEST_LOAD, Stored, TimerName,
        rules::{self, Timers},
    },
    turn::{ConversationState, OpenItem},
};

use super::{
    Shared,
    keys::{self, DELIVERIES, DELIVERIES_OF, HEADS, INBOX, ITEMS, PLACES},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};

/// A conversation's counters, and its state beyond a turn. It has no content, so it is not sealed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Head {
    /// The length of the log.
    pub(super) len: u64,
    /// The highest number of the inbox.
    pub(super) last: u64,
    /// The number up to which the inbox is consumed.
    pub(super) consumed: u64,
    /// The number of later events that were erased.
    pub(super) gone: u64,
    /// The index of the last checkpoint.
    pub(super) checkpoint: Option<u64>,
    /// Whether a turn is in progress: the last written record was not a checkpoint.
    pub(super) open: bool,
    /// Whether it is in the table of conversations that are ready when the file opens.
    pub(super) pending: bool,
    /// The number of its open items.
    pub(super) items: u64,
    /// The time of its last event or write.
    pub(super) updated_at: Timestamp,
    /// When its timers are due.
    pub(super) timers: Timers,
    /// The state beyond a turn.
    pub(super) state: ConversationState,
}

/// The bits of the first byte of a stored head.
const OPEN: u8 = 1;
const PENDING: u8 = 2;
const SPOKE: u8 = 4;
const CHECKPOINT: u8 = 8;
const PERSON: u8 = 16;
const UNREADABLE: u8 = 32;
const HELD: u8 = 64;
const UNREAD: u8 = 128;
/// The count of numbers at its beginning.
const NUMBERS: usize = 10;

impl Head {
    /// Serializes the head: a byte of flags, the numbers, the person of a direct conversation, the
    /// time of a team member's last message, the last reply about unread attachments, and the timers.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let flag = |bit, on| if on { bit } else { 0 };
        let state = &self.state;
        let mut row = vec![
            flag(OPEN, self.open)
                | flag(PENDING, self.pending)
                | flag(SPOKE, state.spoke)
                | flag(CHECKPOINT, self.checkpoint.is_some())
                | flag(PERSON, state.person.is_some())
                | flag(UNREADABLE, state.unreadable)
                | flag(HELD, state.held_since.is_some())
                | flag(UNREAD, state.unread.is_some()),
        ];
        for number in [
            self.len,
            self.last,
            self.consumed,
            self.gone,
            self.updated_at.as_micros().cast_unsigned(),
            self.checkpoint.unwrap_or(0),
            state.latest.as_micros().cast_unsigned(),
            u64::from(state.bot_turns),
            self.items,
            // Zero: never.
            state.busy_at.map_or(0, |at| at.as_micros().cast_unsigned()),
        ] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        if let Some(person) = &state.person {
            row.extend_from_slice(person.as_bytes());
        }
        if let Some(since) = &state.held_since {
            row.extend_from_slice(&since.as_micros().to_be_bytes());
        }
        if let Some(notice) = &state.unread {
            let notice = serde_json::to_vec(notice).unwrap_or_default();
            row.push(u8::try_from(notice.len()).unwrap_or(0));
            row.extend_from_slice(&notice);
        }
        for (name, at) in &self.timers {
            row.extend_from_slice(&at.as_micros().to_be_bytes());
            let len = u16::try_from(name.0.len()).unwrap_or(u16::MAX);
            row.extend_from_slice(&len.to_be_bytes());
            row.extend_from_slice(&name.0.as_bytes()[..usize::from(len)]);
        }
        row
    }

    /// Deserializes a head.
    pub(super) fn read(row: &[u8]) -> Result<Self> {
        let flags = *row.first().ok_or_else(corrupt)?;
        let number = |n: usize| keys::number(row, 1 + 8 * n).ok_or_else(corrupt);
        let time = |n| number(n).map(|time| Timestamp::from_micros(time.cast_signed()));
        let checkpoint = number(5)?;
        let mut rest = row.get(1 + 8 * NUMBERS..).ok_or_else(corrupt)?;
        let mut person = None;
        if flags & PERSON != 0 {
            person = Some(PersonId::from_bytes(keys::id(rest, 0).ok_or_else(corrupt)?));
            rest = &rest[16..];
        }
        let mut held_since = None;
        if flags & HELD != 0 {
            let since = keys::number(rest, 0).ok_or_else(corrupt)?.cast_signed();
            held_since = Some(Timestamp::from_micros(since));
            rest = &rest[8..];
        }
        let mut unread = None;
        if flags & UNREAD != 0 {
            let end = 1 + usize::from(*rest.first().ok_or_else(corrupt)?);
            let notice = rest.get(1..end).ok_or_else(corrupt)?;
            unread = Some(serde_json::from_slice(notice).map_err(|_| corrupt())?);
            rest = &rest[end..];
        }
        let mut timers = Timers::new();
        while !rest.is_empty() {
            let at = keys::number(rest, 0).ok_or_else(corrupt)?.cast_signed();
            let len = rest.get(8..10).and_then(|len| len.try_into().ok());
            let end = 10 + usize::from(u16::from_be_bytes(len.ok_or_else(corrupt)?));
            let name = rest.get(10..end).ok_or_else(corrupt)?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| corrupt())?;
            timers.insert(TimerName(name), Timestamp::from_micros(at));
            rest = &rest[end..];
        }
        Ok(Self {
            len: number(0)?,
            last: number(1)?,
            consumed: number(2)?,
            gone: number(3)?,
            updated_at: time(4)?,
            checkpoint: (flags & CHECKPOINT != 0).then_some(checkpoint),
            open: flags & OPEN != 0,
            pending: flags & PENDING != 0,
            items: number(8)?,
            timers,
            state: ConversationState {
                latest: time(6)?,
                bot_turns: u32::try_from(number(7)?).map_err(|_| corrupt())?,
                spoke: flags & SPOKE != 0,
                unreadable: flags & UNREADABLE != 0,
                unread,
                busy_at: Some(time(9)?).filter(|at| *at != Timestamp::default()),
                person,
                held_since,
            },
        })
    }

    pub(super) fn unconsumed(&self) -> u64 {
        self.last - self.consumed - self.gone
    }

    /// Returns when its first timer is due.
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        rules::first_due(&self.timers)
    }

    pub(super) fn due(&self, now: Timestamp) -> bool {
        self.first_due().is_some_and(|when| when <= now)
    }

    /// Returns whether it is ready when the file opens, without a due timer.
    pub(super) fn unfinished(&self) -> bool {
        rules::unfinished(self.open, self.unconsumed(), &self.timers)
    }
}

/// The address of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) connection: ConnectionId,
    /// `None` if it was the address of an erased person.
    pub(super) place: Option<ConversationRef>,
}

pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row is too short")
}

/// Writes the beginning of an inbox item: when it was accepted, and its persons.
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

/// Returns the persons of an inbox item.
pub(super) fn inbox_persons(row: &[u8]) -> Result<Vec<PersonId>> {
    let count = usize::from(*row.get(8).ok_or_else(corrupt)?);
    (0..count)
        .map(|n| keys::id(row, 9 + 16 * n).map(PersonId::from_bytes))
        .collect::<Option<_>>()
        .ok_or_else(corrupt)
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
    /// Reads the address of a conversation.
    pub(super) fn location(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
    ) -> Result<Location> {
        let key = keys::conversation(self.tenant(), conversation);
        let row = rows.get(PLACES, &key)?.ok_or_else(corrupt)?;
        let connection = keys::id(&row, 0).ok_or_else(corrupt)?;
        Ok(Location {
            connection: ConnectionId::from_bytes(connection),
            place: match &row[16..] {
                [] => None,
                sealed => self.open(rows, (PLACES, &key), sealed)?,
            },
        })
    }

    /// Writes the address of a conversation, sealed to the person of that address.
    pub(super) fn put_location(
        &mut self,
        batch: &mut Batch<'_>,
        conversation: ConversationId,
        location: &Location,
        person: Option<PersonId>,
    ) -> Result<()> {
        let key = keys::conversation(self.tenant(), conversation);
        let mut row = location.connection.as_bytes().to_vec();
        if let Some(place) = &location.place {
            self.seal_onto(batch, person.as_slice(), (PLACES, &key), place, &mut row)?;
        }
        batch.put(PLACES, key, row);
        Ok(())
    }

    /// Reads the open items of a conversation.
    pub(super) fn items(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        head: &Head,
    ) -> Result<Vec<OpenItem>> {
        if head.items == 0 {
            return Ok(Vec::new());
        }
        let rows_of = rows.all(ITEMS, &keys::conversation(self.tenant(), conversation))?;
        rows_of
            .iter()
            .filter_map(|(key, row)| self.open(rows, (ITEMS, key), row).transpose())
            .collect()
    }

    /// Returns the summary of a conversation for lists.
    pub(super) fn summary(
        &mut self,
        rows: &mut dyn Rows,
        id: ConversationId,
        head: &Head,
    ) -> Result<ConversationSummary> {
        let Location { connection, place } = self.location(rows, id)?;
        let summary = ConversationSummary::new(id, connection, place, head.updated_at);
        Ok(summary.with(|it| {
            it.len = head.len;
            it.unconsumed = head.unconsumed();
            it.held_since = head.state.held_since;
        }))
    }

    /// Reads the first unconsumed events, by number.
    pub(super) fn inbox(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
    ) -> Result<Vec<InboxItem>> {
        let from = keys::conversation(self.tenant(), conversation);
        rows.page(INBOX, &from, &keys::end(&from), LARGEST_LOAD)?
            .iter()
            .map(|(key, row)| self.inbox_item(rows, key, row))
            .collect()
    }
}

impl Vault {
    /// Adds the delivery states of messages to the records that sent them.
    pub(super) fn deliveries(
        &self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        log: &mut [Stored],
    ) -> Result<()> {
        let (Some(first), Some(last)) = (log.first(), log.last()) else {
            return Ok(());
        };
        let (first, end) = (first.index, last.index + 1);
        let from = keys::item(self.tenant(), conversation, first);
        let to = keys::item(self.tenant(), conversation, end);
        for (key, _) in rows.page(DELIVERIES_OF, &from, &to, usize::MAX)? {
            let index = keys::number(&key, 32).ok_or_else(corrupt)?;
            let hash = keys::id(&key, 40).ok_or_else(corrupt)?;
            let row = rows.get(DELIVERIES, &keys::of(self.tenant(), &[&hash]))?;
            let at = usize::try_from(index - first).ok();
            if let (Some(row), Some(stored)) = (row, at.and_then(|at| log.get_mut(at))) {
                stored.delivery = super::delivery::Sent::read(&row)?.state;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::turn::{Unread, UnreadNotice};

    use super::*;

    #[test]
    fn a_head_reads_back() {
        let whole = Head {
            len: 1,
            last: 2,
            consumed: 3,
            gone: 4,
            checkpoint: Some(0),
            open: true,
            pending: true,
            items: 3,
            updated_at: Timestamp::from_micros(i64::MAX),
            timers: Timers::from([
                (TimerName::turn(), Timestamp::from_micros(-5)),
                (TimerName("item:ü".into()), Timestamp::from_micros(7)),
            ]),
            state: ConversationState {
                latest: Timestamp::from_micros(-1),
                bot_turns: 2,
                spoke: true,
                unreadable: true,
                unread: Some(UnreadNotice {
                    reason: Unread::Silent,
                    at: Timestamp::from_secs(9),
                }),
                busy_at: Some(Timestamp::from_micros(-2)),
                person: Some(PersonId::from_bytes([3; 16])),
                held_since: Some(Timestamp::from_micros(-3)),
            },
        };
        let bare = Head {
            timers: Timers::new(),
            state: ConversationState::default(),
            ..whole.clone()
        };
        for head in [&whole, &Head::default(), &bare] {
            assert_eq!(Head::read(&head.to_bytes()).unwrap(), *head);
        }
        let bytes = whole.to_bytes();
        assert!(Head::read(&bytes[..40]).is_err());
        assert!(Head::read(&bytes[..bytes.len() - 1]).is_err());
    }
}
