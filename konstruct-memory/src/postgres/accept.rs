//! Accepts events: deduplicates, routes, numbers and stores them.
//!
//! For each tenant, one transaction at a time accepts events, so that each decision is made once. It looks everything up in one
//! statement, decides, and writes with another statement.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId, Timestamp,
    message::{Body, ConversationKind, DeliveryState, RoutedEvent},
    store::{Accepted, rules},
};
use uuid::Uuid;

use super::{
    Inner,
    claim::{signed, uuid},
    error::{corrupt, stored},
    read::{delivery, read_state, write_state},
    tenant::{Mode, TenantTx},
    time::time,
    upgrade::{Upgrade, upgrade},
    vault::{Persons, row_in, row_of, uuids},
};
use crate::seal::{PersonKey, TenantKey};

impl Inner {
    /// Accepts all of them or none, in one transaction.
    pub(super) async fn accept_all(
        &self,
        tenant: TenantId,
        events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        let mut tx = self.db.tenant(tenant, Mode::Write).await?;
        let mut outcomes = Vec::with_capacity(events.len());
        let mut keys = Vec::new();
        for part in parted(events) {
            let (accepted, persons) = self.accept_part(&mut tx, part).await?;
            outcomes.extend(accepted);
            keys.push(persons);
        }
        tx.commit().await?;
        for persons in &keys {
            self.vault.keep(tenant, persons.iter());
        }
        let changes = |it: &Accepted| matches!(it, Accepted::New { .. } | Accepted::Upgraded);
        if outcomes.iter().any(changes) {
            self.wake.arrived();
        }
        Ok(outcomes)
    }

    async fn accept_part(
        &self,
        tx: &mut TenantTx,
        events: Vec<RoutedEvent>,
    ) -> Result<(Vec<Accepted>, Persons)> {
        let (key, names, mut known) = self.look_up(tx, &events).await?;
        known.make_missing(tx, &key, &events, &names).await?;
        let mut outcomes = Vec::with_capacity(events.len());
        let mut writes = Writes::default();
        for (routed, names) in events.into_iter().zip(names) {
            let outcome = known.accept(tx, &key, routed, names, &mut writes).await?;
            outcomes.push(outcome);
        }
        writes.write(tx, &key, &known).await?;
        Ok((outcomes, known.keys))
    }

    /// Computes the names of events and looks them up. The names are hashed with the last known tenant key, and once more if the
    /// key has changed.
    async fn look_up(
        &self,
        tx: &mut TenantTx,
        events: &[RoutedEvent],
    ) -> Result<(Arc<TenantKey>, Vec<Names>, Known)> {
        let mut kept = self.vault.last(tx.tenant());
        loop {
            let is_kept = kept.is_some();
            let (wrapped, key) = match kept.take() {
                Some(kept) => kept,
                None => self.vault.key_or_new_and_row(tx).await?,
            };
            let names: Vec<_> = events.iter().map(|event| Names::of(&key, event)).collect();
            let persons: BTreeSet<_> = names.iter().flat_map(Names::addresses).collect();
            let linked: BTreeSet<_> = names.iter().flat_map(Names::linked).collect();
            let had = self.vault.kept_of(tx.tenant(), &persons);
            let new = persons.into_iter().map(|person| {
                if had.get(person).is_some() || linked.contains(&person) {
                    return Ok((person, None));
                }
                PersonKey::random().map(|key| (person, Some(key)))
            });
            let new = new.collect::<Result<Vec<_>>>()?;
            if let Some(known) = Known::read(tx, &key, &names, &new, &wrapped).await? {
                return Ok((key, names, known));
            }
            if !is_kept {
                return Err(corrupt());
            }
        }
    }
}

/// Splits a batch where an event links addresses differently than an earlier event in the part did, because the persons of a part's
/// addresses are looked up together.
fn parted(events: Vec<RoutedEvent>) -> Vec<Vec<RoutedEvent>> {
    let mut parts: Vec<Vec<RoutedEvent>> = Vec::new();
    // For each address in the part, the addresses that it was reported with.
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for routed in events {
        let addresses = rules::addresses(&routed.event).into_iter();
        let mut same: Vec<String> = addresses.map(str::to_owned).collect();
        if same.is_empty() {
            same.extend(routed.event.sender.id().map(str::to_owned));
        }
        let fits = |address| seen.get(address).is_none_or(|before| *before == same);
        match parts.last_mut() {
            Some(part) if same.iter().all(fits) => part.push(routed),
            _ => {
                parts.push(vec![routed]);
                seen.clear();
            }
        }
        for address in &same {
            seen.insert(address.clone(), same.clone());
        }
    }
    parts
}

/// The names of an event: keyed hashes.
struct Names {
    event: Option<Uuid>,
    logical: Option<Uuid>,
    delivery: Option<Uuid>,
    /// The conversation that a decision refers to.
    target: Option<Uuid>,
    conversation: Uuid,
    /// The address of its sender.
    person: Option<PersonId>,
    /// The addresses that are one person's.
    same: Vec<PersonId>,
    /// The other names of its conversation.
    others: Vec<Uuid>,
}

impl Names {
    fn of(key: &TenantKey, routed: &RoutedEvent) -> Self {
        let event = &routed.event;
        let name = |label: &str, id: &str| {
            let bytes = [routed.connection.as_bytes().as_slice(), id.as_bytes()].concat();
            (!id.is_empty()).then(|| Uuid::from_bytes(key.hash(label, &bytes)))
        };
        let address = |id: &str| key.person(event.channel.as_str(), id);
        let place = event.conversation.as_ref().map(ConversationRef::key);
        let place = place.as_deref().unwrap_or("");
        let (sent, target) = match &event.body {
            Body::Delivery { key, .. } => (key.as_deref(), None),
            Body::Decision { target, .. } => (None, Some(uuid(*target))),
            _ => (None, None),
        };
        Self {
            event: name("event", &event.id),
            logical: name("logical", &event.logical_id),
            delivery: sent.map(|of| delivery(key, of)),
            target,
            conversation: conversation_name(key, routed.connection, place),
            person: event.sender.id().map(address),
            same: rules::addresses(event).into_iter().map(address).collect(),
            others: rules::places(event)
                .into_iter()
                .skip(1)
                .map(|id| conversation_name(key, routed.connection, id))
                .collect(),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = PersonId> {
        self.person.into_iter().chain(self.linked())
    }

    /// Returns the addresses that it links. Being linked does not create a key.
    fn linked(&self) -> impl Iterator<Item = PersonId> {
        self.same.iter().copied()
    }

    /// Returns the names of its conversation, its own first.
    fn places(&self) -> impl Iterator<Item = Uuid> {
        [self.conversation]
            .into_iter()
            .chain(self.others.iter().copied())
    }
}

/// Returns the name of a conversation. It is also its id, unless it was imported.
pub(super) fn conversation_name(key: &TenantKey, connection: ConnectionId, place: &str) -> Uuid {
    let name = [connection.as_bytes().as_slice(), place.as_bytes()].concat();
    Uuid::from_bytes(key.hash("conversation", &name))
}

/// The stored event with a logical id.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogicalEvent {
    pub(super) conversation: Uuid,
    pub(super) seq: i64,
    mention: bool,
    /// Its position among the new events of this call.
    new: Option<usize>,
}

/// A sent message.
#[derive(Clone, Copy, Debug)]
struct Sent {
    conversation: Uuid,
    state: Option<DeliveryState>,
    settled: bool,
}

/// A new event with its conversation.
struct New {
    routed: RoutedEvent,
    conversation: Uuid,
    seq: i64,
    person: Option<PersonId>,
    logical: Option<Uuid>,
}

/// What was found by the names of events.
#[derive(Default)]
struct Known {
    /// Event ids that are new in this call, until their first use.
    fresh: HashSet<Uuid>,
    erased: HashMap<PersonId, Timestamp>,
    /// Persons whose ids differ from the hashes of their names.
    persons: HashMap<PersonId, PersonId>,
    logical_events: HashMap<Uuid, LogicalEvent>,
    sent: HashMap<Uuid, Sent>,
    /// By name: the conversation, and whether its address is unknown.
    conversations: HashMap<Uuid, (Uuid, bool)>,
    /// By another name of a conversation: the name that it is stored under.
    places: HashMap<Uuid, Uuid>,
    /// The last number of each mailbox.
    last: HashMap<Uuid, i64>,
    keys: Persons,
}

/// A kind, two ids, a number, another number, a flag and bytes; each may be absent.
type Row = (
    i32,
    Option<Uuid>,
    Option<Uuid>,
    Option<i64>,
    Option<i64>,
    bool,
    Option<Vec<u8>>,
);

impl Known {
    /// Looks up names. `None` if the tenant's key is another. New persons get the given keys.
    async fn read(
        tx: &mut TenantTx,
        key: &TenantKey,
        names: &[Names],
        persons: &[(PersonId, Option<PersonKey>)],
        wrapped: &[u8],
    ) -> Result<Option<Self>> {
        let of =
            |pick: fn(&Names) -> Option<Uuid>| names.iter().filter_map(pick).collect::<Vec<_>>();
        let (mut ids, mut new_keys, mut new_wrapped) = (Vec::new(), Vec::new(), Vec::new());
        for (person, new) in persons {
            ids.push(Uuid::from_bytes(*person.as_bytes()));
            new_keys.push(new.as_ref().map(|new| Uuid::from_bytes(*new.id.as_bytes())));
            let wrap = |new| key.wrap_person(*person, new);
            new_wrapped.push(new.as_ref().map(wrap).transpose()?);
        }
        let rows: Vec<Row> = sqlx::query_as(
            "select kind, id, other, number, more, flag, bytes
             from konstruct.look_up($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(tx.id())
        .bind(wrapped)
        .bind(tx.given())
        .bind(of(|names| names.event))
        .bind(of(|names| names.logical))
        .bind(of(|names| names.delivery))
        .bind(names.iter().flat_map(Names::places).collect::<Vec<_>>())
        .bind(of(|names| names.target))
        .bind(ids)
        .bind(new_keys)
        .bind(new_wrapped)
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let (mut known, mut same_key) = (Self::default(), false);
        for row in rows {
            same_key = true;
            known.add(key, row)?;
        }
        Ok(same_key.then_some(known))
    }

    fn add(&mut self, key: &TenantKey, row: Row) -> Result<()> {
        let person = |id: Uuid| PersonId::from_bytes(*id.as_bytes());
        match row {
            (0, ..) => {}
            (1, Some(event), ..) => drop(self.fresh.insert(event)),
            (2, Some(id), _, Some(at), ..) => drop(self.erased.insert(person(id), time(at))),
            (3, Some(name), Some(conversation), Some(seq), _, mention, _) => {
                let event = LogicalEvent {
                    conversation,
                    seq,
                    mention,
                    new: None,
                };
                self.logical_events.insert(name, event);
            }
            (4, Some(name), Some(conversation), state, _, settled, _) => {
                let sent = Sent {
                    conversation,
                    state: state.map(read_state).transpose()?,
                    settled,
                };
                self.sent.insert(name, sent);
            }
            (5, Some(name), Some(conversation), _, _, unplaced, _) => {
                self.conversations.insert(name, (conversation, unplaced));
            }
            (6, Some(person), Some(id), _, _, _, Some(wrapped)) => {
                self.keys.add(key, person, id, &wrapped)?;
            }
            (7, Some(name), Some(id), ..) => {
                self.persons.insert(person(name), person(id));
            }
            (9, Some(name), Some(stored), ..) => {
                self.places.insert(name, stored);
            }
            (8, Some(conversation), _, Some(last), ..) => {
                self.last.insert(conversation, last);
            }
            _ => return Err(corrupt()),
        }
        Ok(())
    }

    /// Returns the person of an address: one with a key of its own, or the one it was linked to or imported with.
    fn person(&self, address: PersonId) -> PersonId {
        let known = self.persons.get(&address).copied();
        known
            .filter(|_| self.keys.get(address).is_none())
            .unwrap_or(address)
    }

    /// Returns the sender of an event, after its links were applied.
    fn sender(&self, names: &Names) -> Option<PersonId> {
        let address = names.person?;
        let person = self.person(address);
        if self.is_known(address) || !names.same.contains(&address) {
            return Some(person);
        }
        self.same_person(names).or(Some(person))
    }

    /// Returns whether an address is that of a person.
    fn is_known(&self, address: PersonId) -> bool {
        self.keys.get(address).is_some() || self.persons.contains_key(&address)
    }

    /// Returns the person of the linked addresses: that of the first one that is known, or else the first.
    fn same_person(&self, names: &Names) -> Option<PersonId> {
        let known = names.same.iter().find(|address| self.is_known(**address));
        known
            .or(names.same.first())
            .map(|address| self.person(*address))
    }

    /// Returns whether the event was sent before its person was erased, or its address with its person.
    fn is_late(&self, routed: &RoutedEvent, names: &Names) -> bool {
        let mut ids = names
            .addresses()
            .flat_map(|address| [address, self.person(address)]);
        ids.any(|id| {
            let erased = self.erased.get(&id);
            erased.is_some_and(|at| rules::came_before(routed.event.occurred_at, *at))
        })
    }

    /// Creates the keys of persons who write again after they were erased.
    async fn make_missing(
        &mut self,
        tx: &mut TenantTx,
        key: &TenantKey,
        events: &[RoutedEvent],
        names: &[Names],
    ) -> Result<()> {
        let missing: BTreeSet<PersonId> = events
            .iter()
            .zip(names)
            .filter_map(|(routed, names)| {
                let person = self.sender(names)?;
                let missing = self.keys.get(person).is_none();
                (missing && !self.is_late(routed, names)).then_some(person)
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.keys.make_missing(tx, key, &missing).await
    }

    /// Decides how to accept an event.
    async fn accept(
        &mut self,
        tx: &mut TenantTx,
        key: &TenantKey,
        routed: RoutedEvent,
        names: Names,
        writes: &mut Writes,
    ) -> Result<Accepted> {
        if self.is_late(&routed, &names) {
            return Ok(Accepted::Duplicate);
        }
        if names.event.is_some_and(|event| !self.fresh.remove(&event)) {
            return Ok(Accepted::Duplicate);
        }
        let mut logical = names.logical;
        if let Some(known) = names
            .logical
            .and_then(|name| self.logical_events.get_mut(&name))
        {
            if rules::logical_duplicate(known.mention, &routed.event)
                == rules::LogicalDuplicate::Drop
            {
                return Ok(Accepted::Duplicate);
            }
            let upgraded = match known.new.and_then(|at| writes.new.get_mut(at)) {
                Some(kept) => {
                    kept.routed.event.addressed = named(&kept.routed, &routed);
                    Upgrade::Upgraded
                }
                None => upgrade(tx, key, &routed, *known).await?,
            };
            if upgraded == Upgrade::Erased {
                return Ok(Accepted::Duplicate);
            }
            known.mention = true;
            if known.new.is_none() {
                writes.mentioned.extend(names.logical);
            }
            if upgraded == Upgrade::Upgraded {
                return Ok(Accepted::Upgraded);
            }
            // The original remains stored under the logical id.
            logical = None;
        }
        let Some(conversation) = self.target(&routed, &names, writes) else {
            return Ok(Accepted::Folded);
        };
        let person = self.sender(&names);
        if let Some(person) = self.same_person(&names) {
            for address in &names.same {
                self.link(*address, person, writes);
            }
        }
        let seq = self.last.entry(conversation).or_insert(0);
        *seq += 1;
        let seq = *seq;
        if let Some(name) = logical {
            let event = LogicalEvent {
                conversation,
                seq,
                mention: routed.event.addressed.mention,
                new: Some(writes.new.len()),
            };
            self.logical_events.insert(name, event);
        }
        writes.new.push(New {
            routed,
            conversation,
            seq,
            person,
            logical,
        });
        Ok(Accepted::New {
            conversation: ConversationId::from_bytes(*conversation.as_bytes()),
            seq: seq.cast_unsigned(),
        })
    }

    /// Links an address to a person. An address with earlier messages remains a person of its own, because what is sealed to it
    /// is not sealed again.
    fn link(&mut self, address: PersonId, person: PersonId, writes: &mut Writes) {
        if address != person && !self.is_known(address) {
            self.persons.insert(address, person);
            writes.links.push((address, person));
        }
    }

    /// Returns the name that the conversation of an event is stored under.
    fn place(&self, names: &Names) -> Uuid {
        let stored = |name: Uuid| self.places.get(&name).copied().unwrap_or(name);
        let mut existing = names
            .places()
            .map(stored)
            .filter(|name| self.conversations.contains_key(name));
        existing.next().unwrap_or(names.conversation)
    }

    /// Returns the target of an event, and advances the delivery state that it reports. `None` if it goes to no inbox.
    fn target(&mut self, routed: &RoutedEvent, names: &Names, writes: &mut Writes) -> Option<Uuid> {
        match &routed.event.body {
            Body::Delivery { state, .. } => {
                let name = names.delivery?;
                let sent = self.sent.get_mut(&name)?;
                let known = rules::delivery(sent.state, sent.settled, *state)?;
                sent.state = Some(known.state);
                writes.delivered.insert(name, known.state);
                let there = self.last.contains_key(&sent.conversation);
                (known.news && there).then_some(sent.conversation)
            }
            Body::Decision { target, .. } => {
                Some(uuid(*target)).filter(|target| self.last.contains_key(target))
            }
            _ => {
                let name = self.place(names);
                for other in names.places() {
                    let known = self.conversations.contains_key(&other);
                    if other != name && !known && !self.places.contains_key(&other) {
                        self.places.insert(other, name);
                        writes.names.push((other, name));
                    }
                }
                let known = self.conversations.get(&name).copied();
                let (conversation, unplaced) = known.unwrap_or((name, true));
                if unplaced {
                    let person = self.sender(names);
                    let place = Placed {
                        name,
                        conversation,
                        connection: routed.connection,
                        place: place_of(routed),
                        owner: person.filter(|_| rules::place_is_personal(&routed.event)),
                    };
                    writes.placed.push(place);
                    self.conversations.insert(name, (conversation, false));
                }
                Some(conversation)
            }
        }
    }
}

/// Returns the addressing of a stored event after a repetition of it mentions the employee.
pub(super) fn named(
    kept: &RoutedEvent,
    repeated: &RoutedEvent,
) -> konstruct_core::message::Addressing {
    let (mut addressed, repeated) = (kept.event.addressed, repeated.event.addressed);
    addressed.mention = true;
    addressed.direct |= repeated.direct;
    addressed.thread |= repeated.thread;
    addressed.command |= repeated.command;
    addressed
}

/// Returns the address of an event, or that of the connection itself.
fn place_of(routed: &RoutedEvent) -> ConversationRef {
    let own = || ConversationRef {
        id: String::new(),
        kind: ConversationKind::Direct,
        thread: None,
        external: false,
    };
    routed.event.conversation.clone().unwrap_or_else(own)
}

/// The address of a conversation.
struct Placed {
    name: Uuid,
    conversation: Uuid,
    connection: ConnectionId,
    place: ConversationRef,
    /// The person of that address.
    owner: Option<PersonId>,
}

/// The writes of a call.
#[derive(Default)]
struct Writes {
    new: Vec<New>,
    placed: Vec<Placed>,
    /// Logical ids whose stored events mention the employee now.
    mentioned: Vec<Uuid>,
    delivered: BTreeMap<Uuid, DeliveryState>,
    /// Addresses with their persons.
    links: Vec<(PersonId, PersonId)>,
    /// Other names of conversations, with the names that they are stored under.
    names: Vec<(Uuid, Uuid)>,
}

/// Numbers the mailboxes and makes them ready, unless they are claimed (the release checks for events) or have only reactions.
/// Writes addresses, inbox items, logical ids, delivery states, and in which conversations persons speak.
const WRITE: &str = "
with now as (
    select coalesce($2, konstruct.now_us()) as now
), new as (
    select * from unnest($3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[], $7::boolean[], $8::bytea[])
        n(conversation, seq, person, twin, mention, sealed)
), mailboxes as (
    insert into konstruct.mailboxes as m (tenant, conversation, last, updated_at, ready_at)
    select $1, b.conversation, b.last, now.now, case when b.wakes or b.last - b.first + 1 + (
        select count(*) from (select from konstruct.inbox i
            where i.tenant = $1 and i.conversation = b.conversation limit $13) waiting) >= $13 then now.now end
    from unnest($9::uuid[], $10::bigint[], $11::bigint[], $12::boolean[]) b(conversation, first, last, wakes), now
    order by b.conversation
    on conflict (tenant, conversation) do update set
        last = excluded.last,
        updated_at = excluded.updated_at,
        ready_at = case when m.lease_until is null then coalesce(m.ready_at, excluded.ready_at) end
), places as (
    insert into konstruct.conversations as c (tenant, conversation, name, connection, sealed)
    select $1, p.conversation, p.name, p.connection, p.sealed
    from unnest($14::uuid[], $15::uuid[], $16::uuid[], $17::bytea[]) p(conversation, name, connection, sealed)
    on conflict (tenant, conversation) do update set sealed = excluded.sealed
), twins as (
    insert into konstruct.twins (tenant, twin, month, conversation, seq, mention)
    select $1, twin, konstruct.month_of(now.now), conversation, seq, mention from new, now where twin is not null
    on conflict do nothing
), mentioned as (
    update konstruct.twins t set mention = true where t.tenant = $1 and t.twin = any($18::uuid[])
), delivered as (
    update konstruct.deliveries d set state = s.state
    from unnest($19::uuid[], $20::smallint[]) s(key, state) where d.tenant = $1 and d.key = s.key
), spoken as (
    insert into konstruct.spoken (tenant, person, conversation)
    select distinct $1, person, conversation from new where person is not null on conflict do nothing
)
insert into konstruct.inbox (tenant, conversation, seq, accepted_at, persons, sealed)
select $1, conversation, seq, now.now, array_remove(array[person], null), sealed from new, now";

impl Writes {
    async fn write(self, tx: &mut TenantTx, key: &TenantKey, known: &Known) -> Result<()> {
        if self.new.is_empty() && self.mentioned.is_empty() && self.delivered.is_empty() {
            return Ok(());
        }
        let mut sealed = Vec::with_capacity(self.new.len());
        let mut boxes: BTreeMap<Uuid, (i64, i64, bool)> = BTreeMap::new();
        for new in &self.new {
            let row = row_in(new.conversation, new.seq);
            sealed.push(
                known
                    .keys
                    .seal(key, new.person, ("inbox", &row), &new.routed)?,
            );
            let at = boxes
                .entry(new.conversation)
                .or_insert((new.seq, new.seq, false));
            at.1 = new.seq;
            at.2 |= rules::wakes(&new.routed.event);
        }
        let places = self
            .placed
            .iter()
            .map(|placed| {
                let row = row_of(placed.conversation);
                known
                    .keys
                    .seal(key, placed.owner, ("conversations", &row), &placed.place)
            })
            .collect::<Result<Vec<_>>>()?;
        let person = |new: &New| uuids(new.person.as_slice()).pop();
        let states = self.delivered.values().map(|state| write_state(*state));
        let placed = |pick: fn(&Placed) -> Uuid| self.placed.iter().map(pick).collect::<Vec<_>>();
        sqlx::query(WRITE)
            .bind(tx.id())
            .bind(tx.given())
            .bind(
                self.new
                    .iter()
                    .map(|new| new.conversation)
                    .collect::<Vec<_>>(),
            )
            .bind(self.new.iter().map(|new| new.seq).collect::<Vec<_>>())
            .bind(self.new.iter().map(person).collect::<Vec<_>>())
            .bind(self.new.iter().map(|new| new.logical).collect::<Vec<_>>())
            .bind(
                self.new
                    .iter()
                    .map(|new| new.routed.event.addressed.mention)
                    .collect::<Vec<_>>(),
            )
            .bind(sealed)
            .bind(boxes.keys().copied().collect::<Vec<_>>())
            .bind(boxes.values().map(|at| at.0).collect::<Vec<_>>())
            .bind(boxes.values().map(|at| at.1).collect::<Vec<_>>())
            .bind(boxes.values().map(|at| at.2).collect::<Vec<_>>())
            .bind(signed(rules::QUIET_EVENTS))
            .bind(placed(|placed| placed.conversation))
            .bind(placed(|placed| placed.name))
            .bind(placed(|placed| {
                Uuid::from_bytes(*placed.connection.as_bytes())
            }))
            .bind(places)
            .bind(self.mentioned)
            .bind(self.delivered.keys().copied().collect::<Vec<_>>())
            .bind(states.collect::<Vec<_>>())
            .execute(tx.db())
            .await
            .map_err(stored)?;
        link(tx, self.links).await?;
        name(tx, self.names).await
    }
}

/// Stores the persons of these addresses, and replaces earlier ones.
pub(super) async fn link(tx: &mut TenantTx, links: Vec<(PersonId, PersonId)>) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let (addresses, persons): (Vec<_>, Vec<_>) = links.into_iter().unzip();
    sqlx::query(
        "insert into konstruct.person_names (tenant, name, person)
         select $1, n.name, n.person from unnest($2::uuid[], $3::uuid[]) n(name, person)
         on conflict (tenant, name) do update set person = excluded.person",
    )
    .bind(tx.id())
    .bind(uuids(&addresses))
    .bind(uuids(&persons))
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Stores other names of conversations.
pub(super) async fn name(tx: &mut TenantTx, names: Vec<(Uuid, Uuid)>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let (others, names): (Vec<_>, Vec<_>) = names.into_iter().unzip();
    sqlx::query(
        "insert into konstruct.place_names (tenant, other, name)
         select $1, n.other, n.name from unnest($2::uuid[], $3::uuid[]) n(other, name)
         where not exists (select from konstruct.conversations c where c.tenant = $1 and c.name = n.other)
         on conflict (tenant, other) do nothing",
    )
    .bind(tx.id())
    .bind(others)
    .bind(names)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}
