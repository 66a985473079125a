//! Taking in what was exported, under the same ids.

use std::collections::BTreeSet;

use konstruct_core::{
    Error, ErrorKind, LedgerRow, PersonId, Result, TenantId,
    turn::{ConversationSummary, Exported, InboxItem, Stored},
};
use uuid::Uuid;

use super::{
    Inner,
    accept::conversation_name,
    append::{count, mention, write_ledger},
    budget,
    claim::{signed, uuid},
    error::stored,
    read::Place,
    tenant::{Mode, TenantTx},
    vault::{Persons, row_in, row_of, uuids},
};
use crate::seal::TenantKey;

/// A conversation with what belongs to it.
struct Part {
    summary: ConversationSummary,
    records: Vec<Stored>,
    inbox: Vec<InboxItem>,
}

impl Inner {
    pub(super) async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        let (mut parts, mut ledger, mut budgets): (Vec<Part>, Vec<LedgerRow>, _) =
            (Vec::new(), Vec::new(), Vec::new());
        let homeless =
            || Error::invalid("items", "a record or an event belongs to no conversation");
        for item in items {
            match item {
                Exported::Conversation(summary) => parts.push(Part {
                    summary,
                    records: Vec::new(),
                    inbox: Vec::new(),
                }),
                Exported::Record(record) => {
                    parts.last_mut().ok_or_else(homeless)?.records.push(record);
                }
                Exported::Inbox(item) => parts.last_mut().ok_or_else(homeless)?.inbox.push(item),
                Exported::Ledger(row) => ledger.push(row),
                Exported::Budget {
                    month,
                    spent,
                    reserved,
                } => budgets.push((month, (signed(spent.0), signed(reserved.0)))),
                _ => {
                    return Err(Error::invalid(
                        "items",
                        "this store does not know one of them",
                    ));
                }
            }
        }
        let mut tx = self.db.tenant(tenant, Mode::Alone).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let persons: BTreeSet<_> = parts.iter().flat_map(Part::persons).collect();
        let persons = Persons::of(&mut tx, &key, &persons).await?;
        for part in &parts {
            open(&mut tx, &key, part).await?;
        }
        let records = parts.iter().map(|part| part.records.len()).sum();
        let counts = count(&mut tx, (records, ledger.len())).await?;
        let mut cursor = counts.feed;
        for part in &parts {
            cursor = fill(&mut tx, &key, &persons, part, cursor).await?;
        }
        write_ledger(&mut tx, &key, counts.ledger, &ledger).await?;
        for (month, sums) in budgets {
            budget::put(&mut tx, &month, sums).await?;
        }
        tx.commit().await?;
        self.wake.arrived();
        self.fed.grew(tenant);
        Ok(())
    }
}

impl Part {
    fn persons(&self) -> BTreeSet<PersonId> {
        let records = self
            .records
            .iter()
            .filter_map(|record| record.record.as_ref());
        records
            .flat_map(|record| record.persons.iter().copied())
            .chain(self.inbox.iter().flat_map(|item| item.persons.clone()))
            .collect()
    }
}

/// Makes the conversation, or goes on with it, and checks that what belongs to it follows what is there.
async fn open(tx: &mut TenantTx, key: &TenantKey, part: &Part) -> Result<()> {
    let (summary, conversation) = (&part.summary, uuid(part.summary.id));
    let place = Place {
        connection: summary.connection,
        place: summary.place.clone(),
    };
    let sealed =
        Persons::default().seal(key, [], ("conversations", &row_of(conversation)), &place)?;
    let name = conversation_name(key, summary.connection, &place.place.key());
    sqlx::query(
        "insert into konstruct.conversations (tenant, conversation, name, sealed) values ($1, $2, $3, $4)
         on conflict (tenant, conversation) do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(name)
    .bind(sealed)
    .execute(tx.db())
    .await
    .map_err(taken)?;
    sqlx::query(
        "insert into konstruct.mailboxes (tenant, conversation, updated_at) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(summary.updated_at.as_micros())
    .execute(tx.db())
    .await
    .map_err(stored)?;
    let (len, last): (i64, i64) = sqlx::query_as(
        "select len, last from konstruct.mailboxes where tenant = $1 and conversation = $2 for update",
    )
    .bind(tx.id())
    .bind(conversation)
    .fetch_one(tx.db())
    .await
    .map_err(stored)?;
    for (expected, record) in (len.cast_unsigned()..).zip(&part.records) {
        if record.index < expected {
            return Err(Error::new(ErrorKind::Conflict, "a record is there already"));
        }
        if record.index > expected {
            return Err(Error::invalid("items", "a record is missing"));
        }
    }
    let mut known = last.cast_unsigned();
    for item in &part.inbox {
        if item.seq <= known {
            return Err(Error::new(ErrorKind::Conflict, "an event is there already"));
        }
        known = item.seq;
    }
    Ok(())
}

/// Writes the records after a cursor of the feed, and the inbox. Returns the cursor after them.
async fn fill(
    tx: &mut TenantTx,
    key: &TenantKey,
    persons: &Persons,
    part: &Part,
    cursor: i64,
) -> Result<i64> {
    let conversation = uuid(part.summary.id);
    let (mut indices, mut sealed) = (Vec::new(), Vec::new());
    for stored in &part.records {
        let index = signed(stored.index);
        indices.push(index);
        sealed.push(match &stored.record {
            Some(record) => {
                let row = row_in(conversation, index);
                let of = record.persons.iter().copied();
                Some(persons.seal(key, of, ("log", &row), record)?)
            }
            None => None,
        });
    }
    sqlx::query(
        "insert into konstruct.log (tenant, conversation, index, cursor, sealed)
         select $1, $2, r.index, $3 + r.n, r.sealed
         from unnest($4::bigint[], $5::bytea[]) with ordinality r(index, sealed, n)",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(cursor)
    .bind(indices)
    .bind(sealed)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    for item in &part.inbox {
        put(tx, key, persons, conversation, item).await?;
    }
    sqlx::query(
        "update konstruct.mailboxes m set
             len = m.len + $3,
             checkpoint = case when m.len + $3 > 0 then m.len + $3 - 1 end,
             last = greatest(m.last, $4),
             updated_at = greatest(m.updated_at, $5),
             ready_at = case when m.lease_until is not null then null
                             when $4 > m.consumed then coalesce(m.ready_at, $6, konstruct.now_us()) else m.ready_at end
         where tenant = $1 and conversation = $2",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(signed(part.records.len() as u64))
    .bind(part.inbox.last().map_or(0, |item| signed(item.seq)))
    .bind(part.summary.updated_at.as_micros())
    .bind(tx.given())
    .execute(tx.db())
    .await
    .map_err(stored)?;
    mention(tx, conversation, &part.persons()).await?;
    Ok(cursor + signed(part.records.len() as u64))
}

async fn put(
    tx: &mut TenantTx,
    key: &TenantKey,
    persons: &Persons,
    conversation: Uuid,
    item: &InboxItem,
) -> Result<()> {
    let seq = signed(item.seq);
    let row = row_in(conversation, seq);
    // What could not be read where it came from cannot be worked here.
    let Some(event) = &item.event else {
        return Ok(());
    };
    let sealed = persons.seal(key, item.persons.iter().copied(), ("inbox", &row), event)?;
    sqlx::query(
        "insert into konstruct.inbox (tenant, conversation, seq, accepted_at, persons, sealed)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(seq)
    .bind(item.accepted_at.as_micros())
    .bind(uuids(&item.persons))
    .bind(sealed)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// A name that another conversation has: the place is talked in here already.
fn taken(error: sqlx::Error) -> Error {
    let unique = error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation);
    if unique {
        return Error::new(ErrorKind::Conflict, "a conversation's place is taken")
            .with_source(error);
    }
    stored(error)
}
