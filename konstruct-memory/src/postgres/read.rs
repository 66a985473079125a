//! Reads: the state for a claim, logs, the feed, and lists of conversations and open items.

use std::ops::Range;

use konstruct_core::{
    ChannelKind, ConnectionId, ConversationId, PersonId, Result, TenantId,
    message::DeliveryState,
    store::{
        Claim, ConversationCursor, ConversationSummary, FeedEntry, InboxItem, ItemEntry,
        LARGEST_LOAD, Loaded, Stored, TimerName,
        rules::{self, Timers},
    },
    turn::{ConversationState, ItemId, OpenItem, Record},
};
use uuid::Uuid;

use super::{
    Inner,
    claim::{signed, uuid},
    error::{corrupt, stored},
    tenant::{Mode, TenantTx},
    time::time,
    vault::{self, KeysById, decode_text, item_row, row_in, row_of},
};
use crate::{delivery, seal::TenantKey};

/// Converts a delivery state to a number, in the order of the states.
pub(super) fn write_state(state: DeliveryState) -> i16 {
    delivery::number(state).map_or(0, i16::from)
}

/// Converts a number to a delivery state.
pub(super) fn read_state(state: i64) -> Result<DeliveryState> {
    let number = usize::try_from(state).ok();
    number.and_then(delivery::state).ok_or_else(corrupt)
}

/// Returns the hash of a delivery key.
pub(super) fn delivery(key: &TenantKey, delivery_key: &str) -> Uuid {
    Uuid::from_bytes(key.hash("delivery", delivery_key.as_bytes()))
}

/// A kind, numbers, ids, bytes and text; each may be absent.
type Row = (
    i32,
    i64,
    i64,
    Option<Uuid>,
    Option<Uuid>,
    Option<Vec<Uuid>>,
    Option<Vec<u8>>,
    Option<String>,
);

/// The state that the holder of a claim needs, with the keys that it is sealed with, from one snapshot.
const LOAD: &str = "
with now as (
    select coalesce($5, konstruct.now_us()) as now
), held as materialized (
    select m.* , now.now from konstruct.mailboxes m, now
    where m.tenant = $1 and m.conversation = $2 and m.fence = $3 and m.worker = $4 and m.lease_until > now.now
), place as materialized (
    select c.connection, c.sealed from konstruct.conversations c, held h where c.tenant = $1 and c.conversation = $2
), log as materialized (
    select l.index, l.sealed from held h cross join lateral (
        select l.index, l.sealed from konstruct.log l
        where l.tenant = $1 and l.conversation = $2 and l.index >= coalesce(h.checkpoint, 0) offset 0) l
), inbox as materialized (
    select i.seq, i.accepted_at, i.persons, i.sealed from held h cross join lateral (
        select * from konstruct.inbox i
        where i.tenant = $1 and i.conversation = $2 and i.seq > h.consumed order by i.seq limit $6) i
), ids as (
    select k.id from place, konstruct.key_ids(sealed) k(id)
    union select k.id from log, konstruct.key_ids(sealed) k(id)
    union select k.id from inbox, konstruct.key_ids(sealed) k(id)
)
select 0, 0::bigint, 0::bigint, null::uuid, null::uuid, null::uuid[], wrapped, null::text
from konstruct.tenant_keys where tenant = $1 and exists (select from held)
union all
select 1, len, now, null, null, null, null, state from held
union all
select 2, coalesce(changed, 0), (changed is not null)::integer, null, null, null, null, timers::text from held
union all
select 3, 0, 0, connection, null, null, sealed, null from place
union all
select 4, 0, 0, k.person, k.key, null, k.wrapped, null
from konstruct.person_keys k where k.tenant = $1 and k.key = any(array(select id from ids))
union all
select * from (select 5, index, 0, null::uuid, null::uuid, null::uuid[], sealed, null::text from log order by index) log
union all
select * from (select 6, seq, accepted_at, null::uuid, null::uuid, persons, sealed, null::text from inbox order by seq) inbox
union all
select * from (
    select 7, 0::bigint, 0::bigint, null::uuid, null::uuid, null::uuid[], i.sealed, i.item
    from held h cross join lateral (
        select i.item, i.sealed from konstruct.items i where i.tenant = $1 and i.conversation = $2 offset 0) i
    order by i.item) items";

/// A range of a log, the delivery states of its messages, and the keys that it is sealed with.
const HISTORY: &str = "
with log as materialized (
    select index, sealed from konstruct.log
    where tenant = $1 and conversation = $2 and index >= $3 and index < $4
)
select 0, 0::bigint, wrapped, null::uuid, null::uuid, null::smallint from konstruct.tenant_keys where tenant = $1
union all
select 1, 0, k.wrapped, k.person, k.key, null from konstruct.person_keys k
where k.tenant = $1 and k.key = any(array(select of.id from log, konstruct.key_ids(sealed) of(id)))
union all
select * from (
    select 2, l.index, l.sealed, null::uuid, null::uuid, (
        select max(d.state) from konstruct.deliveries d
        where d.tenant = $1 and d.conversation = $2 and d.index = l.index)
    from log l order by l.index) log";

/// A kind, an index, bytes, a person, a key, and a delivery state; each may be absent.
type HistoryRow = (
    i32,
    i64,
    Option<Vec<u8>>,
    Option<Uuid>,
    Option<Uuid>,
    Option<i16>,
);

impl Inner {
    pub(super) async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        let mut tx = self.db.tenant(claim.tenant, Mode::Read).await?;
        let mut rows = self.load_rows(&mut tx, claim).await?;
        if rows.iter().any(|row| row.0 == 2 && row.2 != 0) {
            // An event was changed since it was accepted. Record that the holder has loaded it; later changes are noticed again.
            drop(tx);
            tx = self.db.tenant(claim.tenant, Mode::Write).await?;
            sqlx::query(
                "update konstruct.mailboxes set changed = null
                 where tenant = $1 and conversation = $2 and fence = $3 and worker = $4",
            )
            .bind(tx.id())
            .bind(uuid(claim.conversation))
            .bind(claim.fence.cast_signed())
            .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
            .execute(tx.db())
            .await
            .map_err(stored)?;
            rows = self.load_rows(&mut tx, claim).await?;
        }
        tx.commit().await?;
        self.loaded(claim, rows)
    }

    async fn load_rows(&self, tx: &mut TenantTx, claim: &Claim) -> Result<Vec<Row>> {
        sqlx::query_as(LOAD)
            .bind(tx.id())
            .bind(uuid(claim.conversation))
            .bind(claim.fence.cast_signed())
            .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
            .bind(tx.given())
            .bind(signed(LARGEST_LOAD as u64))
            .fetch_all(tx.db())
            .await
            .map_err(stored)
    }

    fn loaded(&self, claim: &Claim, rows: Vec<Row>) -> Result<Option<Loaded>> {
        let mut rows = rows.into_iter();
        let Some((0, .., Some(wrapped), _)) = rows.next() else {
            return Ok(None);
        };
        let key = self.vault.unwrap(claim.tenant, wrapped)?;
        let conversation = uuid(claim.conversation);
        let mut keys = KeysById::default();
        let mut loaded: Option<Loaded> = None;
        let mut of_persons = Vec::new();
        let (mut connection, mut timers, mut place) = (None, Timers::new(), None);
        for row in rows {
            match (row, &mut loaded) {
                ((1, len, now, .., Some(state)), _) => {
                    loaded = Some(Loaded {
                        connection: ConnectionId::from_bytes([0; 16]),
                        place: None,
                        len: len.cast_unsigned(),
                        records: Vec::new(),
                        inbox: Vec::new(),
                        state: decode_text(&state)?,
                        items: Vec::new(),
                        due: Vec::new(),
                        now: time(now),
                    });
                }
                ((2, .., Some(text)), _) => timers = read_timers(&text)?,
                ((3, _, _, Some(id), _, _, sealed, _), _) => {
                    connection = Some(ConnectionId::from_bytes(*id.as_bytes()));
                    place = sealed;
                }
                ((4, _, _, Some(person), Some(id), _, Some(wrapped), _), _) => {
                    let (person, key) = keys.add(&key, (person, id, &wrapped))?;
                    of_persons.push((person, key.clone()));
                }
                ((5, index, .., sealed, _), Some(loaded)) => {
                    let row = row_in(conversation, index);
                    let opened = sealed.map(|sealed| keys.open(&key, ("log", &row), &sealed));
                    let record: Option<Record> = opened.transpose()?.flatten();
                    loaded
                        .records
                        .push(Stored::new(index.cast_unsigned(), record));
                }
                ((6, seq, at, _, _, Some(persons), Some(sealed), _), Some(loaded)) => {
                    let row = row_in(conversation, seq);
                    loaded.inbox.push(InboxItem {
                        seq: seq.cast_unsigned(),
                        accepted_at: time(at),
                        persons: person_ids(&persons),
                        event: keys.open(&key, ("inbox", &row), &sealed)?,
                    });
                }
                ((7, .., Some(sealed), Some(id)), Some(loaded)) => {
                    let row = item_row(conversation, &id);
                    let item: Option<OpenItem> = keys.open(&key, ("items", &row), &sealed)?;
                    loaded.items.extend(item);
                }
                _ => return Err(corrupt()),
            }
        }
        let kept = of_persons.iter().map(|(person, key)| (*person, key));
        self.vault.keep(claim.tenant, kept);
        let mut loaded = loaded.ok_or_else(corrupt)?;
        loaded.connection = connection.ok_or_else(corrupt)?;
        if let Some(sealed) = place {
            let row = row_of(conversation);
            loaded.place = keys.open(&key, ("conversations", &row), &sealed)?;
        }
        loaded.due = rules::due(&timers, loaded.now);
        Ok(Some(loaded))
    }

    pub(super) async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let range = signed(range.start)..signed(range.end);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let rows: Vec<HistoryRow> = sqlx::query_as(HISTORY)
            .bind(tx.id())
            .bind(uuid(conversation))
            .bind(range.start)
            .bind(range.end)
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        tx.commit().await?;
        let mut rows = rows.into_iter();
        let Some((0, _, Some(wrapped), ..)) = rows.next() else {
            return Ok(Vec::new());
        };
        let key = self.vault.unwrap(tenant, wrapped)?;
        let (mut keys, mut records) = (KeysById::default(), Vec::new());
        for row in rows {
            match row {
                (1, _, Some(wrapped), Some(person), Some(id), _) => {
                    keys.add(&key, (person, id, &wrapped))?;
                }
                (2, index, sealed, _, _, state) => {
                    let row = row_in(uuid(conversation), index);
                    let opened = sealed.map(|sealed| keys.open(&key, ("log", &row), &sealed));
                    let record: Option<Record> = opened.transpose()?.flatten();
                    let mut stored = Stored::new(index.cast_unsigned(), record);
                    stored.delivery = state.map(|state| read_state(state.into())).transpose()?;
                    records.push(stored);
                }
                _ => return Err(corrupt()),
            }
        }
        Ok(records)
    }

    pub(super) async fn conversation(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationSummary>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(None);
        };
        let found: Vec<Head> = sqlx::query_as(
            "select m.conversation, c.connection, c.sealed, m.len, m.updated_at,
                 (select count(*) from konstruct.inbox i where i.tenant = $1 and i.conversation = m.conversation), m.state
             from konstruct.mailboxes m
             join konstruct.conversations c on c.tenant = $1 and c.conversation = m.conversation
             where m.tenant = $1 and m.conversation = $2",
        )
        .bind(tx.id())
        .bind(uuid(conversation))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let found = summaries(&mut tx, &key, found).await?;
        tx.commit().await?;
        Ok(found.into_iter().map(|(summary, _)| summary).next())
    }

    pub(super) async fn person(
        &self,
        tenant: TenantId,
        channel: &ChannelKind,
        address: &str,
    ) -> Result<Option<PersonId>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(None);
        };
        let address = key.person(channel.as_str(), address);
        // A person with a key of their own comes before one that the address was linked to.
        let found: Option<Uuid> = sqlx::query_scalar(
            "select k.person from konstruct.person_keys k
             where k.tenant = $1 and (k.person = $2
                 or k.person = (select n.person from konstruct.person_names n where n.tenant = $1 and n.name = $2))
             order by k.person <> $2 limit 1",
        )
        .bind(tx.id())
        .bind(Uuid::from_bytes(*address.as_bytes()))
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(found.map(|person| PersonId::from_bytes(*person.as_bytes())))
    }

    pub(super) async fn conversations_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let found: Vec<Uuid> = sqlx::query_scalar(
            "select conversation from konstruct.spoken
             where tenant = $1 and person = $2 and ($3::uuid is null or conversation > $3) order by conversation limit $4",
        )
        .bind(tx.id())
        .bind(Uuid::from_bytes(*person.as_bytes()))
        .bind(after.map(uuid))
        .bind(signed(limit as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        let id = |found: Uuid| ConversationId::from_bytes(found.into_bytes());
        Ok(found.into_iter().map(id).collect())
    }

    pub(super) async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let found: Vec<Head> = sqlx::query_as(
            "select m.conversation, c.connection, c.sealed, m.len, m.updated_at,
                 (select count(*) from konstruct.inbox i where i.tenant = $1 and i.conversation = m.conversation), m.state
             from (select * from konstruct.mailboxes m
                   where m.tenant = $1 and ($2::bigint is null or (m.updated_at, m.conversation) < ($2, $3::uuid))
                   order by m.updated_at desc, m.conversation desc limit $4) m
             join konstruct.conversations c on c.tenant = $1 and c.conversation = m.conversation
             order by m.updated_at desc, m.conversation desc",
        )
        .bind(tx.id())
        .bind(after.map(|after| after.updated_at.as_micros()))
        .bind(after.map(|after| uuid(after.id)))
        .bind(signed(limit as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let found = summaries(&mut tx, &key, found).await?;
        tx.commit().await?;
        Ok(found.into_iter().map(|(summary, _)| summary).collect())
    }

    pub(super) async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let rows: Vec<(Uuid, String, Vec<u8>)> = sqlx::query_as(
            "select conversation, item, sealed from konstruct.items
             where tenant = $1 and ($2::text is null or item > $2) order by item limit $3",
        )
        .bind(tx.id())
        .bind(after.map(|after| after.0))
        .bind(signed(limit as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        let mut items = Vec::with_capacity(rows.len());
        for (conversation, id, sealed) in rows {
            let row = item_row(conversation, &id);
            if let Some(item) = KeysById::default().open(&key, ("items", &row), &sealed)? {
                items.push(ItemEntry {
                    conversation: ConversationId::from_bytes(*conversation.as_bytes()),
                    item,
                });
            }
        }
        Ok(items)
    }

    pub(super) async fn feed(
        &self,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<FeedEntry>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let fed = feed(&mut tx, &key, after, limit).await?;
        tx.commit().await?;
        Ok(fed)
    }
}

fn read_timers(text: &str) -> Result<Timers> {
    let timers: std::collections::BTreeMap<TimerName, i64> = decode_text(text)?;
    Ok(timers
        .into_iter()
        .map(|(name, at)| (name, time(at)))
        .collect())
}

fn person_ids(persons: &[Uuid]) -> Vec<PersonId> {
    let id = |person: &Uuid| PersonId::from_bytes(*person.as_bytes());
    persons.iter().map(id).collect()
}

/// Reads a range of the log, end exclusive, with the keys that it is sealed with.
pub(super) async fn log(
    tx: &mut TenantTx,
    key: &TenantKey,
    conversation: Uuid,
    range: Range<i64>,
) -> Result<Vec<Stored>> {
    type Row = (Option<i64>, Option<Vec<u8>>, Option<Uuid>, Option<Uuid>);
    let rows: Vec<Row> = sqlx::query_as(
        "with log as materialized (
             select index, sealed from konstruct.log
             where tenant = $1 and conversation = $2 and index >= $3 and index < $4
         )
         select null::bigint, k.wrapped, k.person, k.key from konstruct.person_keys k
         where k.tenant = $1 and k.key = any(array(select of.id from log, konstruct.key_ids(sealed) of(id)))
         union all
         select * from (select index, sealed, null::uuid, null::uuid from log order by index) log",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(range.start)
    .bind(range.end)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    let (mut keys, mut records) = (KeysById::default(), Vec::with_capacity(rows.len()));
    for row in rows {
        match row {
            (None, Some(wrapped), Some(person), Some(id)) => {
                keys.add(key, (person, id, &wrapped))?;
            }
            (Some(index), sealed, ..) => {
                let row = row_in(conversation, index);
                let opened = sealed.map(|sealed| keys.open(key, ("log", &row), &sealed));
                let record: Option<Record> = opened.transpose()?.flatten();
                records.push(Stored::new(index.cast_unsigned(), record));
            }
            _ => return Err(corrupt()),
        }
    }
    Ok(records)
}

/// Reads records of the feed after a cursor, with the keys that they are sealed with.
pub(super) async fn feed(
    tx: &mut TenantTx,
    key: &TenantKey,
    after: u64,
    limit: usize,
) -> Result<Vec<FeedEntry>> {
    type Row = (
        Option<i64>,
        Option<Uuid>,
        Option<i64>,
        Option<Vec<u8>>,
        Option<Uuid>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "with log as materialized (
             select cursor, conversation, index, sealed from konstruct.log
             where tenant = $1 and cursor > $2 order by cursor limit $3
         )
         select null::bigint, k.person, null::bigint, k.wrapped, k.key from konstruct.person_keys k
         where k.tenant = $1 and k.key = any(array(select of.id from log, konstruct.key_ids(sealed) of(id)))
         union all
         select * from (select cursor, conversation, index, sealed, null::uuid from log order by cursor) log",
    )
    .bind(tx.id())
    .bind(signed(after))
    .bind(signed(limit as u64))
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    let (mut keys, mut fed) = (KeysById::default(), Vec::with_capacity(rows.len()));
    for row in rows {
        match row {
            (None, Some(person), _, Some(wrapped), Some(id)) => {
                keys.add(key, (person, id, &wrapped))?;
            }
            (Some(cursor), Some(conversation), Some(index), sealed, _) => {
                let row = row_in(conversation, index);
                let opened = sealed.map(|sealed| keys.open(key, ("log", &row), &sealed));
                let record: Option<Record> = opened.transpose()?.flatten();
                fed.push(FeedEntry {
                    cursor: cursor.cast_unsigned(),
                    conversation: ConversationId::from_bytes(*conversation.as_bytes()),
                    stored: Stored::new(index.cast_unsigned(), record),
                });
            }
            _ => return Err(corrupt()),
        }
    }
    Ok(fed)
}

/// Reads unconsumed events after a number, in order.
pub(super) async fn inbox(
    tx: &mut TenantTx,
    key: &TenantKey,
    conversation: Uuid,
    after: i64,
    limit: usize,
) -> Result<Vec<InboxItem>> {
    let rows: Vec<(i64, i64, Vec<Uuid>, Vec<u8>)> = sqlx::query_as(
        "select seq, accepted_at, persons, sealed from konstruct.inbox
         where tenant = $1 and conversation = $2 and seq > $3 order by seq limit $4",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(after)
    .bind(signed(limit as u64))
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    let mut sealed = Vec::with_capacity(rows.len());
    let mut items = Vec::with_capacity(rows.len());
    for (seq, accepted_at, persons, bytes) in rows {
        sealed.push((row_in(conversation, seq), Some(bytes)));
        items.push(InboxItem {
            seq: seq.cast_unsigned(),
            accepted_at: time(accepted_at),
            persons: person_ids(&persons),
            event: None,
        });
    }
    let events = vault::open(tx, key, "inbox", &sealed).await?;
    for (item, event) in items.iter_mut().zip(events) {
        item.event = event;
    }
    Ok(items)
}

/// A conversation, its connection and address, the length of its log, its last activity, its number of waiting events, and its
/// state.
pub(super) type Head = (Uuid, Uuid, Option<Vec<u8>>, i64, i64, i64, String);

/// Returns the summaries of conversations, each with its state.
pub(super) async fn summaries(
    tx: &mut TenantTx,
    key: &TenantKey,
    rows: Vec<Head>,
) -> Result<Vec<(ConversationSummary, String)>> {
    let mut sealed = Vec::with_capacity(rows.len());
    let heads: Vec<_> = rows
        .into_iter()
        .map(
            |(id, connection, bytes, len, updated_at, unconsumed, state)| {
                sealed.push((row_of(id), bytes));
                let summary = ConversationSummary::new(
                    ConversationId::from_bytes(*id.as_bytes()),
                    ConnectionId::from_bytes(*connection.as_bytes()),
                    None,
                    time(updated_at),
                );
                let counted = summary.with(|it| {
                    it.len = len.cast_unsigned();
                    it.unconsumed = unconsumed.cast_unsigned();
                });
                (counted, state)
            },
        )
        .collect();
    let places = vault::open(tx, key, "conversations", &sealed).await?;
    let complete = heads.into_iter().zip(places);
    complete
        .map(|((summary, state), place)| {
            let held_since = decode_text::<ConversationState>(&state)?.held_since;
            let summary = summary.with(|it| (it.place, it.held_since) = (place, held_since));
            Ok((summary, state))
        })
        .collect()
}
