//! Reading: logs, inboxes, places, the feed.

use std::ops::Range;

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, Error, ErrorKind, PersonId, Result, TenantId,
    turn::{ConversationSummary, Fed, InboxItem, Stored},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Inner,
    claim::{signed, uuid},
    error::stored,
    tenant::{Mode, TenantTx},
    time::time,
    vault::{self, Sealed, row_in, row_of},
};
use crate::seal::TenantKey;

/// Where a conversation is held. An address, so it is sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) connection: ConnectionId,
    pub(super) place: ConversationRef,
}

impl Inner {
    pub(super) async fn resolve(
        &self,
        tenant: TenantId,
        delivery_key: &str,
    ) -> Result<Option<ConversationId>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(None);
        };
        let found: Option<Uuid> = sqlx::query_scalar(
            "select conversation from konstruct.deliveries where tenant = $1 and key = $2",
        )
        .bind(tx.id())
        .bind(delivery(&key, delivery_key))
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(found.map(|id| ConversationId::from_bytes(*id.as_bytes())))
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
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let records = log(&mut tx, &key, uuid(conversation), range).await?;
        tx.commit().await?;
        Ok(records)
    }

    pub(super) async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let found = summaries(&mut tx, &key, after.map(uuid), limit).await?;
        tx.commit().await?;
        Ok(found)
    }

    pub(super) async fn feed(
        &self,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Fed>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let rows: Vec<(i64, Uuid, i64, Option<Vec<u8>>)> = sqlx::query_as(
            "select cursor, conversation, index, sealed from konstruct.log
             where tenant = $1 and cursor > $2 order by cursor limit $3",
        )
        .bind(tx.id())
        .bind(signed(after))
        .bind(signed(limit as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let mut sealed = Vec::with_capacity(rows.len());
        let places: Vec<_> = rows
            .into_iter()
            .map(|(cursor, conversation, index, bytes)| {
                sealed.push((row_in(conversation, index), bytes));
                (cursor, conversation, index)
            })
            .collect();
        let records = vault::open(&mut tx, &key, "log", &sealed).await?;
        tx.commit().await?;
        Ok(places
            .into_iter()
            .zip(records)
            .map(|((cursor, conversation, index), record)| Fed {
                cursor: cursor.cast_unsigned(),
                conversation: ConversationId::from_bytes(*conversation.as_bytes()),
                stored: Stored {
                    index: index.cast_unsigned(),
                    record,
                },
            })
            .collect())
    }
}

/// The hash of a delivery key.
pub(super) fn delivery(key: &TenantKey, delivery_key: &str) -> Uuid {
    Uuid::from_bytes(key.hash("delivery", delivery_key.as_bytes()))
}

/// Reads the log from one index to another, the last excluded.
pub(super) async fn log(
    tx: &mut TenantTx,
    key: &TenantKey,
    conversation: Uuid,
    range: Range<i64>,
) -> Result<Vec<Stored>> {
    let rows: Vec<(i64, Option<Vec<u8>>)> = sqlx::query_as(
        "select index, sealed from konstruct.log
         where tenant = $1 and conversation = $2 and index >= $3 and index < $4 order by index",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(range.start)
    .bind(range.end)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    let indices: Vec<_> = rows.iter().map(|(index, _)| *index).collect();
    let sealed: Vec<Sealed> = rows
        .into_iter()
        .map(|(index, bytes)| (row_in(conversation, index), bytes))
        .collect();
    let records = vault::open(tx, key, "log", &sealed).await?;
    Ok(indices
        .into_iter()
        .zip(records)
        .map(|(index, record)| Stored {
            index: index.cast_unsigned(),
            record,
        })
        .collect())
}

/// Reads what was not consumed, by number.
pub(super) async fn inbox(
    tx: &mut TenantTx,
    key: &TenantKey,
    conversation: Uuid,
) -> Result<Vec<InboxItem>> {
    let rows: Vec<(i64, i64, Vec<Uuid>, Vec<u8>)> = sqlx::query_as(
        "select seq, accepted_at, persons, sealed from konstruct.inbox
         where tenant = $1 and conversation = $2 order by seq",
    )
    .bind(tx.id())
    .bind(conversation)
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
            persons: persons
                .iter()
                .map(|person| PersonId::from_bytes(*person.as_bytes()))
                .collect(),
            event: None,
        });
    }
    let events = vault::open(tx, key, "inbox", &sealed).await?;
    for (item, event) in items.iter_mut().zip(events) {
        item.event = event;
    }
    Ok(items)
}

/// Reads where a conversation is held.
pub(super) async fn place(tx: &mut TenantTx, key: &TenantKey, conversation: Uuid) -> Result<Place> {
    let sealed: Vec<u8> = sqlx::query_scalar(
        "select sealed from konstruct.conversations where tenant = $1 and conversation = $2",
    )
    .bind(tx.id())
    .bind(conversation)
    .fetch_one(tx.db())
    .await
    .map_err(stored)?;
    vault::open(
        tx,
        key,
        "conversations",
        &[(row_of(conversation), Some(sealed))],
    )
    .await?
    .pop()
    .flatten()
    .ok_or_else(unplaced)
}

/// Describes conversations by id, after one of them.
pub(super) async fn summaries(
    tx: &mut TenantTx,
    key: &TenantKey,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<ConversationSummary>> {
    let rows: Vec<(Uuid, Vec<u8>, i64, i64, i64)> = sqlx::query_as(
        "select c.conversation, c.sealed, m.len, m.updated_at,
             (select count(*) from konstruct.inbox i where i.tenant = $1 and i.conversation = c.conversation)
         from konstruct.conversations c join konstruct.mailboxes m using (tenant, conversation)
         where c.tenant = $1 and c.conversation > $2 order by c.conversation limit $3",
    )
    .bind(tx.id())
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(signed(limit as u64))
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    let mut sealed = Vec::with_capacity(rows.len());
    let heads: Vec<_> = rows
        .into_iter()
        .map(|(id, bytes, len, updated_at, unconsumed)| {
            sealed.push((row_of(id), Some(bytes)));
            (id, len, updated_at, unconsumed)
        })
        .collect();
    let places: Vec<Option<Place>> = vault::open(tx, key, "conversations", &sealed).await?;
    heads
        .into_iter()
        .zip(places)
        .map(|((id, len, updated_at, unconsumed), place)| {
            let place = place.ok_or_else(unplaced)?;
            Ok(ConversationSummary {
                id: ConversationId::from_bytes(*id.as_bytes()),
                connection: place.connection,
                place: place.place,
                len: len.cast_unsigned(),
                unconsumed: unconsumed.cast_unsigned(),
                updated_at: time(updated_at),
            })
        })
        .collect()
}

fn unplaced() -> Error {
    Error::new(ErrorKind::Corrupt, "a conversation's place does not open")
}
