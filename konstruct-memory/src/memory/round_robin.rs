//! Round-robin scheduling of tenants, with delays after failures.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use konstruct_core::TenantId;

/// The delay after a tenant's first failure. It doubles with each further failure, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Tenants take turns, one at a time each. A failed tenant waits by itself and does not delay others.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    ready: BTreeSet<TenantId>,
    /// Tenants whose turn has not ended.
    busy: BTreeSet<TenantId>,
    /// Failed tenants, with the time of the next attempt.
    waiting: BTreeMap<TenantId, Instant>,
    /// The last delay of tenants that have failed and not succeeded since.
    waited: BTreeMap<TenantId, Duration>,
    last: Option<TenantId>,
}

impl RoundRobin {
    /// Adds a tenant with pending work. A failed tenant still waits for its delay.
    pub(crate) fn add(&mut self, tenant: TenantId) {
        if !self.waiting.contains_key(&tenant) {
            self.ready.insert(tenant);
        }
    }

    /// Makes the next turn that of the tenant after this one.
    #[cfg(feature = "postgres")]
    pub(crate) fn begin_after(&mut self, tenant: TenantId) {
        self.last = Some(tenant);
    }

    /// Begins the turn of the next tenant after the last one. It ends with [`RoundRobin::done`] or [`RoundRobin::failed`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<TenantId> {
        let due = self.waiting.extract_if(.., |_, until| *until <= now);
        self.ready.extend(due.map(|(tenant, _)| tenant));
        let free = |tenant: &&TenantId| !self.busy.contains(tenant);
        let after = self.last.and_then(|last| {
            self.ready
                .range(last..)
                .filter(free)
                .find(|it| **it != last)
        });
        let next = after.or(self.ready.iter().find(free)).copied()?;
        self.begin(next);
        self.last = Some(next);
        Some(next)
    }

    /// Begins the turn of a tenant that was found in another way. Returns `false` if its turn is already in progress.
    pub(crate) fn begin(&mut self, tenant: TenantId) -> bool {
        let free = self.busy.insert(tenant);
        if free {
            self.ready.remove(&tenant);
        }
        free
    }

    /// Returns whether a tenant is ready that is not in progress.
    pub(crate) fn has_next(&self) -> bool {
        self.ready.iter().any(|tenant| !self.busy.contains(tenant))
    }

    /// Returns when the next failed tenant is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Ends a tenant's turn. Work that was added meanwhile is for its next turn.
    pub(crate) fn done(&mut self, tenant: TenantId) {
        self.busy.remove(&tenant);
        self.waited.remove(&tenant);
    }

    /// Ends a tenant's turn with a failure. Returns the delay.
    pub(crate) fn failed(&mut self, tenant: TenantId, now: Instant) -> Duration {
        let before = self.waited.get(&tenant);
        let wait = before.map_or(FIRST, |wait| (*wait * 2).min(LONGEST));
        self.waited.insert(tenant, wait);
        self.busy.remove(&tenant);
        self.ready.remove(&tenant);
        self.waiting.insert(tenant, now + wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::from_bytes([number; 16])
    }

    #[test]
    fn each_in_turn() {
        let (mut turns, now) = (RoundRobin::default(), Instant::now());
        for number in [3, 1, 2] {
            turns.add(tenant(number));
        }
        assert_eq!(turns.next(now), Some(tenant(1)));
        turns.add(tenant(1));
        turns.done(tenant(1));
        let rest: Vec<_> = std::iter::from_fn(|| turns.next(now)).collect();
        assert_eq!(rest, [tenant(2), tenant(3), tenant(1)]);
        assert_eq!(turns.due(), None);
    }

    #[test]
    fn each_has_one_turn_at_a_time() {
        let (mut turns, now) = (RoundRobin::default(), Instant::now());
        turns.add(tenant(1));
        assert_eq!(turns.next(now), Some(tenant(1)));
        turns.add(tenant(1));
        assert_eq!(turns.next(now), None, "its turn has not ended");
        assert!(!turns.begin(tenant(1)));
        turns.done(tenant(1));
        assert_eq!(turns.next(now), Some(tenant(1)), "what was added meanwhile");
        turns.done(tenant(1));
        assert!(turns.begin(tenant(1)));
        turns.add(tenant(1));
        turns.failed(tenant(1), now);
        assert_eq!(turns.next(now), None, "it waits after a failure");
    }

    #[test]
    fn a_failed_tenant_waits_longer_each_time_and_delays_nobody() {
        let (mut turns, mut now) = (RoundRobin::default(), Instant::now());
        turns.add(tenant(1));
        for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(turns.next(now), Some(tenant(1)));
            let wait = turns.failed(tenant(1), now);
            assert_eq!(wait.as_secs(), secs);
            turns.add(tenant(1));
            turns.add(tenant(2));
            assert_eq!(turns.next(now), Some(tenant(2)));
            turns.done(tenant(2));
            assert_eq!(turns.next(now), None);
            assert_eq!(turns.due(), Some(now + wait));
            now += wait;
        }
        assert_eq!(turns.next(now), Some(tenant(1)));
        turns.done(tenant(1));
        turns.add(tenant(1));
        assert_eq!(turns.next(now), Some(tenant(1)));
        assert_eq!(turns.failed(tenant(1), now), FIRST);
    }
}
