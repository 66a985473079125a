//! Groups of records that were written or read lately, opened: they are read again by the index, and by the next turns of their
//! conversation.
//!
//! What is here counts only while its group stands in the file byte for byte, so what was erased is not found, and an erasure clears
//! all of it. While a person is erased in parts, groups stand that must not be read any more: meanwhile nothing of the tenant is found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use konstruct_core::{TenantId, turn::Record};

use super::keys;

/// How many bytes of groups a generation has; opened they take some seven times as much. There are two generations.
const GENERATION: usize = 6 << 20;

/// The records of a group, in their order; `None` for those that nobody has wanted so far.
pub(super) type Records = Arc<[Option<Arc<Record>>]>;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Vec<u8>, Opened>,
    old: HashMap<Vec<u8>, Opened>,
    /// The bytes of the young one's groups.
    size: usize,
    /// The tenants of whom nothing is kept, and how many erasures want that.
    closed: HashMap<TenantId, usize>,
}

#[derive(Debug)]
struct Opened {
    sealed: Vec<u8>,
    records: Records,
}

impl Recent {
    fn held(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the records of the group at a place, if they are those of these bytes.
    pub(super) fn get(&self, place: &[u8], sealed: &[u8]) -> Option<Records> {
        let mut held = self.held();
        if held.is_closed(place) {
            return None;
        }
        if let Some(opened) = held.young.get(place) {
            return (opened.sealed == sealed).then(|| Arc::clone(&opened.records));
        }
        let (place, opened) = held.old.remove_entry(place)?;
        let found = (opened.sealed == sealed).then(|| Arc::clone(&opened.records));
        held.keep(place, opened);
        found
    }

    /// Keeps the records of a group.
    pub(super) fn put(&self, place: Vec<u8>, sealed: Vec<u8>, records: Records) {
        let opened = Opened { sealed, records };
        let mut held = self.held();
        if !held.is_closed(&place) {
            held.keep(place, opened);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        let closed = std::mem::take(&mut held.closed);
        *held = Generations {
            closed,
            ..Generations::default()
        };
    }

    /// Finds and keeps nothing of a tenant, until [`Recent::open`] is called as often.
    pub(super) fn close(&self, tenant: TenantId) {
        *self.held().closed.entry(tenant).or_default() += 1;
    }

    pub(super) fn open(&self, tenant: TenantId) {
        let mut held = self.held();
        if let Some(many) = held.closed.get_mut(&tenant) {
            *many -= 1;
            if *many == 0 {
                held.closed.remove(&tenant);
            }
        }
    }
}

impl Generations {
    fn is_closed(&self, place: &[u8]) -> bool {
        let tenant = || keys::id(place, 0).map(TenantId::from_bytes);
        !self.closed.is_empty() && tenant().is_some_and(|tenant| self.closed.contains_key(&tenant))
    }

    fn keep(&mut self, place: Vec<u8>, opened: Opened) {
        if self.size >= GENERATION {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.size = 0;
        }
        self.size += place.len() + opened.sealed.len();
        self.young.insert(place, opened);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        Arc::new([])
    }

    #[test]
    fn a_group_that_changed_is_not_found() {
        let recent = Recent::default();
        recent.put(b"place".into(), b"sealed".into(), records());
        assert!(recent.get(b"place", b"sealed").is_some());
        assert!(recent.get(b"place", b"other").is_none());
        assert!(recent.get(b"other", b"sealed").is_none());
        recent.clear();
        assert!(recent.get(b"place", b"sealed").is_none());
    }

    #[test]
    fn what_is_read_again_stays_and_the_rest_goes() {
        let recent = Recent::default();
        recent.put(b"kept".into(), b"sealed".into(), records());
        let large = vec![0; GENERATION / 4];
        for n in 0..100_u8 {
            recent.put(vec![n], large.clone(), records());
            assert!(recent.get(b"kept", b"sealed").is_some(), "after {n}");
        }
        assert!(recent.get(&[0], &large).is_none());
        let held = recent.held();
        assert!(held.young.len() + held.old.len() <= 12);
    }
}
