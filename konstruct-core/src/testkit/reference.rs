//! The reference store: an implementation of every rule of the contract in memory, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::Notify;

use super::persons::Persons;
use crate::{
    ChannelKind, Clock, ConnectionId, ConversationId, ConversationRef, Depth, Erase, Error,
    ErrorKind, Inbound, NanoUsd, PersonId, Result, TenantId, Timestamp,
    limit::{BudgetKey, BudgetSum, Period, Sum},
    memory::ErasureReceipt,
    message::{Body, ConversationKind, DeliveryState, RoutedEvent},
    money::LedgerRow,
    store::{
        Accepted, Append, AppendOutcome, Archive, Charge, Charged, Claim, ClaimRequest, Claimed,
        ConversationCursor, ConversationSummary, Exported, FeedEntry, History, InboxItem,
        ItemChange, ItemEntry, LARGEST_LOAD, Ledger, LedgerPage, LedgerQuery, Loaded, Mailbox,
        Reserve, Settle, Stored, TimerChange, TimerName,
        rules::{self, Timers},
    },
    turn::{ConversationState, Entry, Event, ItemId, OpenItem, Record},
};

/// A store in memory, for tests and as the reference that other stores are compared with. Nothing is persistent.
#[derive(Clone)]
pub struct ReferenceStore {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Tenants>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Tenants {
    tenants: BTreeMap<TenantId, Tenant>,
    /// The tenants with a ready conversation, in the order in which they are served.
    ready: VecDeque<TenantId>,
    /// The tenant that was served last, and how many conversations it got in its turn.
    served: Option<(TenantId, u32)>,
    fence: u64,
}

#[derive(Default)]
struct Tenant {
    conversations: BTreeMap<ConversationId, Conversation>,
    ready: VecDeque<ConversationId>,
    events: HashSet<(ConnectionId, String)>,
    logical: HashMap<(ConnectionId, String), LogicalEvent>,
    sends: HashMap<String, Send>,
    /// The conversations of other names.
    places: HashMap<ConversationId, ConversationId>,
    feed: BTreeMap<u64, (ConversationId, u64)>,
    last_cursor: u64,
    sums: BTreeMap<(BudgetKey, Timestamp), Sum>,
    reserved: HashMap<String, (Vec<(BudgetKey, Timestamp)>, NanoUsd)>,
    ledger: Vec<LedgerRow>,
    persons: Persons,
}

#[derive(Clone, Copy)]
struct LogicalEvent {
    conversation: ConversationId,
    seq: u64,
    mention: bool,
}

/// A message that was sent or is about to be sent.
struct Send {
    conversation: ConversationId,
    index: u64,
    state: Option<DeliveryState>,
    settled: bool,
}

struct Conversation {
    connection: ConnectionId,
    place: Option<ConversationRef>,
    /// The person whose address the place is.
    place_of: Option<PersonId>,
    /// The records; `None` for an erased one.
    log: Vec<Option<Arc<Record>>>,
    checkpoint: u64,
    /// Whether the last append with records was not a checkpoint.
    open: bool,
    inbox: BTreeMap<u64, InboxItem>,
    /// The numbers of inbox events that were upgraded since the inbox was last loaded.
    upgraded: BTreeSet<u64>,
    next_seq: u64,
    state: ConversationState,
    items: BTreeMap<ItemId, OpenItem>,
    timers: Timers,
    claim: Option<(u64, Timestamp)>,
    queued: bool,
    updated_at: Timestamp,
}

impl fmt::Debug for ReferenceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceStore").finish_non_exhaustive()
    }
}

impl ReferenceStore {
    /// Creates an empty store with a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Returns whether a person has a key, which means that the person is known and was not erased.
    pub fn knows(&self, tenant: TenantId, person: PersonId) -> bool {
        let state = self.lock();
        let own = state.tenants.get(&tenant);
        own.is_some_and(|own| own.persons.knows(person))
    }

    /// Invalidates every claim, as the end of the process does for a store of one process.
    pub fn void_claims(&self) {
        let mut state = self.lock();
        let all = state.tenants.iter_mut().flat_map(|(tenant, own)| {
            let conversations = own.conversations.iter_mut();
            conversations.map(move |(id, conversation)| (*tenant, *id, conversation))
        });
        let mut ready = Vec::new();
        for (tenant, id, conversation) in all {
            conversation.claim = None;
            if conversation.unfinished() {
                ready.push((tenant, id));
            }
        }
        for (tenant, id) in ready {
            state.queue(tenant, id);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    fn new(connection: ConnectionId, updated_at: Timestamp) -> Self {
        Self {
            connection,
            place: None,
            place_of: None,
            log: Vec::new(),
            checkpoint: 0,
            open: false,
            inbox: BTreeMap::new(),
            upgraded: BTreeSet::new(),
            next_seq: 1,
            state: ConversationState::default(),
            items: BTreeMap::new(),
            timers: Timers::new(),
            claim: None,
            queued: false,
            updated_at,
        }
    }

    fn len(&self) -> u64 {
        self.log.len() as u64
    }

    fn valid(&self, claim: &Claim, now: Timestamp) -> bool {
        self.claim
            .is_some_and(|(fence, until)| fence == claim.fence && now < until)
    }

    /// Returns whether its worker died in the middle of a turn, or events wait.
    fn unfinished(&self) -> bool {
        rules::unfinished(self.open, self.inbox.len() as u64, &self.timers)
    }

    fn due(&self, now: Timestamp) -> bool {
        rules::first_due(&self.timers).is_some_and(|at| at <= now)
    }

    /// Erases a person's words, and returns how many records and events were affected.
    fn forget(&mut self, person: PersonId) -> u64 {
        let before = self.inbox.len();
        self.inbox.retain(|_, item| !item.persons.contains(&person));
        let mut gone = (before - self.inbox.len()) as u64;
        let sealed_to = |record: &Record| record.persons.contains(&person);
        for record in &mut self.log {
            if record.as_deref().is_some_and(sealed_to) {
                *record = None;
                gone += 1;
            }
        }
        if self.place_of == Some(person) {
            self.place = None;
            gone = gone.max(1);
        }
        if gone > 0 {
            self.claim = None;
        }
        gone
    }

    fn summary(&self, id: ConversationId) -> ConversationSummary {
        ConversationSummary {
            id,
            connection: self.connection,
            place: self.place.clone(),
            len: self.len(),
            unconsumed: self.inbox.len() as u64,
            updated_at: self.updated_at,
            held_since: self.state.held_since,
        }
    }

    fn record(&self, index: u64) -> Option<Arc<Record>> {
        self.log.get(index as usize).cloned().flatten()
    }

    fn stored(&self, range: Range<u64>) -> Vec<Stored> {
        let to = range.end.min(self.len());
        (range.start.min(to)..to)
            .map(|index| Stored::new(index, self.record(index)))
            .collect()
    }
}

impl From<&ConversationSummary> for Conversation {
    fn from(summary: &ConversationSummary) -> Self {
        Self {
            place: summary.place.clone(),
            ..Self::new(summary.connection, summary.updated_at)
        }
    }
}

impl Tenants {
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

    /// Queues conversations that became ready because a timer or a lease ended.
    fn tick(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        for (tenant, own) in &mut self.tenants {
            for (id, conversation) in &mut own.conversations {
                let over = conversation.claim.is_some_and(|(_, until)| until <= now);
                if over {
                    conversation.claim = None;
                }
                if over || conversation.claim.is_none() && conversation.due(now) {
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
    /// Accepts an event. Also returns the conversation that it makes ready.
    fn accept(
        &mut self,
        tenant: TenantId,
        routed: RoutedEvent,
        now: Timestamp,
    ) -> (Accepted, Option<ConversationId>) {
        let connection = routed.connection;
        let event = &routed.event;
        let address = event
            .sender
            .id()
            .map(|id| address(tenant, &event.channel, id));
        let same = addresses(tenant, event);
        let all: Vec<_> = address.into_iter().chain(same.iter().copied()).collect();
        if self.persons.is_late(&all, event.occurred_at) {
            return (Accepted::Duplicate, None);
        }
        let event_key = (connection, event.id.clone());
        if !event.id.is_empty() && !self.events.insert(event_key) {
            return (Accepted::Duplicate, None);
        }
        let logical_key = (connection, event.logical_id.clone());
        let known = self
            .logical
            .get(&logical_key)
            .copied()
            .filter(|_| !event.logical_id.is_empty());
        if let Some(known) = known {
            if rules::logical_duplicate(known.mention, event) == rules::LogicalDuplicate::Drop {
                return (Accepted::Duplicate, None);
            }
            if let Some(known) = self.logical.get_mut(&logical_key) {
                known.mention = true;
            }
            if let Some(own) = self.conversations.get_mut(&known.conversation)
                && let Some(item) = own.inbox.get_mut(&known.seq)
                && let Some(stored) = &mut item.event
            {
                stored.event.addressed.mention = true;
                own.upgraded.insert(known.seq);
                return (Accepted::Upgraded, Some(known.conversation));
            }
        }
        let routed_to = match &event.body {
            Body::Delivery { key, state, .. } => {
                let send = key.as_ref().and_then(|key| self.sends.get_mut(key));
                let Some(send) = send else {
                    return (Accepted::Folded, None);
                };
                let Some(known) = rules::delivery(send.state, send.settled, *state) else {
                    return (Accepted::Folded, None);
                };
                send.state = Some(known.state);
                if !known.news {
                    return (Accepted::Folded, None);
                }
                Some(send.conversation)
            }
            Body::Decision { target, .. } => {
                if !self.conversations.contains_key(target) {
                    return (Accepted::Folded, None);
                }
                Some(*target)
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
        let conversation =
            routed_to.unwrap_or_else(|| self.place(tenant, connection, event, &place));
        self.persons.link(&same, None);
        let person = address.map(|address| self.persons.of(address));
        self.persons.know(person);
        let own = self
            .conversations
            .entry(conversation)
            .or_insert_with(|| Conversation::new(connection, now));
        if routed_to.is_none() && own.place.is_none() {
            own.place = Some(place);
            own.place_of = person.filter(|_| rules::place_is_personal(event));
        }
        let seq = own.next_seq;
        own.next_seq += 1;
        own.updated_at = now;
        let (mention, wakes) = (event.addressed.mention, rules::wakes(event));
        let item = InboxItem {
            seq,
            accepted_at: now,
            persons: person.into_iter().collect(),
            event: Some(routed),
        };
        own.inbox.insert(seq, item);
        let ready = wakes || own.inbox.len() as u64 >= rules::QUIET_EVENTS;
        if !logical_key.1.is_empty() {
            self.logical.entry(logical_key).or_insert(LogicalEvent {
                conversation,
                seq,
                mention,
            });
        }
        let accepted = Accepted::New { conversation, seq };
        (accepted, Some(conversation).filter(|_| ready))
    }

    /// Returns the conversation of an event. All names of the conversation lead there from now on.
    fn place(
        &mut self,
        tenant: TenantId,
        connection: ConnectionId,
        event: &Inbound,
        place: &ConversationRef,
    ) -> ConversationId {
        let own = place_name(tenant, connection, &place.key());
        let others = rules::places(event).into_iter().skip(1);
        let names: Vec<_> = [own]
            .into_iter()
            .chain(others.map(|id| place_name(tenant, connection, id)))
            .collect();
        let exists = |id: &ConversationId| self.conversations.contains_key(id);
        let mut existing = names.iter().filter_map(|name| {
            let alias = self.places.get(name).filter(|id| exists(id));
            Some(*name).filter(exists).or(alias.copied())
        });
        let conversation = existing.next().unwrap_or(own);
        for name in names {
            if name != conversation && !self.conversations.contains_key(&name) {
                self.places.entry(name).or_insert(conversation);
            }
        }
        conversation
    }

    /// Reserves money, if it fits under all caps. An existing reservation is left unchanged. A sum that refuses is only marked if
    /// `marks`.
    fn reserve(&mut self, reserve: &Reserve, now: Timestamp, marks: bool) -> Result<Charged> {
        if self.reserved.contains_key(&reserve.call) {
            return Ok(Charged::Granted);
        }
        self.sums.retain(|(budget, until), sum| {
            *budget == BudgetKey::MONTH || *until >= now || sum.reserved > NanoUsd(0)
        });
        let known = |budget, until| Ok(self.sums.get(&(budget, until)).copied());
        let mut sums = rules::budgeted(&reserve.caps, now, known)?;
        let granted = rules::reserve(reserve.amount, &mut sums);
        if granted.is_ok() || marks {
            let sums = sums.iter();
            self.sums
                .extend(sums.map(|it| ((it.budget, it.until), it.sum)));
        }
        if granted.is_ok() {
            let keys = sums.iter().map(|it| (it.budget, it.until)).collect();
            self.reserved
                .insert(reserve.call.clone(), (keys, reserve.amount));
        }
        Ok(granted.map_or_else(Charged::OverBudget, |()| Charged::Granted))
    }

    fn sums(&self) -> impl Iterator<Item = BudgetSum> {
        let sums = self.sums.iter();
        sums.map(|((budget, until), sum)| BudgetSum {
            budget: *budget,
            until: *until,
            sum: *sum,
        })
    }

    fn settle(&mut self, settled: &[Settle], now: Timestamp) {
        let month = (BudgetKey::MONTH, Period::Month.end(now));
        for settle in settled {
            let (sums, amount) = self
                .reserved
                .remove(&settle.call)
                .unwrap_or_else(|| (vec![month], NanoUsd(0)));
            for key in sums {
                self.sums
                    .entry(key)
                    .or_default()
                    .settle(amount, settle.cost);
            }
        }
    }

    fn write(&mut self, claim: &Claim, append: Append, now: Timestamp) {
        let Some(own) = self.conversations.get_mut(&claim.conversation) else {
            return;
        };
        own.updated_at = now;
        for record in &append.records {
            self.last_cursor += 1;
            self.feed
                .insert(self.last_cursor, (claim.conversation, own.len()));
            own.log.push(Some(Arc::new(record.clone())));
        }
        if !append.records.is_empty() {
            own.open = !append.checkpoint;
        }
        if append.checkpoint {
            own.checkpoint = own.len().saturating_sub(1);
        }
        if let Some(to) = append.consume_to {
            own.inbox = own.inbox.split_off(&(to + 1));
        }
        if let Some(state) = append.state {
            own.state = state;
        }
        for change in append.items {
            match change {
                ItemChange::Put(item) => own.items.insert(item.id.clone(), item),
                ItemChange::Close(id) => own.items.remove(&id),
            };
        }
        rules::set_timers(&mut own.timers, &append.timers);
        if let Some(lease) = append.lease {
            own.claim = Some((claim.fence, now + lease));
        }
        for send in append.delivery_keys {
            self.sends.entry(send.key).or_insert(Send {
                conversation: claim.conversation,
                index: send.index,
                state: None,
                settled: false,
            });
        }
        for key in &append.settled {
            if let Some(send) = self.sends.get_mut(key) {
                send.settled = true;
            }
        }
        self.ledger.extend(append.ledger);
    }
}

#[async_trait]
impl Mailbox for ReferenceStore {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut outcomes = Vec::with_capacity(events.len());
        for routed in events {
            let own = state.tenants.entry(tenant).or_default();
            let (outcome, ready) = own.accept(tenant, routed, now);
            if let Some(conversation) = ready
                && state
                    .conversation(tenant, conversation)
                    .is_some_and(|own| own.claim.is_none())
            {
                state.queue(tenant, conversation);
            }
            outcomes.push(outcome);
        }
        drop(state);
        self.changed.notify_one();
        Ok(outcomes)
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.tick(now);
        let wanted = |tenant: &TenantId| {
            let own = state.tenants.get(tenant);
            let conversations = own.map(|own| own.conversations.values());
            let held = conversations.into_iter().flatten();
            let held = held.filter(|own| own.claim.is_some()).count();
            !request.skip.contains(tenant) && !request.share.is_full(held)
        };
        let next = state.ready.iter().position(wanted);
        let Some(tenant) = next.and_then(|at| state.ready.remove(at)) else {
            let unclaimed = state.tenants.values().flat_map(|own| {
                let conversations = own.conversations.values();
                conversations.filter(|own| own.claim.is_none())
            });
            let next_due = unclaimed.filter_map(|own| rules::first_due(&own.timers));
            return Ok(Claimed::Nothing {
                next_due: next_due.min(),
            });
        };
        state.fence += 1;
        let fence = state.fence;
        let own = state.tenants.entry(tenant).or_default();
        let id = own.ready.pop_front();
        let more = !own.ready.is_empty();
        let claim = id.and_then(|id| {
            let conversation = own.conversations.get_mut(&id)?;
            conversation.queued = false;
            conversation.claim = Some((fence, now + request.lease));
            Some(Claim {
                tenant,
                conversation: id,
                worker: request.worker,
                fence,
                weight: request.share.weight,
            })
        });
        if more {
            let turn = match state.served {
                Some((served, turn)) if served == tenant => turn + 1,
                _ => 1,
            };
            state.served = Some((tenant, turn % request.share.weight.get()));
            if turn < request.share.weight.get() {
                state.ready.push_front(tenant);
            } else {
                state.ready.push_back(tenant);
            }
        }
        Ok(claim.map_or(
            Claimed::Nothing {
                next_due: Some(now),
            },
            Claimed::Conversation,
        ))
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
            len: own.len(),
            records: own.stored(own.checkpoint..u64::MAX),
            inbox: own.inbox.values().take(LARGEST_LOAD).cloned().collect(),
            state: own.state.clone(),
            items: own.items.values().cloned().collect(),
            due: rules::due(&own.timers, now),
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

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(tenant) = state.tenants.get_mut(&claim.tenant) else {
            return Ok(AppendOutcome::Lost);
        };
        let Some(own) = tenant.conversations.get_mut(&claim.conversation) else {
            return Ok(AppendOutcome::Lost);
        };
        let fits_log = append.records.is_empty() || own.len() == expected_len;
        if !own.valid(claim, now) || !fits_log {
            return Ok(AppendOutcome::Lost);
        }
        let stale = |to| own.upgraded.range(..=to).next().is_some();
        if append.consume_to.is_some_and(stale) {
            own.claim = None;
            state.queue(claim.tenant, claim.conversation);
            return Ok(AppendOutcome::Lost);
        }
        let persons = append.records.iter().flat_map(|record| &record.persons);
        let unknown: BTreeSet<PersonId> = persons
            .copied()
            .filter(|person| !tenant.persons.knows(*person))
            .collect();
        if !unknown.is_empty() {
            return Ok(AppendOutcome::Forgotten(unknown.into_iter().collect()));
        }
        let before = (tenant.sums.clone(), tenant.reserved.clone());
        tenant.settle(&append.settle, now);
        if let Some(reserve) = &append.reserve
            && let Charged::OverBudget(budget) = tenant.reserve(reserve, now, false)?
        {
            (tenant.sums, tenant.reserved) = before;
            return Ok(AppendOutcome::OverBudget(budget));
        }
        tenant.write(claim, append, now);
        Ok(AppendOutcome::Appended)
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(own) = state.conversation(claim.tenant, claim.conversation) else {
            return Ok(());
        };
        if own.valid(claim, now) {
            own.claim = None;
            let newest = own.inbox.keys().next_back();
            let newer = newest.is_some_and(|newest| *newest > seen);
            if newer || !own.upgraded.is_empty() || own.due(now) {
                state.queue(claim.tenant, claim.conversation);
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[async_trait]
impl History for ReferenceStore {
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let read = own.conversations.get(&conversation);
        let mut read = read.map(|own| own.stored(range)).unwrap_or_default();
        for send in own.sends.values() {
            if send.conversation == conversation
                && let Some(stored) = read.iter_mut().find(|stored| stored.index == send.index)
            {
                stored.delivery = send.state;
            }
        }
        Ok(read)
    }

    async fn read_said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let mut read = self.read(tenant, conversation, range).await?;
        for stored in &mut read {
            let says = |record: &Arc<Record>| record.says_something();
            *stored = Stored::new(stored.index, stored.record.take().filter(says));
        }
        Ok(read)
    }

    async fn conversation(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationSummary>> {
        let mut state = self.lock();
        let own = state.conversation(tenant, conversation);
        Ok(own.map(|own| own.summary(conversation)))
    }

    async fn person(
        &self,
        tenant: TenantId,
        channel: &ChannelKind,
        address: &str,
    ) -> Result<Option<PersonId>> {
        let state = self.lock();
        let own = state.tenants.get(&tenant);
        Ok(own.and_then(|own| {
            let person = own.persons.of(self::address(tenant, channel, address));
            own.persons.knows(person).then_some(person)
        }))
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let mut all: Vec<_> = own
            .conversations
            .iter()
            .map(|(id, own)| own.summary(*id))
            .filter(|summary| after.is_none_or(|after| summary.cursor() < after))
            .collect();
        all.sort_by_key(|summary| std::cmp::Reverse(summary.cursor()));
        all.truncate(limit);
        Ok(all)
    }

    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let mut all: Vec<ItemEntry> = own
            .conversations
            .iter()
            .flat_map(|(id, own)| {
                own.items.values().map(|item| ItemEntry {
                    conversation: *id,
                    item: item.clone(),
                })
            })
            .filter(|entry| after.as_ref().is_none_or(|after| entry.item.id > *after))
            .collect();
        all.sort_by(|a, b| a.item.id.cmp(&b.item.id));
        all.truncate(limit);
        Ok(all)
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let entries = own.feed.range(after.saturating_add(1)..).take(limit);
        Ok(entries
            .filter_map(|(cursor, (conversation, index))| {
                let record = own.conversations.get(conversation)?.record(*index);
                Some(FeedEntry {
                    cursor: *cursor,
                    conversation: *conversation,
                    stored: Stored::new(*index, record),
                })
            })
            .collect())
    }
}

#[async_trait]
impl Ledger for ReferenceStore {
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
        let now = self.clock.now();
        let mut state = self.lock();
        let own = state.tenants.entry(tenant).or_default();
        own.settle(&charge.settle, now);
        own.ledger.extend(charge.ledger);
        match charge.reserve {
            Some(reserve) => own.reserve(&reserve, now, true),
            None => Ok(Charged::Granted),
        }
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        let state = self.lock();
        let own = state.tenants.get(&tenant);
        let held = own.and_then(|own| own.reserved.get(call));
        Ok(held.map(|(_, amount)| *amount))
    }

    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        let state = self.lock();
        let Some(own) = state.tenants.get(&tenant) else {
            return Ok(LedgerPage::default());
        };
        let month = (BudgetKey::MONTH, rules::month_end(&query.month)?);
        let month = own.sums.get(&month).copied().unwrap_or_default();
        let rows = (1..).zip(own.ledger.iter().cloned());
        let after = rows.filter(|(number, _)| *number > query.after);
        let rows = after.take(query.limit).collect();
        let now = self.clock.now();
        let current = own.sums().filter(|it| it.until > now).collect();
        Ok(LedgerPage::new(month.spent, month.reserved, rows)
            .with_budgets(rules::ranked(current, query.budgets)))
    }
}

#[async_trait]
impl Archive for ReferenceStore {
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        let state = self.lock();
        let mut items = Vec::new();
        if let Some(own) = state.tenants.get(&tenant) {
            for (id, conversation) in &own.conversations {
                items.push(Exported::Conversation(conversation.summary(*id)));
                items.push(Exported::State(conversation.state.clone()));
                let records = conversation.stored(0..u64::MAX).into_iter();
                items.extend(records.map(|it| Exported::Record(it).without_secrets()));
                let inbox = conversation.inbox.values().cloned();
                items.extend(inbox.map(|it| Exported::Inbox(it).without_secrets()));
                items.extend(conversation.items.values().cloned().map(Exported::Item));
            }
            items.extend(own.ledger.iter().cloned().map(Exported::Ledger));
            items.extend(own.sums().map(Exported::Budget));
        }
        Ok(stream::iter(items.into_iter().map(Ok)).boxed())
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        let mut state = self.lock();
        let own = state.tenants.entry(tenant).or_default();
        let mut conversations: BTreeMap<ConversationId, Conversation> = BTreeMap::new();
        let mut persons = HashSet::new();
        let mut last = None;
        for item in &items {
            if let Exported::Conversation(summary) = item {
                if own.conversations.contains_key(&summary.id)
                    || conversations.contains_key(&summary.id)
                {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "a conversation exists already",
                    ));
                }
                conversations.insert(summary.id, Conversation::from(summary));
                last = Some(summary.id);
                continue;
            }
            if matches!(item, Exported::Ledger(_) | Exported::Budget(_)) {
                continue;
            }
            let place = last
                .and_then(|last| conversations.get_mut(&last))
                .ok_or_else(|| {
                    Error::invalid("items", "there is no conversation before this item")
                })?;
            match item {
                Exported::State(state) => {
                    place.place_of = state.person;
                    place.state = state.clone();
                }
                Exported::Record(stored) if stored.index == place.len() => {
                    let record = stored.record.iter();
                    persons.extend(record.flat_map(|record| record.persons.iter().copied()));
                    place.log.push(stored.record.clone());
                }
                Exported::Inbox(item) => {
                    persons.extend(item.persons.iter().copied());
                    place.next_seq = place.next_seq.max(item.seq + 1);
                    place.inbox.insert(item.seq, item.clone());
                }
                Exported::Item(item) => {
                    if let Some(at) = item.retry_at {
                        let timer = TimerChange::set(TimerName::item(&item.id), at);
                        rules::set_timers(&mut place.timers, &[timer]);
                    }
                    place.items.insert(item.id.clone(), item.clone());
                }
                _ => return Err(Error::invalid("items", "a record is missing")),
            }
        }
        own.persons.know(persons);
        for item in &items {
            let (event, persons) = match item {
                Exported::Record(stored) => match stored.record.as_ref().map(|it| &it.entry) {
                    Some(Entry::Event(Event::Received(input))) => (&input.event, &input.persons),
                    _ => continue,
                },
                Exported::Inbox(InboxItem {
                    event: Some(routed),
                    persons,
                    ..
                }) => (&routed.event, persons),
                _ => continue,
            };
            own.persons
                .link(&addresses(tenant, event), persons.first().copied());
        }
        for (conversation, connection, event) in imported_places(&items) {
            for id in rules::places(event) {
                let name = place_name(tenant, connection, id);
                own.places.entry(name).or_insert(conversation);
            }
        }
        let mut ready = Vec::new();
        for (id, mut conversation) in conversations {
            for index in 0..conversation.len() {
                own.last_cursor += 1;
                own.feed.insert(own.last_cursor, (id, index));
            }
            conversation.checkpoint = conversation.len().saturating_sub(1);
            if conversation.unfinished() {
                ready.push(id);
            }
            own.conversations.insert(id, conversation);
        }
        for item in items {
            match item {
                Exported::Ledger(row) => own.ledger.push(row),
                Exported::Budget(BudgetSum { budget, until, sum }) => {
                    own.sums.insert((budget, until), sum);
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
                own.sends.retain(|_, send| send.conversation != id);
                own.feed.retain(|_, (of, _)| *of != id);
                if let Some(gone) = own.conversations.remove(&id) {
                    receipt.records = gone.len();
                }
            }
            Erase::Tenant => {
                let all = own.conversations.values();
                receipt.records = all.map(Conversation::len).sum();
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
                receipt.keys = u64::from(own.persons.erase(person, now));
                for conversation in own.conversations.values_mut() {
                    receipt.records += conversation.forget(person);
                }
            }
        }
        let ready: Vec<_> = state.tenants.get(&tenant).map_or_else(Vec::new, |own| {
            let free = |own: &Conversation| own.claim.is_none() && own.unfinished();
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
}

/// Returns the address hash of a person, from the provider's id.
fn address(tenant: TenantId, channel: &ChannelKind, id: &str) -> PersonId {
    let name = format!("{}:{id}", channel.as_str());
    PersonId::from_bytes(stable_name(tenant, "person", name.as_bytes()))
}

/// Returns the addresses that an event reports as one person's.
fn addresses(tenant: TenantId, event: &Inbound) -> Vec<PersonId> {
    let ids = rules::addresses(event).into_iter();
    ids.map(|id| address(tenant, &event.channel, id)).collect()
}

fn place_name(tenant: TenantId, connection: ConnectionId, place: &str) -> ConversationId {
    let bytes = [connection.as_bytes().as_slice(), place.as_bytes()].concat();
    ConversationId::from_bytes(stable_name(tenant, "conversation", &bytes))
}

/// Returns the events of exported conversations with their conversations.
fn imported_places(items: &[Exported]) -> Vec<(ConversationId, ConnectionId, &Inbound)> {
    let (mut events, mut at) = (Vec::new(), None);
    for item in items {
        let event = match item {
            Exported::Conversation(summary) => {
                at = Some((summary.id, summary.connection));
                None
            }
            Exported::Record(stored) => match stored.record.as_ref().map(|it| &it.entry) {
                Some(Entry::Event(Event::Received(input))) => Some(&input.event),
                _ => None,
            },
            Exported::Inbox(item) => item.event.as_ref().map(|routed| &routed.event),
            _ => None,
        };
        events.extend(
            at.zip(event)
                .map(|((id, connection), event)| (id, connection, event)),
        );
    }
    events
}

/// Returns a stable name for something of a tenant. It is not secret, because this store's data does not leave the process.
fn stable_name(tenant: TenantId, label: &str, bytes: &[u8]) -> [u8; 16] {
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
