//! Rows of logs that were written or read lately, opened: a turn's records are read again by the next steps, by the index, and by the
//! next turns of their conversation.
//!
//! What is here counts only while its row stands in the file byte for byte, so what was erased is not found, and an erasure clears
//! all of it. While a person is erased in parts, rows stand that must not be read any more: meanwhile nothing of the tenant is found.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use konstruct_core::{TenantId, turn::Record};

use super::keys;

/// How many bytes of rows a generation has; opened they take some seven times as much. There are two generations.
const GENERATION: usize = 2 << 20;

/// The records of a row, in their order; `None` for what was erased.
pub(super) type Records = Arc<[Option<Record>]>;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Vec<u8>, Opened>,
    old: HashMap<Vec<u8>, Opened>,
    /// The bytes of the young one's rows.
    size: usize,
    /// The tenants of whom nothing is kept, and how many erasures want that.
    closed: HashMap<TenantId, usize>,
}

#[derive(Debug)]
struct Opened {
    row: Vec<u8>,
    records: Records,
}

impl Recent {
    fn held(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the records of a row, if they are those of these bytes.
    pub(super) fn get(&self, key: &[u8], row: &[u8]) -> Option<Records> {
        let mut held = self.held();
        if held.is_closed(key) {
            return None;
        }
        if let Some(opened) = held.young.get(key) {
            return (opened.row == row).then(|| Arc::clone(&opened.records));
        }
        let (key, opened) = held.old.remove_entry(key)?;
        let found = (opened.row == row).then(|| Arc::clone(&opened.records));
        held.keep(key, opened);
        found
    }

    /// Keeps the records of a row.
    pub(super) fn put(&self, key: Vec<u8>, row: Vec<u8>, records: Records) {
        let opened = Opened { row, records };
        let mut held = self.held();
        if !held.is_closed(&key) {
            held.keep(key, opened);
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
    fn is_closed(&self, key: &[u8]) -> bool {
        let tenant = || keys::id(key, 0).map(TenantId::from_bytes);
        !self.closed.is_empty() && tenant().is_some_and(|tenant| self.closed.contains_key(&tenant))
    }

    fn keep(&mut self, key: Vec<u8>, opened: Opened) {
        if self.size >= GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.size = 0;
        }
        self.size += key.len() + opened.row.len();
        self.young.insert(key, opened);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Records {
        vec![None; count].into()
    }

    #[test]
    fn a_row_that_changed_is_not_found() {
        let recent = Recent::default();
        recent.put(b"key".into(), b"row".into(), records(2));
        assert_eq!(recent.get(b"key", b"row").map(|found| found.len()), Some(2));
        assert!(recent.get(b"key", b"other").is_none());
        assert!(recent.get(b"other", b"row").is_none());
        recent.clear();
        assert!(recent.get(b"key", b"row").is_none());
    }

    #[test]
    fn what_is_read_again_stays_and_the_rest_goes() {
        let recent = Recent::default();
        recent.put(b"kept".into(), b"row".into(), records(1));
        let large = vec![0; GENERATION / 4];
        for n in 0..100_u8 {
            recent.put(vec![n], large.clone(), records(1));
            assert!(recent.get(b"kept", b"row").is_some(), "after {n}");
        }
        assert!(recent.get(&[0], &large).is_none());
        let held = recent.held();
        assert!(held.young.len() + held.old.len() <= 12);
    }
}
