//! Taking events in: dedupe, route, number, store.
//!
//! One transaction of a tenant at a time takes in, so that what is known of an event is decided once. Lookups and writes are
//! made for all events together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use konstruct_core::{
    Body, ConnectionId, ConversationId, ConversationKind, ConversationRef, Inbound, PersonId,
    Result, RoutedEvent, TenantId, turn::Accepted,
};
use uuid::Uuid;

use super::{
    Inner,
    error::{corrupt, stored},
    read::{Place, delivery},
    tenant::{Mode, TenantTx},
    upgrade::{Upgrade, upgrade},
    vault::{Persons, row_in, row_of, uuids},
};
use crate::seal::TenantKey;

impl Inner {
    /// Takes in, all of them or none, in one transaction.
    pub(super) async fn take_in(
        &self,
        tenant: TenantId,
        events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        let mut tx = self.db.tenant(tenant, Mode::Alone).await?;
        let (key, names, mut known) = self.look_up(&mut tx, &events).await?;
        let persons: BTreeSet<_> = events
            .iter()
            .zip(&names)
            .filter(|(routed, names)| !known.erased(routed, names))
            .filter_map(|(_, names)| names.person)
            .collect();
        let mut keys = std::mem::take(&mut known.keys);
        keys.make_missing(&mut tx, &key, &persons).await?;
        let (mut outcomes, mut new) = (Vec::with_capacity(events.len()), Vec::new());
        for (routed, names) in events.into_iter().zip(names) {
            let outcome = known.take(&mut tx, &key, routed, names, &mut new).await?;
            outcomes.push(outcome);
        }
        let places = deliver(&mut tx, &key, &keys, &new).await?;
        tx.commit().await?;
        if !new.is_empty() || outcomes.contains(&Some(Accepted::Upgraded)) {
            self.wake.arrived();
        }
        let mut places = places.into_iter();
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Some(outcome) => Ok(outcome),
                None => {
                    let (conversation, seq) = places.next().ok_or_else(corrupt)?;
                    Ok(Accepted::New {
                        conversation: ConversationId::from_bytes(*conversation.as_bytes()),
                        seq: seq.cast_unsigned(),
                    })
                }
            })
            .collect()
    }

    /// Names events, and looks up what is known of the names. The key that they are hashed with is the one that was seen last;
    /// if it is another now, once more with that.
    async fn look_up(
        &self,
        tx: &mut TenantTx,
        events: &[RoutedEvent],
    ) -> Result<(Arc<TenantKey>, Vec<Names>, Known)> {
        if let Some((wrapped, key)) = self.vault.last(tx.tenant()) {
            let names: Vec<_> = events.iter().map(|event| Names::of(&key, event)).collect();
            if let Some(known) = Known::read(tx, &key, &names, &wrapped).await? {
                return Ok((key, names, known));
            }
        }
        let (wrapped, key) = self.vault.key_or_new_and_row(tx).await?;
        let names: Vec<_> = events.iter().map(|event| Names::of(&key, event)).collect();
        let known = Known::read(tx, &key, &names, &wrapped).await?;
        Ok((key, names, known.ok_or_else(corrupt)?))
    }
}

/// What an event is known by: keyed hashes.
struct Names {
    event: Option<Uuid>,
    twin: Option<Uuid>,
    delivery: Option<Uuid>,
    conversation: Uuid,
    person: Option<PersonId>,
}

impl Names {
    fn of(key: &TenantKey, routed: &RoutedEvent) -> Self {
        let event = &routed.event;
        let name = |label: &str, id: &str| {
            let bytes = [routed.connection.as_bytes().as_slice(), id.as_bytes()].concat();
            (!id.is_empty()).then(|| Uuid::from_bytes(key.hash(label, &bytes)))
        };
        let place = event.conversation.as_ref().map(ConversationRef::key);
        let place = place.as_deref().unwrap_or("");
        Self {
            event: name("event", &event.id),
            twin: name("logical", &event.logical_id),
            delivery: delivery_key(event).map(|of| delivery(key, of)),
            conversation: conversation_name(key, routed.connection, place),
            person: event
                .sender
                .id()
                .map(|id| key.person(event.channel.as_str(), id)),
        }
    }
}

fn delivery_key(event: &Inbound) -> Option<&str> {
    match &event.body {
        Body::Delivery { key, .. } => key.as_deref(),
        Body::Decision { key, .. } => Some(key),
        _ => None,
    }
}

/// The name of a conversation, which is its id as well unless it was imported from elsewhere.
pub(super) fn conversation_name(key: &TenantKey, connection: ConnectionId, place: &str) -> Uuid {
    let name = [connection.as_bytes().as_slice(), place.as_bytes()].concat();
    Uuid::from_bytes(key.hash("conversation", &name))
}

/// What is kept of a logical id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twin {
    pub(super) conversation: Uuid,
    pub(super) seq: i64,
    mention: bool,
    /// Its place among what this call takes in, instead of a number.
    new: Option<usize>,
}

/// An event that is new, and where it goes.
struct New {
    routed: RoutedEvent,
    conversation: Uuid,
    name: Uuid,
    person: Option<PersonId>,
    twin: Option<Uuid>,
}

/// What is known of the names of some events.
#[derive(Default)]
struct Known {
    /// Event ids that were new with this call, until they are met.
    fresh: HashSet<Uuid>,
    erased: HashMap<PersonId, i64>,
    twins: HashMap<Uuid, Twin>,
    deliveries: HashMap<Uuid, Uuid>,
    conversations: HashMap<Uuid, Uuid>,
    /// Of those who wrote before.
    keys: Persons,
}

/// A kind, two ids, a number, a flag and bytes, of whichever there are.
type Row = (i32, Option<Uuid>, Option<Uuid>, i64, bool, Option<Vec<u8>>);

/// Notes event ids, and looks everything up, if the tenant's key is still the one whose row is given.
const LOOK_UP: &str = "
with key as (
    select from konstruct.tenant_keys where tenant = $1 and wrapped = $2
), fresh as (
    insert into konstruct.events (tenant, event)
    select $1, event from unnest($3::uuid[]) e(event) where exists (select from key)
    on conflict do nothing returning event
)
select 0, null::uuid, null::uuid, 0::bigint, false, null::bytea from key
union all
select 1, event, null, 0, false, null from fresh
union all
select 2, person, null, at, false, null from konstruct.erased_persons where tenant = $1 and person = any($4)
union all
select 3, twin, conversation, seq, mention, null from konstruct.twins where tenant = $1 and twin = any($5)
union all
select 4, d.key, conversation, 0, false, null from konstruct.deliveries d where tenant = $1 and d.key = any($6)
union all
select 5, name, conversation, 0, false, null from konstruct.conversations where tenant = $1 and name = any($7)
union all
select 6, person, p.key, 0, false, wrapped from konstruct.person_keys p where tenant = $1 and person = any($4)";

impl Known {
    /// `None` if the tenant's key is another.
    async fn read(
        tx: &mut TenantTx,
        key: &TenantKey,
        names: &[Names],
        wrapped: &[u8],
    ) -> Result<Option<Self>> {
        let events: Vec<_> = names.iter().filter_map(|names| names.event).collect();
        let of =
            |pick: fn(&Names) -> Option<Uuid>| names.iter().filter_map(pick).collect::<Vec<_>>();
        let persons: Vec<_> = names.iter().filter_map(|names| names.person).collect();
        let rows: Vec<Row> = sqlx::query_as(LOOK_UP)
            .bind(tx.id())
            .bind(wrapped)
            .bind(events)
            .bind(uuids(&persons))
            .bind(of(|names| names.twin))
            .bind(of(|names| names.delivery))
            .bind(of(|names| Some(names.conversation)))
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        let (mut known, mut same_key) = (Self::default(), false);
        for (kind, id, other, number, flag, bytes) in rows {
            match (kind, id, other, bytes) {
                (0, ..) => same_key = true,
                (1, Some(event), ..) => drop(known.fresh.insert(event)),
                (2, Some(person), ..) => {
                    let person = PersonId::from_bytes(*person.as_bytes());
                    known.erased.insert(person, number);
                }
                (3, Some(name), Some(conversation), _) => {
                    let twin = Twin {
                        conversation,
                        seq: number,
                        mention: flag,
                        new: None,
                    };
                    known.twins.insert(name, twin);
                }
                (4, Some(name), Some(conversation), _) => {
                    known.deliveries.insert(name, conversation);
                }
                (5, Some(name), Some(conversation), _) => {
                    known.conversations.insert(name, conversation);
                }
                (6, Some(person), Some(id), Some(wrapped)) => {
                    known.keys.add(key, person, id, &wrapped)?;
                }
                _ => return Err(corrupt()),
            }
        }
        Ok(same_key.then_some(known))
    }

    /// Whether the event happened before its person was erased.
    fn erased(&self, routed: &RoutedEvent, names: &Names) -> bool {
        let at = names.person.and_then(|person| self.erased.get(&person));
        at.is_some_and(|at| routed.event.occurred_at.as_micros() <= *at)
    }

    /// Decides what becomes of an event. `None`: it is the next of the new ones.
    async fn take(
        &mut self,
        tx: &mut TenantTx,
        key: &TenantKey,
        routed: RoutedEvent,
        names: Names,
        new: &mut Vec<New>,
    ) -> Result<Option<Accepted>> {
        if self.erased(&routed, &names) {
            return Ok(Some(Accepted::Duplicate));
        }
        if names.event.is_some_and(|event| !self.fresh.remove(&event)) {
            return Ok(Some(Accepted::Duplicate));
        }
        let mention = routed.event.addressed.mention;
        if let Some(twin) = names.twin.and_then(|name| self.twins.get_mut(&name)) {
            if !mention || twin.mention {
                return Ok(Some(Accepted::Duplicate));
            }
            let upgraded = match twin.new.and_then(|at| new.get_mut(at)) {
                Some(kept) => {
                    kept.routed.event.addressed = named(&kept.routed, &routed);
                    Upgrade::Done
                }
                None => upgrade(tx, key, &routed, *twin).await?,
            };
            match upgraded {
                Upgrade::Done => {
                    twin.mention = true;
                    if twin.new.is_none() {
                        mentioned(tx, names.twin).await?;
                    }
                    return Ok(Some(Accepted::Upgraded));
                }
                Upgrade::Gone => return Ok(Some(Accepted::Duplicate)),
                Upgrade::Consumed => {}
            }
        }
        let registered = names.delivery.and_then(|name| self.deliveries.get(&name));
        let held = registered.or_else(|| self.conversations.get(&names.conversation));
        let conversation = held.copied().unwrap_or(names.conversation);
        if let Some(name) = names.twin {
            let twin = Twin {
                conversation,
                seq: 0,
                mention,
                new: Some(new.len()),
            };
            self.twins.insert(name, twin);
        }
        new.push(New {
            routed,
            conversation,
            name: names.conversation,
            person: names.person,
            twin: names.twin,
        });
        Ok(None)
    }
}

/// How an event that is kept is addressed, once its twin names the employee.
pub(super) fn named(kept: &RoutedEvent, twin: &RoutedEvent) -> konstruct_core::Addressing {
    let (mut addressed, twin) = (kept.event.addressed, twin.event.addressed);
    addressed.mention = true;
    addressed.direct |= twin.direct;
    addressed.thread |= twin.thread;
    addressed.command |= twin.command;
    addressed
}

async fn mentioned(tx: &mut TenantTx, twin: Option<Uuid>) -> Result<()> {
    sqlx::query("update konstruct.twins set mention = true where tenant = $1 and twin = $2")
        .bind(tx.id())
        .bind(twin)
        .execute(tx.db())
        .await
        .map(drop)
        .map_err(stored)
}

/// Puts new events into the inboxes of their conversations. Returns where each stands.
async fn deliver(
    tx: &mut TenantTx,
    key: &TenantKey,
    persons: &Persons,
    new: &[New],
) -> Result<Vec<(Uuid, i64)>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
    for event in new {
        *counts.entry(event.conversation).or_default() += 1;
    }
    let opened = number(tx, &counts).await?;
    let mut next = HashMap::new();
    let mut made = HashSet::new();
    for (conversation, last, first) in &opened {
        next.insert(*conversation, last - counts[conversation]);
        if *first {
            made.insert(*conversation);
        }
    }
    let mut places = Vec::with_capacity(new.len());
    let (mut rows, mut sealed) = (Places::default(), Vec::with_capacity(new.len()));
    for event in new {
        let seq = next.get_mut(&event.conversation).ok_or_else(corrupt)?;
        *seq += 1;
        if made.remove(&event.conversation) {
            rows.add(key, persons, event)?;
        }
        let row = row_in(event.conversation, *seq);
        sealed.push(persons.seal(key, event.person, ("inbox", &row), &event.routed)?);
        places.push((event.conversation, *seq));
    }
    write(tx, new, rows, &places, sealed).await?;
    Ok(places)
}

/// Numbers events of conversations, and makes them ready unless they are claimed: then the release will see. Returns the last
/// number of each, and whether it is a new one: a row that was not there has no `xmax`.
async fn number(tx: &mut TenantTx, counts: &BTreeMap<Uuid, i64>) -> Result<Vec<(Uuid, i64, bool)>> {
    let (conversations, counts): (Vec<Uuid>, Vec<i64>) = counts.iter().unzip();
    sqlx::query_as(
        "insert into konstruct.mailboxes as m (tenant, conversation, last, updated_at, ready_at)
         select $1, e.conversation, e.many, t.now, t.now
         from unnest($2::uuid[], $3::bigint[]) e(conversation, many), (select coalesce($4, konstruct.now_us()) as now) t
         order by e.conversation
         on conflict (tenant, conversation) do update set
             last = m.last + excluded.last,
             updated_at = excluded.updated_at,
             ready_at = case when m.lease_until is null then coalesce(m.ready_at, excluded.ready_at) end
         returning m.conversation, m.last, m.xmax = 0",
    )
    .bind(tx.id())
    .bind(conversations)
    .bind(counts)
    .bind(tx.given())
    .fetch_all(tx.db())
    .await
    .map_err(stored)
}

/// Where new conversations are held.
#[derive(Default)]
struct Places {
    conversations: Vec<Uuid>,
    names: Vec<Uuid>,
    sealed: Vec<Vec<u8>>,
}

impl Places {
    fn add(&mut self, key: &TenantKey, persons: &Persons, event: &New) -> Result<()> {
        let place = Place {
            connection: event.routed.connection,
            place: event
                .routed
                .event
                .conversation
                .clone()
                .unwrap_or(ConversationRef {
                    id: String::new(),
                    kind: ConversationKind::Direct,
                    thread: None,
                    external: false,
                }),
        };
        let row = row_of(event.conversation);
        self.sealed
            .push(persons.seal(key, [], ("conversations", &row), &place)?);
        self.conversations.push(event.conversation);
        self.names.push(event.name);
        Ok(())
    }
}

/// Writes the inbox, new conversations, the logical ids, and in which conversations persons speak.
async fn write(
    tx: &mut TenantTx,
    new: &[New],
    made: Places,
    places: &[(Uuid, i64)],
    sealed: Vec<Vec<u8>>,
) -> Result<()> {
    let (conversations, seqs): (Vec<Uuid>, Vec<i64>) = places.iter().copied().unzip();
    let persons: Vec<Option<Uuid>> = new
        .iter()
        .map(|event| {
            event
                .person
                .map(|person| Uuid::from_bytes(*person.as_bytes()))
        })
        .collect();
    let twins: Vec<Option<Uuid>> = new.iter().map(|event| event.twin).collect();
    let mentions: Vec<bool> = new
        .iter()
        .map(|event| event.routed.event.addressed.mention)
        .collect();
    sqlx::query(
        "with new as (
             select * from unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::boolean[], $7::bytea[])
                 n(conversation, seq, person, twin, mention, sealed)
         ), twins as (
             insert into konstruct.twins (tenant, twin, conversation, seq, mention)
             select $1, twin, conversation, seq, mention from new where twin is not null
             on conflict (tenant, twin) do update set
                 conversation = excluded.conversation, seq = excluded.seq, mention = excluded.mention
         ), places as (
             insert into konstruct.conversations (tenant, conversation, name, sealed)
             select $1, c.conversation, c.name, c.sealed
             from unnest($9::uuid[], $10::uuid[], $11::bytea[]) c(conversation, name, sealed)
         ), spoken as (
             insert into konstruct.spoken (tenant, person, conversation)
             select distinct $1, person, conversation from new where person is not null on conflict do nothing
         )
         insert into konstruct.inbox (tenant, conversation, seq, accepted_at, persons, sealed)
         select $1, conversation, seq, t.now, array_remove(array[person], null), sealed
         from new, (select coalesce($8, konstruct.now_us()) as now) t",
    )
    .bind(tx.id())
    .bind(conversations)
    .bind(seqs)
    .bind(persons)
    .bind(twins)
    .bind(mentions)
    .bind(sealed)
    .bind(tx.given())
    .bind(made.conversations)
    .bind(made.names)
    .bind(made.sealed)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}
