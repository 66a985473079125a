//! Accepts events: deduplicates, routes, numbers and stores them.

use std::collections::BTreeSet;

use konstruct_core::{
    ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId,
    message::{Body, ConversationKind, RoutedEvent},
    store::{Accepted, rules},
};

use super::{
    Shared,
    arrival::Arrival,
    head::{Head, Location, corrupt},
    keys::{self, ALIASES, EVENTS, HEADS, INBOX, LOGICAL},
    slices::Erasing,
    snapshot::Rows,
    vault::Vault,
    writer::{Batch, Operation},
};

/// Accepts events of a tenant.
pub(super) struct Accept {
    pub(super) tenant: TenantId,
    pub(super) events: Vec<RoutedEvent>,
    /// Events that the caller prepared, with the keys it used.
    pub(super) arrivals: Option<(Vault, Vec<Arrival>)>,
    /// Stored events that were upgraded.
    pub(super) upgraded: Vec<LogicalEvent>,
    /// The conversations that become ready.
    pub(super) ready: BTreeSet<ConversationId>,
}

/// The stored event with a logical id.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogicalEvent {
    conversation: ConversationId,
    seq: u64,
    mention: bool,
}

impl LogicalEvent {
    fn to_bytes(self) -> Vec<u8> {
        let mut row = self.conversation.as_bytes().to_vec();
        row.extend_from_slice(&self.seq.to_be_bytes());
        row.push(u8::from(self.mention));
        row
    }

    fn read(row: &[u8]) -> Result<Self> {
        Ok(Self {
            conversation: keys::id(row, 0)
                .map(ConversationId::from_bytes)
                .ok_or_else(corrupt)?,
            seq: keys::number(row, 16).ok_or_else(corrupt)?,
            mention: row.get(24) == Some(&1),
        })
    }
}

impl Operation for Accept {
    type Output = Vec<Accepted>;

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn has_priority(&self) -> bool {
        true
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Vec<Accepted>> {
        let mut vault = shared.vault_or_new(batch, self.tenant)?;
        let arrivals = match self.arrivals.take() {
            // Keys differ if the tenant was erased and created again meanwhile.
            Some((prepared, arrivals)) if prepared.key == vault.key => arrivals,
            _ => {
                let named = self.events.iter().map(|routed| vault.arrival(routed));
                named.collect()
            }
        };
        let accepted = self
            .events
            .iter()
            .zip(arrivals)
            .map(|(routed, arrival)| {
                accept(
                    shared,
                    batch,
                    &mut vault,
                    (routed, arrival),
                    (&mut self.upgraded, &mut self.ready),
                )
            })
            .collect::<Result<_>>()?;
        batch.leave(vault);
        Ok(accepted)
    }

    fn committed(&mut self, shared: &Shared, _: &Vec<Accepted>) {
        for original in &self.upgraded {
            shared.changed((self.tenant, original.conversation), original.seq);
            shared.arrived((self.tenant, original.conversation));
        }
        for conversation in &self.ready {
            shared.arrived((self.tenant, *conversation));
        }
    }
}

fn accept(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    (routed, mut arrival): (&RoutedEvent, Arrival),
    (upgraded, ready): (&mut Vec<LogicalEvent>, &mut BTreeSet<ConversationId>),
) -> Result<Accepted> {
    let (tenant, event) = (vault.tenant(), &routed.event);
    let mut person = vault.sender(batch, &arrival)?;
    let mut ids: Vec<_> = arrival.person.into_iter().chain(person).collect();
    for address in &arrival.same {
        ids.extend([*address, vault.person(batch, *address)?]);
    }
    for id in &ids {
        if vault.was_forgotten(batch, *id, event.occurred_at)? {
            return Ok(Accepted::Duplicate);
        }
    }
    if let Some(key) = arrival.event.take() {
        if batch.get(EVENTS, &key)?.is_some() {
            return Ok(Accepted::Duplicate);
        }
        batch.put(EVENTS, key, []);
    }
    let logical = arrival.logical.take();
    if let Some(key) = &logical
        && let Some(row) = batch.get(LOGICAL, key)?
    {
        let original = LogicalEvent::read(&row)?;
        if rules::logical_duplicate(original.mention, event) == rules::LogicalDuplicate::Drop {
            return Ok(Accepted::Duplicate);
        }
        match upgrade(shared, batch, vault, routed, original)? {
            Upgrade::Upgraded => {
                let named = LogicalEvent {
                    mention: true,
                    ..original
                };
                batch.put(LOGICAL, key.clone(), named.to_bytes());
                // Before the commit too, so that an append in the same batch is refused.
                shared.changed((tenant, original.conversation), original.seq);
                upgraded.push(original);
                return Ok(Accepted::Upgraded);
            }
            Upgrade::Erased => return Ok(Accepted::Duplicate),
            Upgrade::Consumed => {}
        }
    }
    let target = match target(shared, batch, vault, routed)? {
        Target::Nowhere => return Ok(Accepted::Folded),
        Target::ByAddress => None,
        Target::Conversation(conversation) => Some(conversation),
    };
    if !arrival.same.is_empty() {
        vault.link_all(batch, &arrival.same)?;
        person = vault.sender(batch, &arrival)?;
    }
    let arrived = (person, arrival, target);
    let (conversation, seq, is_ready) = deliver(shared, batch, vault, routed, arrived)?;
    if is_ready {
        ready.insert(conversation);
    }
    if let Some(key) = logical {
        let original = LogicalEvent {
            conversation,
            seq,
            mention: event.addressed.mention,
        };
        batch.put(LOGICAL, key, original.to_bytes());
    }
    Ok(Accepted::New { conversation, seq })
}

enum Upgrade {
    /// The stored event now mentions the employee.
    Upgraded,
    /// The stored event was already consumed by a turn that did not know of the mention.
    Consumed,
    /// The stored event was erased.
    Erased,
}

/// Records on a stored event that it mentions the employee.
fn upgrade(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    routed: &RoutedEvent,
    original: LogicalEvent,
) -> Result<Upgrade> {
    let tenant = vault.tenant();
    let Some(head) = shared.head(batch, tenant, original.conversation)? else {
        return Ok(Upgrade::Erased);
    };
    if original.seq <= head.consumed {
        return Ok(Upgrade::Consumed);
    }
    let key = keys::item(tenant, original.conversation, original.seq);
    let Some(row) = batch.get(INBOX, &key)? else {
        return Ok(Upgrade::Erased);
    };
    let item = vault.inbox_item(batch, &key, &row)?;
    let Some(mut kept) = item.event.filter(|kept| {
        // Numbers restart after an erasure, so it may be another event.
        kept.connection == routed.connection && kept.event.logical_id == routed.event.logical_id
    }) else {
        return Ok(Upgrade::Erased);
    };
    let (old, new) = (&mut kept.event.addressed, routed.event.addressed);
    old.mention = true;
    old.direct |= new.direct;
    old.thread |= new.thread;
    old.command |= new.command;
    let place = (original.conversation, original.seq);
    let whose = (item.accepted_at, item.persons.as_slice());
    let row = vault.inbox_row(batch, place, whose, &kept, None)?;
    batch.put(INBOX, key, row);
    Ok(Upgrade::Upgraded)
}

/// The target of an event.
enum Target {
    /// No inbox: at most a delivery state changes.
    Nowhere,
    /// The conversation of its address.
    ByAddress,
    /// This conversation.
    Conversation(ConversationId),
}

/// Returns the target of an event, and advances the delivery state that it reports.
fn target(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    routed: &RoutedEvent,
) -> Result<Target> {
    Ok(match &routed.event.body {
        Body::Delivery { key, state, .. } => {
            let Some(key) = key else {
                return Ok(Target::Nowhere);
            };
            let Some(mut sent) = vault.sent(batch, key)? else {
                return Ok(Target::Nowhere);
            };
            let Some(known) = rules::delivery(sent.state, sent.settled, *state) else {
                return Ok(Target::Nowhere);
            };
            sent.state = Some(known.state);
            vault.put_sent(batch, key, sent);
            if known.news {
                Target::Conversation(sent.conversation)
            } else {
                Target::Nowhere
            }
        }
        Body::Decision { target, .. } => match shared.head(batch, vault.tenant(), *target)? {
            Some(_) => Target::Conversation(*target),
            None => Target::Nowhere,
        },
        _ => Target::ByAddress,
    })
}

/// Puts an event into the inbox of its conversation. Returns the conversation, the event's number, and whether the conversation
/// is ready.
fn deliver(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &mut Vault,
    routed: &RoutedEvent,
    (person, mut arrival, target): (Option<PersonId>, Arrival, Option<ConversationId>),
) -> Result<(ConversationId, u64, bool)> {
    let (tenant, event) = (vault.tenant(), &routed.event);
    let now = shared.clock.now();
    let own = target.unwrap_or(arrival.conversation);
    let (mut conversation, mut head) = (own, None);
    let mut unknown = Vec::new();
    let others = arrival.others.iter().filter(|_| target.is_none());
    for name in [own].iter().chain(others) {
        let (id, found) = located(shared, batch, vault, *name)?;
        if found.is_none() {
            unknown.push(*name);
        } else if head.is_none() {
            (conversation, head) = (id, found);
        }
    }
    for name in unknown {
        if name != conversation {
            let key = keys::of(tenant, &[name.as_bytes()]);
            batch.put(ALIASES, key, *conversation.as_bytes());
        }
    }
    let key = keys::conversation(tenant, conversation);
    // The address of an erased person who writes again is stored again.
    let owner = person.filter(|_| target.is_none() && rules::place_is_personal(event));
    let again = match owner {
        Some(owner) => !vault.has_key(batch, owner)?,
        None => false,
    };
    if head.is_none() || again {
        let place = event.conversation.clone().unwrap_or(ConversationRef {
            id: String::new(),
            kind: ConversationKind::Direct,
            thread: None,
            external: false,
        });
        let location = Location {
            connection: routed.connection,
            place: Some(place),
        };
        vault.put_location(batch, conversation, &location, owner)?;
    }
    let mut head = head.unwrap_or_default();
    head.last += 1;
    head.updated_at = now;
    let item = keys::item(tenant, conversation, head.last);
    let place = (conversation, head.last);
    let whose = (now, person.as_slice());
    let row = vault.inbox_row(batch, place, whose, routed, Some(&mut arrival))?;
    if let Some(person) = person {
        vault.note_words(batch, person, conversation)?;
    }
    batch.put(INBOX, item, row);
    shared.keep_pending(batch, (tenant, conversation), &mut head);
    batch.put(HEADS, key, head.to_bytes());
    let is_ready = rules::wakes(event) || head.unconsumed() >= rules::QUIET_EVENTS;
    Ok((conversation, head.last, is_ready))
}

/// Returns the conversation with a name, under which it may be known or imported.
fn located(
    shared: &Shared,
    batch: &mut Batch<'_>,
    vault: &Vault,
    name: ConversationId,
) -> Result<(ConversationId, Option<Head>)> {
    let head = shared.head(batch, vault.tenant(), name)?;
    if head.is_none()
        && let Some(alias) = vault.alias(batch, name.as_bytes())?
    {
        let alias = ConversationId::from_bytes(alias);
        return Ok((alias, shared.head(batch, vault.tenant(), alias)?));
    }
    Ok((name, head))
}

impl Vault {
    /// Returns the id of a conversation: a keyed hash that does not reveal any name.
    pub(super) fn conversation(&self, connection: ConnectionId, place: &str) -> ConversationId {
        let name = [connection.as_bytes().as_slice(), place.as_bytes()].concat();
        ConversationId::from_bytes(self.key.hash("conversation", &name))
    }

    /// Returns the sender of an event.
    fn sender(&self, batch: &mut Batch<'_>, arrival: &Arrival) -> Result<Option<PersonId>> {
        let address = arrival.person;
        address
            .map(|address| self.person(batch, address))
            .transpose()
    }

    pub(super) fn alias(&self, rows: &mut dyn Rows, name: &[u8; 16]) -> Result<Option<[u8; 16]>> {
        let row = rows.get(ALIASES, &keys::of(self.tenant(), &[name]))?;
        row.map(|row| keys::id(&row, 0).ok_or_else(corrupt))
            .transpose()
    }
}
