//! Imports an export under the same ids.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::{
    Error, ErrorKind, Inbound, PersonId, Result, TenantId,
    limit::BudgetSum,
    money::LedgerRow,
    store::{ConversationSummary, Exported, InboxItem, Stored, TimerName, rules},
    turn::{Action, ConversationState, Entry, Event, OpenItem, Record},
};
use uuid::Uuid;

use super::{
    Inner,
    accept::{self, conversation_name, link},
    append::count,
    budget::{self, Money},
    claim::{signed, uuid},
    error::stored,
    tenant::{Mode, TenantTx},
    vault::{Persons, encode_text, item_row, row_in, row_of, uuids},
};
use crate::seal::TenantKey;

/// A conversation with its records and events.
struct Part {
    summary: ConversationSummary,
    state: Option<ConversationState>,
    records: Vec<Stored>,
    inbox: Vec<InboxItem>,
    items: Vec<OpenItem>,
}

impl Inner {
    pub(super) async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        let (mut parts, mut ledger, mut budgets): (Vec<Part>, Vec<LedgerRow>, Vec<BudgetSum>) =
            (Vec::new(), Vec::new(), Vec::new());
        let homeless = || {
            Error::invalid(
                "items",
                "a record or an event does not follow a conversation",
            )
        };
        for item in items {
            match item {
                Exported::Conversation(summary) => parts.push(Part {
                    summary,
                    state: None,
                    records: Vec::new(),
                    inbox: Vec::new(),
                    items: Vec::new(),
                }),
                Exported::State(state) => {
                    parts.last_mut().ok_or_else(homeless)?.state = Some(state);
                }
                Exported::Item(item) => parts.last_mut().ok_or_else(homeless)?.items.push(item),
                Exported::Record(record) => {
                    parts.last_mut().ok_or_else(homeless)?.records.push(record);
                }
                Exported::Inbox(item) => parts.last_mut().ok_or_else(homeless)?.inbox.push(item),
                Exported::Ledger(row) => ledger.push(row),
                Exported::Budget(sum) => budgets.push(sum),
                _ => {
                    return Err(Error::invalid("items", "an item is of an unknown kind"));
                }
            }
        }
        let mut tx = self.db.tenant(tenant, Mode::Exclusive).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let persons: BTreeSet<_> = parts.iter().flat_map(Part::persons).collect();
        let persons = Persons::of(&mut tx, &key, &persons).await?;
        for part in &parts {
            open(&mut tx, &key, &persons, part).await?;
        }
        name_persons(&mut tx, &key, &parts).await?;
        let records = parts.iter().map(|part| part.records.len()).sum();
        let counts = count(&mut tx, (records, ledger.len())).await?;
        let mut cursor = counts.feed;
        for part in &parts {
            cursor = fill(&mut tx, &key, &persons, part, cursor).await?;
        }
        let money = Money::of(&key, None, &[], &ledger)?;
        sqlx::query(
            "insert into konstruct.ledger (tenant, number, token, sealed)
             select $1, $2 + r.n, r.token, r.sealed
             from unnest($3::uuid[], $4::bytea[]) with ordinality r(token, sealed, n)",
        )
        .bind(tx.id())
        .bind(counts.ledger)
        .bind(money.tokens)
        .bind(money.rows)
        .execute(tx.db())
        .await
        .map_err(stored)?;
        for sum in &budgets {
            budget::put(&mut tx, &key, sum).await?;
        }
        tx.commit().await?;
        self.wake.arrived();
        self.to_index.notify(tenant);
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
            .chain(self.owner())
            .collect()
    }

    /// Returns the person of the conversation's address.
    fn owner(&self) -> Option<PersonId> {
        self.state.as_ref().and_then(|state| state.person)
    }
}

/// Creates or continues the conversation, and checks that the imported numbers follow the stored ones.
async fn open(tx: &mut TenantTx, key: &TenantKey, persons: &Persons, part: &Part) -> Result<()> {
    let (summary, conversation) = (&part.summary, uuid(part.summary.id));
    let row = row_of(conversation);
    let seal = |place| persons.seal(key, part.owner(), ("conversations", &row), place);
    let sealed = summary.place.as_ref().map(seal).transpose()?;
    let name = match &summary.place {
        Some(place) => conversation_name(key, summary.connection, &place.key()),
        // Without a known name, nobody can write there again.
        None => conversation,
    };
    sqlx::query(
        "insert into konstruct.conversations (tenant, conversation, name, connection, sealed) values ($1, $2, $3, $4, $5)
         on conflict (tenant, conversation) do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(name)
    .bind(Uuid::from_bytes(*summary.connection.as_bytes()))
    .bind(sealed)
    .execute(tx.db())
    .await
    .map_err(taken)?;
    // What was consumed in the source store stays consumed.
    let before = part.inbox.first().map_or(0, |item| signed(item.seq) - 1);
    sqlx::query(
        "insert into konstruct.mailboxes (tenant, conversation, last, consumed, updated_at) values ($1, $2, $3, $3, $4)
         on conflict do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(before)
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
            return Err(Error::new(ErrorKind::Conflict, "a record already exists"));
        }
        if record.index > expected {
            return Err(Error::invalid("items", "a record is missing"));
        }
    }
    let mut known = last.cast_unsigned();
    for item in &part.inbox {
        if item.seq <= known {
            return Err(Error::new(ErrorKind::Conflict, "an event already exists"));
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
        sealed.push(match stored.record.as_deref() {
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
    for item in &part.items {
        put_item(tx, key, conversation, item).await?;
    }
    let timers: BTreeMap<String, i64> = part
        .items
        .iter()
        .filter_map(|item| Some((TimerName::item(&item.id).0, item.retry_at?.as_micros())))
        .collect();
    // An unreadable record counts as the end of a turn, because the turn cannot be continued.
    let is_end = |stored: &&Stored| stored.record.as_deref().is_none_or(is_end);
    let end = part.records.iter().rfind(is_end);
    let last = part.records.last();
    let state = part.state.as_ref().map(encode_text).transpose()?;
    sqlx::query(
        "update konstruct.mailboxes m set
             len = m.len + $3,
             checkpoint = coalesce($4, m.checkpoint),
             open = coalesce($5, m.open),
             last = greatest(m.last, $6),
             state = coalesce($7, m.state),
             timers = m.timers || $8::text::jsonb,
             due = (select min(t.value::bigint) from jsonb_each_text(m.timers || $8::text::jsonb) t),
             updated_at = greatest(m.updated_at, $9),
             ready_at = case when m.lease_until is not null then null
                             when $10 or coalesce($5, m.open) and not m.timers ? 'turn'
                                 then coalesce(m.ready_at, $11, konstruct.now_us())
                             else m.ready_at end
         where tenant = $1 and conversation = $2",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(signed(part.records.len() as u64))
    .bind(end.map(|stored| signed(stored.index)))
    .bind(last.map(|stored| !is_end(&stored)))
    .bind(part.inbox.last().map_or(0, |item| signed(item.seq)))
    .bind(state)
    .bind(encode_text(&timers)?)
    .bind(part.summary.updated_at.as_micros())
    .bind(part.inbox.iter().any(|item| item.event.is_some()))
    .bind(tx.given())
    .execute(tx.db())
    .await
    .map_err(stored)?;
    let spoke: Vec<_> = part.persons().into_iter().collect();
    sqlx::query(
        "insert into konstruct.spoken (tenant, person, conversation)
         select $1, person, $2 from unnest($3::uuid[]) p(person) on conflict do nothing",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(uuids(&spoke))
    .execute(tx.db())
    .await
    .map_err(stored)?;
    Ok(cursor + signed(part.records.len() as u64))
}

fn is_end(record: &Record) -> bool {
    matches!(record.entry, Entry::Action(Action::Finish { .. }))
}

async fn put_item(
    tx: &mut TenantTx,
    key: &TenantKey,
    conversation: Uuid,
    item: &OpenItem,
) -> Result<()> {
    let row = item_row(conversation, &item.id.0);
    let sealed = Persons::default().seal(key, [], ("items", &row), item)?;
    sqlx::query(
        "insert into konstruct.items (tenant, conversation, item, sealed) values ($1, $2, $3, $4)
         on conflict (tenant, conversation, item) do update set sealed = excluded.sealed",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(&item.id.0)
    .bind(sealed)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Stores the ids of events' senders if their names hash differently under another key of the tenant. Links addresses again,
/// except those with a person of their own.
async fn name_persons(tx: &mut TenantTx, key: &TenantKey, parts: &[Part]) -> Result<()> {
    let mut names: BTreeMap<PersonId, PersonId> = BTreeMap::new();
    let mut links = Vec::new();
    let mut places = Vec::new();
    let mut name = |part: &Part, persons: &[PersonId], event: &Inbound| {
        let address = |id: &str| key.person(event.channel.as_str(), id);
        if let ([person], Some(name)) = (persons, event.sender.id().map(address))
            && name != *person
        {
            names.insert(name, *person);
        }
        let same: Vec<_> = rules::addresses(event).into_iter().map(address).collect();
        if let Some(first) = same.first() {
            let known = persons.first().or(names.get(first)).copied();
            links.extend(
                same.iter()
                    .map(|address| (*address, known.unwrap_or(*first))),
            );
        }
        let connection = part.summary.connection;
        if let Some(place) = &part.summary.place {
            let stored = conversation_name(key, connection, &place.key());
            let others = rules::places(event).into_iter();
            let others = others.map(|id| conversation_name(key, connection, id));
            places.extend(
                others
                    .filter(|other| *other != stored)
                    .map(|other| (other, stored)),
            );
        }
    };
    for part in parts {
        for record in part
            .records
            .iter()
            .filter_map(|stored| stored.record.as_ref())
        {
            if let Entry::Event(Event::Received(input)) = &record.entry {
                let persons: Vec<_> = record.persons.iter().copied().collect();
                name(part, &persons, &input.event);
            }
        }
        for item in &part.inbox {
            if let Some(routed) = &item.event {
                name(part, &item.persons, &routed.event);
            }
        }
    }
    link(tx, names.into_iter().collect()).await?;
    accept::name(tx, places).await?;
    links.retain(|(address, person)| address != person);
    if links.is_empty() {
        return Ok(());
    }
    let (addresses, persons): (Vec<_>, Vec<_>) = links.into_iter().unzip();
    sqlx::query(
        "insert into konstruct.person_names (tenant, name, person)
         select $1, n.name, n.person from unnest($2::uuid[], $3::uuid[]) n(name, person)
         where not exists (select from konstruct.person_keys k where k.tenant = $1 and k.person = n.name)
         on conflict (tenant, name) do nothing",
    )
    .bind(tx.id())
    .bind(uuids(&addresses))
    .bind(uuids(&persons))
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
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
    // An event that was unreadable in the source store cannot be processed.
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

/// Converts a name conflict: another conversation already has this address.
fn taken(error: sqlx::Error) -> Error {
    let unique = error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation);
    if unique {
        return Error::new(
            ErrorKind::Conflict,
            "another conversation already has this address",
        )
        .with_source(error);
    }
    stored(error)
}
