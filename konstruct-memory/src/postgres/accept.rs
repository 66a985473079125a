//! Taking events in: dedupe, route, number, store.
//!
//! One transaction of a tenant at a time takes in, so that what is known of an event is decided once. Lookups and writes are
//! made for all events together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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
    pub(super) async fn accept(
        &self,
        tenant: TenantId,
        events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.tenant(tenant, Mode::Alone).await?;
        let key = self.vault.key_or_new(&mut tx).await?;
        let names: Vec<_> = events
            .iter()
            .map(|routed| Names::of(&key, routed))
            .collect();
        let mut known = Known::read(&mut tx, &names).await?;
        let persons: BTreeSet<_> = events
            .iter()
            .zip(&names)
            .filter(|(routed, names)| !known.erased(routed, names))
            .filter_map(|(_, names)| names.person)
            .collect();
        let persons = Persons::of(&mut tx, &key, &persons).await?;
        let (mut outcomes, mut new) = (Vec::with_capacity(events.len()), Vec::new());
        for (routed, names) in events.into_iter().zip(names) {
            let outcome = known.take(&mut tx, &key, routed, names, &mut new).await?;
            outcomes.push(outcome);
        }
        let places = deliver(&mut tx, &key, persons, &new).await?;
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
struct Known {
    /// Event ids that were new with this call, until they are met.
    fresh: HashSet<Uuid>,
    erased: HashMap<PersonId, i64>,
    twins: HashMap<Uuid, Twin>,
    deliveries: HashMap<Uuid, Uuid>,
    conversations: HashMap<Uuid, Uuid>,
}

impl Known {
    async fn read(tx: &mut TenantTx, names: &[Names]) -> Result<Self> {
        let events: Vec<_> = names.iter().filter_map(|names| names.event).collect();
        let fresh: Vec<Uuid> = sqlx::query_scalar(
            "insert into konstruct.events (tenant, event) select $1, event from unnest($2::uuid[]) e(event)
             on conflict do nothing returning event",
        )
        .bind(tx.id())
        .bind(events)
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let of =
            |pick: fn(&Names) -> Option<Uuid>| names.iter().filter_map(pick).collect::<Vec<_>>();
        let persons: Vec<_> = names.iter().filter_map(|names| names.person).collect();
        let rows: Vec<(i32, Uuid, Option<Uuid>, i64, bool)> = sqlx::query_as(
            "select 0, person, null::uuid, at, false from konstruct.erased_persons where tenant = $1 and person = any($2)
             union all
             select 1, twin, conversation, seq, mention from konstruct.twins where tenant = $1 and twin = any($3)
             union all
             select 2, key, conversation, 0, false from konstruct.deliveries where tenant = $1 and key = any($4)
             union all
             select 3, name, conversation, 0, false from konstruct.conversations where tenant = $1 and name = any($5)",
        )
        .bind(tx.id())
        .bind(uuids(&persons))
        .bind(of(|names| names.twin))
        .bind(of(|names| names.delivery))
        .bind(of(|names| Some(names.conversation)))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let mut known = Self {
            fresh: fresh.into_iter().collect(),
            erased: HashMap::new(),
            twins: HashMap::new(),
            deliveries: HashMap::new(),
            conversations: HashMap::new(),
        };
        for (kind, id, conversation, number, mention) in rows {
            match (kind, conversation) {
                (1, Some(conversation)) => {
                    let twin = Twin {
                        conversation,
                        seq: number,
                        mention,
                        new: None,
                    };
                    known.twins.insert(id, twin);
                }
                (2, Some(conversation)) => drop(known.deliveries.insert(id, conversation)),
                (3, Some(conversation)) => drop(known.conversations.insert(id, conversation)),
                _ => {
                    let person = PersonId::from_bytes(*id.as_bytes());
                    known.erased.insert(person, number);
                }
            }
        }
        Ok(known)
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
    persons: Persons,
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
            rows.add(key, &persons, event)?;
        }
        let row = row_in(event.conversation, *seq);
        sealed.push(persons.seal(key, event.person, ("inbox", &row), &event.routed)?);
        places.push((event.conversation, *seq));
    }
    rows.write(tx).await?;
    write(tx, new, &places, sealed).await?;
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

    async fn write(self, tx: &mut TenantTx) -> Result<()> {
        if self.conversations.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into konstruct.conversations (tenant, conversation, name, sealed)
             select $1, c.conversation, c.name, c.sealed
             from unnest($2::uuid[], $3::uuid[], $4::bytea[]) c(conversation, name, sealed)",
        )
        .bind(tx.id())
        .bind(self.conversations)
        .bind(self.names)
        .bind(self.sealed)
        .execute(tx.db())
        .await
        .map(drop)
        .map_err(stored)
    }
}

/// Writes the inbox, the logical ids, and in which conversations persons speak.
async fn write(
    tx: &mut TenantTx,
    new: &[New],
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
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}
