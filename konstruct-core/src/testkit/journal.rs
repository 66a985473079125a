//! The reference journal: every rule of the contract in memory, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::Notify;

use crate::{
    Body, Clock, ConnectionId, ConversationId, ConversationKind, ConversationRef, Depth, Erase,
    ErasureReceipt, Error, ErrorKind, LedgerRow, NanoUsd, PersonId, Result, RoutedEvent, TenantId,
    Timestamp, WorkerId,
    turn::{
        Accepted, Append, AppendOutcome, Charge, Claim, ConversationSummary, Exported, Fed,
        InboxItem, Journal, Loaded, Record, Stored, TimerChange,
    },
};

/// A journal in memory: the oracle that other backends are compared with, and a store for tests. It keeps nothing.
#[derive(Clone)]
pub struct MemoryJournal {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Journals>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Journals {
    tenants: BTreeMap<TenantId, Tenant>,
    /// The tenants with something ready, in the order in which they are served.
    ready: VecDeque<TenantId>,
    fence: u64,
}

#[derive(Default)]
struct Tenant {
    conversations: BTreeMap<ConversationId, Conversation>,
    ready: VecDeque<ConversationId>,
    events: HashMap<(ConnectionId, String), ()>,
    logical: HashMap<(ConnectionId, String), Twin>,
    delivery: HashMap<String, ConversationId>,
    feed: BTreeMap<u64, (ConversationId, u64)>,
    fed: u64,
    budget: BTreeMap<String, (NanoUsd, NanoUsd)>,
    reserved: HashMap<String, (String, NanoUsd)>,
    ledger: Vec<LedgerRow>,
    /// When persons were erased.
    erased: HashMap<PersonId, Timestamp>,
}

#[derive(Clone, Copy)]
struct Twin {
    conversation: ConversationId,
    seq: u64,
    mention: bool,
}

struct Conversation {
    connection: ConnectionId,
    place: ConversationRef,
    /// `None`: erased.
    log: Vec<Option<Record>>,
    checkpoint: u64,
    /// Whether the last append with records was not a checkpoint.
    open: bool,
    inbox: BTreeMap<u64, InboxItem>,
    /// What of the inbox was upgraded since it was last loaded.
    upgraded: BTreeSet<u64>,
    next_seq: u64,
    /// The highest number of the inbox that the last release knew of.
    seen: u64,
    timer: Option<Timestamp>,
    claim: Option<(u64, Timestamp)>,
    queued: bool,
    updated_at: Timestamp,
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").finish_non_exhaustive()
    }
}

impl MemoryJournal {
    /// Makes an empty journal on a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Voids every claim, as the end of a process does with a store of one process.
    pub fn void_claims(&self) {
        let mut state = self.lock();
        let tenants: Vec<_> = state.tenants.keys().copied().collect();
        for tenant in tenants {
            let ids: Vec<_> = state.tenants[&tenant]
                .conversations
                .keys()
                .copied()
                .collect();
            for id in ids {
                if let Some(conversation) = state.conversation(tenant, id) {
                    conversation.claim = None;
                    conversation.seen = 0;
                    if conversation.pending() {
                        state.queue(tenant, id);
                    }
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Journals> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    fn valid(&self, claim: &Claim, now: Timestamp) -> bool {
        self.claim
            .is_some_and(|(fence, until)| fence == claim.fence && now < until)
    }

    /// Whether its worker died in the middle of a turn, or something waits.
    fn pending(&self) -> bool {
        self.open && self.timer.is_none() || !self.inbox.is_empty()
    }
}

impl Conversation {
    /// Removes what holds a person's words, and returns how many records and events that was.
    fn forget(&mut self, person: PersonId) -> u64 {
        let before = self.inbox.len();
        self.inbox.retain(|_, item| !item.persons.contains(&person));
        let mut gone = (before - self.inbox.len()) as u64;
        for record in &mut self.log {
            if record
                .as_ref()
                .is_some_and(|record| record.persons.contains(&person))
            {
                *record = None;
                gone += 1;
            }
        }
        if gone > 0 {
            self.claim = None;
        }
        gone
    }
}

impl From<&ConversationSummary> for Conversation {
    fn from(summary: &ConversationSummary) -> Self {
        Self {
            connection: summary.connection,
            place: summary.place.clone(),
            log: Vec::new(),
            checkpoint: 0,
            open: false,
            inbox: BTreeMap::new(),
            upgraded: BTreeSet::new(),
            next_seq: 1,
            seen: 0,
            timer: None,
            claim: None,
            queued: false,
            updated_at: summary.updated_at,
        }
    }
}

impl Journals {
    fn conversation(&mut self, tenant: TenantId, id: ConversationId) -> Option<&mut Conversation> {
        self.tenants.get_mut(&tenant)?.conversations.get_mut(&id)
    }

    fn queue(&mut self, tenant: TenantId, id: ConversationId) {
        let Some(own) = self.tenants.get_mut(&tenant) else {
            return;
        };
        let Some(conversation) = own
            .conversations
            .get_mut(&id)
            .filter(|conversation| !conversation.queued)
        else {
            return;
        };
        conversation.queued = true;
        own.ready.push_back(id);
        if !self.ready.contains(&tenant) {
            self.ready.push_back(tenant);
        }
    }

    /// Queues what has become ready by time alone: timers and leases that ran out.
    fn tick(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        for (tenant, own) in &mut self.tenants {
            for (id, conversation) in &mut own.conversations {
                if conversation.claim.is_some_and(|(_, until)| until <= now) {
                    conversation.claim = None;
                    due.push((*tenant, *id));
                } else if conversation.claim.is_none()
                    && conversation.timer.is_some_and(|timer| timer <= now)
                {
                    due.push((*tenant, *id));
                }
            }
        }
        for (tenant, id) in due {
            self.queue(tenant, id);
        }
    }
}

impl Tenant {
    fn take(
        &mut self,
        tenant: TenantId,
        routed: RoutedEvent,
        now: Timestamp,
    ) -> (Accepted, Option<ConversationId>) {
        let connection = routed.connection;
        let event = &routed.event;
        let persons: Vec<PersonId> = event
            .sender
            .id()
            .map(|id| {
                let name = format!("{}:{id}", event.channel.as_str());
                PersonId::from_bytes(named(tenant, "person", name.as_bytes()))
            })
            .into_iter()
            .collect();
        let before = |at: &Timestamp| event.occurred_at <= *at;
        if persons
            .iter()
            .any(|person| self.erased.get(person).is_some_and(before))
        {
            return (Accepted::Duplicate, None);
        }
        let (event_key, logical_key) = (
            (connection, event.id.clone()),
            (connection, event.logical_id.clone()),
        );
        if !event.id.is_empty() && self.events.insert(event_key, ()).is_some() {
            return (Accepted::Duplicate, None);
        }
        let twin = self
            .logical
            .get(&logical_key)
            .copied()
            .filter(|_| !event.logical_id.is_empty());
        if let Some(twin) = twin {
            if twin.mention || !event.addressed.mention {
                return (Accepted::Duplicate, None);
            }
            if let Some(known) = self.logical.get_mut(&logical_key) {
                known.mention = true;
            }
            let own = self.conversations.get_mut(&twin.conversation);
            if let Some(own) = own
                && let Some(stored) = own
                    .inbox
                    .get_mut(&twin.seq)
                    .and_then(|item| item.event.as_mut())
            {
                stored.event.addressed.mention = true;
                own.upgraded.insert(twin.seq);
                return (Accepted::Upgraded, Some(twin.conversation));
            }
        }
        let key = match &event.body {
            Body::Delivery { key: Some(key), .. } | Body::Decision { key, .. } => {
                self.delivery.get(key).copied()
            }
            _ => None,
        };
        let place = event
            .conversation
            .clone()
            .unwrap_or_else(|| ConversationRef {
                id: String::new(),
                kind: ConversationKind::Direct,
                thread: None,
                external: false,
            });
        let conversation = key.unwrap_or_else(|| {
            let bytes = [connection.as_bytes().as_slice(), place.key().as_bytes()].concat();
            ConversationId::from_bytes(named(tenant, "conversation", &bytes))
        });
        let mention = event.addressed.mention;
        let own = self
            .conversations
            .entry(conversation)
            .or_insert_with(|| Conversation {
                connection,
                place,
                log: Vec::new(),
                checkpoint: 0,
                open: false,
                inbox: BTreeMap::new(),
                upgraded: BTreeSet::new(),
                next_seq: 1,
                seen: 0,
                timer: None,
                claim: None,
                queued: false,
                updated_at: now,
            });
        let seq = own.next_seq;
        own.next_seq += 1;
        own.updated_at = now;
        own.inbox.insert(
            seq,
            InboxItem {
                seq,
                accepted_at: now,
                persons,
                event: Some(routed),
            },
        );
        if !logical_key.1.is_empty() {
            self.logical.entry(logical_key).or_insert(Twin {
                conversation,
                seq,
                mention,
            });
        }
        (Accepted::New { conversation, seq }, Some(conversation))
    }

    fn fits(&self, charge: &Charge, month: &str) -> bool {
        let Some(reserve) = &charge.reserve else {
            return true;
        };
        let Some(cap) = reserve.cap else { return true };
        if self.reserved.contains_key(&reserve.call) {
            return true;
        }
        let (spent, reserved) = self.budget.get(month).copied().unwrap_or_default();
        spent
            .saturating_add(reserved)
            .saturating_add(reserve.amount)
            <= cap
    }

    fn account(&mut self, charge: Charge, month: &str) {
        if let Some(reserve) = &charge.reserve
            && !self.reserved.contains_key(&reserve.call)
        {
            self.reserved
                .insert(reserve.call.clone(), (month.into(), reserve.amount));
            let budget = self.budget.entry(month.into()).or_default();
            budget.1 = budget.1.saturating_add(reserve.amount);
        }
        for settle in &charge.settle {
            let (month, amount) = self
                .reserved
                .remove(&settle.call)
                .unwrap_or_else(|| (month.into(), NanoUsd(0)));
            let budget = self.budget.entry(month).or_default();
            *budget = (
                budget.0.saturating_add(settle.cost),
                budget.1.saturating_sub(amount),
            );
        }
        self.ledger.extend(charge.ledger);
    }
}

fn stored(log: &[Option<Record>], range: Range<u64>) -> Vec<Stored> {
    let (from, to) = (
        range.start.min(log.len() as u64),
        range.end.min(log.len() as u64),
    );
    (from..to)
        .map(|index| Stored {
            index,
            record: log.get(index as usize).cloned().flatten(),
        })
        .collect()
}

fn month(now: Timestamp) -> String {
    now.to_string().chars().take(7).collect()
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut outcomes = Vec::with_capacity(events.len());
        for routed in events {
            let (outcome, conversation) = state
                .tenants
                .entry(tenant)
                .or_default()
                .take(tenant, routed, now);
            if let Some(conversation) = conversation {
                let free = state
                    .conversation(tenant, conversation)
                    .is_some_and(|own| own.claim.is_none());
                if free {
                    state.queue(tenant, conversation);
                }
            }
            outcomes.push(outcome);
        }
        drop(state);
        self.changed.notify_one();
        Ok(outcomes)
    }

    async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.tick(now);
        let Some(tenant) = state.ready.pop_front() else {
            return Ok(None);
        };
        state.fence += 1;
        let fence = state.fence;
        let Some(own) = state.tenants.get_mut(&tenant) else {
            return Ok(None);
        };
        let id = own.ready.pop_front();
        let more = !own.ready.is_empty();
        let claim = id.and_then(|id| {
            let conversation = own.conversations.get_mut(&id)?;
            conversation.queued = false;
            conversation.claim = Some((fence, now + lease));
            Some(Claim {
                tenant,
                conversation: id,
                worker,
                fence,
            })
        });
        if more {
            state.ready.push_back(tenant);
        }
        Ok(claim)
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(own) = state.conversation(claim.tenant, claim.conversation) else {
            return Ok(None);
        };
        if !own.valid(claim, now) {
            return Ok(None);
        }
        own.upgraded.clear();
        Ok(Some(Loaded {
            connection: own.connection,
            place: own.place.clone(),
            len: own.log.len() as u64,
            records: stored(&own.log, own.checkpoint..u64::MAX),
            inbox: own.inbox.values().cloned().collect(),
            due: own.timer.is_some_and(|timer| timer <= now),
            now,
        }))
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(own) = state.conversation(claim.tenant, claim.conversation) else {
            return Ok(false);
        };
        let valid = own.valid(claim, now);
        if valid {
            own.claim = Some((claim.fence, now + lease));
        }
        Ok(valid)
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(own) = state.conversation(claim.tenant, claim.conversation) else {
            return Ok(());
        };
        if own.valid(claim, now) {
            own.claim = None;
            own.seen = seen;
            let newer = own
                .inbox
                .keys()
                .next_back()
                .is_some_and(|newest| *newest > seen);
            if newer || !own.upgraded.is_empty() || own.timer.is_some_and(|timer| timer <= now) {
                state.queue(claim.tenant, claim.conversation);
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let now = self.clock.now();
        let month = month(now);
        let mut state = self.lock();
        let Some(tenant) = state.tenants.get_mut(&claim.tenant) else {
            return Ok(AppendOutcome::FenceLost);
        };
        let charge = Charge {
            reserve: append.reserve.clone(),
            settle: append.settle.clone(),
            ledger: append.ledger.clone(),
        };
        let fits = tenant.fits(&charge, &month);
        let Some(own) = tenant.conversations.get_mut(&claim.conversation) else {
            return Ok(AppendOutcome::FenceLost);
        };
        if !own.valid(claim, now) || own.log.len() as u64 != expected_len {
            return Ok(AppendOutcome::FenceLost);
        }
        if append
            .consume_to
            .is_some_and(|to| own.upgraded.range(..=to).next().is_some())
        {
            own.claim = None;
            state.queue(claim.tenant, claim.conversation);
            return Ok(AppendOutcome::FenceLost);
        }
        if !fits {
            return Ok(AppendOutcome::OverBudget);
        }
        own.updated_at = now;
        for record in &append.records {
            tenant.fed += 1;
            tenant
                .feed
                .insert(tenant.fed, (claim.conversation, own.log.len() as u64));
            own.log.push(Some(record.clone()));
        }
        if !append.records.is_empty() {
            own.open = !append.checkpoint;
        }
        if append.checkpoint {
            own.checkpoint = (own.log.len() as u64).saturating_sub(1);
        }
        if let Some(to) = append.consume_to {
            own.inbox = own.inbox.split_off(&(to + 1));
        }
        match append.timer {
            TimerChange::Keep => {}
            TimerChange::Set(when) => own.timer = Some(when),
            TimerChange::Clear => own.timer = None,
        }
        for key in &append.delivery_keys {
            tenant.delivery.insert(key.clone(), claim.conversation);
        }
        tenant.account(charge, &month);
        Ok(AppendOutcome::Appended)
    }

    async fn resolve(
        &self,
        tenant: TenantId,
        delivery_key: &str,
    ) -> Result<Option<ConversationId>> {
        Ok(self
            .lock()
            .tenants
            .get(&tenant)
            .and_then(|own| own.delivery.get(delivery_key).copied()))
    }

    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let mut state = self.lock();
        Ok(state
            .conversation(tenant, conversation)
            .map(|own| stored(&own.log, range))
            .unwrap_or_default())
    }

    async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let later = own
            .conversations
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after));
        Ok(later
            .take(limit)
            .map(|(id, conversation)| summary(*id, conversation))
            .collect())
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        Ok(own
            .feed
            .range(after.saturating_add(1)..)
            .take(limit)
            .filter_map(|(cursor, (conversation, index))| {
                let record = own
                    .conversations
                    .get(conversation)?
                    .log
                    .get(*index as usize)
                    .cloned()
                    .flatten();
                Some(Fed {
                    cursor: *cursor,
                    conversation: *conversation,
                    stored: Stored {
                        index: *index,
                        record,
                    },
                })
            })
            .collect())
    }

    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        let state = self.lock();
        let mut items = Vec::new();
        if let Some(own) = state.tenants.get(&tenant) {
            for (id, conversation) in &own.conversations {
                items.push(Exported::Conversation(summary(*id, conversation)));
                items.extend(
                    stored(&conversation.log, 0..u64::MAX)
                        .into_iter()
                        .map(Exported::Record),
                );
                items.extend(conversation.inbox.values().cloned().map(Exported::Inbox));
            }
            items.extend(own.ledger.iter().cloned().map(Exported::Ledger));
            items.extend(
                own.budget
                    .iter()
                    .map(|(month, (spent, reserved))| Exported::Budget {
                        month: month.clone(),
                        spent: *spent,
                        reserved: *reserved,
                    }),
            );
        }
        Ok(stream::iter(items.into_iter().map(Ok)).boxed())
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        let mut state = self.lock();
        let own = state.tenants.entry(tenant).or_default();
        let mut conversations: BTreeMap<ConversationId, Conversation> = BTreeMap::new();
        let mut last = None;
        for item in &items {
            let place = match item {
                Exported::Conversation(summary) => {
                    if own.conversations.contains_key(&summary.id)
                        || conversations.contains_key(&summary.id)
                    {
                        return Err(Error::new(
                            ErrorKind::Conflict,
                            "a conversation is there already",
                        ));
                    }
                    conversations.insert(summary.id, Conversation::from(summary));
                    last = Some(summary.id);
                    continue;
                }
                Exported::Record(_) | Exported::Inbox(_) => {
                    last.and_then(|last| conversations.get_mut(&last))
                }
                _ => continue,
            };
            let place =
                place.ok_or_else(|| Error::invalid("items", "belongs to no conversation"))?;
            match item {
                Exported::Record(stored) if stored.index == place.log.len() as u64 => {
                    place.log.push(stored.record.clone());
                }
                Exported::Inbox(item) => {
                    place.next_seq = place.next_seq.max(item.seq + 1);
                    place.inbox.insert(item.seq, item.clone());
                }
                _ => return Err(Error::invalid("items", "a record is missing")),
            }
        }
        let mut ready = Vec::new();
        for (id, mut conversation) in conversations {
            for index in 0..conversation.log.len() as u64 {
                own.fed += 1;
                own.feed.insert(own.fed, (id, index));
            }
            conversation.checkpoint = (conversation.log.len() as u64).saturating_sub(1);
            if conversation.pending() {
                ready.push(id);
            }
            own.conversations.insert(id, conversation);
        }
        for item in items {
            match item {
                Exported::Ledger(row) => own.ledger.push(row),
                Exported::Budget {
                    month,
                    spent,
                    reserved,
                } => {
                    own.budget.insert(month, (spent, reserved));
                }
                _ => {}
            }
        }
        for id in ready {
            state.queue(tenant, id);
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<bool> {
        let month = month(self.clock.now());
        let mut state = self.lock();
        let own = state.tenants.entry(tenant).or_default();
        let fits = own.fits(&charge, &month);
        if fits {
            own.account(charge, &month);
        }
        Ok(fits)
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        let state = self.lock();
        let own = state.tenants.get(&tenant);
        let held = own.and_then(|own| own.reserved.get(call));
        Ok(held.map(|(_, amount)| *amount))
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let now = self.clock.now();
        let mut receipt = ErasureReceipt::new(what, depth, now);
        let mut state = self.lock();
        let Some(own) = state.tenants.get_mut(&tenant) else {
            return Ok(receipt);
        };
        match what {
            Erase::Conversation { conversation: id } => {
                own.ready.retain(|ready| *ready != id);
                own.delivery.retain(|_, of| *of != id);
                own.feed.retain(|_, (of, _)| *of != id);
                if let Some(gone) = own.conversations.remove(&id) {
                    receipt.records = gone.log.len() as u64;
                }
            }
            Erase::Tenant => {
                let all = own.conversations.values();
                receipt.records = all.map(|own| own.log.len() as u64).sum();
                state.tenants.remove(&tenant);
                state.ready.retain(|ready| *ready != tenant);
            }
            Erase::Message {
                conversation,
                index,
            } => {
                if let Some(own) = own.conversations.get_mut(&conversation)
                    && let Some(record) = own.log.get_mut(index as usize)
                {
                    receipt.records = u64::from(record.take().is_some());
                    own.claim = None;
                }
            }
            Erase::Person { person } => {
                own.erased.insert(person, now);
                for conversation in own.conversations.values_mut() {
                    receipt.records += conversation.forget(person);
                }
            }
        }
        let ready: Vec<_> = state.tenants.get(&tenant).map_or_else(Vec::new, |own| {
            let free = |own: &Conversation| own.claim.is_none() && own.pending();
            let all = own.conversations.iter();
            all.filter(|(_, own)| free(own))
                .map(|(id, _)| *id)
                .collect()
        });
        for id in ready {
            state.queue(tenant, id);
        }
        Ok(receipt)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.lock();
        let all = state
            .tenants
            .values()
            .flat_map(|own| own.conversations.values());
        Ok(all
            .filter(|own| own.claim.is_none())
            .filter_map(|own| own.timer)
            .min())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn summary(id: ConversationId, own: &Conversation) -> ConversationSummary {
    ConversationSummary {
        id,
        connection: own.connection,
        place: own.place.clone(),
        len: own.log.len() as u64,
        unconsumed: own.inbox.len() as u64,
        updated_at: own.updated_at,
    }
}

/// A stable name for something of a tenant. It keeps no secret: nothing of this journal leaves the process.
fn named(tenant: TenantId, label: &str, bytes: &[u8]) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, tenant, label, bytes).hash(&mut hasher);
        hasher.finish().to_be_bytes()
    };
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&half(0));
    hash[8..].copy_from_slice(&half(1));
    hash
}
