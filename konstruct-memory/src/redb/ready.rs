//! Which conversations are ready, and who holds the others: in memory, for one process has the file.
//!
//! Only ready and claimed conversations are here. One that waits for a timer or for a word from outside stands in the file
//! alone, however many there are.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    time::Duration,
};

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use konstruct_core::{
    ConversationId, Result, TenantId, Timestamp,
    id::WorkerId,
    store::{Claim, ClaimRequest, Claimed, Loaded, rules},
};

use super::{
    Shared,
    head::{Head, Held},
    keys::{self, DUE, PENDING},
    log::Wanted,
    snapshot::Rows as _,
};

/// A conversation of a tenant.
pub(super) type Of = (TenantId, ConversationId);

/// Queues and claims.
#[derive(Debug)]
pub(super) struct Ready {
    /// The tenants that have a queue, the one whose turn it is first.
    order: VecDeque<TenantId>,
    queues: HashMap<TenantId, VecDeque<ConversationId>>,
    /// What is queued in truth: an entry of a queue that is not here is void.
    queued: HashSet<Of>,
    claims: HashMap<Of, Holder>,
    leases: BTreeSet<(Timestamp, Of)>,
    /// What is being erased from, and whether it was or has become ready.
    held_back: HashMap<Of, bool>,
    /// The tenants that are being erased, and which of their conversations were or have become ready.
    held_tenants: HashMap<TenantId, HashSet<ConversationId>>,
    fence: u64,
    /// Timers up to and with this were looked at.
    scanned: Option<Timestamp>,
    /// The state of `Shared::changes` when a claim last found nothing.
    idle: Option<u64>,
}

#[derive(Debug)]
struct Holder {
    worker: WorkerId,
    fence: u64,
    until: Timestamp,
    /// The least event that was changed since the holder last loaded: what it knows of that one is not true any more.
    changed: Option<u64>,
}

impl Ready {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            order: VecDeque::new(),
            queues: HashMap::new(),
            queued: HashSet::new(),
            claims: HashMap::new(),
            leases: BTreeSet::new(),
            held_back: HashMap::new(),
            held_tenants: HashMap::new(),
            // Fences of this opening are above all of those before.
            fence: epoch << 40,
            scanned: None,
            idle: None,
        }
    }

    /// Queues a conversation unless it is queued or claimed. Returns whether it did.
    fn enqueue(&mut self, of: Of) -> bool {
        if let Some(ready) = self.held_back.get_mut(&of) {
            *ready = true;
            return false;
        }
        if let Some(ready) = self.held_tenants.get_mut(&of.0) {
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

    /// Takes the next conversation of the tenant whose turn it is, and who is not skipped.
    fn dequeue(&mut self, skip: &[TenantId]) -> Option<Of> {
        loop {
            let wanted = |tenant: &TenantId| !skip.contains(tenant);
            let at = self.order.iter().position(wanted)?;
            let tenant = self.order.remove(at)?;
            let Some(queue) = self.queues.get_mut(&tenant) else {
                continue;
            };
            let next = std::iter::from_fn(|| queue.pop_front())
                .map(|conversation| (tenant, conversation))
                .find(|of| self.queued.remove(of));
            if queue.is_empty() {
                self.queues.remove(&tenant);
            } else {
                self.order.push_back(tenant);
            }
            if next.is_some() {
                return next;
            }
        }
    }

    /// Whether somebody holds it, or it is being erased from.
    fn is_held(&self, of: &Of) -> bool {
        self.claims.contains_key(of)
            || self.held_back.contains_key(of)
            || self.held_tenants.contains_key(&of.0)
    }

    /// Ends a claim, whoever holds it.
    fn end(&mut self, of: Of) {
        if let Some(held) = self.claims.remove(&of) {
            self.leases.remove(&(held.until, of));
        }
    }

    /// Makes the conversations ready whose lease is over.
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

    fn hold(&mut self, of: Of, worker: WorkerId, until: Timestamp) -> Claim {
        self.fence += 1;
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
        }
    }
}

impl Shared {
    /// Queues what was left unfinished when the file was last closed or its process killed.
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

    /// How many conversations are held by workers.
    pub(super) fn working(&self) -> usize {
        self.ready().claims.len()
    }

    /// Says that something may have become ready.
    fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Makes a conversation ready because something came in. If it is claimed, its release will see it.
    pub(super) fn arrived(&self, of: Of) {
        if self.ready().enqueue(of) {
            self.wake();
        }
    }

    /// Notes that an event which was accepted before is another now.
    pub(super) fn changed(&self, of: Of, seq: u64) {
        if let Some(held) = self.ready().claims.get_mut(&of) {
            held.changed = Some(held.changed.map_or(seq, |known| known.min(seq)));
        }
    }

    /// Ends the claim of what is about to be erased from, and gives no new one until [`Shared::let_go`]: whoever read it before
    /// must not write after.
    pub(super) fn hold_back(&self, of: Of) {
        let mut ready = self.ready();
        let claimed = ready.claims.contains_key(&of);
        let queued = ready.queued.remove(&of);
        ready.end(of);
        *ready.held_back.entry(of).or_default() |= claimed || queued;
    }

    /// As [`Shared::hold_back`], for all of a tenant until [`Shared::let_go_all`].
    pub(super) fn hold_back_all(&self, tenant: TenantId) {
        let mut ready = self.ready();
        let own = |of: &Of| of.0 == tenant;
        let mut held: HashSet<Of> = ready.queued.extract_if(own).collect();
        held.extend(ready.claims.keys().filter(|of| own(of)));
        for of in &held {
            ready.end(*of);
        }
        let held = held.into_iter().map(|(_, conversation)| conversation);
        ready.held_tenants.entry(tenant).or_default().extend(held);
    }

    /// Makes ready again what was, unless all was removed.
    pub(super) fn let_go_all(&self, tenant: TenantId, is_left: bool) {
        let mut ready = self.ready();
        let held = ready.held_tenants.remove(&tenant).unwrap_or_default();
        let mut woken = false;
        for conversation in held.into_iter().filter(|_| is_left) {
            woken |= ready.enqueue((tenant, conversation));
        }
        drop(ready);
        if woken {
            self.wake();
        }
    }

    /// Makes ready again what was, unless it was removed.
    pub(super) fn let_go(&self, of: Of, is_left: bool) {
        let mut ready = self.ready();
        let was_ready = ready.held_back.remove(&of).unwrap_or(false);
        if is_left && was_ready && ready.enqueue(of) {
            drop(ready);
            self.wake();
        }
    }

    /// Whether a claim may consume the inbox up to a number (0 for nothing).
    ///
    /// It may not if an event below was changed after the holder loaded it: a mention would be lost. The claim is then over and
    /// the conversation ready again.
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
                .dequeue(&request.skip)
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

    /// Queues the conversations whose timer has come since the last look.
    fn queue_due(&self, ready: &mut Ready, now: Timestamp) -> Result<()> {
        let after = |when| keys::end(&keys::due_from(when));
        let (from, to) = (ready.scanned.map(after).unwrap_or_default(), after(now));
        if from >= to {
            return Ok(());
        }
        self.snapshot()?.scan(DUE, &from, &to, &mut |key, _| {
            if let Some((_, tenant, conversation)) = keys::read_due(key) {
                // A claimed one is looked at when it is released.
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
            // The lock holds the order: what changes after this snapshot is noted after this line.
            held.changed = None;
            self.snapshot()?
        };
        let Some(head) = self.head(&mut snapshot, tenant, conversation)? else {
            return Ok(None);
        };
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(None);
        };
        let Held { connection, place } = vault.held(&mut snapshot, conversation)?;
        let records = head.checkpoint.unwrap_or(0)..head.len;
        Ok(Some(Loaded {
            connection,
            place,
            len: head.len,
            records: vault.log(&mut snapshot, conversation, (records, Wanted::All))?,
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
        // Locked while the head is read: an event that is committed after the read is noted after the claim has ended.
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
        drop(ready);
        // Also for a timer alone: it may come before the one that others sleep until.
        if arrived || head.first_due().is_some() {
            self.wake();
        }
        Ok(())
    }

    /// Returns the first timer of a conversation that nobody holds.
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

    /// Waits until the count of changes is not what it was when a claim last found nothing.
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

    /// Whether a conversation must be found ready when the file is opened; keeps its row of [`PENDING`] in step.
    pub(super) fn keep_pending(
        &self,
        batch: &mut super::writer::Batch<'_>,
        of: Of,
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
