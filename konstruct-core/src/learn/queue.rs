//! The order of learning: tenants take turns, with one conversation at a time of each.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ConversationId, TenantId};

/// Conversations that wait, each of them once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<TenantId, BTreeSet<ConversationId>>,
    /// The tenants that are being learned from.
    busy: BTreeSet<TenantId>,
    /// The last tenant, and the last conversation of each tenant that waits or is busy.
    last: Option<TenantId>,
    last_of: BTreeMap<TenantId, ConversationId>,
}

impl Queue {
    pub(super) fn add(&mut self, tenant: TenantId, conversation: ConversationId) {
        self.waiting.entry(tenant).or_default().insert(conversation);
    }

    /// Returns a conversation of the next tenant that is not busy, and marks the tenant as busy.
    pub(super) fn next(&mut self) -> Option<(TenantId, ConversationId)> {
        let free = |tenant: &&TenantId| !self.busy.contains(tenant);
        let after = |tenant: &&TenantId| self.last.is_none_or(|last| **tenant > last);
        let mut tenants = self.waiting.keys().filter(free);
        let tenant = *tenants.clone().find(after).or_else(|| tenants.next())?;
        let waiting = self.waiting.get_mut(&tenant)?;
        let last = self.last_of.get(&tenant).copied();
        let mut after = waiting
            .iter()
            .filter(|next| last.is_none_or(|last| **next > last));
        let conversation = *after.next().or_else(|| waiting.first())?;
        waiting.remove(&conversation);
        if waiting.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.busy.insert(tenant);
        self.last = Some(tenant);
        self.last_of.insert(tenant, conversation);
        Some((tenant, conversation))
    }

    /// Marks a tenant as no longer busy.
    pub(super) fn done(&mut self, tenant: TenantId) {
        self.busy.remove(&tenant);
        if !self.waiting.contains_key(&tenant) {
            self.last_of.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::from_bytes([number; 16])
    }

    fn conversation(number: u8) -> ConversationId {
        ConversationId::from_bytes([number; 16])
    }

    fn queue(waiting: &[(u8, u8)]) -> Queue {
        let mut queue = Queue::default();
        for (of, number) in waiting {
            queue.add(tenant(*of), conversation(*number));
        }
        queue
    }

    #[test]
    fn tenants_take_turns_one_at_a_time() {
        let mut queue = queue(&[(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 1)]);
        let next = |of, number| Some((tenant(of), conversation(number)));
        assert_eq!(queue.next(), next(1, 1));
        assert_eq!(queue.next(), next(2, 1));
        assert_eq!(queue.next(), next(3, 1));
        assert_eq!(queue.next(), None, "each of them is busy");
        queue.done(tenant(1));
        assert_eq!(queue.next(), next(1, 2));
        queue.done(tenant(3));
        assert_eq!(queue.next(), None, "it waited once");
    }

    #[test]
    fn conversations_of_a_tenant_take_turns() {
        let mut queue = queue(&[(1, 1), (1, 2), (1, 3)]);
        let mut order = Vec::new();
        for _ in 0..4 {
            let (tenant, conversation) = queue.next().unwrap();
            order.push(conversation.as_bytes()[0]);
            // New messages are always processed meanwhile.
            queue.add(tenant, conversation);
            queue.done(tenant);
        }
        assert_eq!(order, [1, 2, 3, 1]);
    }

    #[test]
    fn nothing_is_kept_of_what_is_done() {
        let mut queue = queue(&[(1, 1)]);
        queue.next();
        queue.done(tenant(1));
        assert!(queue.waiting.is_empty() && queue.busy.is_empty() && queue.last_of.is_empty());
    }
}
