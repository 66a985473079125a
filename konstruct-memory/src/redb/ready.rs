//! The ready and claimed conversations, in memory, because one process has the file.
//!
//! Conversations that wait for a timer or an event are only in the file, however many there are.

use std::{
    collections::{BTreeSet, VecDeque},
    num::NonZeroU32,
    ops::ControlFlow,
    time::Duration,
};

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use konstruct_core::{
    ConversationId, ErrorKind, Result, TenantId, Timestamp,
    id::WorkerId,
    store::{Claim, ClaimRequest, Claimed, Loaded, Share, rules},
};

use super::{
    Shared,
    head::{Head, Location},
    keys::{self, DUE, PENDING},
    log::Filter,
    snapshot::Rows as _,
};

/// The key of a conversation.
pub(super) type ConversationKey = (TenantId, ConversationId);

/// Queues and claims.
#[derive(Debug)]
pub(super) struct Ready {
    /// The tenants that have a queue, in turn order.
    order: VecDeque<TenantId>,
    queues: HashMap<TenantId, VecDeque<ConversationId>>,
    /// The conversations that are really queued. Queue entries that are not here are void.
    queued: HashSet<ConversationKey>,
    /// The tenant that was served last, and how many conversations it got in its turn.
    served: Option<(TenantId, u32)>,
    /// The tenants' own shares, as far as they were needed.
    shares: HashMap<TenantId, Option<Share>>,
    /// Tenants that were passed over because they had all the claims that they may.
    full: HashSet<TenantId>,
    claims: HashMap<ConversationKey, Holder>,
    /// The numbers of claims.
    held: HashMap<TenantId, usize>,
    leases: BTreeSet<(Timestamp, ConversationKey)>,
    /// Conversations that are being erased from, and whether each was or became ready.
    blocked: HashMap<ConversationKey, bool>,
    /// Tenants that are being erased, with their conversations that were or became ready.
    blocked_tenants: HashMap<TenantId, HashSet<ConversationId>>,
    fence: u64,
    /// Timers up to this time (inclusive) were queued.
    scanned: Option<Timestamp>,
    /// The value of `Shared::changes` when a claim last found nothing.
    idle: Option<u64>,
}

#[derive(Debug)]
struct Holder {
    worker: WorkerId,
    fence: u64,
    until: Timestamp,
    /// The lowest event that changed since the holder last loaded, and is therefore outdated for it.
    changed: Option<u64>,
}

impl Ready {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            order: VecDeque::new(),
            queues: HashMap::new(),
            queued: HashSet::new(),
            served: None,
            shares: HashMap::new(),
            full: HashSet::new(),
            claims: HashMap::new(),
            held: HashMap::new(),
            leases: BTreeSet::new(),
            blocked: HashMap::new(),
            blocked_tenants: HashMap::new(),
            // Fences of this epoch are greater than all earlier ones.
            fence: epoch << 40,
            scanned: None,
            idle: None,
        }
    }

    /// Queues a conversation unless it is queued or claimed. Returns whether it did.
    fn enqueue(&mut self, of: ConversationKey) -> bool {
        if let Some(ready) = self.blocked.get_mut(&of) {
            *ready = true;
            return false;
        }
        if let Some(ready) = self.blocked_tenants.get_mut(&of.0) {
            ready.insert(of.1);
            return false;
        }
        if self.claims.contains_key(&of) || !self.queued.insert(of) {
            return false;
        }
        let queue = self.queues.entry(of.0).or_default();
        if queue.is_empty() {
            self.order.push_back(of.0);
        }
        queue.push_back(of.1);
        true
    }

    /// Dequeues the next conversation of the next tenant that may have it, with the weight of the tenant.
    fn dequeue(
        &mut self,
        shared: &Shared,
        request: &ClaimRequest,
    ) -> Result<Option<(ConversationKey, NonZeroU32)>> {
        loop {
            let Some((at, weight)) = self.next_tenant(shared, request)? else {
                return Ok(None);
            };
            let Some(tenant) = self.order.remove(at) else {
                return Ok(None);
            };
            let Some(queue) = self.queues.get_mut(&tenant) else {
                continue;
            };
            let next = std::iter::from_fn(|| queue.pop_front())
                .map(|conversation| (tenant, conversation))
                .find(|of| self.queued.remove(of));
            if queue.is_empty() {
                self.queues.remove(&tenant);
            } else {
                let turn = match self.served {
                    Some((served, turn)) if served == tenant => turn + 1,
                    _ => 1,
                };
                self.served = Some((tenant, turn % weight));
                if turn < weight.get() {
                    self.order.push_front(tenant);
                } else {
                    self.order.push_back(tenant);
                }
            }
            if let Some(next) = next {
                return Ok(Some((next, weight)));
            }
        }
    }

    /// Returns the position of the next tenant in order that is not skipped and not full, and its weight.
    fn next_tenant(
        &mut self,
        shared: &Shared,
        request: &ClaimRequest,
    ) -> Result<Option<(usize, NonZeroU32)>> {
        for (at, tenant) in self.order.iter().enumerate() {
            if request.skip.contains(tenant) {
                continue;
            }
            let own = match self.shares.get(tenant) {
                Some(own) => *own,
                None => {
                    let own = match shared.share(*tenant) {
                        // It must not keep the other tenants from being claimed.
                        Err(error) if error.kind() == ErrorKind::Corrupt => {
                            tracing::error!(%tenant, %error, "a tenant's own share is ignored");
                            None
                        }
                        own => own?,
                    };
                    self.shares.insert(*tenant, own);
                    own
                }
            };
            let share = own.unwrap_or(request.share);
            if share.is_full(self.held.get(tenant).copied().unwrap_or(0)) {
                self.full.insert(*tenant);
            } else {
                return Ok(Some((at, share.weight)));
            }
        }
        Ok(None)
    }

    /// Returns whether it is claimed or blocked.
    fn is_held(&self, of: &ConversationKey) -> bool {
        self.claims.contains_key(of)
            || self.blocked.contains_key(of)
            || self.blocked_tenants.contains_key(&of.0)
    }

    /// Ends a claim of any holder.
    fn end(&mut self, of: ConversationKey) {
        if let Some(held) = self.claims.remove(&of) {
            self.leases.remove(&(held.until, of));
            if let Some(held) = self.held.get_mut(&of.0) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&of.0);
                }
            }
        }
    }

    /// Makes conversations with expired leases ready.
    fn expire(&mut self, now: Timestamp) {
        while let Some((until, of)) = self.leases.first().copied()
            && until <= now
        {
            self.end(of);
            self.enqueue(of);
        }
    }

    fn valid(&mut self, claim: &Claim, now: Timestamp) -> Option<&mut Holder> {
        self.claims
            .get_mut(&(claim.tenant, claim.conversation))
            .filter(|held| {
                held.fence == claim.fence && held.worker == claim.worker && held.until > now
            })
    }

    fn hold(
        &mut self,
        (of, weight): (ConversationKey, NonZeroU32),
        worker: WorkerId,
        until: Timestamp,
    ) -> Claim {
        self.fence += 1;
        *self.held.entry(of.0).or_default() += 1;
        let held = Holder {
            worker,
            fence: self.fence,
            until,
            changed: None,
        };
        self.claims.insert(of, held);
        self.leases.insert((until, of));
        Claim {
            tenant: of.0,
            conversation: of.1,
            worker,
            fence: self.fence,
            weight,
        }
    }
}

impl Shared {
    /// Queues conversations that were unfinished when the file was last closed.
    pub(super) fn restore(&self) -> Result<()> {
        let mut ready = self.ready();
        self.snapshot()?.scan_prefix(PENDING, &[], &mut |key, _| {
            let (tenant, conversation) = (keys::id(key, 0), keys::id(key, 16));
            if let (Some(tenant), Some(conversation)) = (tenant, conversation) {
                ready.enqueue((
                    TenantId::from_bytes(tenant),
                    ConversationId::from_bytes(conversation),
                ));
            }
            Ok(())
        })
    }

    /// Returns the number of claimed conversations.
    pub(super) fn working(&self) -> usize {
        self.ready().claims.len()
    }

    /// Notifies waiters that a conversation may be ready.
    fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Makes a conversation with new events ready. If it is claimed, its release checks for them.
    pub(super) fn arrived(&self, of: ConversationKey) {
        if self.ready().enqueue(of) {
            self.wake();
        }
    }

    /// Replaces a tenant's own share.
    pub(super) fn set_share(&self, tenant: TenantId, share: Option<Share>) {
        self.ready().shares.insert(tenant, share);
        self.wake();
    }

    /// Records that a stored event has changed.
    pub(super) fn changed(&self, of: ConversationKey, seq: u64) {
        if let Some(held) = self.ready().claims.get_mut(&of) {
            held.changed = Some(held.changed.map_or(seq, |known| known.min(seq)));
        }
    }

    /// Ends the claim of a conversation that is about to be erased from, and grants no new one until [`Shared::unblock`]. A
    /// holder that read it before must not write afterwards.
    pub(super) fn block(&self, of: ConversationKey) {
        let mut ready = self.ready();
        let claimed = ready.claims.contains_key(&of);
        let queued = ready.queued.remove(&of);
        ready.end(of);
        *ready.blocked.entry(of).or_default() |= claimed || queued;
    }

    /// Like [`Shared::block`] for a whole tenant until [`Shared::unblock_tenant`].
    pub(super) fn block_tenant(&self, tenant: TenantId) {
        let mut ready = self.ready();
        ready.shares.remove(&tenant);
        let own = |of: &ConversationKey| of.0 == tenant;
        let mut held: HashSet<ConversationKey> = ready.queued.extract_if(own).collect();
        held.extend(ready.claims.keys().filter(|of| own(of)));
        for of in &held {
            ready.end(*of);
        }
        let held = held.into_iter().map(|(_, conversation)| conversation);
        ready
            .blocked_tenants
            .entry(tenant)
            .or_default()
            .extend(held);
    }

    /// Makes conversations ready again that were, unless everything was erased.
    pub(super) fn unblock_tenant(&self, tenant: TenantId, is_left: bool) {
        let mut ready = self.ready();
        let held = ready.blocked_tenants.remove(&tenant).unwrap_or_default();
        let mut woken = false;
        for conversation in held.into_iter().filter(|_| is_left) {
            woken |= ready.enqueue((tenant, conversation));
        }
        drop(ready);
        if woken {
            self.wake();
        }
    }

    /// Makes the conversation ready again if it was, unless it was erased.
    pub(super) fn unblock(&self, of: ConversationKey, is_left: bool) {
        let mut ready = self.ready();
        let was_ready = ready.blocked.remove(&of).unwrap_or(false);
        if is_left && was_ready && ready.enqueue(of) {
            drop(ready);
            self.wake();
        }
    }

    /// Returns whether a claim may consume the inbox up to a number (0 for nothing).
    ///
    /// It may not if a lower event changed after the holder loaded it, because a mention would be lost. The claim then ends, and
    /// the conversation is ready again.
    pub(super) fn may_append(&self, claim: &Claim, consume_to: u64) -> bool {
        let now = self.clock.now();
        let mut ready = self.ready();
        let Some(held) = ready.valid(claim, now) else {
            return false;
        };
        let stale = held.changed.is_some_and(|seq| seq <= consume_to);
        if stale {
            let of = (claim.tenant, claim.conversation);
            ready.end(of);
            ready.enqueue(of);
            drop(ready);
            self.wake();
        }
        !stale
    }

    pub(super) fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let now = self.clock.now();
        let claim = {
            let mut ready = self.ready();
            ready.expire(now);
            self.queue_due(&mut ready, now)?;
            let claim = ready
                .dequeue(self, request)?
                .map(|of| ready.hold(of, request.worker, now + request.lease));
            if claim.is_none() {
                ready.idle = Some(*self.changes.borrow());
            }
            claim
        };
        Ok(match claim {
            Some(claim) => Claimed::Conversation(claim),
            None => Claimed::Nothing {
                next_due: self.next_due()?,
            },
        })
    }

    /// Queues the conversations whose timers are due since the last scan.
    fn queue_due(&self, ready: &mut Ready, now: Timestamp) -> Result<()> {
        let after = |when| keys::end(&keys::due_from(when));
        let (from, to) = (ready.scanned.map(after).unwrap_or_default(), after(now));
        if from >= to {
            return Ok(());
        }
        self.snapshot()?.scan(DUE, &from, &to, &mut |key, _| {
            if let Some((_, tenant, conversation)) = keys::read_due(key) {
                // The release of a claimed conversation checks its timer.
                ready.enqueue((tenant, conversation));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        ready.scanned = Some(now);
        Ok(())
    }

    pub(super) fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        let now = self.clock.now();
        let (tenant, conversation) = (claim.tenant, claim.conversation);
        let mut snapshot = {
            let mut ready = self.ready();
            let Some(held) = ready.valid(claim, now) else {
                return Ok(None);
            };
            // Under the lock: a change after this snapshot is recorded after this line.
            held.changed = None;
            self.snapshot()?
        };
        let Some(head) = self.head(&mut snapshot, tenant, conversation)? else {
            return Ok(None);
        };
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(None);
        };
        let Location { connection, place } = vault.location(&mut snapshot, conversation)?;
        let records = head.checkpoint.unwrap_or(0)..head.len;
        Ok(Some(Loaded {
            connection,
            place,
            len: head.len,
            records: vault.log(&mut snapshot, conversation, (records, Filter::All))?,
            inbox: match head.unconsumed() {
                0 => Vec::new(),
                _ => vault.inbox(&mut snapshot, conversation)?,
            },
            items: vault.items(&mut snapshot, conversation, &head)?,
            due: rules::due(&head.timers, now),
            state: head.state,
            now,
        }))
    }

    pub(super) fn renew(&self, claim: &Claim, lease: Duration) -> bool {
        let now = self.clock.now();
        let of = (claim.tenant, claim.conversation);
        let mut ready = self.ready();
        let Some(held) = ready.valid(claim, now) else {
            return false;
        };
        let before = std::mem::replace(&mut held.until, now + lease);
        ready.leases.remove(&(before, of));
        ready.leases.insert((now + lease, of));
        true
    }

    pub(super) fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        let now = self.clock.now();
        let of = (claim.tenant, claim.conversation);
        // Under the lock: an event committed after this read is recorded after the claim has ended.
        let mut ready = self.ready();
        if ready.valid(claim, now).is_none() {
            return Ok(());
        }
        let head = self.head(&mut self.snapshot()?, of.0, of.1)?;
        ready.end(of);
        let Some(head) = head else {
            return Ok(());
        };
        let arrived = head.last > seen.max(head.consumed);
        if arrived || head.due(now) {
            ready.enqueue(of);
        } else if let Some(when) = head.first_due() {
            // Matters only if the clock was set back.
            let before = when - Duration::from_micros(1);
            ready.scanned = ready.scanned.map(|scanned| scanned.min(before));
        }
        let admits = ready.full.remove(&of.0);
        drop(ready);
        // For a timer too: it may be earlier than the one that waiters sleep until.
        if admits || arrived || head.first_due().is_some() {
            self.wake();
        }
        Ok(())
    }

    /// Returns the first timer of an unclaimed conversation.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>> {
        let mut ready = self.ready();
        ready.expire(self.clock.now());
        let mut next = None;
        self.snapshot()?
            .scan(DUE, &[], &keys::end(&[]), &mut |key, _| {
                next = keys::read_due(key)
                    .filter(|(_, tenant, conversation)| !ready.is_held(&(*tenant, *conversation)))
                    .map(|(when, ..)| when);
                Ok(if next.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
        Ok(next)
    }

    /// Waits until `changes` differs from its value when a claim last found nothing.
    pub(super) async fn wait_for_change(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            let count = *changes.borrow_and_update();
            if self.ready().idle != Some(count) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns whether a conversation must be ready when the file opens, and keeps its row of [`PENDING`] in sync.
    pub(super) fn keep_pending(
        &self,
        batch: &mut super::writer::Batch<'_>,
        of: ConversationKey,
        head: &mut Head,
    ) {
        let pending = head.unfinished();
        if pending != head.pending {
            head.pending = pending;
            let key = keys::conversation(of.0, of.1);
            if pending {
                batch.put(PENDING, key, []);
            } else {
                batch.delete(PENDING, key);
            }
        }
    }
}
